"""A good tiny model to spoil, and guards: no connection is opened, nothing hangs, memory stays where it is."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from whet import store
from whet.models.build import new_model, save_model
from whet.models.shape import Shape

SHAPE = Shape(
    norm="rmsnorm", positions="rope", d_model=32, layers=2, heads=2, d_ff=64, context=64, vocab_size=420
)
CALM_BYTES = 200_000_000
HANG_S = 60


@pytest.fixture(scope="session")
def good_model(prepared: store.Artefact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with its tokenizer. Read only."""
    folder = tmp_path_factory.mktemp("models") / "good"
    decoder = new_model(
        SHAPE, {"pad": 0, "bos": 2, "eos": 3}, seed=1, device=torch.device("cpu"), precision="fp32"
    )
    save_model(decoder, folder)
    for file in (prepared.folder / "tokenizer").iterdir():
        shutil.copy2(file, folder / file.name)
    return folder


@pytest.fixture
def model(good_model: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(good_model, tmp_path / "model"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever opens a connection fails the test, even if that failure is caught on its way."""
    tried: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    yield
    assert not tried


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """What waits for ever (a pipe, a pattern that never ends) fails instead."""

    def fail(number: int, frame: Any) -> None:
        raise AssertionError(f"no answer within {HANG_S} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(HANG_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def calm() -> Iterator[None]:
    """The process's peak memory stays within CALM_BYTES of where it was."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    yield
    grown = _memory("VmHWM") - before
    assert grown <= CALM_BYTES, f"{grown / 1e6:.0f} MB more than before"


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text("utf-8")
    return int(status.split(f"{name}:", 1)[1].split("kB", 1)[0]) * 1024
