"""A stage's result, opened for evaluation: its base is asked for where there is something to put on it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.models.random_models import CPU, LLAMA, Settings, saved, targets, tiny

from whet.errors import ArtefactError
from whet.evaluate.run import _Room
from whet.models import hub
from whet.models.adapters import attach, save_adapter
from whet.progress import Reporter


def opened(folder: Path, adapter: Any) -> Any:
    settings = SimpleNamespace(adapter=adapter, base="gone")
    room = SimpleNamespace(
        recipe=SimpleNamespace(tuned=settings), device=CPU, precision="fp32", reporter=Reporter()
    )
    return _Room._open(room, folder)  # type: ignore[arg-type]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The bases that were asked for, and are not there."""
    names: list[str] = []

    def gone(settings: Any, **more: Any) -> Path:
        names.append(settings.base)
        raise ArtefactError("not there", where=settings.base)

    monkeypatch.setattr(hub, "of", gone)
    return names


def test_a_whole_model_needs_no_base(tmp_path: Path, asked: list[str]) -> None:
    """Every weight was trained: the base may be gone by now."""
    assert opened(saved(tmp_path, LLAMA), None).context
    assert asked == []


def test_an_adapter_needs_its_base(tmp_path: Path, asked: list[str]) -> None:
    decoder = tiny(LLAMA)
    attach(decoder, Settings(), targets(decoder), seed=0)
    save_adapter(decoder, tmp_path, "gone")
    with pytest.raises(ArtefactError, match="not there"):
        opened(tmp_path, Settings())
    assert asked == ["gone"]
