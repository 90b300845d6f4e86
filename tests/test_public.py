"""The public surface: small, lazy, and all of it importable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import whet
from whet.recipe.load import Loaded


def test_everything_public_is_there() -> None:
    assert all(getattr(whet, name) is not None for name in whet.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = whet.nothing


def test_import_is_light() -> None:
    heavy = ("torch", "transformers", "pydantic", "numpy")
    script = f"import whet, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_from_python(recipe_file: Path, small: Loaded, tmp_path: Path) -> None:
    overrides = [f"output={tmp_path}", "stages.first.steps=2", "stages.second.steps=2", "evaluate.samples=0"]
    run = whet.open_run(str(recipe_file), overrides)
    report = whet.run_all(run)
    assert report == tmp_path / "small" / "report.html"
    assert "small" in report.read_text()
    result = whet.generate(
        tmp_path / "small/stages/second/model", "def ", _greedy(), new_tokens=4, device="cpu"
    )
    assert result["new_tokens"] <= 4


def _greedy() -> object:
    from whet.recipe.schema import Greedy

    return Greedy()
