"""Every single system call of a save fails, or is the process's last: the newest thing that loads is the old or the new.

`faults.c` is preloaded and sits between the process and libc, so the calls of safetensors, tokenizers and
SQLite count, too (not those of numpy's `save`, which uses stdio: test_full_disk.py has those). The number of
calls of a clean save is counted first; then each in turn fails once, fails together with all after it, or
ends the process. Without a C compiler test_store.py's failures in Python remain.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.nursery import Child, Nursery, checkpoints, leftovers, tidy
from whet import store
from whet.errors import ArtefactError

ONCE, CRASH, FOR_GOOD = range(3)
CRASHED = 99
WAYS = [
    ("disk full", errno.ENOSPC, ONCE),
    ("disk fails", errno.EIO, ONCE),
    ("disk full from there on", errno.ENOSPC, FOR_GOOD),
    ("read-only from there on", errno.EROFS, FOR_GOOD),
    ("crash", 0, CRASH),
]
TOLD = {errno.ENOSPC: "the disk is full", errno.EIO: "the disk fails", errno.EROFS: "the disk is read-only"}


class Saves:
    """One kind of save over an older one, with a fault at a chosen call."""

    def __init__(self, nursery: Nursery, work: Path, what: str) -> None:
        if nursery.faults is None:
            pytest.skip("no C compiler for the preloaded library")
        self.nursery, self.what, self.work = nursery, what, work
        self.folder, self.template = work / "stage", work / "template"
        self.old = self._clean(2)
        shutil.copytree(self.folder, self.template)
        child, self.new = self._clean_child(3)
        self.calls: str = child.values("calls")[0]

    def _clean(self, step: int) -> Any:
        return self._clean_child(step)[1]

    def _clean_child(self, step: int) -> tuple[Child, Any]:
        child = self.run(step, at=0)
        assert child.code == 0, child.trouble()
        return child, self.contents()

    def run(self, step: int, *, at: int, error: int = 0, mode: int = ONCE) -> Child:
        fault = {"below": str(self.work / "stage"), "at": at, "error": error, "mode": mode}
        if self.what == "prepare":
            return self.nursery.run("prepare", folder=str(self.folder), fault=fault)
        return self.nursery.run("save", folder=str(self.folder), what=self.what, step=step, fault=fault)

    def contents(self) -> Any:
        """What lies there under its own name, verified. Raises ArtefactError for anything damaged."""
        if self.what == "checkpoint":
            return [(item.folder.name, item.files) for item in checkpoints(self.folder)]
        if self.what == "settings":
            return store.read_sealed(self.folder / "settings.json")
        kind = "prepared" if self.what == "prepare" else self.what
        artefact = store.open_artefact(self.folder / kind, kind)
        return artefact.files, artefact.record.get("step", artefact.record.get("steps"))

    def fault(self, at: int, error: int, mode: int) -> str:
        """Save once more with this fault; whether the old or the new is there in the end."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.template, self.folder)
        child = self.run(3, at=at, error=error, mode=mode)
        self._look_at_end(child, at, error, mode)
        tidy(self.folder)
        assert leftovers(self.folder) == [], (at, error, mode, child.trouble())
        try:
            found = self.contents()
        except ArtefactError as damage:
            raise AssertionError((at, error, mode, self.calls, child.trouble())) from damage
        which = self._which(found, (at, error, mode, self.calls, found, child.trouble()))
        assert child.code or which == "new", "what ended well is there"
        return which

    def _look_at_end(self, child: Child, at: int, error: int, mode: int) -> None:
        """A crash crashed; an error was said in our words, or did not matter: never that of a write, sync or rename."""
        about = (at, error, mode, self.calls[at - 1], child.trouble())
        assert not child.values("traceback"), about
        if mode == CRASH:
            assert child.code == CRASHED, about
        elif child.code:
            (name, text), *more = child.values("error")
            assert "\n  -> " in text, about
            if name == "ArtefactError":  # what is finished is opened once more
                assert (child.code, more, self.what in ("model", "prepare")) == (4, [], True), about
                assert "cannot be read" in text, about
            else:
                assert (child.code, name, more) == (6, "CannotWrite", []), about
                told = (
                    [TOLD[error]] if self.what != "prepare" else [*TOLD.values(), "no permission"]
                )  # SQLite's
                assert any(words in text for words in told), about
        else:
            assert self.calls[at - 1] not in "wtsr", about

    def _which(self, found: Any, about: Any) -> str:
        if self.what == "checkpoint":  # the new one may stand beside the old one that was to be removed
            assert found in (self.old, self.new, [*self.old, *self.new]), about
            return "new" if found[-1] == self.new[-1] else "old"
        assert found in (self.old, self.new), about
        return "new" if found == self.new else "old"


def inject(saves: Saves, chosen: list[int], ways: list[tuple[str, int, int]]) -> Counter[str]:
    """Every chosen call in every way; how often the old and the new were there."""
    outcomes: Counter[str] = Counter()
    for _, error, mode in ways:
        seen = [saves.fault(at, error, mode) for at in chosen]
        outcomes.update(seen)
        if saves.what != "prepare":  # once the new one is in place it stays
            assert mode != CRASH or seen == sorted(seen, reverse=True), seen
    return outcomes


@pytest.mark.parametrize("what", ["checkpoint", "best", "settings"])
def test_a_crash_at_every_call(nursery: Nursery, tmp_path: Path, what: str) -> None:
    saves = Saves(nursery, tmp_path, what)
    every = list(range(1, len(saves.calls) + 1))
    outcomes = inject(saves, every if what != "best" else every[::2], [("crash", 0, CRASH)])
    assert set(outcomes) == {"old", "new"} or what == "settings"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["checkpoint", "best", "model", "settings"])
def test_a_fault_at_every_call(
    nursery: Nursery, tmp_path: Path, what: str, figure: Callable[[str], None]
) -> None:
    saves = Saves(nursery, tmp_path, what)
    outcomes = inject(saves, list(range(1, len(saves.calls) + 1)), WAYS)
    figure(
        f"faults, {what}: each of {len(saves.calls)} calls x {len(WAYS)} ways (full, failing, full or read-only "
        f"for good, crash): 0 unloadable, {outcomes['old']} times the old, {outcomes['new']} times the new"
    )


@pytest.mark.slow
def test_a_fault_while_preparing(nursery: Nursery, tmp_path: Path, figure: Callable[[str], None]) -> None:
    """Too many calls for each in every way: every eleventh, others for each way."""
    saves = Saves(nursery, tmp_path, "prepare")
    count = 0
    for number, way in enumerate(WAYS):
        chosen = list(range(1 + number, len(saves.calls) + 1, 11))
        inject(saves, chosen, [way])
        count += len(chosen)
    figure(f"faults, prepare: {count} faults over {len(saves.calls)} calls: prepared/ whole every time")


@pytest.mark.slow
def test_the_safetensors_calls_are_seen(nursery: Nursery, tmp_path: Path) -> None:
    """The library counts what strace would: two files are created, sized, written and closed by Rust."""
    saves = Saves(nursery, tmp_path, "checkpoint")
    assert "otwcotwc" in saves.calls
