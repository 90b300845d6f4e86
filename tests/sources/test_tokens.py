"""The tokens source: checked when the recipe is read, mapped when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from whet.errors import DataError
from whet.sources.tokens import TokensSource


def source(folder: Path, **settings: Any) -> TokensSource:
    return TokensSource.model_validate({"source": "tokens", **settings}, context={"folder": folder})


def test_arrays_by_split(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.ones((3, 4), np.int32))
    np.save(tmp_path / "held.npy", np.ones((1, 4), np.int64))
    assert [split for split, _ in source(tmp_path, path="train.npy").arrays()] == ["train"]
    both = list(source(tmp_path, path="train.npy", validation="held.npy").arrays())
    assert [(split, ids.shape) for split, ids in both] == [("train", (3, 4)), ("validation", (1, 4))]


def test_there_are_no_documents(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.ones((3, 4), np.int32))
    with pytest.raises(NotImplementedError, match="arrays"):
        source(tmp_path, path="train.npy").documents()


def test_a_wrong_file_is_refused_with_its_absolute_path(tmp_path: Path) -> None:
    np.save(tmp_path / "float.npy", np.ones((3, 4)))
    for name, said in [("float.npy", "float64"), ("missing.npy", "does not exist")]:
        with pytest.raises(ValidationError, match=said) as caught:
            source(tmp_path, path=name)
        assert str(tmp_path / name) in str(caught.value)


def test_negative_ids_are_found_when_read(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", -np.ones((3, 4), np.int32))
    tokens = source(tmp_path, path="train.npy")
    with pytest.raises(DataError, match="row 0"):
        list(tokens.arrays())


def test_fingerprint(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.ones((3, 4), np.int32))
    tokens = source(tmp_path, path="train.npy")
    first = tokens.fingerprint()
    assert tokens.fingerprint() == first
    np.save(tmp_path / "train.npy", np.ones((4, 4), np.int32))
    assert tokens.fingerprint() != first
    (tmp_path / "train.npy").unlink()
    with pytest.raises(DataError):
        tokens.fingerprint()
