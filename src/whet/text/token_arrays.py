"""Token ids in .npy files `(rows, length)`: the format in which other programs hand over finished rows.

Reading maps the file and checks everything the header claims before numpy sees it: pickles, other types,
sizes that do not fit the file. Writing streams rows to a file beside the target and renames it at the end.

Cost: reading the ids once, to see that none is negative, unless `scan` is off; one block of rows in memory.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from whet import limits
from whet.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_ID = 2**31 - 1
_HEADER_BYTES = 10_000
"""Of a real header: under 200. numpy refuses longer ones too, but only after reading them."""
_SCANNED_IDS = 2**20
_SAVE_AGAIN = "write it with np.save(path, ids.astype(np.int32)), ids of shape (rows, length) in C order"


def open_token_array(path: str | Path, *, scan: bool = True) -> npt.NDArray[Any]:
    """A read-only memory map (rows, length) of int32 or int64 token ids.

    Raises DataError if the file is missing, no regular .npy file, of another type or shape, damaged or cut
    short, larger than limits.NPY_BYTES, or (with `scan`) holds an id below 0 or above 2**31 - 1.
    """
    import numpy as np

    shape, dtype = _checked_header(Path(path))
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _refusal(path, f"cannot be mapped: {error}") from None
    assert (array.shape, array.dtype) == (shape, dtype)
    if scan:
        _check_ids(array, path)
    return array  # type: ignore[no-any-return]


def write_token_array(path: str | Path, rows: Iterable[Sequence[int] | npt.NDArray[Any]], length: int) -> int:
    """Stream rows of exactly `length` ids into an int32 .npy file; how many rows there were.

    The file appears under its name only when it is complete. Raises DataError on a row of another length
    or an id below 0 or above 2**31 - 1.
    """
    partial = Path(f"{path}.partial")
    try:
        with open(partial, "wb") as file:
            count = _write_rows(file, rows, length, path)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _write_rows(
    file: BinaryIO, rows: Iterable[Sequence[int] | npt.NDArray[Any]], length: int, path: str | Path
) -> int:
    import numpy as np

    _write_header(file, 0, length)
    start, count = file.tell(), 0
    for count, row in enumerate(rows, 1):
        ids = np.asarray(row)
        if ids.shape != (length,) or ids.dtype.kind not in "iu":
            found = f"{ids.dtype} of shape {ids.shape}"
            raise DataError(f"row {count} is {found}, not {length} token ids", where=str(path))
        if length and (ids.min() < 0 or ids.max() > MAX_ID):
            raise DataError(f"row {count} holds an id outside 0..{MAX_ID}", where=str(path))
        file.write(ids.astype("<i4").tobytes())
    file.seek(0)
    _write_header(file, count, length)
    assert file.tell() == start, "numpy pads the header so that the number of rows can grow"
    return count


def _write_header(file: BinaryIO, rows: int, length: int) -> None:
    import numpy as np

    header = {"descr": "<i4", "fortran_order": False, "shape": (rows, length)}
    np.lib.format.write_array_header_1_0(file, header)


def _checked_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of a file whose size is exactly what its header says."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _refusal(path, "is not a regular file")
        file = open(path, "rb")  # noqa: SIM115  closed by the next statement
    except FileNotFoundError:
        raise DataError("does not exist", where=str(path), fix="check the path") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be opened: {error}", where=str(path), fix="check the path") from None
    with file:
        status = os.fstat(file.fileno())
        if status.st_size > limits.NPY_BYTES:
            raise _refusal(path, f"is larger than {limits.NPY_BYTES:,} bytes")
        shape, fortran, dtype = _header(file, path)
        _check_layout(path, shape, fortran, dtype)
        expected = file.tell() + math.prod(shape) * dtype.itemsize
        if status.st_size != expected:
            damage = "is cut short" if status.st_size < expected else "has bytes after its end"
            raise _refusal(path, f"{damage}: {status.st_size:,} bytes, its header says {expected:,}")
        return shape, dtype


def _header(file: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What the header says; the length it claims is looked at before that much is read."""
    import numpy as np

    start = file.read(12)
    version = tuple(start[6:8])
    if not start.startswith(b"\x93NUMPY") or version not in {(1, 0), (2, 0), (3, 0)}:
        raise _refusal(path, "is not a .npy file")
    claimed = int.from_bytes(start[8:10] if version == (1, 0) else start[8:12], "little")
    if claimed > _HEADER_BYTES:
        raise _refusal(path, f"claims a header of {claimed:,} bytes")
    file.seek(8)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        return read(file)
    except Exception as error:  # noqa: BLE001  numpy evaluates the header; what a hostile one raises is open
        raise _refusal(path, f"has a damaged header: {str(error)[:100]}") from None


def _check_layout(path: Path, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> None:
    import numpy as np

    if dtype.hasobject:
        raise _refusal(path, "holds pickled Python objects, which are never loaded")
    if dtype not in (np.dtype("<i4"), np.dtype("<i8")):
        raise _refusal(path, f"holds {dtype}, not int32 or int64")
    if len(shape) != 2:
        raise _refusal(path, f"has shape {shape}, not (rows, length)")
    if min(shape) < 1:
        raise _refusal(path, f"has shape {shape}: no tokens")
    if fortran and min(shape) > 1:
        raise _refusal(path, "is in Fortran order, in which a row is not one piece of the file")


def _check_ids(array: npt.NDArray[Any], path: str | Path) -> None:
    step = max(1, _SCANNED_IDS // array.shape[1])
    for first in range(0, len(array), step):
        block = array[first : first + step]
        if block.min() < 0 or block.max() > MAX_ID:
            bad = ((block < 0) | (block > MAX_ID)).any(axis=1).argmax()
            raise _refusal(path, f"row {first + int(bad)} holds an id outside 0..{MAX_ID}")


def _refusal(path: str | Path, what: str) -> DataError:
    return DataError(what, where=str(path), fix=_SAVE_AGAIN)
