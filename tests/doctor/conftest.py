"""One healthy run for all, copies of it to be spoiled, and a recipe not yet run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.doctor.material import found, trained, write_case


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in which nothing is wrong. Read only."""
    folder = trained(write_case(tmp_path_factory.mktemp("healthy")))
    assert found(folder) == []
    return folder


@pytest.fixture
def run(healthy: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(healthy, tmp_path / "tuned"))


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A recipe with its base and data, not yet run."""
    return write_case(tmp_path)
