"""Files become documents; whatever does not is one drop with a reason; together they are all there was."""

from __future__ import annotations

import gzip
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pydantic import ValidationError

from whet import limits
from whet.records import Document, Dropped
from whet.sources.text import REASONS, TextSource

Tree = dict[str, str | bytes]


def plant(folder: Path, tree: Tree) -> Path:
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def source(folder: Path, path: str | list[str] = ".", **settings: Any) -> TextSource:
    return TextSource.model_validate({"source": "text", "path": path, **settings}, context={"folder": folder})


def outcome(folder: Path, path: str | list[str] = ".", **settings: Any) -> dict[str, str]:
    """Origin to text, or to the reason in angle brackets."""
    items = list(source(folder, path, **settings).documents())
    found = {item.origin: item.text if isinstance(item, Document) else f"<{item.reason}>" for item in items}
    assert len(found) == len(items), "an origin names one record"
    assert {item.reason for item in items if isinstance(item, Dropped)} <= set(REASONS)
    return found


def refusal(folder: Path, path: Any, **settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        source(folder, path, **settings)
    return str(caught.value)


TREE: Tree = {
    "docs/b.md": "b",
    "docs/a/x.md": "x",
    "docs/a/y.txt": "y",
    "docs/a.md": "a",
    "other/z.md": "z",
}
ALL_DOCS = ["docs/a/x.md", "docs/a/y.txt", "docs/a.md", "docs/b.md"]


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "found"),
        [
            ("docs", ALL_DOCS),
            ("docs/", ALL_DOCS),
            ("docs/a.md", ["a.md"]),
            ("docs/*.md", ["docs/a.md", "docs/b.md"]),
            ("docs/**/*.md", ["docs/a/x.md", "docs/a.md", "docs/b.md"]),
            ("docs/**", ALL_DOCS),
            ("docs/?/[xy].*", ["docs/a/x.md", "docs/a/y.txt"]),
            (["other", "docs/*.md"], ["other/z.md", "docs/a.md", "docs/b.md"]),
            (["docs/a", "docs", "docs/a/x.md"], ALL_DOCS),
        ],
    )
    def test_globs_and_lists(self, tmp_path: Path, path: str | list[str], found: list[str]) -> None:
        assert list(outcome(plant(tmp_path, TREE), path)) == found

    def test_origins_do_not_change_when_the_tree_moves(self, tmp_path: Path) -> None:
        here, there = plant(tmp_path / "here", TREE), plant(tmp_path / "deep/there", TREE)
        assert list(source(here, "docs").documents()) == list(source(there, "docs").documents())

    def test_a_literal_name_wins_over_a_glob(self, tmp_path: Path) -> None:
        plant(tmp_path, {"notes[1].txt": "mine", "notes1.txt": "other"})
        assert outcome(tmp_path, "notes[1].txt") == {"notes[1].txt": "mine"}

    @pytest.mark.parametrize("path", ["missing", "missing/*.md", "docs/*.rs", "empty", ["docs", "missing"]])
    def test_what_names_nothing_is_refused_with_the_absolute_path(self, tmp_path: Path, path: Any) -> None:
        (plant(tmp_path, TREE) / "empty").mkdir()
        last = path if isinstance(path, str) else path[-1]
        assert str(tmp_path / last) in refusal(tmp_path, path)

    def test_other_nonsense_is_refused(self, tmp_path: Path) -> None:
        assert "NUL" in refusal(tmp_path, "a\0b")
        assert "empty list" in refusal(tmp_path, [])
        assert "Extra inputs" in refusal(tmp_path, ".", pathh="x")

    def test_exclude(self, tmp_path: Path) -> None:
        found = outcome(plant(tmp_path, TREE), "docs", exclude=["*.txt", "a/x*"])
        gone = "<excluded by the recipe>"
        assert found == {"docs/a/x.md": gone, "docs/a/y.txt": gone, "docs/a.md": "a", "docs/b.md": "b"}


