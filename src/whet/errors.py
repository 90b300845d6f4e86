"""What can go wrong, said so that the reader knows what, where, and what to do next.

Every mistake of a user (a recipe, a path, a file, a setting) is a `WhetError`; the command line prints
its three parts and exits with its code. An assertion is kept for mistakes of our own.
"""

from __future__ import annotations


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


class RecipeError(WhetError):
    """A recipe that is refused: unknown key, wrong type, contradiction, missing file."""

    exit_code = 2


class DataError(WhetError):
    """Raw material that cannot be used as the recipe asks."""

    exit_code = 3


class ArtefactError(WhetError):
    """A file written by whet is missing, damaged, or belongs to other settings."""

    exit_code = 4


class NewerSchema(ArtefactError):
    """Written by a newer whet: not to be read, and not to be replaced."""


class TrainingError(WhetError):
    """Training stopped before its end for a reason that going on would hide."""

    exit_code = 5


class LossNotFinite(TrainingError):
    """The loss or a gradient is NaN, infinite, or a spike, once too often; weights and optimiser state are untouched."""


class IsolationError(TrainingError):
    """The start-up check found attention crossing documents, or a chunked loss that differs."""


class Stopped(WhetError):
    """The user (Ctrl-C) or the system (SIGTERM) asked to stop; everything needed to go on is saved."""

    exit_code = 130
