"""One large text as many documents: cut after a blank line, or after any line where there is none.

What is joined again in order is the text, byte for byte. Memory: one piece, and a line of at most
limits.JSONL_LINE_BYTES.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from whet import limits
from whet.sources._records import LONG_LINE
from whet.text.refused import Refused


def pieces(stream: BinaryIO, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, bytes) of each piece: `size_bytes` to twice that and a line.

    Raises Refused at a line that is too long; what was given before stays.
    """
    held: list[bytes] = []
    held_bytes = number = 0
    first = 1
    while line := stream.readline(limits.JSONL_LINE_BYTES + 1):
        number += 1
        if len(line) > limits.JSONL_LINE_BYTES:
            raise Refused(
                LONG_LINE, f"line {number:,} and all after it: above {limits.JSONL_LINE_BYTES:,} bytes"
            )
        held.append(line)
        held_bytes += len(line)
        if held_bytes >= (size_bytes if not line.strip() else 2 * size_bytes):
            yield first, b"".join(held)
            held, held_bytes, first = [], 0, number + 1
    if held:
        yield first, b"".join(held)
