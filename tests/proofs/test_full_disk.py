"""Disks that are really full or read-only: an error of ours, what was saved is intact, and with room again it goes on.

Small tmpfs mounts where the system lets us mount; a limit on the size of files (RLIMIT_FSIZE) everywhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proofs.nursery import ROOT, Child, Nursery, bits, checkpoints, leftovers, tidy
from whet import store
from whet.errors import WhetError
from whet.plan.run import run as plan_room
from whet.progress import Reporter
from whet.recipe.load import Loaded

KB = 1024
ROOMY = 64 * 1024 * KB


class Disk:
    """A tmpfs of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()

    def mount(self, size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(self.place)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        return self.place

    def change(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.place)], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=False, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Not mounted yet."""
    if shutil.which("mount") is None or sys.platform != "linux":
        pytest.skip("no mount command")
    made = Disk(tmp_path / "disk")
    yield made
    made.unmount()


@pytest.fixture(scope="module")
def straight(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training that nobody disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "first"
    assert nursery.run("train", folder=str(folder), save_every=1).code == 0
    return folder


def refused(child: Child, *what: str) -> None:
    """It ended with one error of ours that says so."""
    assert not child.values("traceback"), child.trouble()
    assert child.code == 6, child.trouble()
    ((name, text),) = child.values("error")
    assert name == "CannotWrite"
    assert any(words in text for words in what), text
    assert "\n  -> " in text


def newest(folder: Path) -> int:
    """The newest checkpoint's step, all of them verified; 0 where there is none."""
    return max([0, *(item.record["step"] for item in checkpoints(folder))])


def fill_and_go_on(nursery: Nursery, disk: Disk, size: int, straight: Path) -> int | None:
    """Train on a disk of this size; the newest step when it was full, None if it never was."""
    folder = disk.mount(size) / "first"
    child = nursery.run("train", folder=str(folder), save_every=1)
    step = None
    if child.code:
        refused(child, "the disk is full")
        assert newest(folder) >= max([0, *child.values("save ends")]), child.trouble()
        disk.change(f"size={ROOMY}")
        child = nursery.run("train", folder=str(folder), save_every=1)
        step = newest(folder) if child.code else max([0, *map(_resumed, child.values("said"))])
    assert child.code == 0, child.trouble()
    assert bits(folder) == bits(straight)
    assert leftovers(folder) == []
    disk.unmount()
    return step


def _resumed(said: str) -> int:
    return int(said.split("resumed at step ")[1].split()[0]) if "resumed at step" in said else 0


def test_a_full_disk(nursery: Nursery, disk: Disk, straight: Path) -> None:
    checkpoint = sum(item.size_bytes for item in checkpoints(straight)) // 2
    assert fill_and_go_on(nursery, disk, int(2.5 * checkpoint), straight) is not None


