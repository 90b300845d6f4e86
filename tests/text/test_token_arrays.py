"""Token arrays: what numpy writes is read, what we write numpy reads, everything else is refused."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whet.errors import DataError
from whet.text.token_arrays import MAX_ID, open_token_array, write_token_array

IDS = np.arange(12, dtype=np.int32).reshape(3, 4)


def row_of(length: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, MAX_ID), min_size=length, max_size=length)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_token_array(path)
    assert caught.value.where == str(path)
    assert caught.value.fix
    return caught.value.what


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_an_array_of_numpy_is_mapped(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "a.npy"
    np.save(path, IDS.astype(kind))
    array = open_token_array(path)
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert np.array_equal(array, IDS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.integers(1, 5).flatmap(lambda length: st.lists(row_of(length), min_size=1)))
def test_what_is_written_is_read(tmp_path: Path, rows: list[list[int]]) -> None:
    path = tmp_path / "a.npy"
    assert write_token_array(path, iter(rows), len(rows[0])) == len(rows)
    assert np.load(path).dtype == np.int32
    assert open_token_array(path).tolist() == rows
    assert os.listdir(tmp_path) == ["a.npy"]


@pytest.mark.parametrize("row", [[1, 2], [1, 2, -1], [1, 2, MAX_ID + 1], [1.0, 2.0, 3.0]])
def test_a_bad_row_is_not_written(tmp_path: Path, row: list[int]) -> None:
    with pytest.raises(DataError, match="row 2"):
        write_token_array(tmp_path / "a.npy", [[1, 2, 3], row], 3)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (IDS.astype(np.float32), "float32"),
        (IDS.astype(np.uint16), "uint16"),
        (IDS.astype(">i4"), "not int32 or int64"),
        (IDS.ravel(), "shape"),
        (IDS.reshape(3, 2, 2), "shape"),
        (IDS[:0], "no tokens"),
        (np.asfortranarray(IDS), "Fortran"),
        (IDS - 5, "row 0"),
        (IDS.astype(np.int64) + MAX_ID - 8, "row 2"),
        (np.array([["a", {}]], dtype=object), "pickled"),
        (np.zeros((2, 2), dtype=[("a", "<i4")]), "not int32 or int64"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    assert said in refusal(path)


def test_ids_are_not_read_without_scan(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", IDS - 5)
    assert open_token_array(tmp_path / "a.npy", scan=False)[0, 0] == -5


def header(text: str, *, claimed: int | None = None, version: int = 1) -> bytes:
    size = struct.pack("<H" if version == 1 else "<I", len(text) if claimed is None else claimed)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode()


SHAPE = "{'descr': '<i4', 'fortran_order': False, 'shape': %s, }\n"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not a .npy file"),
        (b"PK\x03\x04 an npz archive", "not a .npy file"),
        (b"\x93NUMPY\x09\x00\x10\x00", "not a .npy file"),
        (header("{}", claimed=4_000_000_000, version=2), "claims a header of 4,000,000,000 bytes"),
        (header("{}", claimed=500), "damaged header"),
        (header("__import__('os').system('true')"), "damaged header"),
        (header("(" * 900), "damaged header"),
        (header(SHAPE % "(-1, 4)") + bytes(16), "no tokens"),
        (header(SHAPE % f"({2**62}, {2**62})") + bytes(16), "is cut short"),
        (header(SHAPE % "(3, 'x')"), "damaged header"),
        (header(SHAPE % "(2, 2)") + bytes(15), "is cut short"),
        (header(SHAPE % "(2, 2)") + bytes(17), "has bytes after its end"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(raw)
    assert said in refusal(path)


def test_a_pickle_in_place_of_an_array_is_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    raw = io.BytesIO()
    np.save(raw, np.array([None], dtype=object), allow_pickle=True)
    start = raw.getvalue()[: raw.getvalue().index(b"\n") + 1]
    path = tmp_path / "a.npy"
    path.write_bytes(start + f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    assert "pickled" in refusal(path)
    assert not marker.exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in refusal(tmp_path / "pipe")
    assert "exist" in refusal(tmp_path / "missing")
    assert refusal(tmp_path)