class TestAccounting:
    def test_every_thing_in_a_folder_is_a_document_or_a_drop(self, tmp_path: Path) -> None:
        folder = plant(
            tmp_path / "zoo",
            {
                "a.py": "# coding: latin-1\nx = 'é'\n".encode("latin-1"),
                "b.txt": "plain",
                "bad.gz": b"no archive",
                "empty.txt": "",
                "latin.txt": "café".encode("latin-1"),
                "picture.png": b"\x89PNG\0\0",
                "wide.txt": "wide".encode("utf-16"),
                "z.txt.gz": gzip.compress(b"in gz"),
                "z.txt.zst": zstandard.compress(b"in zst"),
                ".git/config": "not read",
                ".secret/key": "not read",
                ".hidden.md": "read",
                "pkg/__pycache__/a.pyc": "not read",
                "deep/er/c.sol": "contract C {}",
            },
        )
        (folder / "link").symlink_to("b.txt")
        (folder / "loop").symlink_to(".")
        (folder / "dangling").symlink_to("nowhere")
        os.mkfifo(folder / "pipe")
        assert outcome(tmp_path, "zoo") == {
            "zoo/.git": "<version control or cache folder>",
            "zoo/.hidden.md": "read",
            "zoo/.secret": "<hidden folder>",
            "zoo/a.py": "# coding: latin-1\nx = 'é'\n",
            "zoo/b.txt": "plain",
            "zoo/bad.gz": "<damaged archive>",
            "zoo/dangling": "<symbolic link>",
            "zoo/deep/er/c.sol": "contract C {}",
            "zoo/empty.txt": "",
            "zoo/latin.txt": "<undecodable>",
            "zoo/link": "<symbolic link>",
            "zoo/loop": "<symbolic link>",
            "zoo/picture.png": "<binary>",
            "zoo/pipe": "<not a regular file>",
            "zoo/pkg/__pycache__": "<version control or cache folder>",
            "zoo/wide.txt": "wide",
            "zoo/z.txt.gz": "in gz",
            "zoo/z.txt.zst": "in zst",
        }

    def test_sockets_are_not_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # the path of a socket may have 108 bytes only
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            assert outcome(tmp_path) == {f"{tmp_path.name}/socket": "<not a regular file>"}

    def test_unreadable_files_and_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plant(tmp_path, {"in/a.txt": "a", "in/locked.txt": "b", "in/shut/c.txt": "c"})
        real_open, real_list = os.open, os.listdir

        def no_open(path: Any, *rest: Any, **named: Any) -> int:
            if str(path).endswith("locked.txt"):
                raise PermissionError(13, "Permission denied")
            return real_open(path, *rest, **named)

        def no_list(path: Any) -> list[str]:
            if str(path).endswith("shut"):
                raise PermissionError(13, "Permission denied")
            return real_list(path)

        monkeypatch.setattr(os, "open", no_open)
        monkeypatch.setattr(os, "listdir", no_list)
        no = "<unreadable>"
        assert outcome(tmp_path, "in") == {"in/a.txt": "a", "in/locked.txt": no, "in/shut": no}

    def test_links_below_a_glob_are_counted_only_where_it_reaches(self, tmp_path: Path) -> None:
        plant(tmp_path, {"in/a.md": "a", "out/b.md": "b"})
        (tmp_path / "in/link").symlink_to("../out")
        assert outcome(tmp_path, "in/*.md") == {"in/a.md": "a"}
        assert outcome(tmp_path, "in/**/*.md") == {"in/a.md": "a", "in/link": "<symbolic link>"}

    def test_the_named_path_itself_may_be_a_link(self, tmp_path: Path) -> None:
        plant(tmp_path, {"real/a.md": "a"})
        (tmp_path / "link").symlink_to("real")
        (tmp_path / "file.md").symlink_to("real/a.md")
        assert outcome(tmp_path, "link") == {"link/a.md": "a"}
        assert outcome(tmp_path, "file.md") == {"file.md": "a"}

    def test_a_deep_tree_needs_no_recursion(self, tmp_path: Path) -> None:
        folder = str(tmp_path)
        for _ in range(1100):
            folder += "/d"
            os.mkdir(folder)
        Path(folder, "a.txt").write_text("deep")
        assert list(outcome(tmp_path, "d").values()) == ["deep"]
        os.remove(f"{folder}/a.txt")
        os.removedirs(folder)  # pytest's own clean-up is recursive
        tmp_path.mkdir(exist_ok=True)

    def test_names_that_are_no_text_are_shown_escaped(self, tmp_path: Path) -> None:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\n\x1b[31m.txt")).write_text("a")
        (origin,) = outcome(tmp_path)
        assert origin == f"{tmp_path.name}/a\\xff\\n\\x1b[31m.txt"

    def test_large_files_are_not_read_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SOURCE_FILE_BYTES", 10_000)
        small, large = b"a" * 10_000, b"a" * 10_001
        tree = {"in/a": small, "in/b": large, "in/c.gz": gzip.compress(large), "in/d": bytes(20_000)}
        found = outcome(plant(tmp_path, tree), "in")
        assert [found.pop("in/a")] == [small.decode()]
        assert found == {"in/b": "<file too large>", "in/c.gz": "<file too large>", "in/d": "<binary>"}

    def test_a_bomb_is_one_drop_among_the_documents(self, tmp_path: Path) -> None:
        bomb = gzip.compress(bytes(2_000_000).replace(b"\0", b" "))
        found = outcome(plant(tmp_path, {"in/a.txt": "a", "in/b.jsonl.gz": bomb, "in/c.txt": "c"}), "in")
        assert found == {"in/a.txt": "a", "in/b.jsonl.gz": "<decompression limit>", "in/c.txt": "c"}


class TestDocuments:
    def test_what_a_document_says_of_itself(self, tmp_path: Path) -> None:
        plant(tmp_path, {"in/sub/a.PY.gz": gzip.compress(b"\xef\xbb\xbfx = 1")})
        (document,) = source(tmp_path, "in", licence="MIT").documents()
        assert document == Document(
            text="x = 1",
            origin="in/sub/a.PY.gz",
            group="in/sub/a.PY.gz",
            language="python",
            licence="MIT",
            changes=("byte-order mark removed",),
        )

    @pytest.mark.parametrize(
        ("settings", "groups"),
        [
            ({}, ["in/a.jsonl:1", "in/a.jsonl:2", "in/b.txt"]),
            ({"group_by": "file"}, ["in/a.jsonl", "in/a.jsonl", "in/b.txt"]),
            ({"group_by": "folder"}, ["in/", "in/", "in/"]),
            ({"group_field": "repo"}, ["repo:r", "repo:r", "in/b.txt"]),
        ],
    )
    def test_groups(self, tmp_path: Path, settings: dict[str, Any], groups: list[str]) -> None:
        line = '{"text": "a", "repo": "r"}\n'
        plant(tmp_path, {"in/a.jsonl": line * 2, "in/b.txt": "b"})
        items = source(tmp_path, "in", **settings).documents()
        assert [item.group for item in items if isinstance(item, Document)] == groups


class TestPieces:
    POEM = "".join(f"line {number}\n" + "\n" * (number % 7 == 0) for number in range(4000))

    @pytest.mark.parametrize("size", [256, 1000, 30_000, 400_000])
    def test_joined_they_are_the_file_and_none_is_large(self, tmp_path: Path, size: int) -> None:
        plant(tmp_path, {"in.txt": self.POEM, "in.txt.gz": gzip.compress(self.POEM.encode())})
        for name in ("in.txt", "in.txt.gz"):
            found = outcome(tmp_path, name, piece_bytes=size)
            assert "".join(found.values()) == self.POEM
            assert max(map(len, found.values())) <= 2 * size + 10
            assert len(found) == 1 or min(map(len, list(found.values())[:-1])) >= size

    def test_cuts_stand_after_blank_lines_where_there_are_any(self, tmp_path: Path) -> None:
        plant(tmp_path, {"in.txt": self.POEM, "solid.txt": "no blank line\n" * 500})
        found = list(outcome(tmp_path, "in.txt", piece_bytes=500).values())
        assert all(text.endswith("\n\n") for text in found[:-1])
        assert all(text.endswith("\n") for text in outcome(tmp_path, "solid.txt", piece_bytes=500).values())

    def test_each_says_where_it_begins_and_is_a_record_of_its_own(self, tmp_path: Path) -> None:
        plant(tmp_path, {"in.txt": self.POEM})
        items = list(source(tmp_path, "in.txt", piece_bytes=1000).documents())
        lines = self.POEM.splitlines(keepends=True)
        at = 0
        for item in items:
            assert isinstance(item, Document)
            assert (item.origin, item.group) == (f"in.txt:{at + 1}",) * 2
            assert item.changes == ("a piece of a larger file",)
            at += len(item.text.splitlines())
        assert at == len(lines)
        together = source(tmp_path, "in.txt", piece_bytes=1000, group_by="file").documents()
        assert {item.group for item in together if isinstance(item, Document)} == {"in.txt"}

    def test_what_cannot_be_read_is_counted_and_the_rest_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "JSONL_LINE_BYTES", 1000)
        good = "fine\n" * 60
        tree = {
            "a.txt": good.encode() + b"\n\xff\xff\n" + good.encode(),
            "b.txt": f"{good}\n{'x' * 1001}\n{good}",
            "c.bin": b"\0\n" * 2500,
        }
        found = outcome(plant(tmp_path / "in", tree), ".", piece_bytes=256)
        assert found == {
            "in/a.txt:1": good + "\n",
            "in/a.txt:62": "<undecodable>",
            "in/b.txt:1": good + "\n",
            "in/b.txt": "<line too long>",
            "in/c.bin": "<binary>",
        }


class TestFingerprint:
    def test_changes_with_files_and_settings_only(self, tmp_path: Path) -> None:
        plant(tmp_path, {"in/a.txt": "a", "in/b.txt": "b"})
        first = source(tmp_path, "in").fingerprint()
        assert source(tmp_path, "in").fingerprint() == first
        seen = {first, source(tmp_path, "in", licence="MIT").fingerprint()}
        os.utime(tmp_path / "in/a.txt", ns=(1, 1))
        seen.add(source(tmp_path, "in").fingerprint())
        (tmp_path / "in/b.txt").rename(tmp_path / "in/c.txt")
        seen.add(source(tmp_path, "in").fingerprint())
        (tmp_path / "in/c.txt").unlink()
        seen.add(source(tmp_path, "in").fingerprint())
        assert len(seen) == 5
