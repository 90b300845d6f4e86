"""Lines of .jsonl and rows of .parquet: each is a document or a drop, the broken ones included."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from whet import limits
from whet.records import Document
from whet.sources.text import TextSource


def outcome(path: Path, **chosen: Any) -> list[str]:
    """The text of each record in turn, or the reason in angle brackets."""
    items = list(TextSource(path=str(path), **chosen).documents())
    return [item.text if isinstance(item, Document) else f"<{item.reason}>" for item in items]


def jsonl(folder: Path, *lines: bytes | str, ending: bytes = b"\n") -> Path:
    path = folder / "a.jsonl"
    raw = [line if isinstance(line, bytes) else json.dumps({"text": line}).encode() for line in lines]
    path.write_bytes(ending.join(raw))
    return path


class TestJsonLines:
    def test_origin_is_path_and_line(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path, "one", b"{", "two", ending=b"\r\n")
        assert [item.origin for item in TextSource(path=str(path)).documents()] == [
            "a.jsonl:1",
            "a.jsonl:2",
            "a.jsonl:3",
        ]

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (b'{"text": "a", "more": [1]}', "a"),
            (b'\xef\xbb\xbf{"text": "a"}', "a"),
            (b'{"text": ', "<invalid JSON>"),
            (b"[" * 100_000, "<invalid JSON>"),
            (b"1" * 10_000, "<invalid JSON>"),
            (b'{"text": "caf\xe9"}', "<undecodable>"),
            (b'{"text": null}', "<no text field>"),
            (b'{"text": 1}', "<no text field>"),
            (b'{"body": "a"}', "<no text field>"),
            (b'["text"]', "<no text field>"),
            (b'"text"', "<no text field>"),
            (b" ", "<empty line>"),
            (b'{"text": "a\\u0000b"}', "a\0b"),
            (b'{"text": "\\ud83d\\ude00"}', "\U0001f600"),
        ],
    )
    def test_lines(self, tmp_path: Path, line: bytes, expected: str) -> None:
        assert outcome(jsonl(tmp_path, line, "next")) == [expected, "next"]

    def test_lone_surrogates_are_replaced_and_named(self, tmp_path: Path) -> None:
        (document,) = TextSource(path=str(jsonl(tmp_path, b'{"text": "a\\ud800b"}'))).documents()
        assert isinstance(document, Document)
        assert (document.text, document.changes) == ("a\ufffdb", ("lone surrogates replaced",))

    def test_other_columns(self, tmp_path: Path) -> None:
        path = jsonl(tmp_path, b'{"body": "a", "repo": 1}', b'{"body": "b", "repo": null}', b'{"text": "c"}')
        assert outcome(path, field="body") == ["a", "b", "<no text field>"]
        assert outcome(path, field="body", group_field="repo") == ["a", "<no group field>", "<no text field>"]

    def test_a_long_line_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "JSONL_LINE_BYTES", 100)
        path = jsonl(tmp_path, "a", "x" * 200_000, "b", "y" * 500)
        assert outcome(path) == ["a", "<line too long>", "b", "<line too long>"]
        sizes = [item.size_bytes for item in TextSource(path=str(path)).documents()]
        assert sizes[1] == len(json.dumps({"text": "x" * 200_000})) + 1

    @pytest.mark.parametrize("suffix", [".gz", ".zst"])
    def test_compressed_and_cut_short(self, tmp_path: Path, suffix: str) -> None:
        lines = b"".join(json.dumps({"text": f"{n} {n**9}"}).encode() + b"\n" for n in range(20_000))
        packed = gzip.compress(lines) if suffix == ".gz" else zstandard.compress(lines)
        path = tmp_path / f"a.jsonl{suffix}"
        path.write_bytes(packed)
        assert len(outcome(path)) == 20_000
        path.write_bytes(packed[: len(packed) // 2])
        found = outcome(path)
        assert 1000 < len(found) < 20_000
        assert found[-1] == "<damaged archive>"
        assert not any(text.startswith("<") for text in found[:-1])

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
    @given(st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line) | st.text(max_size=50)))
    def test_every_line_is_one_record(self, tmp_path: Path, lines: list[bytes | str]) -> None:
        path = jsonl(tmp_path, *lines, b"{}")
        assert len(outcome(path)) == len(lines) + 1


class TestParquet:
    def write(self, folder: Path, columns: dict[str, Any], **chosen: Any) -> Path:
        path = folder / "a.parquet"
        parquet.write_table(pa.table(columns), path, **chosen)
        return path

    def test_rows(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, {"id": [1, 2, 3], "text": ["a", None, "é"], "repo": ["r", "r", None]})
        assert outcome(path) == ["a", "<no text field>", "é"]
        assert outcome(path, group_field="repo") == ["a", "<no text field>", "<no group field>"]
        origins = [item.origin for item in TextSource(path=str(path)).documents()]
        assert origins == ["a.parquet:1", "a.parquet:2", "a.parquet:3"]

    def test_many_rows_of_one_long_text_are_streamed(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, {"text": ["x" * 1_000_000] * 200}, compression="none")
        assert path.stat().st_size < 2_000_000
        before = pa.total_allocated_bytes()
        lengths = set()
        for item in TextSource(path=str(path)).documents():
            assert isinstance(item, Document)
            lengths.add(len(item.text))
            assert pa.total_allocated_bytes() - before < 50_000_000
        assert lengths == {1_000_000}

    @pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
    def test_other_kinds_of_text(self, tmp_path: Path, kind: pa.DataType) -> None:
        assert outcome(self.write(tmp_path, {"text": pa.array(["a", "b"], kind)})) == ["a", "b"]

    @pytest.mark.parametrize(
        ("columns", "reason"),
        [
            ({"body": ["a", "b"]}, "<no text field>"),
            ({"text": [1, 2]}, "<no text field>"),
            ({"text": [b"a", b"b"]}, "<no text field>"),
            ({"text": [{"text": "a"}]}, "<no text field>"),
        ],
    )
    def test_a_file_without_the_column_is_one_drop(self, tmp_path: Path, columns: Any, reason: str) -> None:
        assert outcome(self.write(tmp_path, columns)) == [reason]

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        bad = pa.array([b"a", b"\xff"], pa.binary()).view(pa.string())
        assert outcome(self.write(tmp_path, {"text": bad})) == ["a", "<undecodable>"]

    @pytest.mark.parametrize("damage", ["cut short", "no parquet", "empty", "torn middle"])
    def test_damage(self, tmp_path: Path, damage: str) -> None:
        path = self.write(tmp_path, {"text": [f"{n} {n**9}" for n in range(5000)]})
        raw = path.read_bytes()
        damaged = {
            "cut short": raw[:-20],
            "no parquet": b"x" * 50,
            "empty": b"",
            "torn middle": raw[:100] + bytes(5000) + raw[5100:],
        }
        path.write_bytes(damaged[damage])
        found = outcome(path)
        assert found[-1] == "<damaged parquet file>"

    def test_a_bomb(self, tmp_path: Path) -> None:
        chosen = {"compression": "zstd", "use_dictionary": False}
        path = self.write(tmp_path, {"text": ["x" * 50_000_000]}, **chosen)
        assert outcome(path) == ["<decompression limit>"]
