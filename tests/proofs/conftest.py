"""What the proofs share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proofs.bench import write_integers


@pytest.fixture(scope="session")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of integers from a formula. Read only."""
    return write_integers(tmp_path_factory.mktemp("integers"))
