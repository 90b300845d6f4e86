"""Too little to learn from, or always the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np

from whet.doctor.case import Case
from whet.doctor.finding import Check, Finding
from whet.recipe.schema import Stage
from whet.tokenstore import TokenStore

LITTLE, ONE_SIDED = "too little data", "one-sided data"
FEWEST = 500
"""Examples or rows below which tuning mostly learns by heart."""
ROW_TOKENS = 1024
"""Longer rows count as several."""
LOOKED_AT = 20_000
"""Conversations, evenly spread, whose last answers are compared."""
SAME_ANSWER, SAME_LABEL, ONE_DOCUMENT, ONE_SOURCE = 1 / 3, 0.9, 0.5, 0.95
"""Shares above which data are one-sided: of one answer, of one answer where there are but LABELS of them, of one
document in many, of one source without a weight."""
LABELS = 50
"""So few different answers are the labels of a classification, of which one may well be the usual."""


class Data(Check):
    """Looks at the training side of every stage."""

    NAME = "data"
    SUMMARY = "too little or one-sided data"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs prepared data."""
        vocabulary = int(case.prepared.record["tokenizer"]["vocab_size"])
        for stage, _ in case.prepared_stages():
            train = TokenStore.open(case.prepared.folder / stage.name / "train", vocabulary, check_ids=False)
            count, unit = _sequences(train, stage)
            if count < FEWEST:
                yield Finding(
                    name=LITTLE,
                    where=f"stage {stage.name}",
                    evidence=f"to train on are {count:,} {unit}, fewer than {FEWEST}",
                    cause="the material is small, or cleaning, duplicates and the split left little of it",
                    todo="see with whet preview what was dropped and why; add material, or a longer sequence_length",
                    explains=("overfitting",),
                )
            yield from _one_sided(train, stage)


def _sequences(train: TokenStore, stage: Stage) -> tuple[int, str]:
    """Conversations by number; texts by how many rows they fill. What is dropped for its length counts as nothing."""
    length = stage.sequence_length or 1
    lengths = train.lengths
    if stage.overflow == "drop":
        lengths = lengths[lengths <= length + 1]
    left_out = len(train) - len(lengths)
    besides = f" ({left_out:,} more are dropped: longer than {length:,} tokens)" if left_out else ""
    if train.learned is not None:
        return len(lengths), f"conversations{besides}"
    length = min(length, ROW_TOKENS)
    return -(-int(lengths.sum()) // length), f"rows of {length:,} tokens{besides}"


def _one_sided(train: TokenStore, stage: Stage) -> Iterator[Finding]:
    evidence = list(_same_answers(train)) if train.learned is not None else list(_one_document(train))
    evidence += _one_source(train, stage)
    if evidence:
        yield Finding(
            name=ONE_SIDED,
            where=f"stage {stage.name}",
            evidence="; ".join(evidence),
            cause="the material says mostly one thing, so the model learns to say that whatever it is asked",
            todo="take out the repetitions, balance the sources with weights, or add what is missing",
            explains=("overfitting", "looping output", "leakage"),
        )


def _same_answers(train: TokenStore) -> Iterator[str]:
    """How often the most frequent last answer occurs."""
    answers: Counter[bytes] = Counter()
    for document in range(0, len(train), max(1, len(train) // LOOKED_AT)):
        learned = np.flatnonzero(train.learned_of(document))
        if len(learned):
            last = learned[np.flatnonzero(np.diff(learned, prepend=-2) > 1)[-1] :]
            answers[train.document(document)[last].tobytes()] += 1
    total = answers.total()
    usual = SAME_LABEL if len(answers) <= LABELS else SAME_ANSWER
    for _, count in answers.most_common(1):
        if count > usual * total and total > 2:
            yield f"{count:,} of {total:,} last answers are one and the same"


def _one_document(train: TokenStore) -> Iterator[str]:
    total = int(train.offsets[-1])
    if len(train) < 10 or not total:
        return
    largest = int(train.lengths.argmax())
    share = int(train.lengths[largest]) / total
    if share > ONE_DOCUMENT:
        about = next(islice(train.origins(), largest, None), {})
        yield f"one document of {len(train):,} has {share:.0%} of the tokens ({about.get('origin')})"


def _one_source(train: TokenStore, stage: Stage) -> Iterator[str]:
    if len(stage.data) < 2 or stage.weights:
        return
    tokens = np.bincount(train.sources(), weights=train.lengths, minlength=len(stage.data))
    largest = int(tokens.argmax())
    if tokens[largest] > ONE_SOURCE * tokens.sum():
        share = tokens[largest] / tokens.sum()
        yield f"data.{largest} ({stage.data[largest].NAME}) has {share:.1%} of the tokens, and no source has a weight"
