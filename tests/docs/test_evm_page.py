"""docs/evm.md: what it shows of a function is what the lifter prints; its Python runs.

After a change of the texts: `python -m tests.docs.test_evm_page` writes them into the page anew.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from tests.docs.test_docs import ROOT, fences
from tests.evm.fixtures import HERE, fixtures

import whet
from whet.evm.meaning.analyse import analyse
from whet.evm.text import flat_function, structured_function

PAGE = ROOT / "docs" / "evm.md"
TOKEN = next(fixture for fixture in fixtures("Token") if fixture.name == "Token-0.8.30-runs200")


def shown() -> tuple[str, str]:
    """The page's function, flat and structured."""
    contract = whet.lift(TOKEN.runtime)
    function = contract.functions["p_5ba"]
    return flat_function(function), structured_function(contract, function, analyse(contract))


def with_blocks(page: str) -> str:
    """The page with what is printed now."""
    texts = iter(shown())
    pattern = re.compile(r"^```\nfunction p_5ba\(.*?^```$", re.MULTILINE | re.DOTALL)
    return pattern.sub(lambda _: f"```\n{next(texts).rstrip()}\n```", page)


def test_the_function_reads_as_it_is_printed() -> None:
    page = PAGE.read_text("utf-8")
    assert all(f"```\n{text.rstrip()}\n```" in page for text in shown()), (
        "run python -m tests.docs.test_evm_page"
    )
    assert with_blocks(page) == page


def test_the_source_is_that_of_the_fixture() -> None:
    source = next(body for info, body in fences(PAGE) if info == "solidity")
    lines = [line.strip() for line in (HERE / "sources/Token.sol").read_text("utf-8").splitlines()]
    wanted = [line.strip() for line in source.splitlines()]
    first = lines.index(wanted[0])
    assert lines[first : first + len(wanted)] == wanted
    assert f"among {len(TOKEN.runtime):,} bytes" in PAGE.read_text("utf-8")


def test_the_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token.hex").write_text(TOKEN.runtime.hex())
    (tmp_path / "page.py").write_text("".join(body for info, body in fences(PAGE) if info == "python"))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("page.py")
    assert capsys.readouterr().out.splitlines()[-1] == "success 1000"


if __name__ == "__main__":
    PAGE.write_text(with_blocks(PAGE.read_text("utf-8")), "utf-8")
