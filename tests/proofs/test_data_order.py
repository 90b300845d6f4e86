"""Proof: which example is learned when is one function of (seed, step), for plain, weighted and ordered stages.

The same SHA-256 of the first 10,000 examples in this process and in others, whatever PYTHONHASHSEED is, wherever
a training is cut and begun again, however a step is split into micro-batches, and read by one rank or by two.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.proofs.examples import CASES, EXAMPLES, as_bytes, data, examples, write
from whet import packing

ROOT = Path(__file__).parents[2]
STEPS = EXAMPLES // 16
GOLDEN = {
    "plain": "f29f26955749ace7b7ae08e7443ce00cba5b071efd09cf18a91ab30bafe20cd5",
    "weights": "74e673453227fdc36449c1036dd340a8973f900feba7669e662d4dcde9f9ac9d",
    "length": "5a81af895354d1306bad2d13a7b98419d79c508f26248f1564c5066ecc0b59f8",
    "weights and difficulty": "5e3821301ce3e15f13bb2382b6b794f6925f9094858c8333613c06bddc2d979f",
}
"""`plain` is what whet gave before it knew weights; the others change only on purpose, which retrains."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The material."""
    return write(tmp_path_factory.mktemp("order") / "train")


def digest(parts: list[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("case", CASES)
def test_the_first_10_000_examples_are_the_committed_ones_wherever_training_is_cut(
    folder: Path, case: str
) -> None:
    """A data object made anew at arbitrary steps goes on as if nothing had been."""
    cuts = [0, 1, 77, 78, 300, STEPS - 1, STEPS]
    parts = [list(examples(data(folder, **CASES[case]), a, b)) for a, b in pairwise(cuts)]
    found = [example for part in parts for example in part]
    assert len(found) == EXAMPLES
    assert digest(found) == GOLDEN[case]


def test_the_order_of_a_stage_without_weights_is_the_one_it_always_had(folder: Path) -> None:
    training = data(folder)
    rows = packing.plan_rows(training.store, 32, "split")
    for step in (0, 3, 200, 624):
        old = packing.row_at(len(rows), training.seed, step * 16, 16)
        assert training.rows_of_step(step).tolist() == old.tolist()
        batches = [packing.batch_of(training.store, rows, old[at : at + 8], 0) for at in (0, 8)]
        assert as_bytes(batches) == as_bytes(training.step(step))


@pytest.mark.parametrize("cut", [137, pytest.param(400, marks=pytest.mark.slow)])
def test_other_processes_read_the_same(folder: Path, tmp_path: Path, cut: int) -> None:
    """One process begins, another goes on; different hash seeds; without torch."""
    for number, (first, last) in enumerate([(0, cut), (cut, STEPS)]):
        out = tmp_path / str(number)
        out.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "tests.proofs.examples", str(folder), str(first), str(last), str(out)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(cut + number)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.stdout, done.stderr) == ("False\n", ""), "torch is not needed to know the order"
    for case in CASES:
        whole = b"".join((tmp_path / part / f"{case}.bin").read_bytes() for part in "01")
        assert hashlib.sha256(whole).hexdigest() == GOLDEN[case]


@pytest.mark.parametrize(("batch_size", "accumulation"), [(1, 16), (5, 2), (200, 10)])
def test_micro_batches_only_cut_the_same_sequence(folder: Path, batch_size: int, accumulation: int) -> None:
    for settings in CASES.values():
        found = list(
            examples(
                data(folder, **settings, batch_size=batch_size, accumulation=accumulation),
                0,
                2000 // (batch_size * accumulation),
            )
        )
        assert found == list(examples(data(folder, **settings), 0, 125))[: len(found)]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_see_together_what_one_process_sees(folder: Path, case: str) -> None:
    """Each reads its half of the rows of a step, from data of its own."""
    alone, ranks = data(folder, **CASES[case]), [data(folder, **CASES[case]) for _ in range(2)]
    for step in [*range(40), 333]:
        whole = alone.step(step)
        halves = [np.array_split(rank.rows_of_step(step), 2)[number] for number, rank in enumerate(ranks)]
        read = [
            packing.batch_of(rank.store, rank.rows, half, rank.pad_id)
            for rank, half in zip(ranks, halves, strict=True)
        ]
        assert as_bytes(read) == as_bytes(whole)
        counts = [
            rank.order.labels_by_source(half, [batch])
            for rank, half, batch in zip(ranks, halves, read, strict=True)
        ]
        assert [sum(both) for both in zip(*counts, strict=True)] == alone.labels_by_source(step, whole)


def test_an_epoch_holds_every_row_once_and_a_weighted_one_its_quotas(folder: Path) -> None:
    """Over the examples themselves, not over their numbers."""
    for case, settings in CASES.items():
        training = data(folder, **settings, batch_size=1, accumulation=1)
        count = len(training.rows)
        for epoch in range(4):
            rows = training.order.at(epoch * count, count)
            if "weights" not in settings:
                assert sorted(rows.tolist()) == list(range(count)), (case, epoch)
            else:
                of_source = Counter(training.order.source_of(rows).tolist())
                assert [of_source[at] for at in range(3)] == [share.quota for share in training.order.shares]
