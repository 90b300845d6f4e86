"""The Kneser-Ney floors against a slow model that follows the definition, and the laws they must obey."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.errors import DataError
from whet.metrics.kneser_ney import DEFAULT_DISCOUNTS, KneserNey

ORDER = 5
documents_of_6 = st.lists(st.lists(st.integers(0, 5), max_size=12), min_size=0, max_size=8)


def flat(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0] + [len(d) for d in documents])
    return np.array([t for d in documents for t in d], dtype=np.uint16), offsets.astype(np.int64)


def fitted(documents: list[list[int]], vocab_size: int = 6, order: int = ORDER) -> KneserNey:
    return KneserNey.fit(*flat(documents), vocab_size=vocab_size, order=order)


RICH_VOCAB = 400


def chatter(documents: int, length: int, seed: int) -> list[list[int]]:
    """Half habit, half words of a long tail, so that every table can estimate its discounts. 0 is the bos."""
    random = Random(seed)
    found = []
    for _ in range(documents):
        document = [0]
        for _ in range(length):
            rare = min(int(random.paretovariate(0.6)), RICH_VOCAB - 1)
            document.append(rare if random.random() < 0.5 else 1 + document[-1] * 2 % (RICH_VOCAB - 1))
        found.append(document)
    return found


RICH = chatter(60, 40, seed=1)
NEVER_SEEN = min(set(range(RICH_VOCAB)) - {token for document in RICH for token in document})


def after(model: KneserNey, context: list[int]) -> np.ndarray:
    """(order, vocabulary): the distribution of the token after `context`."""
    tokens, offsets = flat([[*context, w] for w in range(model.vocab_size)])
    return np.stack([p[offsets[1:] - 1] for p in model.probabilities(tokens, offsets)])


class Slow:
    """The definition, with dictionaries of tuples and no care for speed."""

    def __init__(self, documents: list[list[int]], vocab_size: int, order: int) -> None:
        self.vocab_size, self.order = vocab_size, order
        self.raw: defaultdict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
        self.opening: Counter[tuple[int, ...]] = Counter()
        lefts: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        for document in documents:
            for end in range(1, len(document)):  # the first token is never an outcome
                for n in range(1, end + 2):
                    start = end + 1 - n
                    gram = tuple(document[start : end + 1])
                    self.raw[n][gram] += 1
                    if start == 0:
                        self.opening[gram] += 1
                    else:
                        lefts[gram].add(document[start - 1])
        self.continuation = {
            n: {gram: len(lefts[gram]) + self.opening[gram] for gram in counts}
            for n, counts in self.raw.items()
        }

    def discounts(self, counts: dict[tuple[int, ...], int]) -> tuple[float, ...]:
        n = Counter(counts.values())
        if not all(n[c] for c in (1, 2, 3, 4)):
            return DEFAULT_DISCOUNTS
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3))
        return found if min(found) > 0 else DEFAULT_DISCOUNTS

    def probability(self, token: int, before: list[int]) -> float:
        wanted = self.order - 1
        if len(before) < wanted:
            return self.of(token, tuple(before), self.continuation)
        context = tuple(before[len(before) - wanted :])
        return self.of(token, context, self.raw)

    def of(self, token: int, context: tuple[int, ...], counts_by_length: dict) -> float:
        counts = counts_by_length.get(len(context) + 1, {})
        followers = {gram[-1]: c for gram, c in counts.items() if gram[:-1] == context}
        shorter = self.of(token, context[1:], self.continuation) if context else 1 / self.vocab_size
        if not followers:
            return shorter
        discounts = self.discounts(counts)
        total = sum(followers.values())
        left = sum(discounts[min(c, 3) - 1] for c in followers.values()) / total
        count = followers.get(token, 0)
        own = (count - discounts[min(count, 3) - 1]) / total if count else 0.0
        return own + left * shorter

    def nll(self, document: list[int]) -> float:
        return -sum(math.log(self.probability(w, document[:i])) for i, w in enumerate(document) if i)


@settings(max_examples=60, deadline=None)
@given(train=documents_of_6, test=documents_of_6)
def test_equals_the_definition(train: list[list[int]], test: list[list[int]]) -> None:
    nll, _ = fitted(train).score(*flat(test))
    for order in range(1, ORDER + 1):
        slow = Slow(train, 6, order)
        assert nll[order - 1] == pytest.approx([slow.nll(d) for d in test], abs=1e-10)


def test_equals_the_definition_with_estimated_discounts() -> None:
    model, test = fitted(RICH, RICH_VOCAB), chatter(3, 12, seed=2)
    assert model.notes() == [], "every table must have estimated its discounts"
    nll, _ = model.score(*flat(test))
    for order in range(1, ORDER + 1):
        slow = Slow(RICH, RICH_VOCAB, order)
        assert nll[order - 1] == pytest.approx([slow.nll(d) for d in test], abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(train=documents_of_6, context=st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_sums_to_one_after_any_context(train: list[list[int]], context: list[int]) -> None:
    distribution = after(fitted(train), context)
    assert distribution.min() > 0
    assert distribution.sum(axis=1) == pytest.approx(np.ones(ORDER), abs=1e-12)


def test_sums_to_one_after_seen_and_unseen_contexts_of_a_rich_corpus() -> None:
    model = fitted(RICH, RICH_VOCAB)
    unseen = [NEVER_SEEN] * 4
    for context in ([0], RICH[0][:3], RICH[5][4:10], unseen, [*RICH[7][3:5], *unseen, RICH[1][2]]):
        assert after(model, context).sum(axis=1) == pytest.approx(np.ones(ORDER), abs=1e-12)


def test_golden_values_by_hand() -> None:
    """One document 0 1 1 1 2 over four ids; too small to estimate discounts, so 0.5, 1, 1.5."""
    unigram, bigram = after(fitted([[0, 1, 1, 1, 2]], 4, order=2), [1])
    # Raw counts 1: 3, 2: 1. Kept 1.5/4 and 0.5/4; passed on (1.5 + 0.5)/4 to 1/4 each.
    assert unigram == pytest.approx([0.125, 0.5, 0.25, 0.125], abs=1e-15)
    # Left contexts 1: {0, 1}, 2: {1} -> shared unigrams 1/8, 11/24, 7/24, 1/8.
    # After 1: counts 1: 2, 2: 1. Kept 1/3 and 0.5/3; passed on (1 + 0.5)/3.
    assert bigram == pytest.approx([1 / 16, 1 / 3 + 11 / 48, 1 / 6 + 7 / 48, 1 / 16], abs=1e-15)


def test_golden_loss_of_a_fixed_corpus() -> None:
    nll, tokens = fitted(RICH, RICH_VOCAB).score(*flat(chatter(5, 40, seed=4)))
    assert tokens.tolist() == [40] * 5
    assert nll.sum(axis=1) / tokens.sum() == pytest.approx(
        [3.737505, 2.421568, 2.442715, 2.497679, 2.514637], abs=1e-5
    )


def test_an_unseen_context_leaves_the_shorter_model_unchanged() -> None:
    _, bigram, trigram, four, five = after(fitted(RICH, RICH_VOCAB), [*[NEVER_SEEN] * 3, RICH[0][1]])
    assert np.array_equal(trigram, four)
    assert np.array_equal(trigram, five)
    assert not np.array_equal(bigram, trigram), "raw counts against continuation counts"


def test_what_never_varies_costs_almost_nothing() -> None:
    cycle = [0, *(1 + np.arange(400) % 50)]
    nll, tokens = fitted([cycle] * 5, 51).score(*flat([cycle]))
    per_token = nll[:, 0] / tokens[0]
    assert per_token[0] == pytest.approx(math.log(50), rel=0.01), "counting tokens alone knows nothing here"
    assert per_token[1:].max() < 0.05


def test_higher_orders_are_better_on_text_with_memory() -> None:
    random = np.random.default_rng(0)
    table = random.integers(1, 20, size=(20, 20))

    def second_order(length: int) -> list[int]:
        tokens = [0, 1]
        for surprise in random.random(length):
            tokens.append(
                int(table[tokens[-2], tokens[-1]]) if surprise < 0.8 else int(random.integers(1, 20))
            )
        return tokens

    nll, _ = fitted([second_order(200) for _ in range(50)], 20).score(
        *flat([second_order(200) for _ in range(5)])
    )
    unigram, bigram, trigram, *_ = nll.sum(axis=1)
    assert trigram < 0.8 * bigram < 0.8 * unigram


def test_order_of_documents_changes_nothing() -> None:
    test = chatter(10, 20, seed=6)
    nll, _ = fitted(RICH, RICH_VOCAB).score(*flat(test))
    again, _ = fitted(RICH[::-1], RICH_VOCAB).score(*flat(test[::-1]))
    assert np.array_equal(nll, again[:, ::-1])


def test_documents_are_isolated() -> None:
    """Cutting a document in two is not the same as the two parts in a row, in counts or in scores."""
    apart = fitted([[0, 1, 2], [0, 3, 4]])
    grams = {(int(key) // 6, int(key) % 6) for key in apart.keys[1]}
    first = {int(token) for token in apart.keys[0]}
    assert first == {0, 1, 2, 3, 4}
    assert grams == {(0, 1), (1, 2), (0, 3), (3, 4)}, "no bigram (2, 0)"
    both, _ = apart.score(*flat([[0, 1, 2], [0, 3, 4]]))
    alone = np.hstack([apart.score(*flat([d]))[0] for d in ([0, 1, 2], [0, 3, 4])])
    assert np.array_equal(both, alone)


def test_short_and_empty_documents_cost_nothing_and_are_counted() -> None:
    nll, tokens = fitted([[0, 1, 2], [], [0]]).score(*flat([[], [0], [0, 1], []]))
    assert tokens.tolist() == [0, 0, 1, 0]
    assert nll[:, [0, 1, 3]].tolist() == [[0.0, 0.0, 0.0]] * ORDER
    assert (nll[:, 2] > 0).all()


def test_without_training_text_every_id_is_equally_likely() -> None:
    nll, _ = fitted([]).score(*flat([[0, 1, 2, 3, 4, 5]]))
    assert nll[:, 0] == pytest.approx([5 * math.log(6)] * ORDER)


def test_default_discounts_are_said() -> None:
    notes = fitted([[0, 1, 1, 1, 2]], order=2).notes()
    assert [note.partition(":")[0] for note in notes] == [
        "raw 1-gram counts",
        "raw 2-gram counts",
        "continuation 1-gram counts",
    ]


@pytest.mark.parametrize(
    ("tokens", "offsets"),
    [([0, 9], [0, 2]), ([0, -1], [0, 2]), ([0, 1], [0, 1]), ([0, 1], [0, 2, 1, 2]), ([], [])],
)
def test_refuses_what_it_cannot_count(tokens: list[int], offsets: list[int]) -> None:
    model = fitted([[0, 1, 2]])
    bad = np.array(tokens, dtype=np.int64), np.array(offsets, dtype=np.int64)
    with pytest.raises(DataError):
        KneserNey.fit(*bad, vocab_size=6)
    with pytest.raises(DataError):
        model.score(*bad)


def test_refuses_order_zero() -> None:
    with pytest.raises(ValueError, match="order is 0"):
        fitted([[0, 1]], order=0)
