"""Positions of a chunk of the loss by vocabulary: a bound on logits, and the plan's and the model's very number."""

from __future__ import annotations

import pytest

from tests.memory.real import built, outline_of
from whet.memory import sketch
from whet.memory.operators import How
from whet.models import chunk, decoder
from whet.models.chunk import MOST_LOGITS, chunk_positions


@pytest.mark.parametrize(
    ("vocab_size", "positions"),
    [(1, 1024), (4096, 1024), (32_768, 1024), (32_769, 896), (50_257, 640), (128_256, 256), (151_936, 128)],
)
def test_golden(vocab_size: int, positions: int) -> None:
    assert chunk_positions(vocab_size) == positions


def test_bounds() -> None:
    """Whole multiples of 128, at most 1024, never more logits than the bound while 128 positions are not."""
    for vocab_size in range(1, 2_000_000, 4099):
        positions = chunk_positions(vocab_size)
        assert positions % 128 == 0
        assert 128 <= positions <= 1024
        assert positions == 128 or positions * vocab_size <= MOST_LOGITS
        assert positions == 1024 or (positions + 128) * vocab_size > MOST_LOGITS


def test_plan_and_model_ask_the_same() -> None:
    assert sketch.chunk_positions is decoder.chunk_positions is chunk.chunk_positions
    how = How(rows=1, length=8, compute=4, base="fp32")
    assert built("llama", how, None).chunk == chunk_positions(outline_of("llama").vocab_size)
