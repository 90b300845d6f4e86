"""The room end to end: every record accounted for, nothing done twice, nothing left behind."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whet import store
from whet.errors import DataError
from whet.prepare import leakage, split
from whet.prepare.run import prepared_key, run
from whet.prepare.spool import ACROSS
from whet.progress import Reporter
from whet.recipe.load import load_recipe
from whet.recipe.schema import Recipe
from whet.sources.text import TextSource
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenStore

SPLITS = ("train", "validation", "test")


def prose(seed: int, count: int = 120) -> str:
    draw = random.Random(seed)
    sounds = [consonant + vowel for consonant in "bdkm" for vowel in "aeiou"]
    words = ("".join(draw.choices(sounds, k=draw.randint(1, 4))) for _ in range(count))
    return "\n".join(" ".join(line) + "." for line in zip(*[words] * 8, strict=False)) + "\n"


def plant(folder: Path, texts: dict[str, str | bytes]) -> None:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def recipe(folder: Path, stages: dict[str, list[dict[str, Any]]], **sections: Any) -> Recipe:
    values = {
        "name": "t",
        "model": {"size": "tiny", "context": 64},
        "tokenizer": {"vocab_size": 330},
        "prepare": {"validation_share": 0.1, "test_share": 0.15},
        "stages": [{"name": name, "data": data} for name, data in stages.items()],
        **sections,
    }
    (folder / "recipe.yaml").write_text(json.dumps(values))
    return load_recipe(str(folder / "recipe.yaml")).recipe


def text(path: str) -> list[dict[str, Any]]:
    return [{"source": "text", "path": path}]


class Listening(Reporter):
    """Keeps what was said; shows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def show_notice(self, text: str) -> None:
        pass


def prepare(made: Recipe, folder: Path, **named: Any) -> store.Artefact:
    return run(made, folder / "out", Listening(), **named)


def opened(artefact: store.Artefact, stage: str) -> dict[str, TokenStore]:
    size = artefact.record["tokenizer"]["vocab_size"]
    return {name: TokenStore.open(artefact.folder / stage / name, size) for name in SPLITS}


def documents(artefact: store.Artefact, stage: str) -> dict[str, tuple[str, str]]:
    """Origin -> (split, text)."""
    tokenizer = tokenizers.load(artefact.folder / "tokenizer")
    return {
        about["origin"]: (name, tokenizer.decode(item.document(at).tolist()))
        for name, item in opened(artefact, stage).items()
        for at, about in enumerate(item.origins())
    }


