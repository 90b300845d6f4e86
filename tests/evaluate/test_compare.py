"""The bootstrap: its value is the plain formula, its interval covers the truth as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from whet.errors import DataError
from whet.evaluate import compare
from whet.evaluate.compare import difference, estimate
from whet.metrics.base import METRICS, DocumentScores

BITS = METRICS.get("bits_per_byte")
PERPLEXITY = METRICS.get("perplexity")


def corpus(documents: int, seed: int) -> DocumentScores:
    """Documents of very different lengths with a loss per token between 1 and 3, 2 on average."""
    random = np.random.default_rng(seed)
    tokens = random.integers(20, 400, documents)
    return DocumentScores(tokens * random.uniform(1, 3, documents), tokens, tokens * 3)


def worse(scores: DocumentScores, seed: int) -> DocumentScores:
    """Another model on the same documents: 0.1 nats per token more on average, up to 0.2 either way."""
    more = np.random.default_rng(seed).uniform(-0.1, 0.3, len(scores))
    return DocumentScores(scores.nll_nats + scores.tokens * more, scores.tokens, scores.text_bytes)


def test_value_is_the_plain_formula() -> None:
    scores = corpus(30, seed=0)
    nll, tokens, text_bytes = scores.totals()
    assert estimate(BITS, scores, seed=1).value == pytest.approx(nll / math.log(2) / text_bytes, rel=1e-14)
    assert estimate(PERPLEXITY, scores, seed=1).value == pytest.approx(math.exp(nll / tokens), rel=1e-14)


@pytest.mark.parametrize("paired", [False, True])
def test_interval_covers_the_truth_about_95_times_in_100(paired: bool) -> None:
    """400 corpora: the share has a standard error of 1.1 points."""
    covered = 0
    for seed in range(400):
        scores = corpus(80, seed)
        if paired:
            found = difference(BITS, worse(scores, seed + 50_000), scores, seed=seed, resamples=400)
        else:
            found = estimate(BITS, scores, seed=seed, resamples=400)
        truth = (0.1 if paired else 2.0) / math.log(2) / 3
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_wider_level_gives_a_wider_interval() -> None:
    narrow, wide = (estimate(BITS, corpus(50, seed=0), seed=0, level=level) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_paired_is_narrower_than_unpaired_when_both_find_the_same_documents_hard() -> None:
    a = corpus(100, seed=3)
    b = worse(a, seed=4)
    paired = difference(BITS, b, a, seed=5)
    widths = [found.high - found.low for found in (estimate(BITS, a, seed=5), estimate(BITS, b, seed=6))]
    assert paired.high - paired.low < 0.2 * math.hypot(*widths)
    assert paired.low > 0, "b is worse, and the pairing shows it"


def test_difference_of_a_model_with_itself_is_exactly_zero() -> None:
    scores = corpus(20, seed=0)
    assert difference(PERPLEXITY, scores, scores, seed=0).as_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_same_seed_same_interval_other_seed_another() -> None:
    first, again, other = (estimate(BITS, corpus(40, seed=0), seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first.low != other.low


def test_blocks_bound_the_memory_and_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = estimate(BITS, corpus(40, seed=0), seed=7)
    monkeypatch.setattr(compare, "BLOCK_CELLS", 70)
    in_blocks = estimate(BITS, corpus(40, seed=0), seed=7)
    assert (in_blocks.low, in_blocks.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


def test_one_document_has_a_value_and_no_interval() -> None:
    scores = corpus(1, seed=0)
    found = estimate(BITS, scores, seed=0)
    assert (found.low, found.high) == (None, None)
    assert found.as_dict()["note"] == "no interval: it needs 2 documents or more, there is 1"
    assert difference(BITS, scores, scores, seed=0).low is None


def test_resamples_with_nothing_scored_give_no_interval() -> None:
    half_empty = DocumentScores(np.array([0.0, 9.0]), np.array([0, 3]), np.array([0, 9]))
    found = estimate(PERPLEXITY, half_empty, seed=0)
    assert found.value == pytest.approx(math.exp(3))
    assert found.low is None
    assert "nothing to divide by" in found.note


@pytest.mark.parametrize("documents", [0, 3])
def test_refuses_where_nothing_was_scored(documents: int) -> None:
    nothing = DocumentScores(np.zeros(documents), np.zeros(documents, int), np.zeros(documents, int))
    with pytest.raises(DataError, match=r"perplexity has no finite value \(loss 0 nats, 0 tokens, 0 bytes\)"):
        estimate(PERPLEXITY, nothing, seed=0)


def test_refuses_to_pair_other_documents() -> None:
    with pytest.raises(DataError, match="same documents"):
        difference(BITS, corpus(10, seed=0), corpus(10, seed=1), seed=0)
    with pytest.raises(DataError, match="same documents"):
        difference(BITS, corpus(10, seed=0), corpus(11, seed=0), seed=0)
