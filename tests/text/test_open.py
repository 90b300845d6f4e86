"""Compressed or not, a file is a bounded stream; what is damaged or a bomb is refused with a reason."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whet import limits
from whet.text.open import REASONS, Unreadable, open_bytes, plain_name

RAW = b"".join(b"line %d\n" % number for number in range(20_000))
SUFFIXES = ["", ".gz", ".zst"]


def compressed(raw: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(raw)
    return zstandard.ZstdCompressor(write_checksum=True).compress(raw) if suffix else raw


def read(path: Path, size: int = -1) -> bytes:
    with open_bytes(path) as stream:
        return stream.read(size)


def refusal(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        read(path)
    assert caught.value.reason in REASONS
    return caught.value.reason


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bytes_come_out(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(compressed(RAW, suffix))
    assert read(path) == RAW
    with open_bytes(path) as stream:
        assert [stream.readline(), stream.readline(4)] == [b"line 0\n", b"line"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=4), suffix=st.sampled_from(SUFFIXES[1:]))
def test_several_members_are_one_stream(tmp_path: Path, parts: list[bytes], suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"".join(compressed(part, suffix) for part in parts))
    assert read(path) == b"".join(parts)


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
@pytest.mark.parametrize("damage", ["cut short", "empty", "other bytes", "rubbish behind", "changed byte"])
def test_damage(tmp_path: Path, suffix: str, damage: str) -> None:
    good = compressed(RAW, suffix)
    middle = len(good) // 2
    raw = {
        "cut short": good[:middle],
        "empty": b"",
        "other bytes": b"this is no archive",
        "rubbish behind": good + b"rubbish and more",
        "changed byte": good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
    }[damage]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(raw)
    assert refusal(path) == "damaged archive"


def bomb(suffix: str) -> bytes:
    """100 MB of zeros in under 110 kB."""
    zeros = bytes(10**6)
    packed = io.BytesIO()
    opened = gzip.GzipFile(fileobj=packed, mode="wb") if suffix == ".gz" else None
    with opened or zstandard.ZstdCompressor().stream_writer(packed, closefd=False) as file:
        for _ in range(100):
            file.write(zeros)
    return packed.getvalue()


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(bomb(suffix))
    assert path.stat().st_size < 110_000
    assert refusal(path) == "decompression limit"


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_a_file_that_is_simply_too_large_is_refused(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DECOMPRESSED_BYTES", len(RAW) - 1)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(compressed(RAW, suffix))
    assert refusal(path) == "decompression limit"


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_a_small_file_of_equal_bytes_is_no_bomb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(compressed(bytes(10**6), suffix))
    assert len(read(path)) == 10**6


def test_a_zst_file_that_wants_a_huge_window_is_refused(tmp_path: Path) -> None:
    settings = zstandard.ZstdCompressionParameters(window_log=30, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    path = tmp_path / "a.zst"
    path.write_bytes(packer.compress(RAW) + packer.flush())
    assert refusal(path) == "decompression limit"


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "pipe") == "not a regular file"
    assert refusal(tmp_path) == "not a regular file"
    assert refusal(Path("/dev/zero")) == "not a regular file"
    assert refusal(tmp_path / "link") == "symbolic link"
    assert refusal(tmp_path / "loop") == "symbolic link"
    assert refusal(tmp_path / "missing") == "unreadable"
    assert refusal(tmp_path / "a\0b") == "unreadable"


def test_plain_name() -> None:
    names = ("a.py.gz", "a.ZST", "a.gzip", "gz")
    assert [plain_name(name) for name in names] == ["a.py", "a", "a.gzip", "gz"]
