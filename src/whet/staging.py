"""How anything new appears under its name: made beside it, renamed; and what a crash leaves of that, tidied up.

What is unfinished is named `.staging-*` or `.replaced-*` and the number of its process. What the system says
against writing leaves as a CannotWrite. What an artefact is, `store` says; others write single files with this.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from whet.errors import WhetError, cannot_write

STAGING = ".staging-"
REPLACED = ".replaced-"

_in_progress: set[Path] = set()
"""What this process is staging now. Others may carry our number too: containers count from 1 each time."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Around whatever writes in `place`: what the system says against it is raised as CannotWrite."""
    try:
        yield
    except WhetError:
        raise
    except Exception as error:
        said = cannot_write(error, place)
        if said is None:
            raise
        raise said from error


def write_file(path: Path, text: str) -> None:
    """Replace one file atomically; parents are made."""
    make_folder(path.parent)
    work = path.with_name(f"{STAGING}{path.name}-{os.getpid()}").absolute()
    _in_progress.add(work)
    try:
        with work.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        work.replace(path)
    except BaseException:
        _remove(work)
        raise
    finally:
        _in_progress.discard(work)
    sync_folder(path.parent)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, gone at the end unless it was renamed."""
    make_folder(folder.parent)
    sweep(folder.parent)
    work = (folder.parent / f"{STAGING}{folder.name}-{os.getpid()}").absolute()
    work.mkdir()
    _in_progress.add(work)
    try:
        yield work
    finally:
        _in_progress.discard(work)
        _remove(work)


def replace(work: Path, folder: Path) -> None:
    """Rename `work` to `folder`; an older one stands aside until the new one is in place."""
    aside = folder.parent / f"{REPLACED}{folder.name}-{os.getpid()}"
    try:
        if folder.exists():
            folder.rename(aside)
        work.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        _put_back(work, folder, aside)
        raise
    _remove(aside)


def _put_back(work: Path, folder: Path, aside: Path) -> None:
    """Undo a replacement at whatever point it stopped; what cannot be undone now, the next sweep does."""
    with suppress(OSError):
        if not work.exists():
            folder.rename(work)
    with suppress(OSError):
        if aside.exists() and not folder.exists():
            aside.rename(folder)


def remove(folder: Path) -> None:
    """Remove an artefact, or any folder of ours, as one: it is gone at once, however long its files take.

    Half a folder under its own name would look damaged after a crash.
    """
    work = folder.parent / f"{STAGING}{folder.name}-{os.getpid()}"
    with writing(folder.parent):
        _remove(work)
        folder.rename(work)
        _remove(work)


def sweep(parent: Path) -> None:
    """Tidy up after a crash in `parent`: finish replacements, remove what dead processes were staging."""
    with writing(parent):
        _sweep(parent)


def _sweep(parent: Path) -> None:
    for item in sorted(parent.iterdir()) if parent.is_dir() else ():
        name, _, process = item.name.rpartition("-")
        if (
            not name.startswith((STAGING, REPLACED))
            or not process.isdecimal()
            or _at_work(item, int(process))
        ):
            continue
        original = parent / name.removeprefix(REPLACED)
        if name.startswith(REPLACED) and not original.exists():
            with suppress(FileNotFoundError):  # another process sweeps here too
                item.rename(original)
        else:
            _remove(item)


def _at_work(item: Path, process: int) -> bool:
    """Whether the process that made `item` still lives (and, where that is ourselves, still needs it)."""
    if process == os.getpid():
        own = item.name.replace(REPLACED, STAGING, 1)
        return item.with_name(own).absolute() in _in_progress
    import psutil

    try:
        return process < 2**31 and psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _remove(item: Path) -> None:
    """Remove a file, a link or a folder, as far as the system lets us."""
    if item.is_dir() and not item.is_symlink():
        shutil.rmtree(item, ignore_errors=True)
    else:
        with suppress(OSError):
            item.unlink()


def make_folder(folder: Path) -> None:
    """With its parents, all synced: a power cut must not take a finished artefact's folder away."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Its entries are on the disk."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
