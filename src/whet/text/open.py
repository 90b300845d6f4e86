"""Opens a plain, .gz or .zst file as one bounded stream of bytes.

Nothing is unpacked to disk or held whole. What comes out is counted while it streams: a compressed file
that unfolds too far, or that is damaged or cut short, is refused with a reason the source counts as a drop,
so that one bad file among ten thousand stops nothing. Only regular files are opened: a FIFO would block
for ever, and a link that replaced a file since the folder was listed is not followed.

Memory: 32 MiB at worst for one step of a hostile .zst file, 128 KiB for an ordinary one; and the window
that a .zst file asks for, 128 MiB at most. Left out: bz2, xz, zip and tar.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from whet import limits
from whet.text.refused import Refused

DAMAGED = "damaged archive"
TOO_MUCH = "decompression limit"
NOT_REGULAR = "not a regular file"
LINK = "symbolic link"
UNREADABLE = "unreadable"
REASONS = (DAMAGED, TOO_MUCH, NOT_REGULAR, LINK, UNREADABLE)

COMPRESSED = (".gz", ".zst")
_STEP_BYTES = 1024
"""Compressed bytes per step: one step can unfold by 32,768 times at worst."""
_ZST_WINDOW_BYTES = 128 * 2**20
"""A .zst file that needs a larger window is refused (the format allows 2 GB)."""


class Unreadable(Refused):
    """A file that cannot be opened or read to its end; `reason` is one of REASONS."""


def plain_name(name: str) -> str:
    """The file name without a .gz or .zst at its end."""
    stem, dot_suffix = os.path.splitext(name)
    return stem if dot_suffix.lower() in COMPRESSED else name


@contextmanager
def open_bytes(path: str | Path) -> Iterator[BinaryIO]:
    """A buffered stream of the (decompressed) bytes of one regular file.

    Raises Unreadable when it cannot be opened, and from within `read` when it turns out to be damaged or
    to unfold beyond limits.DECOMPRESSED_BYTES or limits.DECOMPRESSION_RATIO.
    """
    with _open_regular(path) as file:
        suffix = os.path.splitext(path)[1].lower()
        if suffix not in COMPRESSED:
            yield file
            return
        size = os.fstat(file.fileno()).st_size
        chunks = _gzip_chunks(file) if suffix == ".gz" else _zstd_chunks(file)
        with io.BufferedReader(_Unfolding(chunks, _allowed_bytes(size)), 2**17) as stream:
            yield stream


def _open_regular(path: str | Path) -> BinaryIO:
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise Unreadable(*_why_not(error)) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(NOT_REGULAR)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _why_not(error: OSError | ValueError) -> tuple[str, str]:
    code = getattr(error, "errno", None)
    if code == errno.ELOOP:
        return LINK, ""
    if code == errno.ENXIO:
        return NOT_REGULAR, ""
    return UNREADABLE, os.strerror(code) if code else str(error)


def _allowed_bytes(compressed_bytes: int) -> int:
    by_ratio = max(compressed_bytes * limits.DECOMPRESSION_RATIO, limits.DECOMPRESSED_FREE_BYTES)
    return min(limits.DECOMPRESSED_BYTES, by_ratio)


class _Unfolding(io.RawIOBase):
    """Chunks as a raw stream that counts what it has given out."""

    def __init__(self, chunks: Iterator[bytes], allowed_bytes: int) -> None:
        super().__init__()
        self._chunks, self._allowed_bytes = chunks, allowed_bytes
        self._given_bytes = 0
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = memoryview(self._next_chunk())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next_chunk(self) -> bytes:
        chunk = _or_damaged(lambda: next(self._chunks, b""))
        self._given_bytes += len(chunk)
        if self._given_bytes > self._allowed_bytes:
            raise Unreadable(TOO_MUCH, f"unfolds to more than {self._allowed_bytes:,} bytes")
        return chunk


def _or_damaged(step: Callable[[], bytes]) -> bytes:
    """The next chunk, with what the decompressors raise turned into a reason."""
    try:
        return step()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable(DAMAGED, str(error)) from None
    except OSError as error:
        raise Unreadable(UNREADABLE, str(error)) from None


def _gzip_chunks(file: BinaryIO) -> Iterator[bytes]:
    if not file.peek(1):  # type: ignore[attr-defined]
        raise EOFError("the file is empty")
    with gzip.GzipFile(fileobj=file) as unfolded:
        while chunk := unfolded.read(2**16):
            yield chunk


def _zstd_chunks(file: BinaryIO) -> Iterator[bytes]:
    """Frame by frame. The library's own stream reader takes a file cut short for a complete one."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZST_WINDOW_BYTES)
    rest = file.read(_STEP_BYTES)
    if not rest:
        raise EOFError("the file is empty")
    while rest:
        frame = decompressor.decompressobj()
        while not frame.eof:
            if not rest:
                raise EOFError("the file ends inside a compressed frame")
            try:
                chunk = frame.decompress(rest)
            except zstandard.ZstdError as error:
                if "memory" in str(error):
                    raise Unreadable(TOO_MUCH, f"needs a window above {_ZST_WINDOW_BYTES:,} bytes") from None
                raise Unreadable(DAMAGED, str(error)) from None
            rest = frame.unused_data if frame.eof else file.read(_STEP_BYTES)
            if chunk:
                yield chunk
        rest = rest or file.read(_STEP_BYTES)
