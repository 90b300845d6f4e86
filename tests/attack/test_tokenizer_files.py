"""Tokenizers from someone who means harm: refused by name, or harmless; nothing hangs and nothing of theirs runs."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attack.conftest import calm
from tests.attack.folders import CANARY, Canary, code, edit, link, sparse, special, text
from whet.errors import DataError, WhetError
from whet.text.tokenizer import Tokenizer, load

FILE, SETTINGS = "tokenizer.json", "tokenizer_config.json"


@pytest.fixture
def folder(good_model: Path, tmp_path: Path) -> Path:
    """A good tokenizer to spoil."""
    for name in (FILE, SETTINGS):
        (tmp_path / name).write_bytes((good_model / name).read_bytes())
    return tmp_path


def parts(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        edit(folder / FILE, **changes)

    return spoil


def replaced(pattern: str, content: str, times: int = 1) -> dict[str, Any]:
    rule = {"type": "Replace", "pattern": {"String": pattern}, "content": content}
    return {"type": "Sequence", "normalizers": [rule] * times}


def split_at(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def with_id(index: int) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / FILE).read_text())
        values["model"]["vocab"]["evil"] = index
        edit(folder / FILE, **values)

    return spoil


def many_values(folder: Path) -> None:
    (folder / FILE).write_bytes(b'{"x": [' + b"0," * 5_000_000 + b"0]}")


def pickle_in_disguise(folder: Path) -> None:
    (folder / FILE).write_bytes(pickle.dumps(Canary(folder)))


def only_sentencepiece(folder: Path) -> None:
    (folder / FILE).rename(folder / "tokenizer.model")


CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no JSON": (text(FILE, "vocab: {}"), "not a tokenizer"),
    "a list": (text(FILE, "[]"), "not a tokenizer"),
    "a pickle": (pickle_in_disguise, "not a tokenizer"),
    "only sentencepiece": (only_sentencepiece, "no tokenizer.json"),
    "nested deeply": (text(FILE, '{"version":' + "[" * 10**6 + "]" * 10**6 + "}"), "not a tokenizer"),
    "nested rules": (parts(normalizer=json.loads('{"type":"Sequence","normalizers":[' * 100 + "]}" * 100)), "not a tokenizer"),
    "100 MB": (lambda folder: sparse(folder / FILE, 100_000_000, b'{"version": "'), "larger than"),
    "many values": (many_values, "more than"),
    "a pipe": (special(FILE, os.mkfifo), "no tokenizer.json"),
    "a folder": (special(FILE, Path.mkdir), "no tokenizer.json"),
    "a link to a secret": (link(FILE, "/etc/passwd"), "link out of its folder"),
    "a link to zeros": (link(FILE, "/dev/zero"), "no tokenizer.json"),
    "an id of 2**32 - 1": (with_id(2**32 - 1), "the id 4,294,967,295"),
    "an id of 2**64": (with_id(2**64), "not a tokenizer"),
    "a negative id": (with_id(-1), "not a tokenizer"),
    "a text that doubles forty times": (parts(normalizer=replaced("a", "aa", 40)), "too long"),
    "one sign becomes a novel": (parts(normalizer=replaced("a", "a" * 10**6)), "too long"),
    "a long beginning": (parts(normalizer={"type": "Prepend", "prepend": "a" * 10**6}), "too long"),
    "ids that become novels": (parts(decoder=replaced("a", "a" * 10**6)["normalizers"][0]), "too long"),
    "a pattern that is none": (parts(pre_tokenizer=split_at("((")), "not a tokenizer"),
    "code": (code(SETTINGS, auto_map={"AutoTokenizer": ["tokenization_x.X", None]}), "auto_map"),
    "settings of 100 MB": (lambda folder: sparse(folder / SETTINGS, 100_000_000), "larger than"),
    "settings nested deeply": (text(SETTINGS, "[" * 10**6), "not JSON"),
    "settings are a pipe": (special(SETTINGS, os.mkfifo), "no regular file"),
    "settings are a link": (link(SETTINGS, "/etc/passwd"), "link out of its folder"),
    "no end of a text": (lambda folder: edit(folder / SETTINGS, eos_token="<nobody>"), "names no eos token"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_tokenizer_is_refused_by_name(name: str, folder: Path) -> None:
    spoil, says = CASES[name]
    spoil(folder)
    with calm(), pytest.raises(DataError, match=says) as refusal:
        load(folder)
    assert str(folder) in refusal.value.where
    assert not list(folder.rglob(CANARY))


def test_a_pattern_that_never_ends_is_given_up(folder: Path) -> None:
    edit(folder / FILE, pre_tokenizer=split_at("(a+)+$"))
    tokenizer = load(folder)
    for encode in (tokenizer.encode_prompt, lambda given: tokenizer.encode_documents([given])):
        with pytest.raises(DataError, match="cannot do its work"):
            encode("a" * 60 + "b")  # type: ignore[operator]


def test_names_of_other_places_are_not_visited(folder: Path) -> None:
    edit(
        folder / SETTINGS,
        tokenizer_class="evil.X",
        name_or_path="someone/model",
        tokenizer_file="/etc/passwd",
    )
    before = load(folder).encode_prompt("def f():")
    edit(folder / SETTINGS, chat_template="{{ 1/0 }}", extra_special_tokens={"a": "<evil>"})
    assert load(folder).encode_prompt("def f():") == before


def _used(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_prompt("def f(x):\n    return 'é' * 2 <eos>\n")
    tokenizer.decode(ids)
    assert len(tokenizer.token_bytes()) == tokenizer.vocab_size


def _damaged(raw: str, seed: int) -> str:
    """One of: a sign changed, a stretch gone, a value of the settings outside of the vocabulary changed."""
    draw = random.Random(seed)
    at = draw.randrange(len(raw))
    if seed % 3 == 0:
        return raw[:at] + draw.choice('{}[]",:0-x\\') + raw[at + 1 :]
    if seed % 3 == 1:
        return raw[:at] + raw[at + draw.randint(1, 40) :]
    values = json.loads(raw)
    part = draw.choice([name for name in values if isinstance(values[name], dict)])
    key = draw.choice([name for name in values[part] if name not in ("vocab",)])
    values[part][key] = draw.choice([None, [], {}, "", "x", 0, -1, 2**40, True, 0.5, [[]], ["a", "b"]])
    return json.dumps(values)


@pytest.mark.parametrize("seeds", [range(60), pytest.param(range(60, 2_000), marks=pytest.mark.slow)])
def test_a_damaged_tokenizer_is_refused_or_works(seeds: range, folder: Path) -> None:
    raw = (folder / FILE).read_text("utf-8")
    refused = 0
    for seed in seeds:
        (folder / FILE).write_text(_damaged(raw, seed), "utf-8")
        try:
            _used(load(folder))
        except WhetError:
            refused += 1
    assert refused > len(seeds) // 4
