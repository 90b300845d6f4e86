"""Tuning ended at any moment by SIGKILL: as for models from nothing, for LoRA, a quantized base, and every weight."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bases import write_tuning
from tests.proofs.nursery import Nursery
from tests.proofs.test_interruptions import Kills, straight
from tests.proofs.test_tuning import KINDS, WIDE
from whet import pipeline
from whet.progress import Silent
from whet.store import write_text


@pytest.fixture(scope="module", params=["lora", "qlora", "full"])
def tuning(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """A warm process whose children tune a base in one of the three ways."""
    folder = tmp_path_factory.mktemp(request.param)
    run = pipeline.open_run(
        str(write_tuning(folder, **WIDE)), [f"output={folder}", *KINDS[request.param]], Silent()
    )
    pipeline.prepare(run)
    recipe = folder / "resolved.yaml"
    write_text(recipe, run.loaded.resolved)
    opened = Nursery(recipe, run.folder / "prepared", folder / "work", None)
    yield opened
    opened.close()


@pytest.mark.parametrize("wanted", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_sigkill_at_any_moment(
    tuning: Nursery,
    tmp_path: Path,
    wanted: int,
    figure: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    kills = Kills(tuning, tmp_path, straight(tuning, tmp_path / "straight"), random.Random(wanted))
    kills.run(wanted)
    figure(f"{request.node.callspec.params['tuning']}: {kills.line()}")
    assert kills.inside["any"] >= 0.2 * wanted, kills.line()
