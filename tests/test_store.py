"""An artefact exists whole or not at all; what was written is what is read, or the damage is named."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import store
from whet.errors import ArtefactError, CannotWrite, NewerSchema, UnlistedFile
from whet.records import SCHEMA_VERSION

KIND = "thing"


def make(folder: Path, text: str = "contents", key: str = "k", record: dict[str, Any] | None = None) -> Path:
    with store.staged(
        folder, kind=KIND, key=key, record={"note": text} if record is None else record
    ) as work:
        (work / "inner").mkdir()
        (work / "inner/data.bin").write_bytes(text.encode() * 20)
        (work / "plain.txt").write_text(text)
    return folder


def is_whole(folder: Path, text: str = "contents") -> bool:
    artefact = store.open_artefact(folder, KIND)
    return artefact.record == {"note": text} and (folder / "plain.txt").read_text() == text


def leftovers(parent: Path) -> list[str]:
    return sorted(item.name for item in parent.rglob(".*"))


@pytest.fixture
def dead_process() -> int:
    """A process number that no longer lives."""
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait()
    return finished.pid


class TestRoundTrip:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "deep/er/thing", record={"a": [1, 2.5, None], "é": "ü"})
        artefact = store.open_artefact(folder, KIND)
        assert artefact.record == {"a": [1, 2.5, None], "é": "ü"}
        assert sorted(artefact.files) == ["inner/data.bin", "plain.txt"]
        assert artefact.size_bytes == 8 * 20 + 8
        assert leftovers(tmp_path) == []

    def test_a_record_filled_in_the_block_is_written(self, tmp_path: Path) -> None:
        record: dict[str, Any] = {}
        with store.staged(tmp_path / "thing", kind=KIND, key="k", record=record):
            record["late"] = True
        assert store.open_artefact(tmp_path / "thing", KIND).record == {"late": True}

    @pytest.mark.parametrize(
        ("record", "read"),
        [
            ({"origin": "caf\udce9.txt"}, {"origin": "caf\udce9.txt"}),
            ({"origin": "\ud800 high"}, {"origin": "\ud800 high"}),
            ({"pair": "\ud83d\ude00"}, {"pair": "😀"}),
            ({"counts": {9: "a", 10: "b", 100: "c"}}, {"counts": {"9": "a", "10": "b", "100": "c"}}),
            ({"pair": (1, 2)}, {"pair": [1, 2]}),
            ({"lines": "a\u2028b\r\n\0"}, {"lines": "a\u2028b\r\n\0"}),
        ],
    )
    def test_odd_records_can_be_read_back(self, tmp_path: Path, record: Any, read: Any) -> None:
        make(tmp_path / "thing", record=record)
        assert store.open_artefact(tmp_path / "thing", KIND).record == read

    def test_a_record_with_nan_is_refused_and_nothing_is_left(self, tmp_path: Path) -> None:
        make(tmp_path / "thing")
        with pytest.raises(ValueError, match="JSON compliant"):
            make(tmp_path / "thing", record={"loss": float("nan")})
        assert is_whole(tmp_path / "thing")
        assert leftovers(tmp_path) == []


class Failing:
    """Lets `after` calls through, fails the next (or all later ones), and counts."""

    def __init__(self, after: int, error: BaseException, *, for_good: bool = False) -> None:
        self.after, self.error, self.for_good, self.calls = after, error, for_good, 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            self.calls += 1
            if self.calls == self.after + 1 or (self.for_good and self.calls > self.after):
                raise self.error
            return function(*args, **named)

        return wrapped


def raised_for(error: BaseException) -> type[BaseException]:
    """What the system says leaves store as an error of ours."""
    return CannotWrite if isinstance(error, OSError) else type(error)


def fail_on(patch: pytest.MonkeyPatch, what: str, failing: Failing) -> None:
    if what == "rename":
        patch.setattr(os, "rename", failing.wrap(os.rename))
    elif what == "replace":
        patch.setattr(os, "replace", failing.wrap(os.replace))
    elif what == "fsync":
        patch.setattr(os, "fsync", failing.wrap(os.fsync))
    else:
        plain_open = Path.open

        def opened(path: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
            file = plain_open(path, mode, *args, **named)
            return _FailingFile(file, failing) if "w" in mode else file

        patch.setattr(Path, "open", opened)


class _FailingFile:
    """A file whose writes may fail after half of what they were given."""

    def __init__(self, file: io.TextIOWrapper, failing: Failing) -> None:
        self.file = file
        self.checked = failing.wrap(lambda text: text)

    def write(self, text: str) -> int:
        try:
            return self.file.write(self.checked(text))
        except BaseException:
            self.file.write(text[: len(text) // 2])
            raise

    def __enter__(self) -> _FailingFile:
        return self

    def __exit__(self, *args: Any) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
class TestAllOrNothing:
    @pytest.mark.parametrize("there_before", [True, False])
    def test_an_exception_in_the_block(
        self, tmp_path: Path, error: BaseException, there_before: bool
    ) -> None:
        if there_before:
            make(tmp_path / "thing")

        def write_half() -> None:
            with store.staged(tmp_path / "thing", kind=KIND, key="k", record={}) as work:
                (work / "half").write_text("half")
                raise error

        with pytest.raises(raised_for(error)):
            write_half()
        assert leftovers(tmp_path) == []
        assert is_whole(tmp_path / "thing") if there_before else not (tmp_path / "thing").exists()

    @pytest.mark.parametrize("what", ["rename", "replace", "fsync", "write"])
    @pytest.mark.parametrize("there_before", [True, False])
    def test_a_failure_at_every_single_step(
        self, tmp_path: Path, error: BaseException, what: str, there_before: bool
    ) -> None:
        failures = 0
        for after in range(100):
            folder = tmp_path / str(after) / "thing"
            if there_before:
                make(folder, "old")
            failing = Failing(after, error)
            with pytest.MonkeyPatch.context() as patch:
                fail_on(patch, what, failing)
                try:
                    make(folder, "new")
                except raised_for(error):
                    failures += 1
                else:
                    break
            assert is_whole(folder, "old") if there_before else not folder.exists()
            assert leftovers(tmp_path) == []
        assert is_whole(folder, "new")
        assert (
            failures
            == {"rename": 1 + there_before, "replace": 1, "fsync": 7 - there_before, "write": 3}[what]
        )

    @pytest.mark.parametrize("what", ["rename", "fsync"])
    def test_a_disk_that_fails_for_good_loses_nothing(
        self, tmp_path: Path, error: BaseException, what: str
    ) -> None:
        for after in range(8):
            folder = tmp_path / str(after) / "thing"
            make(folder, "old")
            with pytest.MonkeyPatch.context() as patch:
                fail_on(patch, what, Failing(after, error, for_good=True))
                try:
                    make(folder, "new")
                except raised_for(error):
                    wanted = "old"
                else:
                    wanted = "new"
            store.sweep(folder.parent)
            assert is_whole(folder, wanted)
            assert leftovers(tmp_path) == []


class TestSweep:
    def test_a_crash_between_the_two_renames_is_undone(self, tmp_path: Path, dead_process: int) -> None:
        make(tmp_path / "thing")
        (tmp_path / "thing").rename(tmp_path / f".replaced-thing-{dead_process}")
        (tmp_path / f".staging-thing-{dead_process}").mkdir()
        store.sweep(tmp_path)
        assert is_whole(tmp_path / "thing")
        assert leftovers(tmp_path) == []

    def test_a_crash_after_the_second_rename_is_finished(self, tmp_path: Path, dead_process: int) -> None:
        make(tmp_path / "thing", "new")
        shutil.copytree(make(tmp_path / "old", "old"), tmp_path / f".replaced-thing-{dead_process}")
        store.sweep(tmp_path)
        assert is_whole(tmp_path / "thing", "new")
        assert leftovers(tmp_path) == []

    def test_the_next_write_sweeps(self, tmp_path: Path, dead_process: int) -> None:
        for name in (f".staging-other-{dead_process}", f".replaced-other-{dead_process}"):
            make(tmp_path / name, "old")
        (tmp_path / f".staging-note.json-{dead_process}").write_text("half a file")
        make(tmp_path / "thing")
        assert is_whole(tmp_path / "other", "old")
        assert leftovers(tmp_path) == []

    def test_what_living_processes_stage_is_left_alone(self, tmp_path: Path) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
            names = [f".staging-thing-{living.pid}", f".replaced-thing-{living.pid}"]
            for name in names:
                (tmp_path / name).mkdir()
            store.sweep(tmp_path)
            assert leftovers(tmp_path) == sorted(names)
        store.sweep(tmp_path)
        assert [item.name for item in tmp_path.iterdir()] == ["thing"]

    def test_what_is_not_ours_is_left_alone(self, tmp_path: Path) -> None:
        names = [
            ".staging-area",
            ".replaced-",
            ".staging-",
            ".staging-x-1y",
            "staging-thing-123",
            ".hidden-1",
        ]
        for name in names:
            (tmp_path / name).mkdir()
        store.sweep(tmp_path)
        assert sorted(item.name for item in tmp_path.iterdir()) == sorted(names)

    def test_leftovers_of_an_earlier_process_with_our_number(self, tmp_path: Path) -> None:
        (tmp_path / f".staging-thing-{os.getpid()}").mkdir()
        (tmp_path / f".staging-thing-{os.getpid()}/half").write_text("")
        make(tmp_path / "thing")
        assert is_whole(tmp_path / "thing")
        assert sorted(os.listdir(tmp_path / "thing")) == ["MANIFEST.json", "inner", "plain.txt"]

    def test_two_at_once_in_one_process(self, tmp_path: Path) -> None:
        with store.staged(tmp_path / "outer", kind=KIND, key="k", record={"note": "x"}) as work:
            (work / "plain.txt").write_text("x")
            make(tmp_path / "beside", "y")
        assert is_whole(tmp_path / "outer", "x")
        assert is_whole(tmp_path / "beside", "y")

    def test_links_are_removed_and_never_followed(self, tmp_path: Path, dead_process: int) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "file").write_text("keep")
        (tmp_path / "thing").symlink_to(precious)
        (tmp_path / f".staging-thing-{dead_process}").symlink_to(precious)
        make(tmp_path / "thing")
        assert not (tmp_path / "thing").is_symlink()
        assert (precious / "file").read_text() == "keep"
        assert leftovers(tmp_path) == []

    def test_a_missing_folder_needs_no_sweeping(self, tmp_path: Path) -> None:
        store.sweep(tmp_path / "nothing")


def damages(raw: bytes) -> Iterator[bytes]:
    """Every byte flipped in two ways, and every cut, with one byte more at the end."""
    for at in range(len(raw)):
        for flip in (0x01, 0x29):  # 0x29 makes a tab of a space: other whitespace is damage, too
            yield raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]
        yield raw[:at]
    yield raw + b"\n"


class TestDamage:
    def test_every_byte_of_every_file_counts(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "thing", "text", record={"share": 9.25, "name": "é", "list": [1, True]})
        for path in (item for item in folder.rglob("*") if item.is_file()):
            whole = path.read_bytes()
            for damaged in damages(whole):
                path.write_bytes(damaged)
                with pytest.raises(ArtefactError):
                    store.open_artefact(folder, KIND)
                assert store.fresh(folder, KIND, "k", lambda notice: None) is None
            path.write_bytes(whole)
        assert store.fresh(folder, KIND, "k", lambda notice: None) is not None

    @given(at=st.integers(0, 99_999), flip=st.integers(1, 255), cut=st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_a_large_file(
        self, at: int, flip: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.getbasetemp() / "large"
        if not folder.exists():
            with store.staged(folder, kind=KIND, key="k", record={}) as work:
                (work / "data").write_bytes(bytes(range(250)) * 400)
        raw = bytearray((folder / "data").read_bytes())
        damaged = raw[:at] if cut else raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]
        (folder / "data").write_bytes(damaged)
        with pytest.raises(ArtefactError, match="data"):
            store.open_artefact(folder, KIND)
        (folder / "data").write_bytes(raw)
        assert store.open_artefact(folder, KIND).size_bytes == 100_000

    def test_the_damaged_file_is_named(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "thing")
        (folder / "inner/data.bin").write_bytes(b"x" * 160)
        with pytest.raises(ArtefactError, match=r"inner/data\.bin"):
            store.open_artefact(folder, KIND)
        (folder / "inner/data.bin").unlink()
        with pytest.raises(ArtefactError, match=r"inner/data\.bin.*\n.*remove the folder"):
            store.open_artefact(folder, KIND)

    def test_without_verifying_the_sizes_still_count(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "thing")
        (folder / "plain.txt").write_text("CONTENTS")
        store.open_artefact(folder, KIND, verify=False)
        (folder / "plain.txt").write_text("content")
        with pytest.raises(ArtefactError, match="cut short"):
            store.open_artefact(folder, KIND, verify=False)

    @pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"schema": 1}', "[" * 100_000, "\xff"])
    def test_a_manifest_that_is_none(self, tmp_path: Path, text: str) -> None:
        folder = make(tmp_path / "thing")
        (folder / store.MANIFEST).write_bytes(text.encode("latin-1"))
        with pytest.raises(ArtefactError):
            store.open_artefact(folder, KIND)

    def test_a_newer_schema_and_another_kind_are_refused(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "thing")
        with pytest.raises(ArtefactError, match="this is a thing, not a other"):
            store.open_artefact(folder, "other")
        body = json.loads((folder / store.MANIFEST).read_text())
        newer = {**body, "schema": SCHEMA_VERSION + 1, "unknown": "field"}
        (folder / store.MANIFEST).write_text(json.dumps(newer))
        with pytest.raises(NewerSchema, match="written by a newer whet"):
            store.open_artefact(folder, KIND)
        with pytest.raises(NewerSchema):
            store.fresh(folder, KIND, "k", lambda notice: None)


def test_fresh_is_the_same_key_and_kind_and_whole(tmp_path: Path) -> None:
    folder = tmp_path / "thing"
    assert store.fresh(folder, KIND, "k", lambda notice: None) is None
    make(folder)
    artefact = store.fresh(folder, KIND, "k", lambda notice: None)
    assert artefact is not None
    assert artefact.record == {"note": "contents"}
    assert store.fresh(folder, KIND, "other key", lambda notice: None) is None
    assert store.fresh(folder, "other kind", "k", lambda notice: None) is None
    (folder / "plain.txt").unlink()
    notices: list[str] = []
    assert store.fresh(folder, KIND, "k", notices.append) is None
    assert notices == [f"{folder / 'plain.txt'}: a file is missing or cut short; it is made again"]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


class TestContentHash:
    @given(plain)
    @settings(deadline=None)
    def test_the_order_of_keys_and_a_round_trip_do_not_matter(self, value: Any) -> None:
        assert store.content_hash(value) == store.content_hash(reversed_keys(value))
        assert store.content_hash(value) == store.content_hash(json.loads(json.dumps(value)))

    def test_it_never_changes(self) -> None:
        value = {"b": [1, 2.5, True, None], "a": "é \u2028 😀", "path": PurePosixPath("a/b")}
        assert store.content_hash(value) == (
            "d7bbfb4be978a8d441f427dc75e0ab9398e46fb66a7c0c4ef4701e51b58ff9f9"
        )

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (1, True),
            (1, 1.0),
            ("1", 1),
            ([1, 2], [2, 1]),
            ({}, []),
            ("é", "e\u0301"),
            (None, "null"),
            ("", None),
        ],
    )
    def test_different_values_differ(self, one: Any, other: Any) -> None:
        assert store.content_hash(one) != store.content_hash(other)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_what_is_no_number_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="JSON compliant"):
            store.content_hash({"a": [value]})

    @pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", 1 + 2j])
    def test_what_has_no_canonical_form_is_refused(self, value: Any) -> None:
        with pytest.raises(TypeError, match="no canonical form"):
            store.content_hash([value])

    def test_lone_surrogates_have_a_hash(self) -> None:
        assert store.content_hash("\udc80") != store.content_hash("\udc81")


class TestWriteText:
    def test_parents_are_made_and_nothing_else_appears(self, tmp_path: Path) -> None:
        path = tmp_path / "deep/er/file.txt"
        store.write_text(path, "é\nline\n")
        assert path.read_bytes() == b"\xc3\xa9\nline\n"
        assert os.listdir(path.parent) == ["file.txt"]

    @pytest.mark.parametrize("what", ["replace", "fsync", "write"])
    def test_it_is_the_old_or_the_new_text(self, tmp_path: Path, what: str) -> None:
        path = tmp_path / "file"
        seen = set()
        for after in range(10):
            path.write_text("old" * 1000)
            with pytest.MonkeyPatch.context() as patch:
                fail_on(patch, what, Failing(after, OSError(5, "disk")))
                try:
                    store.write_text(path, "new" * 1000)
                except CannotWrite:
                    seen.add(path.read_text()[:3])
                else:
                    break
            assert path.read_text() in ("old" * 1000, "new" * 1000)
            assert os.listdir(tmp_path) == ["file"]
        assert path.read_text() == "new" * 1000
        assert "old" in seen

    def test_json_round_trip_and_refusals(self, tmp_path: Path) -> None:
        path = tmp_path / "file.json"
        value = {"é": ["\udc80", 1.5, None, {"deep": True}]}
        store.write_json(path, value)
        assert store.read_json(path) == value
        with pytest.raises(ValueError, match="JSON compliant"):
            store.write_json(path, {"x": float("inf")})
        assert store.read_json(path) == value

    @pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
    def test_damaged_json_is_an_error_that_names_the_file(self, tmp_path: Path, raw: bytes) -> None:
        path = tmp_path / "file.json"
        with pytest.raises(ArtefactError, match=r"file\.json"):
            store.read_json(path)
        path.write_bytes(raw)
        with pytest.raises(ArtefactError, match=r"file\.json"):
            store.read_json(path)


def test_code_hash_covers_packages_and_modules() -> None:
    whole = store.code_hash("prepare", "store")
    assert whole == store.code_hash("store", "prepare")
    assert len({whole, store.code_hash("prepare"), store.code_hash("store")}) == 3
    with pytest.raises(FileNotFoundError):
        store.code_hash("no_such_module")


@pytest.mark.parametrize("name", ["a.py", "worker.js", "pins.json", "signatures.txt", "chat.jinja"])
def test_code_hash_covers_what_code_reads(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "__file__", str(tmp_path / "store.py"))
    (tmp_path / "evm").mkdir()
    (tmp_path / "evm" / name).write_text("1")
    before = store.code_hash("evm")
    (tmp_path / "evm" / "README.md").write_text("of no concern")
    assert store.code_hash("evm") == before
    (tmp_path / "evm" / name).write_text("2")
    assert store.code_hash("evm") != before


def test_torn_and_damaged_lines_are_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    said: list[str] = []
    assert store.read_json_lines(path, said.append) == []
    path.write_text('{"step": 1}\n{"step": 2}\n')
    assert store.read_json_lines(path, said.append) == [{"step": 1}, {"step": 2}]
    assert said == []
    path.write_bytes(b'{"step": 1}\n{"stdp": 2}\n\xff\n[]\n7\n{"step": "x"}\n{"step": 7}\n{"ste')
    assert store.read_json_lines(path, said.append) == [{"step": 1}, {"step": 7}]
    assert said == [f"{path}: 6 torn or damaged lines are left out (line 2, 3, 4, 5, 6 ...)"]


class TestSealed:
    def test_every_byte_counts(self, tmp_path: Path) -> None:
        path = tmp_path / "settings.json"
        value = {"schema": 1, "rate": 5e-3, "names": ("a", "é"), "steps": {9: 1}}
        store.write_sealed(path, value)
        assert store.read_sealed(path) == {
            "schema": 1,
            "rate": 5e-3,
            "names": ["a", "é"],
            "steps": {"9": 1},
        }
        for damaged in damages(path.read_bytes()):
            path.write_bytes(damaged)
            with pytest.raises(ArtefactError, match=r"settings\.json"):
                store.read_sealed(path)


class TestWhatWhetDidNotWrite:
    @pytest.mark.parametrize("name", ["adapter_config.json", "inner/more.bin", "new/file"])
    def test_a_file_more_stops_and_is_not_removed(self, tmp_path: Path, name: str) -> None:
        folder = make(tmp_path / "thing")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
        for verify in (True, False):
            with pytest.raises(UnlistedFile, match=name):
                store.open_artefact(folder, KIND, verify=verify)
        with pytest.raises(UnlistedFile, match="move it"):
            store.fresh(folder, KIND, "k", lambda notice: None)
        assert (folder / name).read_text() == "mine"

    @pytest.mark.parametrize("name", [".DS_Store", ".ipynb_checkpoints/x", "inner/.nfs0001"])
    def test_hidden_files_do_not_count(self, tmp_path: Path, name: str) -> None:
        folder = make(tmp_path / "thing")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
        assert is_whole(folder)

    @pytest.mark.parametrize("name", ["plain.txt", "inner", store.MANIFEST])
    def test_a_link_is_no_file_of_ours(self, tmp_path: Path, name: str) -> None:
        folder = make(tmp_path / "thing")
        (folder / name).rename(tmp_path / "moved")
        (folder / name).symlink_to(tmp_path / "moved")
        with pytest.raises(ArtefactError):
            store.open_artefact(folder, KIND)


class TestRemove:
    def test_it_is_gone_as_one(self, tmp_path: Path) -> None:
        folder = make(tmp_path / "thing")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "rmtree", Failing(0, KeyboardInterrupt()).wrap(shutil.rmtree))
            with pytest.raises(KeyboardInterrupt):
                store.remove(folder)
        assert not folder.exists()
        assert leftovers(tmp_path) == [f".staging-thing-{os.getpid()}"]
        store.sweep(tmp_path)
        assert os.listdir(tmp_path) == []

    def test_zombies_are_dead(self, tmp_path: Path) -> None:
        """A container without an init leaves killed processes in the table for good."""
        zombie = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
        assert zombie.stdout is not None
        zombie.stdout.read()
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        (tmp_path / f".staging-thing-{zombie.pid}").mkdir()
        store.sweep(tmp_path)
        assert os.listdir(tmp_path) == []
        zombie.communicate()


class TestCannotWrite:
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (OSError(28, "No space left on device"), "disk is full.*\n.*free some space"),
            (OSError(122, "Disk quota exceeded"), "quota"),
            (OSError(30, "Read-only file system"), "read-only"),
            (OSError(27, "File too large"), "ulimit"),
            (OSError(28, "No space left on device", "/somewhere/source", None, "here"), "disk is full"),
            (OSError("512 requested and 0 written"), "disk is full"),  # numpy
            (Exception("Error while serializing: I/O error: x (os error 28)"), "disk is full"),
        ],
    )
    def test_it_says_what_where_and_what_to_do(self, tmp_path: Path, error: Exception, said: str) -> None:
        if isinstance(error, OSError) and error.filename2:
            error.filename2 = str(tmp_path / "target")
        with pytest.raises(CannotWrite, match=f"(?s){said}") as caught, store.writing(tmp_path):
            raise error
        assert (caught.value.exit_code, caught.value.where) == (6, str(tmp_path))
        assert "goes on from what is saved" in caught.value.fix

    @pytest.mark.parametrize(
        "error",
        [
            OSError(13, "Permission denied", "/somewhere/else/source.txt"),
            OSError(28, "No space left on device", "/somewhere/else"),
            BrokenPipeError(32, "Broken pipe"),
            ValueError("no system error"),
        ],
    )
    def test_other_errors_stay_what_they_are(self, tmp_path: Path, error: Exception) -> None:
        with pytest.raises(type(error)) as caught, store.writing(tmp_path):
            raise error
        assert caught.value is error

    def test_a_file_where_the_folder_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "runs").write_text("")
        with pytest.raises(CannotWrite, match="runs"):
            make(tmp_path / "runs/small/thing")
