"""docs/python.md: its examples follow one another and run, on tiny material."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from tests.bases import make_base, write_chats
from tests.conftest import generated_module
from tests.docs.test_docs import ROOT, fences

BLOCKS = [body for info, body in fences(ROOT / "docs/python.md") if info == "python"]


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    for seed in range(40):
        (tmp_path / "notes" / f"m{seed:02}.py").write_text(generated_module(seed), "utf-8")
    make_base(tmp_path / "base")
    write_chats(tmp_path / "chats.jsonl", 40)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.py").write_text("\n".join(BLOCKS), "utf-8")
    names = runpy.run_path("page.py")
    shown = capsys.readouterr().out
    assert "runs/mine/report.html" in shown
    assert "whet.Stage(...): lr: unknown key; did you mean 'learning_rate'?" in shown
    assert names["bits"].low <= names["bits"].value <= names["bits"].high
    assert names["longer"].recipe.stages[0].steps == 40
    assert "32,763,876,352 parameters" in shown
    assert (tmp_path / "assistant-merged/config.json").exists()
