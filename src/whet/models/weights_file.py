"""The safetensors format, read by ourselves: what the header says is checked against the file before it is believed.

    8 bytes: length of the header | header: JSON, name -> dtype, shape, [begin, end) | data, without holes

A tensor's bytes are read when they are asked for, one tensor at a time. Only files that are exactly as the
format says are read: no holes, overlaps, repeated names or bytes left over. Left out: writing, and types
that no weights have (they may stand in a file, but cannot be read). Cost: the header, and one tensor.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from whet import limits, untrusted
from whet.errors import ArtefactError

if TYPE_CHECKING:
    import torch

SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8,
    "F8_E4M3": 1, "F8_E5M2": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8,
}  # fmt: skip
"""Bytes of one number, by the format's name of its type."""
WEIGHTS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""What weights may be, and torch's name for it."""
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in a file: `begin` counts from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    size_bytes: int


class WeightsFile:
    """An open safetensors file whose header agrees with it; a context manager."""

    def __init__(self, folder: Path, name: str) -> None:
        """Raises ArtefactError that says what is wrong with the file."""
        self.where = str(folder / name)
        self._file: BinaryIO = untrusted.open_inside(folder, name)
        try:
            self.tensors = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> WeightsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def require_weights(self, name: str) -> None:
        """Raise ArtefactError if a tensor is of none of the types in WEIGHTS."""
        stored = self.tensors[name]
        if stored.dtype not in WEIGHTS:
            self._refuse(f"{name[:80]} holds {stored.dtype}; weights are {', '.join(WEIGHTS)}")

    def tensor(self, name: str) -> torch.Tensor:
        """The numbers of one tensor, in the type they are stored in. Raises ArtefactError if it is none of WEIGHTS."""
        import torch

        self.require_weights(name)
        stored = self.tensors[name]
        dtype: torch.dtype = getattr(torch, WEIGHTS[stored.dtype])
        if not stored.size_bytes:
            return torch.empty(stored.shape, dtype=dtype)
        self._file.seek(stored.begin)
        raw = bytearray(stored.size_bytes)
        if self._file.readinto(raw) != stored.size_bytes:  # type: ignore[attr-defined]
            self._refuse(f"the data of {name[:80]} is cut short")
        return torch.frombuffer(raw, dtype=dtype).reshape(stored.shape)

    def _refuse(self, what: str) -> NoReturn:
        raise ArtefactError(what, where=self.where)

    def _read_header(self) -> dict[str, Stored]:
        size = os.fstat(self._file.fileno()).st_size
        length = int.from_bytes(self._file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
            self._refuse(f"not safetensors: a header of {length:,} bytes in a file of {size:,}")
        if length > limits.WEIGHTS_HEADER_BYTES:
            self._refuse(f"a header of {length:,} bytes; the most is {limits.WEIGHTS_HEADER_BYTES:,}")
        raw = self._file.read(length)
        if raw[:1] != b"{":
            self._refuse("not safetensors: the header is no JSON object")
        if raw.count(b"{") > limits.WEIGHTS_TENSORS:
            self._refuse(f"more than {limits.WEIGHTS_TENSORS:,} tensors")
        entries = untrusted.parse(raw, self.where)
        self._check_metadata(entries.pop("__metadata__", None))
        begin = _LENGTH_BYTES + length
        tensors = [self._stored(name, entry, begin, size) for name, entry in entries.items()]
        self._check_contiguous(tensors, begin, size)
        return {tensor.name: tensor for tensor in tensors}

    def _check_metadata(self, metadata: Any) -> None:
        if metadata is None:
            return
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            self._refuse("__metadata__ is no text by name")

    def _stored(self, name: str, entry: Any, begin: int, size: int) -> Stored:
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            self._refuse(f"{name[:80]!r} does not have dtype, shape and data_offsets, and nothing else")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in SIZES:
            self._refuse(f"{name[:80]!r} has the unknown type {str(dtype)[:40]!r}")
        if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
            self._refuse(f"{name[:80]!r} has a shape or offsets that are no whole numbers from 0 on")
        size_bytes = offsets[1] - offsets[0]
        # Numbers far beyond the file could make the product huge, so they are looked at first.
        if max([*shape, *offsets], default=0) > size or math.prod(shape) * SIZES[dtype] != size_bytes:
            self._refuse(
                f"{name[:80]!r} has a shape and offsets that do not fit together or not into the file"
            )
        return Stored(name, dtype, tuple(shape), begin + offsets[0], size_bytes)

    def _check_contiguous(self, tensors: list[Stored], begin: int, size: int) -> None:
        at = begin
        for tensor in sorted(tensors, key=lambda one: (one.begin, one.size_bytes)):
            if tensor.begin != at:
                kind = "overlap" if tensor.begin < at else "leave a hole"
                self._refuse(f"the data of {tensor.name[:80]!r} and of the tensor before it {kind}")
            at += tensor.size_bytes
        if at != size:
            self._refuse(f"the header describes {at:,} bytes, the file has {size:,}")


def _counts(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= 8
        and all(type(item) is int and item >= 0 for item in values)
    )
