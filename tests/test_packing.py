"""Every token but a document's first is learned once per epoch, and the order is the same everywhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import packing
from whet.errors import DataError
from whet.packing import IGNORED, Batch, Overflow, Rows
from whet.tokenstore import TokenStore

PAD = 65_000


def stored(lengths: list[int]) -> TokenStore:
    """Documents of these lengths in which every token is its own position in the store."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.arange(offsets[-1], dtype="<u2")
    return TokenStore(tokens, offsets, np.zeros(len(lengths), np.int64), Path("nowhere"))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], int]:
    length = draw(st.integers(2, 24))
    edges = st.sampled_from([0, 1, 2, length - 1, length, length + 1, length + 2, 2 * length, 2 * length + 1])
    sizes = st.one_of(edges, st.integers(0, 3 * length), st.integers(5 * length, 9 * length))
    return draw(st.lists(sizes, min_size=1, max_size=30)), length


def whole_epoch(store: TokenStore, rows: Rows) -> Batch:
    return packing.batch_of(store, rows, packing.epoch_order(len(rows), 1, 0).tolist(), PAD)


def check_consistency(store: TokenStore, batch: Batch) -> None:
    """Inputs, labels, positions and segments tell one story, and it is the store's."""
    real = batch.segments > 0
    assert (batch.inputs[~real] == PAD).all()
    assert (batch.labels[~real] == IGNORED).all()
    assert (batch.positions[~real] == 0).all()
    assert (batch.labels[real] == batch.inputs[real] + 1).all(), (
        "tokens are positions: a label is the next one"
    )
    pieces = 0
    for inputs, positions, segments in zip(batch.inputs, batch.positions, batch.segments, strict=True):
        used = int((segments > 0).sum())
        assert (segments[used:] == 0).all(), "padding only at the end"
        for segment in range(1, int(segments.max()) + 1):
            (at,) = np.nonzero(segments == segment)
            assert at.tolist() == list(range(at[0], at[0] + len(at)))
            assert positions[at].tolist() == list(range(len(at)))
            assert np.diff(inputs[at]).tolist() == [1] * (len(at) - 1)
            document = batch.documents[pieces]
            first, last = store.offsets[document], store.offsets[document + 1] - 1
            assert first <= inputs[at[0]] <= inputs[at[-1]] < last, "a piece lies within its document"
            pieces += 1
    assert pieces == len(batch.documents)
    assert batch.label_count == real.sum()


@given(cases())
@settings(deadline=None, max_examples=150)
def test_under_split_every_label_appears_exactly_once(case: tuple[list[int], int]) -> None:
    lengths, length = case
    store = stored(lengths)
    wanted = [t for b, e in zip(store.offsets[:-1], store.offsets[1:], strict=True) for t in range(b + 1, e)]
    if not wanted:
        with pytest.raises(DataError, match="left to learn from: 0 of"):
            packing.plan_rows(store, length, "split")
        return
    rows = packing.plan_rows(store, length, "split")
    batch = whole_epoch(store, rows)
    check_consistency(store, batch)
    assert sorted(batch.labels[batch.labels != IGNORED].tolist()) == wanted
    assert rows.tokens == batch.label_count == len(wanted)
    assert rows.filled_share == pytest.approx(len(wanted) / batch.inputs.size)
    assert rows.pieces.overflow == {
        "documents_over": sum(size > length + 1 for size in lengths),
        "tokens_cut": 0,
    }


@given(cases(), st.sampled_from(["drop", "truncate_left", "truncate_right"]))
@settings(deadline=None, max_examples=150)
def test_the_other_rules_keep_what_they_say_and_count_the_rest(
    case: tuple[list[int], int], overflow: Overflow
) -> None:
    lengths, length = case
    store = stored(lengths)
    wanted: list[int] = []
    for begin, end in zip(store.offsets[:-1].tolist(), store.offsets[1:].tolist(), strict=True):
        labels = list(range(begin + 1, end))
        if len(labels) > length:
            labels = {"drop": [], "truncate_left": labels[-length:], "truncate_right": labels[:length]}[
                overflow
            ]
        wanted += labels
    pieces = packing.cut(store, length, overflow)
    assert pieces.overflow == {
        "documents_over": sum(size - 1 > length for size in lengths),
        "tokens_cut": sum(max(size - 1, 0) for size in lengths) - len(wanted),
    }
    rows = packing.pack(pieces, length)
    if wanted:
        batch = whole_epoch(store, rows)
        check_consistency(store, batch)
        assert sorted(batch.labels[batch.labels != IGNORED].tolist()) == wanted


def test_the_rule_error_names_the_first_long_document() -> None:
    packing.cut(stored([9, 3]), 8, "error")
    with pytest.raises(DataError, match=r"document 1 has 10 tokens, sequence_length is 8 \(2 are longer\)"):
        packing.cut(stored([9, 10, 30]), 8, "error")


@pytest.mark.parametrize(
    ("lengths", "length", "pieces"),
    [
        ([0, 1], 4, []),
        ([2], 4, [(0, 1)]),
        ([5], 4, [(0, 4)]),
        ([6], 4, [(0, 4), (4, 1)]),
        ([9], 4, [(0, 4), (4, 4)]),
        ([1, 3, 10], 4, [(1, 2), (4, 4), (8, 4), (12, 1)]),
    ],
)
def test_pieces_of_a_split(lengths: list[int], length: int, pieces: list[tuple[int, int]]) -> None:
    found = packing.cut(stored(lengths), length, "split")
    assert list(zip(found.start.tolist(), found.length.tolist(), strict=True)) == pieces