@pytest.mark.slow
def test_full_disks_of_many_sizes(
    nursery: Nursery, disk: Disk, straight: Path, figure: Callable[[str], None]
) -> None:
    """From one that does not hold a single checkpoint to one that holds everything."""
    everything = sum(path.stat().st_size for path in straight.rglob("*") if path.is_file())
    steps = [
        fill_and_go_on(nursery, disk, size, straight)
        for size in range(8 * KB, int(1.7 * everything), everything // 16)
    ]
    full = [step for step in steps if step is not None]
    figure(
        f"full disk: {len(full)} of {len(steps)} sizes were too small; each said so, kept every checkpoint, and went "
        f"on with room to the straight run's bits (resumed at steps {sorted(set(full))})"
    )
    assert len(full) >= 10
    assert len(set(full)) >= 3
    assert steps[-1] is None


def test_a_read_only_disk(nursery: Nursery, disk: Disk, straight: Path) -> None:
    folder = disk.mount(ROOMY) / "first"
    assert nursery.run("save", folder=str(folder), what="checkpoint", step=2).code == 0
    disk.change("ro")
    for what in ("checkpoint", "best", "settings"):
        refused(nursery.run("save", folder=str(folder), what=what, step=3), "the disk is read-only")
    refused(nursery.run("train", folder=str(folder)), "the disk is read-only")
    assert newest(folder) == 2
    disk.change("rw")
    tidy(folder)
    assert leftovers(folder) == []


def test_a_folder_without_permission(nursery: Nursery) -> None:
    """As somebody else where the tests run as root, for whom permissions do not count."""
    place = Path(tempfile.mkdtemp(prefix="whet-"))
    try:
        place.chmod(0o755)
        assert nursery.run("save", folder=str(place), what="checkpoint", step=2).code == 0
        root = os.getuid() == 0
        if not root:
            (place / "checkpoints").chmod(0o555)
        child = nursery.run("save", folder=str(place), what="checkpoint", step=3, as_nobody=root)
        refused(child, "no permission to write")
        (place / "checkpoints").chmod(0o755)
        assert newest(place) == 2
        assert leftovers(place) == []
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("file_bytes", [4_000, 60_000, 150_000])
def test_files_that_may_not_grow(nursery: Nursery, tmp_path: Path, file_bytes: int) -> None:
    """The limit hits the weights, or the optimiser's state after the weights were written."""
    assert nursery.run("save", folder=str(tmp_path), what="checkpoint", step=2).code == 0
    before = [item.files for item in checkpoints(tmp_path)]
    assert any(entry["bytes"] > file_bytes for entry in before[0].values()), "the limit must hit something"
    child = nursery.run("save", folder=str(tmp_path), what="checkpoint", step=3, file_bytes=file_bytes)
    refused(child, "a file would be larger than is allowed")
    assert [item.files for item in checkpoints(tmp_path)] == before
    assert leftovers(tmp_path) == []


def test_preparing_where_files_may_not_grow(nursery: Nursery, tmp_path: Path) -> None:
    child = nursery.run("prepare", folder=str(tmp_path), file_bytes=9_000)
    refused(child, "a file would be larger than is allowed", "the disk fails", "the disk is full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_preparing_on_full_disks(nursery: Nursery, disk: Disk, figure: Callable[[str], None]) -> None:
    """Every size of disk in steps of a page or two, so that each file of the room is the one that fails."""
    full = 0
    for size in range(8 * KB, 1024 * KB, 24 * KB):
        folder = disk.mount(size) / "run"
        child = nursery.run("prepare", folder=str(folder))
        if child.code == 0:
            break
        full += 1
        refused(child, "the disk is full", "the disk fails")
        assert not folder.exists() or list(folder.iterdir()) == []
        disk.change(f"size={ROOMY}")
        assert nursery.run("prepare", folder=str(folder)).code == 0
        assert store.open_artefact(folder / "prepared", "prepared").record["notices"] is not None
        disk.unmount()
    assert child.code == 0
    assert full >= 5
    figure(f"full disk, prepare: {full} sizes too small, each said so and left nothing")


@pytest.mark.slow
def test_the_plan_asks_for_enough(
    nursery: Nursery, disk: Disk, small: Loaded, prepared: store.Artefact, straight: Path
) -> None:
    """A disk with the 1.2-fold of what the plan says free holds the training; with less, it refuses at once."""
    roomy = disk.mount(ROOMY)
    planned = plan_room(small.recipe, roomy, prepared, Reporter())["disk_bytes"]
    one_stage = planned // len(small.recipe.stages)
    disk.unmount()
    folder = disk.mount(int(1.2 * one_stage)) / "first"
    child = nursery.run("train", folder=str(folder), save_every=1)
    assert child.code == 0, child.trouble()
    assert bits(folder) == bits(straight)
    disk.unmount()
    with pytest.raises(WhetError, match=r"(?s)of disk.*free some space"):
        plan_room(small.recipe, disk.mount(int(1.1 * planned)), prepared, Reporter())


@pytest.mark.slow
@pytest.mark.parametrize("size", [24 * KB, 100 * KB])
def test_the_command_line_says_it_in_words(recipe_file: Path, disk: Disk, size: int) -> None:
    command = [
        sys.executable,
        "-m",
        "whet",
        "prepare",
        str(recipe_file),
        "--set",
        f"output={disk.mount(size)}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 6, done.stderr
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert "free some space" in done.stderr