def drops(artefact: store.Artefact, stage: int = 0) -> dict[str, int]:
    return {
        entry["reason"]: entry["documents"] for entry in artefact.record["stages"][stage]["tally"]["dropped"]
    }


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two hundred files of every fate."""
    fine = {f"a/{seed}.txt": prose(seed) for seed in range(120)}
    near = {f"a/near{seed}.txt": prose(seed).replace("\n", "\nx ", 1) for seed in range(10)}
    more = {f"b/{seed}.py": f"# <bos> {seed}\n" + prose(seed) for seed in range(200, 260)}
    plant(tmp_path, {**fine, **near, **more})
    plant(
        tmp_path,
        {
            "a/copy1.txt": prose(1),
            "a/copy2.txt": prose(2),
            "a/empty.txt": "",
            "a/tiny.txt": "tiny",
            "a/binary.bin": b"\0\1\2" * 50,
            "a/latin.txt": b"caf\xe9 " * 20,
            "a/windows.txt": prose(900).replace("\n", "\r\n"),
            "b/again.py": prose(1),
        },
    )
    return tmp_path


def check_counts(artefact: store.Artefact, stage: str) -> None:
    record = next(item for item in artefact.record["stages"] if item["name"] == stage)
    tally, splits = record["tally"], record["splits"]
    assert tally["documents_in"] == tally["documents_kept"] + sum(e["documents"] for e in tally["dropped"])
    assert tally["bytes_in"] == tally["bytes_kept"] + sum(e["bytes"] for e in tally["dropped"])
    assert tally["documents_kept"] == sum(splits[name]["documents"] for name in SPLITS)
    assert tally["bytes_kept"] == sum(splits[name]["bytes"] for name in SPLITS)
    for name, item in opened(artefact, stage).items():
        assert splits[name] == {
            "documents": len(item),
            "tokens": len(item.tokens),
            "bytes": int(item.text_bytes.sum()),
        }
        assert len(list(item.origins())) == len(item)


class TestEndToEnd:
    def test_every_record_is_accounted_for(self, mixed: Path) -> None:
        artefact = prepare(recipe(mixed, {"one": text("a"), "two": text("b")}), mixed)
        check_counts(artefact, "one")
        check_counts(artefact, "two")
        found = drops(artefact)
        assert found.pop(ACROSS, 0) == 0
        assert found == {
            "near duplicate": 10,
            "exact duplicate": 2,
            "too short": 2,
            "binary": 1,
            "undecodable": 1,
        }
        assert artefact.record["stages"][0]["tally"]["documents_in"] == 137
        assert artefact.record["stages"][0]["sources"] == ["text"]
        assert store.open_artefact(artefact.folder, "prepared").key == artefact.key

    def test_the_tokens_are_the_texts(self, mixed: Path) -> None:
        artefact = prepare(recipe(mixed, {"one": text("a"), "two": text("b")}), mixed)
        kept = documents(artefact, "two")
        assert len(kept) >= 55
        for origin, (_, read) in kept.items():
            assert read == (mixed / origin).read_text()
        tokenizer = tokenizers.load(artefact.folder / "tokenizer")
        control = set(tokenizer.special_tokens)
        for item in opened(artefact, "two").values():
            for at in range(len(item)):
                ids = item.document(at).tolist()
                assert (ids[0], ids[-1]) == (tokenizer.special_ids["bos"], tokenizer.special_ids["eos"])
                assert not control & set(ids[1:-1])

    def test_nothing_is_left_behind(self, mixed: Path) -> None:
        prepare(recipe(mixed, {"one": text("a"), "two": text("b")}), mixed)
        files = ("tokens.bin", "offsets.npy", "text_bytes.npy", "sources.npy", "documents.jsonl")
        folders = {"prepared"} | {f"prepared/{stage}" for stage in ("one", "two", "tokenizer")}
        splits = {f"prepared/{stage}/{name}" for stage in ("one", "two") for name in SPLITS}
        assert everything_below(mixed / "out") == {
            "prepared/MANIFEST.json",
            "prepared/tokenizer/tokenizer.json",
            "prepared/tokenizer/tokenizer_config.json",
            *folders,
            *splits,
            *(f"{folder}/{file}" for folder in splits for file in files),
        }

    def test_the_same_input_gives_the_same_files(self, mixed: Path) -> None:
        made = recipe(mixed, {"one": text("a"), "two": text("b")})
        first = prepare(made, mixed)
        again = run(made, mixed / "elsewhere", Listening())
        assert (first.files, first.key) == (again.files, again.key)

    def test_stages_may_have_any_name(self, mixed: Path) -> None:
        artefact = prepare(recipe(mixed, {"spool": text("a"), "tokenizer": text("b")}), mixed)
        for stage in ("spool", "tokenizer"):
            check_counts(artefact, stage)
            assert len(opened(artefact, stage)["train"]) > 40

    def test_file_names_of_any_bytes(self, tmp_path: Path) -> None:
        plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(30)})
        odd = [b"caf\xe9.txt", b"new\nline.txt", b"[red]\x1b[31m.txt"]
        for number, name in enumerate(odd):
            (tmp_path / "a" / os.fsdecode(name)).write_text(prose(100 + number))
        (tmp_path / "a" / os.fsdecode(b"copy\xff.txt")).write_text(prose(100))
        artefact = prepare(recipe(tmp_path, {"one": text("a"), "two": text("a")}), tmp_path)
        assert len(documents(artefact, "one")) == 33
        assert drops(artefact) == {"exact duplicate": 1}
        assert store.open_artefact(artefact.folder, "prepared").record == artefact.record

    def test_the_tokenizer_never_sees_held_out_text(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(80)})
        seen: list[str] = []
        learn = tokenizers.train

        def listening(texts: Iterator[str], **named: Any) -> Any:
            seen.extend(texts)
            return learn(iter(seen), **named)

        monkeypatch.setattr(tokenizers, "train", listening)
        artefact = prepare(recipe(tmp_path, {"s": text("a")}), tmp_path)
        kept = documents(artefact, "s").values()
        assert sorted(seen) == sorted(read for name, read in kept if name == "train")
        assert len(seen) < len(kept)


class TestAgain:
    def test_what_is_unchanged_is_not_done_again(self, mixed: Path) -> None:
        made = recipe(mixed, {"one": text("a")})
        first = prepare(made, mixed)
        stamp = (first.folder / store.MANIFEST).stat()
        reporter = Listening()
        second = run(made, mixed / "out", reporter)
        assert second == first
        assert (first.folder / store.MANIFEST).stat() == stamp
        assert "unchanged" in reporter.said[0]

    def test_force_does_it_again(self, mixed: Path) -> None:
        made = recipe(mixed, {"one": text("a")})
        first = prepare(made, mixed)
        stamp = (first.folder / store.MANIFEST).stat()
        again = prepare(made, mixed, force=True)
        assert again.files == first.files
        assert (first.folder / store.MANIFEST).stat() != stamp

    @pytest.mark.parametrize("change", ["add", "edit", "remove", "damage"])
    def test_changed_files(self, mixed: Path, change: str) -> None:
        made = recipe(mixed, {"one": text("a")})
        first = prepare(made, mixed)
        if change == "add":
            plant(mixed, {"a/new.txt": prose(5000)})
        elif change == "edit":
            plant(mixed, {"a/3.txt": prose(3) + "more\n"})
        elif change == "remove":
            (mixed / "a/3.txt").unlink()
        else:
            (first.folder / "one/train/tokens.bin").write_bytes(b"")
        second = prepare(made, mixed)
        assert (second.key == first.key) == (change == "damage")
        assert (second.files == first.files) == (change == "damage")
        check_counts(second, "one")

    def test_what_matters_is_in_the_key_and_nothing_else(self, mixed: Path) -> None:
        stages = {"one": text("a"), "two": text("b")}
        base = prepared_key(recipe(mixed, stages))
        prepare_settings = {"validation_share": 0.1, "test_share": 0.15}
        different = [
            recipe(mixed, stages, seed=1),
            recipe(mixed, stages, prepare={**prepare_settings, "exact_duplicates": "keep"}),
            recipe(mixed, stages, prepare={**prepare_settings, "near_duplicate_similarity": None}),
            recipe(mixed, stages, prepare={**prepare_settings, "cleaning": {"minified": False}}),
            recipe(mixed, stages, tokenizer={"vocab_size": 331}),
            recipe(mixed, stages, tokenizer={"vocab_size": 330, "sample_bytes": 5000}),
            recipe(mixed, stages, model={"size": "tiny", "context": 128}),
            recipe(mixed, {"two": text("b"), "one": text("a")}),
            recipe(mixed, {"one": text("a"), "renamed": text("b")}),
            recipe(mixed, {"one": text("b"), "two": text("a")}),
            recipe(mixed, {"one": [{"source": "text", "path": "a", "licence": "MIT"}], "two": text("b")}),
        ]
        keys = [prepared_key(item) for item in different]
        assert len({base, *keys}) == len(keys) + 1
        same = [
            recipe(mixed, stages),
            recipe(mixed, stages, name="other"),
            recipe(mixed, stages, evaluate={"samples": 1}),
            recipe(mixed, stages, model={"size": "tiny", "context": 64, "layers": 2}),
            recipe(mixed, {"one": [{**text("a")[0], "weight": 2}], "two": text("b")}),
        ]
        assert {prepared_key(item) for item in same} == {base}


class TestDuplicates:
    def test_near_duplicates_across_stages_never_stand_on_two_sides(self, tmp_path: Path) -> None:
        plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(60)})
        plant(tmp_path, {f"b/twin{seed}.txt": prose(seed).replace("\n", "\nx ", 1) for seed in range(60)})
        shares = {"validation_share": 0.2, "test_share": 0.2}
        artefact = prepare(recipe(tmp_path, {"one": text("a"), "two": text("b")}, prepare=shares), tmp_path)
        one, two = documents(artefact, "one"), documents(artefact, "two")
        assert len(one) == 60
        apart = {
            seed
            for seed in range(60)
            if split.Sides(42, 0.2, 0.2)[f"a/{seed}.txt"] != split.Sides(42, 0.2, 0.2)[f"b/twin{seed}.txt"]
        }
        assert {f"b/twin{seed}.txt" for seed in range(60) if seed not in apart} == set(two)
        for origin, (name, _) in two.items():
            assert one[f"a/{origin.removeprefix('b/twin')}"][0] == name
        dropped = artefact.record["stages"][1]["tally"]["dropped"]
        assert [(entry["reason"], entry["documents"]) for entry in dropped] == [(ACROSS, len(apart))]
        assert dropped[0]["examples"][0].startswith("b/twin")
        assert "(of a/" in dropped[0]["examples"][0]
        check_counts(artefact, "two")
        assert len(apart) > 15

    def test_kept_copies_stay_on_one_side(self, tmp_path: Path) -> None:
        plant(tmp_path, {f"a/{seed % 30}-{seed}.txt": prose(seed % 30) for seed in range(90)})
        shares = {"validation_share": 0.2, "test_share": 0.2, "exact_duplicates": "keep"}
        artefact = prepare(recipe(tmp_path, {"s": text("a")}, prepare=shares), tmp_path)
        sides: dict[str, set[str]] = {}
        for name, read in documents(artefact, "s").values():
            sides.setdefault(read, set()).add(name)
        assert set(drops(artefact)) == {ACROSS}
        assert all(len(names) == 1 for names in sides.values())
        assert artefact.record["stages"][0]["tally"]["documents_kept"] > 30
        check_counts(artefact, "s")

    def test_spacing_makes_no_exact_duplicate(self, tmp_path: Path) -> None:
        plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(40)})
        plant(tmp_path, {"a/wide.txt": prose(1).replace(" ", "  ")})
        kept = {"validation_share": 0.1, "test_share": 0.1, "exact_duplicates": "keep"}
        assert drops(prepare(recipe(tmp_path, {"s": text("a")}), tmp_path)) == {"near duplicate": 1}
        artefact = prepare(recipe(tmp_path, {"s": text("a")}, prepare=kept), tmp_path)
        assert drops(artefact) == {"near duplicate": 1}


class TestTokenArrays:
    @pytest.fixture
    def ready(self, tmp_path: Path) -> Path:
        plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(60)})
        made = prepare(recipe(tmp_path, {"s": text("a")}), tmp_path)
        (made.folder / "tokenizer").rename(tmp_path / "tokenizer")
        draw = np.random.default_rng(0)
        np.save(tmp_path / "train.npy", draw.integers(5, 330, (20, 33)).astype(np.int32))
        np.save(tmp_path / "validation.npy", draw.integers(5, 330, (4, 33)))
        return tmp_path

    def arrays(self, folder: Path, **more: str) -> Recipe:
        data = [{"source": "tokens", "path": "train.npy", **more}]
        return recipe(folder, {"rows": data}, tokenizer={"path": str(folder / "tokenizer")})

    def test_rows_are_taken_as_they_are(self, ready: Path) -> None:
        artefact = prepare(self.arrays(ready, validation="validation.npy"), ready)
        found = opened(artefact, "rows")
        for name in ("train", "validation"):
            wanted = np.load(ready / f"{name}.npy")
            assert [found[name].document(at).tolist() for at in range(len(wanted))] == wanted.tolist()
            assert next(found[name].origins())["origin"] == f"{name}:0"
        sizes = tokenizers.load(ready / "tokenizer").token_bytes()
        first = np.load(ready / "train.npy")[0]
        assert found["train"].text_bytes[0] == sum(sizes[index] for index in first)
        check_counts(artefact, "rows")
        assert artefact.record["tokenizer"]["kind"] == "existing"
        assert set(artefact.record["stages"][0]["groups"].values()) == {None}
        empty = "stage rows: the test split is empty; nothing is held out for it"
        assert artefact.record["notices"] == [empty]

    def test_the_tokenizer_is_carried_along(self, ready: Path) -> None:
        artefact = prepare(self.arrays(ready), ready)
        ours, theirs = tokenizers.load(artefact.folder / "tokenizer"), tokenizers.load(ready / "tokenizer")
        assert ours.encode_documents([prose(1)]) == theirs.encode_documents([prose(1)])
        assert ours.special_ids == theirs.special_ids

    @pytest.mark.parametrize("bad", [330, 70_000])
    def test_an_id_beyond_the_vocabulary_is_refused(self, ready: Path, bad: int) -> None:
        rows = np.load(ready / "train.npy")
        rows[13, 5] = bad
        np.save(ready / "train.npy", rows)
        before = everything_below(ready / "out")
        with pytest.raises(DataError, match=f"row train:13 holds id {bad}, the tokenizer has 330 ids"):
            prepare(self.arrays(ready), ready)
        assert everything_below(ready / "out") == before

    def test_changed_rows_or_tokenizer_are_noticed(self, ready: Path) -> None:
        first = prepared_key(self.arrays(ready))
        settings = ready / "tokenizer/tokenizer_config.json"
        settings.write_text(settings.read_text().replace('"<sep>"', '"<unk>"'))
        second = prepared_key(self.arrays(ready))
        np.save(ready / "train.npy", np.ones((5, 9), np.int32))
        assert len({first, second, prepared_key(self.arrays(ready))}) == 3

    def test_several_arrays_have_origins_of_their_own(self, ready: Path) -> None:
        data = [{"source": "tokens", "path": name} for name in ("train.npy", "validation.npy")]
        made = recipe(ready, {"rows": data}, tokenizer={"path": str(ready / "tokenizer")})
        rows = opened(prepare(made, ready), "rows")["train"]
        origins = [about["origin"] for about in rows.origins()]
        assert len(set(origins)) == len(origins) == 24
        assert rows.sources().tolist() == [0] * 20 + [1] * 4


class TestFailure:
    @pytest.mark.parametrize("error", [RuntimeError("in the middle"), KeyboardInterrupt()])
    @pytest.mark.parametrize("there_before", [True, False])
    @pytest.mark.parametrize("where", ["reading", "learning", "saving", "encoding", "leakage"])
    def test_nothing_is_left_and_the_old_stays(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        where: str,
        there_before: bool,
        error: BaseException,
    ) -> None:
        plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(30)})
        made = recipe(tmp_path, {"one": text("a"), "two": text("a")})
        if there_before:
            prepare(made, tmp_path)
        before = everything_below(tmp_path)

        def fail(*args: Any, **named: Any) -> Any:
            raise error

        def fail_midway(source: TextSource) -> Iterator[Any]:
            yield from list(whole(source))[:10]
            raise error

        whole = TextSource.documents
        target, name, replacement = {
            "reading": (TextSource, "documents", fail_midway),
            "learning": (tokenizers, "train", fail),
            "saving": (tokenizers, "save", fail),
            "encoding": (tokenizers.Tokenizer, "encode_parts", fail),
            "leakage": (leakage, "shared_share", fail),
        }[where]
        monkeypatch.setattr(target, name, replacement)
        with pytest.raises(type(error)):
            prepare(made, tmp_path, force=True)
        monkeypatch.undo()
        assert everything_below(tmp_path) - {"out"} == before - {"out"}
        if there_before:
            assert (
                store.fresh(tmp_path / "out/prepared", "prepared", prepared_key(made), lambda notice: None)
                is not None
            )

    def test_no_document_left_says_why(self, tmp_path: Path) -> None:
        plant(tmp_path, {"a/1.txt": "x", "a/2.txt": "", "a/3.bin": b"\0"})
        with pytest.raises(
            DataError, match=r"stages\.s\.data: no document .*2 too short, 1 binary"
        ) as caught:
            prepare(recipe(tmp_path, {"s": text("a")}), tmp_path)
        assert "loosen prepare.cleaning" in caught.value.fix
        assert list((tmp_path / "out").iterdir()) == []

    def test_too_little_text_for_the_vocabulary(self, tmp_path: Path) -> None:
        plant(tmp_path, {"a/1.txt": prose(1, 16), "a/2.txt": prose(2, 16), "a/3.txt": prose(3, 16)})
        made = recipe(tmp_path, {"s": text("a")}, tokenizer={"vocab_size": 5000})
        with pytest.raises(DataError, match="vocab_size asks for 5000"):
            prepare(made, tmp_path)
        assert list((tmp_path / "out").iterdir()) == []


def test_notices_are_recorded_and_told(tmp_path: Path) -> None:
    plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(3)})
    made = recipe(tmp_path, {"s": text("a")}, prepare={"validation_share": 0.001, "test_share": 0.001})
    reporter = Listening()
    artefact = run(made, tmp_path / "out", reporter)
    assert artefact.record["notices"] == reporter.notices
    assert [notice.partition(";")[0] for notice in reporter.notices] == [
        "stage s: too small for a test share of 0.001",
        "stage s: too small for a validation share of 0.001",
    ]


def folders(folder: Path, sizes: dict[str, int]) -> list[dict[str, Any]]:
    """A source of so many files in each of these folders, which are its groups."""
    seeds = iter(range(10_000))
    plant(folder, {f"a/{name}/{at}.txt": prose(next(seeds)) for name in sizes for at in range(sizes[name])})
    return [{"source": "text", "path": "a", "group_by": "folder"}]


def test_the_smallest_group_is_moved_and_named(tmp_path: Path) -> None:
    for seed in range(5):  # by the hash alone it would be the library for some
        place = tmp_path / str(seed)
        place.mkdir()
        data = folders(place, {"library": 30, "mine": 9})
        shares = {"validation_share": 0.0, "test_share": 1e-9}
        artefact = prepare(recipe(place, {"s": data}, prepare=shares, seed=seed), place)
        said = "one whole group was held out instead: a/mine/ (9 of 39 records)"
        assert artefact.record["notices"] == [f"stage s: too small for a test share of 1e-09; {said}"]
        groups = {"train": {"a/library/": 30}, "validation": {}, "test": {"a/mine/": 9}}
        assert artefact.record["stages"][0]["groups"] == groups


def test_few_groups_of_a_side_are_named(tmp_path: Path) -> None:
    data = folders(tmp_path, {f"k{at}": 1 + at % 4 for at in range(40)})
    reporter = Listening()
    artefact = run(recipe(tmp_path, {"s": data}), tmp_path / "out", reporter)
    stage = artefact.record["stages"][0]
    groups, sides = stage["groups"], split.Sides(42, 0.1, 0.15)
    assert groups["train"] is None
    for side in ("validation", "test"):
        every = {name for at in range(40) if sides[name := f"a/k{at}/"] == side}
        assert set(groups[side]) == every
        assert sum(groups[side].values()) == stage["splits"][side]["documents"]
        assert list(groups[side].values()) == sorted(groups[side].values(), reverse=True)
    lists = {side: ", ".join(groups[side]) for side in ("validation", "test")}
    assert f"held out of s: validation: {lists['validation']}; test: {lists['test']}" in reporter.said


def test_a_leaking_split_is_told(tmp_path: Path) -> None:
    licence = prose(7, 400)
    plant(tmp_path, {f"a/{seed}.txt": licence + prose(seed) for seed in range(100, 140)})
    shares = {"validation_share": 0.2, "test_share": 0.2, "near_duplicate_similarity": None}
    artefact = prepare(recipe(tmp_path, {"s": text("a")}, prepare=shares), tmp_path)
    shared = artefact.record["stages"][0]["shared_13_token_runs"]
    assert 0.5 < shared["test"] < 1.0
    assert sum("13-token runs" in notice for notice in artefact.record["notices"]) == 2


def test_a_stage_whose_held_out_documents_all_have_twins_elsewhere_says_so(tmp_path: Path) -> None:
    plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(40)})
    held_out = [
        f"b/{seed}.txt"
        for seed in range(40)
        if split.Sides(42, 0.0, 0.15)[f"b/{seed}.txt"]
        == "test"
        != split.Sides(42, 0.0, 0.15)[f"a/{seed}.txt"]
    ]
    plant(tmp_path, {name: prose(int(name[2:-4])) for name in held_out})
    plant(tmp_path, {f"b/own{seed}.txt": prose(1000 + seed) for seed in range(9)})
    own = [f"b/own{seed}.txt" for seed in range(9)]
    assert held_out
    for name in own:
        if split.Sides(42, 0.0, 0.15)[name] == "test":
            (tmp_path / name).unlink()
    shares = {"validation_share": 0.0, "test_share": 0.15}
    artefact = prepare(recipe(tmp_path, {"one": text("a"), "two": text("b")}, prepare=shares), tmp_path)
    assert artefact.record["stages"][1]["splits"]["test"]["documents"] == 0
    assert "stage two: the test split is empty; nothing is held out for it" in artefact.record["notices"]


PEAK = """
import json, random, resource, sys
from pathlib import Path
from whet.prepare.run import run
from whet.progress import Reporter
from whet.recipe.load import load_recipe