@given(cases())
@settings(deadline=None)
def test_no_row_is_longer_than_allowed_and_none_could_be_saved_for_two(case: tuple[list[int], int]) -> None:
    lengths, length = case
    pieces = packing.cut(stored(lengths), length, "split")
    rows = packing.pack(pieces, length)
    loads = [
        int(pieces.length[rows.order[begin:end]].sum())
        for begin, end in zip(rows.bounds[:-1], rows.bounds[1:], strict=True)
    ]
    assert sorted(rows.order.tolist()) == list(range(len(pieces.length)))
    assert all(0 < load <= length for load in loads)
    assert sum(2 * load <= length for load in loads) <= 1, "two half-empty rows would have been one"


@pytest.mark.parametrize("length", [256, 1024, 4096])
def test_rows_are_at_least_95_percent_full(length: int) -> None:
    """Lengths as in code corpora: log-normal, median 700 tokens, a heavy tail."""
    lengths = np.random.default_rng(0).lognormal(6.5, 1.2, 2000).astype(int) + 2
    store = TokenStore(
        np.zeros(lengths.sum(), "<u2"),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.zeros(len(lengths), np.int64),
        Path("nowhere"),
    )
    assert packing.plan_rows(store, length, "split").filled_share > 0.95


GOLDEN = {
    (10_000, 42, 0): "484c09606765fc31",
    (10_000, 42, 1): "9ecab963dc7cfe39",
    (1_000_003, 2**63 - 1, 7): "31697fa3cd350323",
}


def fingerprint(count: int, seed: int, epoch: int) -> str:
    first = packing.epoch_order(count, seed, epoch)[:10_000]
    return hashlib.sha256(first.astype("<i8").tobytes()).hexdigest()[:16]


class TestOrder:
    @pytest.mark.parametrize("case", GOLDEN)
    def test_it_is_the_same_on_every_machine(self, case: tuple[int, int, int]) -> None:
        assert fingerprint(*case) == GOLDEN[case]

    def test_it_is_the_same_in_every_process(self) -> None:
        code = (
            "import hashlib; from whet.packing import epoch_order;"
            "print(hashlib.sha256(epoch_order(10_000, 42, 0).astype('<i8').tobytes()).hexdigest()[:16])"
        )
        for seed in ("0", "1234"):
            environment = {**os.environ, "PYTHONHASHSEED": seed}
            found = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            assert found.stdout.strip() == GOLDEN[10_000, 42, 0]

    @given(st.integers(1, 300), st.integers(0, 2**63 - 1), st.integers(0, 10_000))
    @settings(deadline=None)
    def test_it_is_a_permutation(self, count: int, seed: int, epoch: int) -> None:
        order = packing.epoch_order(count, seed, epoch)
        assert sorted(order.tolist()) == list(range(count))

    def test_epochs_and_seeds_differ(self) -> None:
        orders = {fingerprint(500, seed, epoch) for seed in range(5) for epoch in range(5)}
        assert len(orders) == 25

    def test_nobody_can_change_it_for_others(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            packing.epoch_order(10, 1, 0)[0] = 3
        packing.row_at(10, 1, 0, 5)[0] = 3

    @given(st.integers(1, 40), st.integers(0, 5), st.integers(0, 200), st.integers(1, 120))
    @settings(deadline=None)
    def test_rows_across_epochs_are_the_concatenated_orders(
        self, count: int, seed: int, cursor: int, size: int
    ) -> None:
        stream = np.concatenate(
            [packing.epoch_order(count, seed, epoch) for epoch in range(325 // count + 1)]
        )
        assert packing.row_at(count, seed, cursor, size).tolist() == stream[cursor : cursor + size].tolist()


@pytest.mark.parametrize(
    ("rows", "per_step", "steps", "epochs", "wanted"),
    [
        (100, 8, None, None, 13),
        (100, 8, 7, None, 7),
        (100, 8, None, 2.0, 25),
        (100, 8, None, 0.01, 1),
        (3, 8, None, 1.0, 1),
    ],
)
def test_step_count(rows: int, per_step: int, steps: int | None, epochs: float | None, wanted: int) -> None:
    assert packing.step_count(rows, per_step, steps=steps, epochs=epochs) == wanted


class TestWindows:
    @given(cases(), st.data())
    @settings(deadline=None, max_examples=150)
    def test_each_label_is_scored_once_with_context(
        self, case: tuple[list[int], int], data: st.DataObject
    ) -> None:
        lengths, length = case
        stride = data.draw(st.integers(1, length))
        store = stored(lengths)
        scored: Counter[int] = Counter()
        for document, start, size, first in packing.windows(store, length, stride):
            begin, end = store.offsets[document], store.offsets[document + 1]
            assert begin <= start
            assert 0 < size <= length
            assert start + size < end, "the last input has a label"
            assert 0 <= first < size
            for position in range(first, size):
                context = position + 1
                available = start + position + 1 - begin
                assert context >= min(available, length - stride + 1)
                scored[int(start + position + 1)] += 1
        wanted = {
            t for b, e in zip(store.offsets[:-1], store.offsets[1:], strict=True) for t in range(b + 1, e)
        }
        assert scored == dict.fromkeys(wanted, 1)

    def test_a_stride_that_leaves_gaps_is_our_mistake(self) -> None:
        with pytest.raises(AssertionError, match="unscored"):
            list(packing.windows(stored([10]), 4, 5))
