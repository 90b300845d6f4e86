"""What can go wrong, said so that the reader knows what, where, and what to do next.

Every mistake of a user (a recipe, a path, a file, a setting) is a `WhetError`; the command line prints
its three parts and exits with its code. An assertion is kept for mistakes of our own.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path


class WhetError(Exception):
    """A problem the user can act on.

    `what` says what is wrong, `where` names the file, line or key, `fix` says what to do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.fix:
            lines.append(f"  -> {self.fix}")
        return "\n".join(lines)


def mistake(error: Exception) -> str:
    """What is said where a mistake of whet's own, with one of many things, does not end the work on the others."""
    return f"a mistake of whet: {type(error).__name__}: {error}"


class RecipeError(WhetError):
    """A recipe that is refused: unknown key, wrong type, contradiction, missing file."""

    exit_code = 2


class DataError(WhetError):
    """Raw material that cannot be used as the recipe asks."""

    exit_code = 3


class CodeError(DataError):
    """EVM bytecode that cannot be read: no hex, odd, empty, too large, an EOF container, source text, ambiguous."""


class TemplateError(DataError):
    """A chat template that cannot be used: it does not compile, fails, or needs too much time or memory."""


class ArtefactError(WhetError):
    """A file written by whet is missing, damaged, or belongs to other settings."""

    exit_code = 4


class NotOurs(ArtefactError):
    """Holds what this whet did not write: not to be read, and not to be replaced."""


class NewerSchema(NotOurs):
    """Written by a newer whet."""


class UnlistedFile(NotOurs):
    """A file in an artefact's folder that its manifest does not know."""


class TrainingError(WhetError):
    """Training stopped before its end for a reason that going on would hide."""

    exit_code = 5


class OutOfMemory(TrainingError):
    """A step needs more memory than the device has; nothing of it was taken."""


class LossNotFinite(TrainingError):
    """The loss or a gradient is NaN, infinite, or a spike, once too often; weights and optimiser state are untouched."""


class IsolationError(TrainingError):
    """The start-up check found attention crossing documents, or a chunked loss that differs."""


class CannotWrite(WhetError):
    """The system would not let us write: disk full, read-only, no permission, a failing disk."""

    exit_code = 6


class Stopped(WhetError):
    """The user (Ctrl-C) or the system (SIGTERM) asked to stop; everything needed to go on is saved."""

    exit_code = 130


_AGAIN = "the same command goes on from what is saved"
_SPACE = f"free some space, or set output elsewhere; {_AGAIN}"
_ANSWERS = {
    errno.ENOSPC: ("the disk is full", _SPACE),
    errno.EDQUOT: ("your share of the disk (quota) is full", _SPACE),
    errno.EFBIG: ("a file would be larger than is allowed", f"look at `ulimit -f`; {_AGAIN}"),
    errno.EROFS: ("the disk is read-only", f"make it writable, or set output elsewhere; {_AGAIN}"),
    errno.EACCES: ("no permission to write", f"change the permissions, or set output elsewhere; {_AGAIN}"),
    errno.EPERM: ("writing is not permitted", f"change the permissions, or set output elsewhere; {_AGAIN}"),
    errno.EIO: ("the disk fails", f"look at the disk before trusting it again; {_AGAIN}"),
}
_SQLITE = {8: errno.EROFS, 10: errno.EIO, 13: errno.ENOSPC, 14: errno.EACCES}
"""SQLite's own numbers for "read-only", "input/output error", "full" and "unable to open"."""


def cannot_write(error: BaseException, place: Path) -> CannotWrite | None:
    """What the system said against writing in `place`, for the reader; None if `error` is about something else.

    An OSError tells by its number and file name. The Rust libraries (safetensors, tokenizers) put the
    number into the text, "(os error 28)"; SQLite has numbers of its own.
    """
    number = _system_error(error)
    if number is None:
        return None
    names = [getattr(error, name, None) for name in ("filename", "filename2")]  # copying has two
    # A bare name may be relative to an open folder (rmtree), so it says nothing.
    paths = [
        Path(name).absolute()
        for name in names
        if isinstance(name, str | Path) and Path(name).name != str(name)
    ]
    own = place.absolute()
    ours = any(path.is_relative_to(own) or own.is_relative_to(path) for path in paths)
    if not (ours if paths else number in _ANSWERS):
        return None
    what, fix = _ANSWERS.get(number, ("cannot be written", f"make the folder writable; {_AGAIN}"))
    return CannotWrite(f"{what} ({error})", where=str(place), fix=fix)


def _system_error(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        short = error.errno is None and " requested and " in str(error)  # numpy, of a file cut short
        return errno.ENOSPC if short else error.errno
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        return _SQLITE.get(code & 0xFF)
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
