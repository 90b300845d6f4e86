"""The records inside one file: lines of JSON (.jsonl) and rows of Parquet.

Both become a mapping from column to value, and one rule turns that into a document or a drop. Streamed:
one line, or a few rows, at a time. Left out: nested columns, and .json files that hold one big array
(such a file is one document).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from whet import limits
from whet.records import Document, Dropped
from whet.text.decode import UNDECODABLE
from whet.text.open import TOO_MUCH
from whet.text.refused import Refused

INVALID = "invalid JSON"
LONG_LINE = "line too long"
EMPTY_LINE = "empty line"
NO_TEXT = "no text field"
NO_GROUP = "no group field"
DAMAGED_PARQUET = "damaged parquet file"
REASONS = (INVALID, LONG_LINE, EMPTY_LINE, NO_TEXT, NO_GROUP, DAMAGED_PARQUET)

_BATCH_ROWS = 64
"""Rows in memory at a time; small, since nothing bounds the length of one."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of which file to read, and what every record of it is given.

    `group` is the group of the whole file, "" if each record is its own.
    """

    label: str
    field: str
    group_field: str | None
    group: str
    licence: str

    def record(self, number: int, values: Mapping[str, Any], size_bytes: int) -> Document | Dropped:
        """The document in one line or row, counted from 1."""
        origin = f"{self.label}:{number}"
        text = values.get(self.field)
        if not isinstance(text, str):
            return self.drop(number, NO_TEXT, f"{self.field!r} is {_kind(text)}", size_bytes)
        group = self.group or origin
        if self.group_field is not None:
            named = values.get(self.group_field)
            if not isinstance(named, str | int):
                return self.drop(number, NO_GROUP, f"{self.group_field!r} is {_kind(named)}", size_bytes)
            group = f"{self.group_field}:{_whole(str(named))}"
        whole = _whole(text)
        changes = () if whole == text else ("lone surrogates replaced",)
        return Document(text=whole, origin=origin, group=group, licence=self.licence, changes=changes)

    def drop(self, number: int, reason: str, detail: str = "", size_bytes: int = 0) -> Dropped:
        """A line or row that is no document."""
        return Dropped(origin=f"{self.label}:{number}", reason=reason, detail=detail, size_bytes=size_bytes)


def json_lines(stream: BinaryIO, columns: Columns) -> Iterator[Document | Dropped]:
    """One record a line. A line beyond limits.JSONL_LINE_BYTES is passed over unread."""
    number = 0
    while line := stream.readline(limits.JSONL_LINE_BYTES + 1):
        number += 1
        if len(line) > limits.JSONL_LINE_BYTES and not line.endswith(b"\n"):
            size = len(line) + _skip_line(stream)
            yield columns.drop(number, LONG_LINE, f"more than {limits.JSONL_LINE_BYTES:,} bytes", size)
            continue
        yield _json_line(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line, number, columns)


def _json_line(line: bytes, number: int, columns: Columns) -> Document | Dropped:
    if not line.strip():
        return columns.drop(number, EMPTY_LINE, size_bytes=len(line))
    try:
        values = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return columns.drop(number, UNDECODABLE, f"not utf-8 at byte {error.start} of the line", len(line))
    except RecursionError:
        return columns.drop(number, INVALID, "nested too deeply", len(line))
    except ValueError as error:
        return columns.drop(number, INVALID, str(error)[:100], len(line))
    return columns.record(number, values if isinstance(values, dict) else {}, len(line))


def _skip_line(stream: BinaryIO) -> int:
    """Read on to the end of the line; how many bytes that was."""
    skipped = 0
    while part := stream.readline(2**16):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def parquet_rows(stream: BinaryIO, columns: Columns) -> Iterator[Document | Dropped]:
    """One record a row; only the named columns are read.

    Raises Refused when the file is damaged, lacks the column, or unfolds too far.
    """
    import pyarrow as pa
    from pyarrow import parquet

    wanted = list(dict.fromkeys([columns.field, columns.group_field or columns.field]))
    number = 0
    try:
        about = parquet.read_metadata(stream)
        _check_columns(about, wanted, pa)
        # Dictionaries stay dictionaries: a million rows that name one long text take the memory of one.
        options = {"metadata": about, "read_dictionary": [columns.field], "pre_buffer": False}
        with parquet.ParquetFile(stream, **options) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=wanted, use_threads=False):
                for row in range(batch.num_rows):
                    number += 1
                    yield _parquet_row(batch, row, number, columns)
    except Refused:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise Refused(DAMAGED_PARQUET, str(error)[:200]) from None


def _parquet_row(batch: Any, row: int, number: int, columns: Columns) -> Document | Dropped:
    try:
        values = {name: batch.column(name)[row].as_py() for name in batch.schema.names}
    except UnicodeDecodeError as error:
        return columns.drop(number, UNDECODABLE, f"not utf-8 at byte {error.start} of the value")
    return columns.record(number, values, 0)


def _check_columns(about: Any, wanted: list[str], pa: Any) -> None:
    schema = about.schema.to_arrow_schema()
    for name in wanted:
        if name not in schema.names:
            listed = ", ".join(schema.names[:20])
            raise Refused(NO_TEXT, f"no column {name!r} in {about.num_rows:,} rows; there are: {listed}")
    kind = schema.field(wanted[0]).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise Refused(NO_TEXT, f"column {wanted[0]!r} holds {kind}, not text ({about.num_rows:,} rows)")
    for index in range(about.num_row_groups):
        group = about.row_group(index)
        for chunk in (group.column(at) for at in range(group.num_columns)):
            allowed = chunk.total_compressed_size * limits.DECOMPRESSION_RATIO
            if chunk.total_uncompressed_size > max(allowed, limits.DECOMPRESSED_FREE_BYTES):
                raise Refused(TOO_MUCH, f"column {chunk.path_in_schema!r} unfolds too far")


def _whole(text: str) -> str:
    """The text with lone surrogates (JSON can write them, UTF-8 cannot) replaced by U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _kind(value: object) -> str:
    return "missing or null" if value is None else f"a {type(value).__name__}"
