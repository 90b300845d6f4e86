"""The floors of a model: what counting n-grams in the training text achieves on the same held-out text."""

from __future__ import annotations

from collections.abc import Callable

from whet import limits
from whet.metrics.base import DocumentScores
from whet.metrics.kneser_ney import KneserNey
from whet.tokenstore import TokenStore


def counted_on(training: TokenStore, notice: Callable[[str], None]) -> TokenStore:
    """The leading documents that the floors are counted on: at most limits.FLOOR_TOKENS; what is left out is said."""
    counted = training.first(limits.FLOOR_TOKENS)
    if len(counted) < len(training):
        notice(
            f"counted on the first {int(counted.offsets[-1]):,} of {int(training.offsets[-1]):,} training tokens"
        )
    return counted


def floor_scores(
    counted: TokenStore, held_out: TokenStore, *, vocab_size: int, order: int, notice: Callable[[str], None]
) -> list[DocumentScores]:
    """Kneser-Ney models of orders 1 to `order`, counted on one store and scored on the other, in this order."""
    model = KneserNey.fit(counted.tokens, counted.offsets, vocab_size=vocab_size, order=order)
    for note in model.notes():
        notice(note)
    nll, tokens = model.score(held_out.tokens, held_out.offsets)
    return [DocumentScores(row, tokens, held_out.text_bytes) for row in nll]
