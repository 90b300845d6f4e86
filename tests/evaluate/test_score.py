"""Scores of a store: a conversation counts once, however many examples its template made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.models.test_families import small_decoder

from whet.evaluate.compare import estimate
from whet.evaluate.score import score
from whet.metrics.base import METRICS, DocumentScores
from whet.progress import Task
from whet.tokenstore import TokenStore, TokenWriter

ANSWERS = [1, 4, 2, 7, 1, 3, 5, 2]
"""Examples of each conversation. Their origins are a and b in turn, from two sources."""
OWNER = np.repeat(np.arange(len(ANSWERS)), ANSWERS)
NAMES = [("ab"[owner % 2], owner // 4) for owner in OWNER.tolist()]
APART = [(str(number), 0) for number in range(len(OWNER))]


def written(folder: Path, names: Sequence[tuple[str, int]], *, masked: bool = True) -> TokenStore:
    """One example for each (origin, source); tokens and masks are the same whatever the names."""
    draw, writer = np.random.default_rng(5), TokenWriter(folder, 101, masked=masked)
    for origin, source in names:
        ids = draw.integers(5, 101, int(draw.integers(8, 30)))
        learned = [False, *(draw.random(len(ids) - 2) < 0.5).tolist(), True]
        about, size = {"origin": origin}, 3 * sum(learned)
        writer.add(ids, text_bytes=size, about=about, source=source, learned=learned if masked else None)
    writer.finish()
    writer.close()
    return TokenStore.open(folder, 101)


def scored(store: TokenStore) -> DocumentScores:
    decoder = small_decoder("rmsnorm", "rope")
    return score(decoder, store, length=32, stride=16, pad_id=0, task=Task("", None))


def test_a_conversation_is_the_sum_of_its_answers_and_so_is_its_interval(tmp_path: Path) -> None:
    """Answers taken for conversations of their own would be three times as many, and give another interval."""
    found, apart = scored(written(tmp_path / "s", NAMES)), scored(written(tmp_path / "apart", APART))
    assert (len(found), len(apart)) == (len(ANSWERS), sum(ANSWERS))
    nll = np.bincount(OWNER, apart.nll_nats)
    tokens, text_bytes = (
        np.bincount(OWNER, own).astype(np.int64) for own in (apart.tokens, apart.text_bytes)
    )
    assert found.nll_nats == pytest.approx(nll, rel=1e-6)
    assert found.tokens.tolist() == tokens.tolist()
    assert found.text_bytes.tolist() == text_bytes.tolist()
    metric, summed = METRICS.get("perplexity"), DocumentScores(nll, tokens, text_bytes)
    assert estimate(metric, found, seed=1).low == pytest.approx(
        estimate(metric, summed, seed=1).low, rel=1e-6
    )
    assert estimate(metric, found, seed=1).low != pytest.approx(estimate(metric, apart, seed=1).low, rel=1e-3)


def test_the_first_conversations_are_those_of_the_whole(tmp_path: Path) -> None:
    """`evaluate.max_tokens` may cut between two answers."""
    store = written(tmp_path / "s", NAMES)
    part = store.first(int(store.offsets[4]))
    assert part.conversations().tolist() == store.conversations()[:4].tolist() == [0, 1, 1, 1]


def test_texts_are_documents_whatever_their_names(tmp_path: Path) -> None:
    assert len(scored(written(tmp_path / "s", NAMES, masked=False))) == len(NAMES)


def test_nothing_is_no_conversation(tmp_path: Path) -> None:
    assert len(written(tmp_path / "s", []).conversations()) == 0
