"""Where the running Python keeps the source of its standard library, and what each file is called.

Installed packages (site-packages, dist-packages) lie below the same folder and belong to others, so they
are never looked at; neither is anything but .py files. Nothing is imported.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whet.records import Dropped
from whet.text.open import UNREADABLE

TEST = "test module"
FIXTURE = "test fixture"
LICENCE = "PSF-2.0"

_OTHERS = frozenset({"site-packages", "dist-packages", "__pycache__", "__phello__"})
_TESTS = frozenset({"test", "tests", "idle_test"})
_FIXTURES = ("lib2to3.tests.data", "test.bad", "test.encoded_modules", "test.tokenizedata")


@dataclass(frozen=True, slots=True)
class Module:
    """One source file, by its dotted name ("json.decoder"; a package is its `__init__`)."""

    path: Path
    name: str

    @property
    def group(self) -> str:
        """Binds a module and its docstrings to one side of the split."""
        return f"module:{self.name}"

    @property
    def origin(self) -> str:
        """The same on every machine."""
        return f"stdlib/{self.name}"

    @property
    def why_left_out(self) -> str:
        """The reason a test is no example of the library, "" for everything else."""
        if self.name.startswith(_FIXTURES):
            return FIXTURE
        return TEST if _TESTS & set(self.name.split(".")) else ""

    def drop(self, reason: str, detail: str = "") -> Dropped:
        """This file as a record that left."""
        size = self.path.stat().st_size if self.path.exists() else 0
        return Dropped(origin=self.origin, reason=reason, detail=detail, size_bytes=size)

    def read(self) -> bytes | Dropped:
        """The bytes of the file, or why there are none."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            return self.drop(UNREADABLE, error.strerror or str(error))


def modules() -> Iterator[Module]:
    """Every source file of the standard library, sorted by folder and then name; tests included."""
    root = sysconfig.get_path("stdlib")
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if name not in _OTHERS and not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                yield Module(path, _dotted(path.relative_to(root)))


def require_modules() -> None:
    """Raise ValueError on an installation without the sources (some keep byte code only, or a zip file)."""
    if next(modules(), None) is None:
        folder = sysconfig.get_path("stdlib")
        raise ValueError(f"this Python has no source of its standard library in {folder}")


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
