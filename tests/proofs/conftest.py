"""What the proofs share: integers to train on, one warm process for all children, and the figures found, shown at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proofs.bench import write_integers
from tests.proofs.nursery import Nursery, build_faults
from whet import store


@pytest.fixture(scope="session")
def integers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of integers from a formula. Read only."""
    return write_integers(tmp_path_factory.mktemp("integers"))


@pytest.fixture(scope="session")
def nursery(
    recipe_file: Path, prepared: store.Artefact, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nursery]:
    """Children to end."""
    folder = tmp_path_factory.mktemp("nursery")
    opened = Nursery(recipe_file, prepared.folder, folder / "work", build_faults(folder))
    yield opened
    opened.close()


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Keep one line for the end of the output, where capturing does not reach it."""

    def keep(text: str) -> None:
        record_property("figure", text)

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every figure, also of tests that ran in another process."""
    found = [
        (report.nodeid, value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in getattr(report, "user_properties", ())
        if name == "figure"
    ]
    if found:
        terminalreporter.section("figures of the proofs")
    for _, value in sorted(found):
        terminalreporter.line(str(value))
