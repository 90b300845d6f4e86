"""The pages say what is so: links lead somewhere, commands parse, limits agree, examples run.

Not covered: whether the prose is true, and links to other sites.
"""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import typer

from whet import limits
from whet.cleaning.base import FILTERS
from whet.cli import app
from whet.metrics.base import METRICS
from whet.models.families.base import FAMILIES, family_for
from whet.objectives.base import OBJECTIVES
from whet.packing import Batch
from whet.records import Document, Dropped
from whet.registry import Registry
from whet.sources.base import SOURCES

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").rglob("*.md")])
REGISTRIES: dict[str, Registry[Any]] = {
    "sources": SOURCES,
    "cleaning": FILTERS,
    "metrics": METRICS,
    "objectives": OBJECTIVES,
    "models/families": FAMILIES,
}

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|[|&;]\s*)(?:\.venv/bin/)?whet (.+)$")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def fences(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page: what stands behind the backticks, and the text."""
    return [(info.strip(), body) for info, body in _FENCE.findall(page.read_text("utf-8"))]


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links them."""
    prose = _FENCE.sub("", page.read_text("utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in _HEADING.findall(prose)
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{target}: there is no {aim}"
        assert not anchor or anchor in anchors(aim), f"{target}: {name_of(aim)} has no such heading"


def commands(page: Path) -> list[str]:
    """Every call of whet in the shell blocks of a page."""
    found = []
    for info, body in fences(page):
        if info in ("sh", "bash", "shell", "console"):
            for line in body.replace("\\\n", " ").splitlines():
                match = _COMMAND.search(line.strip().removeprefix("$ "))
                found += [match[1]] if match else []
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    group: Any = typer.main.get_command(app)
    for line in commands(page):
        words = shlex.split(line, comments=True)
        if words in (["--help"], ["--version"]):
            continue
        assert words[0] in group.commands, f"whet {line}: no such command"
        if "--help" not in words:
            group.commands[words[0]].make_context(
                words[0], words[1:]
            )  # parses, runs nothing; raises on a mistake


def test_the_tour_shows_every_command() -> None:
    shown = {line.split()[0] for line in commands(ROOT / "docs/tour.md")}
    group: Any = typer.main.get_command(app)
    assert set(group.commands) <= shown


def table_of_bounds() -> list[tuple[str, float]]:
    """Name and value of every row in the tables of docs/limits.md."""
    rows = re.findall(
        r"^\| `([\w.]+)` \| ([\d.,]+)", (ROOT / "docs/limits.md").read_text("utf-8"), re.MULTILINE
    )
    return [(name, float(value.replace(",", ""))) for name, value in rows]


def test_limits_are_those_of_the_code() -> None:
    told = dict(table_of_bounds())
    assert {name for name in vars(limits) if name.isupper()} == {name for name in told if name.isupper()}
    for name, value in told.items():
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module or "whet.limits"), attribute) == value, name


EXAMPLES = [body for info, body in fences(ROOT / "CONTRIBUTING.md") if info == "python run"]


@pytest.fixture
def example(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[Any]]:
    """The class of one example, registered from a module of the example's name; unregistered afterwards."""
    place = re.match(r"# src/whet/(.+)/(\w+)\.py\n", request.param)
    assert place, "the first line of an example is the file's path"
    registry, name = REGISTRIES[place[1]], place[2]
    (tmp_path / f"{name}.py").write_text(request.param, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry.names()
    before = dict(registry._found)
    module: ModuleType = importlib.import_module(name)
    own = [item for item in vars(module).values() if getattr(item, "NAME", None) == name]
    try:
        yield registry.register(own[0])
    finally:
        registry._found.clear()
        registry._found.update(before)
        registry.revision += 1
        sys.modules.pop(name)


def examples_of(folder: str) -> list[str]:
    return [body for body in EXAMPLES if body.startswith(f"# src/whet/{folder}/")]


def test_there_is_one_example_of_each() -> None:
    assert sorted(REGISTRIES) == sorted(folder for folder in REGISTRIES for _ in examples_of(folder))
    assert len(EXAMPLES) == len(REGISTRIES)


@pytest.mark.parametrize("example", EXAMPLES, indirect=True, ids=lambda body: body.split("\n", 1)[0][11:])
def test_examples_are_found_by_name(example: type[Any]) -> None:
    registry = next(known for known in REGISTRIES.values() if issubclass(example, known.base))
    assert registry.get(example.NAME) is example
    assert sys.modules[example.__module__].__doc__


@pytest.mark.parametrize("example", examples_of("sources"), indirect=True, ids=["source"])
def test_the_source(example: type[Any], tmp_path: Path) -> None:
    from whet.recipe.load import load_recipe

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("one\n\n\n\ntwo\nlines\n")
    (tmp_path / "notes/b.txt").write_bytes(b"\0\0")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(f"name: mine\nstages:\n  - name: notes\n    data: [{example.EXAMPLE}]\n")
    source = load_recipe(str(recipe)).recipe.stages[0].data[0]
    assert isinstance(source, example)
    first, second, third = source.documents()
    assert isinstance(second, Document)
    assert (first.origin, second.text, second.group) == ("a.txt:1", "two\nlines\n", "a.txt")
    assert isinstance(third, Dropped)
    assert (third.origin, third.reason) == ("b.txt", "binary")
    assert source.fingerprint() == source.fingerprint()


@pytest.mark.parametrize("example", examples_of("cleaning"), indirect=True, ids=["filter"])
def test_the_filter(example: type[Any]) -> None:
    kept, dropped = (Document(text=text, origin="a", group="a") for text in ("some words", "+--+ +--+ | x |"))
    assert example().apply(kept) is kept
    assert example().apply(dropped).reason in example.REASONS
    assert example(min_share=0).apply(dropped) is dropped


@pytest.mark.parametrize("example", examples_of("metrics"), indirect=True, ids=["metric"])
def test_the_metric(example: type[Any]) -> None:
    nll, tokens = np.array([np.log(2) * 12, 0.0]), np.array([4.0, 0.0])
    value = example.value(nll, tokens, np.array([9.0, 0.0]))
    assert value[0] == pytest.approx(3)
    assert not np.isfinite(value[1])


def a_batch() -> Batch:
    """Two documents of 12 tokens in one row."""
    ids = np.random.default_rng(0).integers(0, 50, (1, 25))
    positions, segments = np.tile(np.arange(12), (1, 2)), np.repeat([[1, 2]], 12, axis=1)
    return Batch(ids[:, :-1], ids[:, 1:], positions, segments, (0, 1))


def a_decoder(norm: str) -> Any:
    import torch

    from whet.models.build import new_model
    from whet.models.shape import Shape

    sizes = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 24, "context": 64, "vocab_size": 50}
    shape = Shape(norm=norm, positions="rope", **sizes)
    return new_model(
        shape, {"pad": 0, "bos": 2, "eos": 3}, seed=1, device=torch.device("cpu"), precision="fp32"
    )


@pytest.mark.parametrize("example", examples_of("objectives"), indirect=True, ids=["objective"])
def test_the_objective(example: type[Any]) -> None:
    objective, batch, decoder = example(), a_batch(), a_decoder("rmsnorm")
    assert objective.weight(batch) == 2 * (12 - 8)
    loss = objective.loss_sum(decoder, batch)
    assert 0 < float(loss.detach()) < float(decoder.nll_sum(batch).detach())
    loss.backward()
    assert decoder.head.weight.grad is not None


@pytest.mark.parametrize("example", examples_of("models/families"), indirect=True, ids=["family"])
def test_the_family(example: type[Any], tmp_path: Path) -> None:
    import torch

    from whet.models import selfcheck
    from whet.models.build import load_model, save_model

    assert isinstance(family_for(example.NORM, example.POSITIONS), example)
    decoder = a_decoder(example.NORM)
    selfcheck.check(decoder)
    save_model(decoder, tmp_path)
    again = load_model(tmp_path, device=torch.device("cpu"), precision="fp32")
    assert isinstance(again.family, example)
    assert float(again.nll_sum(a_batch()).detach()) == float(decoder.nll_sum(a_batch()).detach())