folder, megabytes = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(0)
words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(20_000)]
with (folder / "text.jsonl").open("w") as file:
    written = 0
    while written < megabytes * 1e6:
        text = " ".join(draw.choices(words, k=draw.randint(50, 3000)))
        written += len(text)
        file.write(json.dumps({"text": text}) + "\\n")
(folder / "recipe.yaml").write_text(json.dumps({
    "name": "t", "model": {"size": "tiny", "context": 64},
    "tokenizer": {"vocab_size": 2000, "sample_bytes": 2_000_000},
    "stages": [{"name": "s", "data": [{"source": "text", "path": "text.jsonl"}]}],
}))
run(load_recipe(str(folder / "recipe.yaml")).recipe, folder / "out", Reporter())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


PEAK_BY_DOCUMENTS = """
import json, random, resource, sys
from pathlib import Path
from whet.prepare import duplicates, leakage
from whet.prepare.run import run
from whet.progress import Reporter
from whet.recipe.load import load_recipe

duplicates.CACHE_KIB, leakage.MAX_TOKENS = 1024, 2000  # reached at once: bounds are no growth
folder, count = Path(sys.argv[1]), int(sys.argv[2])
draw = random.Random(0)
words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 6))) for _ in range(2000)]
with (folder / "text.jsonl").open("w") as file:
    for _ in range(count):
        file.write(json.dumps({"text": " ".join(draw.choices(words, k=16))}) + "\\n")
(folder / "recipe.yaml").write_text(json.dumps({
    "name": "t", "model": {"size": "tiny", "context": 64},
    "tokenizer": {"vocab_size": 400, "sample_bytes": 20_000},
    "stages": [{"name": "s", "data": [{"source": "text", "path": "text.jsonl"}]}],
}))
run(load_recipe(str(folder / "recipe.yaml")).recipe, folder / "out", Reporter())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="units of ru_maxrss")
def test_a_document_leaves_little_in_memory(tmp_path: Path) -> None:
    """At 200 bytes each, the million documents of some 5 GB stay below 200 MB."""
    peaks, counts = [], (4_000, 24_000)
    for count in counts:
        folder = tmp_path / str(count)
        folder.mkdir()
        command = [sys.executable, "-c", PEAK_BY_DOCUMENTS, str(folder), str(count)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(found.stdout))
    assert (peaks[1] - peaks[0]) / (counts[1] - counts[0]) < 200, f"peak bytes: {peaks}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="units of ru_maxrss")
def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    peaks = []
    for megabytes in (15, 60):
        folder = tmp_path / str(megabytes)
        folder.mkdir()
        command = [sys.executable, "-c", PEAK, str(folder), str(megabytes)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(found.stdout))
    assert peaks[1] - peaks[0] < 60, f"peak MB at 15 and 60 MB of text: {peaks}"
