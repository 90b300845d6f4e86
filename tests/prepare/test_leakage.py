"""The share of held-out runs of 13 tokens that training holds, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.prepare import leakage
from whet.prepare.leakage import RUN, shared_share
from whet.tokenstore import TokenStore, TokenWriter


def stored(folder: Path, documents: list[list[int]]) -> TokenStore:
    writer = TokenWriter(folder, 60_000)
    for ids in documents:
        writer.add(ids, text_bytes=len(ids), about={})
    writer.finish()
    writer.close()
    return TokenStore.open(folder, 60_000)


def numbers(seed: int, count: int) -> list[int]:
    return [int(n) for n in np.random.default_rng(seed).integers(0, 60_000, count)]


def plainly(train: list[list[int]], held_out: list[list[int]]) -> float | None:
    """The same by sets of tuples."""
    known = {tuple(d[at : at + RUN]) for d in train for at in range(len(d) - RUN + 1)}
    runs = [tuple(d[at : at + RUN]) for d in held_out for at in range(len(d) - RUN + 1)]
    return sum(run in known for run in runs) / len(runs) if runs else None


def test_disjoint_texts_and_copies(tmp_path: Path) -> None:
    train = [numbers(seed, 500) for seed in range(5)]
    store = stored(tmp_path / "train", train)
    assert shared_share(store, stored(tmp_path / "other", [numbers(9, 300)])) == 0.0
    assert shared_share(store, stored(tmp_path / "copies", [train[3], train[1][50:200]])) == 1.0
    mixed = [train[0][:112], numbers(8, 312)]
    assert shared_share(store, stored(tmp_path / "mixed", mixed)) == 0.25


def test_runs_do_not_cross_documents(tmp_path: Path) -> None:
    whole = numbers(1, 24)
    store = stored(tmp_path / "train", [whole[:12], whole[12:], []])
    assert shared_share(store, stored(tmp_path / "held", [whole])) == 0.0


def test_where_there_are_no_runs(tmp_path: Path) -> None:
    train = stored(tmp_path / "train", [numbers(1, 100)])
    for number, documents in enumerate(([], [[]], [numbers(1, 12)])):
        assert shared_share(train, stored(tmp_path / str(number), documents)) is None
    assert shared_share(stored(tmp_path / "none", []), train) == 0.0


small = st.lists(st.lists(st.integers(0, 1), max_size=40), max_size=6)


@given(train=small, held_out=small, block=st.sampled_from([1, 7, 13, 50]))
@settings(deadline=None, max_examples=60)
def test_it_is_what_sets_of_tuples_say(
    train: list[list[int]], held_out: list[list[int]], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "BLOCK_TOKENS", block)
        found = shared_share(stored(folder / "train", train), stored(folder / "held", held_out))
    assert found == plainly(train, held_out)
