"""Opens and parses files that others wrote, before anything of theirs is believed.

Only regular files inside their folder are opened (a FIFO would block for ever, a link may lead anywhere),
nothing is read beyond a bound, JSON is plain values of bounded depth without repeated keys, NaN or infinity.
Links within the folder are followed, and those of a downloaded snapshot into its own `blobs`. What the
values mean is the reader's matter. Memory: the file once, and its values.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from whet import limits
from whet.errors import ArtefactError

COPY = "give the folder the file itself: cp -L copies what a link leads to"


def open_inside(folder: Path, name: str) -> BinaryIO:
    """The regular file `name` of `folder`, open for reading.

    Raises ArtefactError that names the file if it is missing, no regular file, or a link to elsewhere.
    """
    path = folder / name
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ArtefactError(f"names a file outside of its folder: {name!r}", where=str(folder))
    try:
        real, home = path.resolve(strict=True), folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ArtefactError("there is no such file (or its link leads nowhere)", where=str(path)) from error
    if real.parent != home and real.parent != _blobs_of(home):
        raise ArtefactError(f"is a link out of its folder, to {real}", where=str(path), fix=COPY)
    return _open_regular(real, path)


def _blobs_of(snapshot: Path) -> Path | None:
    """Where a download of the hub keeps the files that its snapshot folders link to."""
    return snapshot.parent.parent / "blobs" if snapshot.parent.name == "snapshots" else None


def _open_regular(real: Path, named: Path) -> BinaryIO:
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(real, flags)
    except OSError as error:
        raise ArtefactError(f"cannot be opened: {error.strerror}", where=str(named)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtefactError("is no regular file", where=str(named))
    return os.fdopen(descriptor, "rb")


def read_inside(folder: Path, name: str, most_bytes: int) -> bytes:
    """The bytes of such a file. Raises ArtefactError as above, or if it is larger."""
    with open_inside(folder, name) as file:
        raw = file.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise ArtefactError(f"larger than {most_bytes:,} bytes", where=str(folder / name))
    return raw


def settings_inside(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of settings. Raises ArtefactError as above, or for what is no such object."""
    raw = read_inside(folder, name, limits.SETTINGS_BYTES)
    values = parse(raw, str(folder / name))
    if not isinstance(values, dict):
        raise ArtefactError("holds no settings by name", where=str(folder / name))
    return values


def parse(raw: bytes, where: str, depth: int = limits.SETTINGS_DEPTH) -> Any:
    """JSON as plain values. Raises ArtefactError for anything else, repeated keys, NaN, and nesting beyond `depth`."""
    try:
        values = json.loads(raw.decode("utf-8"), object_pairs_hook=_unrepeated, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"not JSON: {error}", where=where) from error
    if _deeper_than(values, depth):
        raise ArtefactError(f"nested deeper than {depth} levels", where=where)
    return values


def _unrepeated(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key[:80]!r} stands there twice")
        values[key] = value
    return values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _deeper_than(values: Any, most: int) -> bool:
    layer = [values]
    for _ in range(most):
        layer = [
            inner
            for value in layer
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return False
    return True
