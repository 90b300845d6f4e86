"""Run folders from someone who also wrote the hashes: what does not fit together is refused, wherever it is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.attack.conftest import calm
from tests.attack.folders import CANARY, Canary, sparse
from whet import store
from whet.errors import ArtefactError, WhetError
from whet.tokenstore import TokenStore
from whet.use.choose import choose_model

VOCABULARY = 420


@pytest.fixture
def split(prepared: store.Artefact, tmp_path: Path) -> Path:
    """One split's folder, to spoil."""
    return Path(shutil.copytree(prepared.folder / "first" / "train", tmp_path / "train"))


def array(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def spoil(split: Path) -> None:
        np.save(split / name, change(np.load(split / name, allow_pickle=False)), allow_pickle=True)

    return spoil


def put(index: int, value: int) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values[index] = value
        return values

    return change


def pickled(split: Path) -> None:
    np.save(split / "offsets.npy", np.array([Canary(split)], object), allow_pickle=True)


def claims(shape: str, dtype: str = "<i8") -> Callable[[Path], None]:
    """A header that says more than the file holds."""

    def spoil(split: Path) -> None:
        header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        (split / "offsets.npy").write_bytes(
            b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        )

    return spoil


def foreign_id(split: Path) -> None:
    raw = bytearray((split / "tokens.bin").read_bytes())
    raw[100:102] = b"\xff\xff"
    (split / "tokens.bin").write_bytes(raw)


SPLITS: dict[str, Callable[[Path], None]] = {
    "pickled objects": pickled,
    "no array": lambda split: (split / "offsets.npy").write_bytes(b"PK\x03\x04"),
    "an empty file": lambda split: (split / "offsets.npy").write_bytes(b""),
    "a shape of 2**60": claims("(1152921504606846976,)"),
    "a shape that is code": claims("__import__('os').mkdir('canary')"),
    "a negative shape": claims("(-1,)"),
    "objects by name": claims("(1,)", "|O"),
    "fractions": array("offsets.npy", lambda values: values.astype(float)),
    "a table": array("offsets.npy", lambda values: values[None]),
    "no offsets at all": array("offsets.npy", lambda values: values[:0]),
    "an offset beyond the tokens": array("offsets.npy", put(-1, 10**12)),
    "a negative offset": array("offsets.npy", put(1, -5)),
    "offsets that go back": array("offsets.npy", put(1, 10**6)),
    "offsets that begin late": array("offsets.npy", put(0, 3)),
    "a length too few": array("text_bytes.npy", lambda values: values[:-1]),
    "half an id": lambda split: (split / "tokens.bin").write_bytes(
        (split / "tokens.bin").read_bytes() + b"\0"
    ),
    "no tokens": lambda split: (split / "tokens.bin").write_bytes(b""),
    "an id beyond the vocabulary": foreign_id,
    "tokens of 1 TB": lambda split: sparse(split / "tokens.bin", 10**12),
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_that_does_not_fit_together_is_refused(name: str, split: Path) -> None:
    SPLITS[name](split)
    with calm(), pytest.raises(ArtefactError) as refusal:
        TokenStore.open(split, VOCABULARY)
    assert str(split) in refusal.value.where
    assert not list(split.rglob(CANARY))
    assert not Path(CANARY).exists()


def test_the_split_itself_is_opened(split: Path) -> None:
    assert len(TokenStore.open(split, VOCABULARY)) > 0


def sealed(folder: Path, **changes: Any) -> None:
    """A manifest whose own hash is right."""
    body = {"schema": 1, "kind": "model", "key": "k", "record": {}, "files": {}, **changes}
    store.write_json(folder / store.MANIFEST, {**body, "sha256": store.content_hash(body)})


ENTRY = {"bytes": 0, "sha256": "0" * 64}


@pytest.mark.parametrize("changes", [
    {"files": {"../secret": ENTRY}}, {"files": {"/etc/passwd": ENTRY}}, {"files": {"a/../../secret": ENTRY}},
    {"files": {"a\0b": ENTRY}}, {"files": {"": ENTRY}}, {"files": []}, {"files": {"a": None}},
    {"files": {"a": {"bytes": "0", "sha256": ""}}}, {"files": {"a": {"bytes": 0}}}, {"files": {"a": {**ENTRY, "bytes": True}}},
    {"kind": None}, {"key": 7}, {"record": []}, {"schema": "new"}, {"schema": 10**30},
], ids=str)  # fmt: skip
def test_a_manifest_of_another_shape_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    sealed(tmp_path, **changes)
    with pytest.raises(ArtefactError):
        store.open_artefact(tmp_path, "model")


def test_a_manifest_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / store.MANIFEST)
    with pytest.raises(ArtefactError, match="no regular file"):
        store.open_artefact(tmp_path, "model")


def test_a_manifest_nested_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / store.MANIFEST).write_text('{"record": ' + "[" * 10**6)
    with calm(), pytest.raises(ArtefactError):
        store.open_artefact(tmp_path, "model")


@pytest.mark.parametrize("recipe", [
    "stages: [{name: ../../model}]", "stages: [{name: ..}]", "stages: [{name: /etc}]", "stages: [{name: ''}]",
    "stages: [{name: 7}]", "stages: [7]", "stages: 7", "name: x", "- 7", "", "stages: [{name: a/b}]",
    "stages: &a [*a]", "!!python/object/apply:os.mkdir [canary]", "{" * 5_000, "stages: [\0]",
], ids=lambda text: repr(text[:30]))  # fmt: skip
def test_a_run_whose_recipe_leads_elsewhere_is_refused(recipe: str, model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "stages" / "x").mkdir(parents=True)
    (run / "recipe.yaml").write_text(recipe)
    with pytest.raises(WhetError):
        choose_model(run, None)
    assert not Path(CANARY).exists()


def test_a_recipe_of_100_mb_is_refused_unread(tmp_path: Path) -> None:
    sparse(tmp_path / "recipe.yaml", 100_000_000)
    with calm(), pytest.raises(ArtefactError, match="larger than"):
        choose_model(tmp_path, None)


def test_a_changed_model_is_not_used(model: Path) -> None:
    """A model that whet wrote has hashes: with them, a damaged number is found too."""
    files = {
        file.name: {"bytes": file.stat().st_size, "sha256": store.file_hash(file)} for file in model.iterdir()
    }
    sealed(model, files=files)
    assert choose_model(model, None) == model
    with (model / "model.safetensors").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    with pytest.raises(ArtefactError, match="changed"):
        choose_model(model, None)
