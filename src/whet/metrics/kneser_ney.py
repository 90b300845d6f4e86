"""Interpolated modified Kneser-Ney models, unigram to 5-gram, over token ids: the floors of a neural model.

They are fitted and scored on the very tokens and split that the neural model sees, so that its figure
stands beside what counting alone achieves. Every order is a model of its own: its n-grams have raw
counts, and all shorter ones have continuation counts (in how many different left contexts an n-gram was
seen), shared by all the models above. At the bottom stands the uniform distribution, so no id of the
vocabulary has probability zero.

    P(w | h) = (c(h w) - D(c(h w))) / c(h) + passed_on(h) * P(w | h without its first token)

`passed_on(h)` is what the discounts took from the context h; a context never seen passes on everything.
The discounts D1, D2, D3+ are the closed form of Chen & Goodman for each table; where counts of counts are
missing or give a negative discount, that table takes (0.5, 1, 1.5), and `notes()` says so.

Documents. No n-gram crosses a document. The first token (bos) is given: it is a context, never counted or
scored as an outcome. Near the start the context is all there is: a token with i tokens before it is scored
by the shared table of (i + 1)-grams in every order above i + 1. In that table an n-gram that opens a
document counts once per occurrence, as nothing can stand to its left.

Not covered: pruning, tuning of discounts on held-out text, caches, mixtures of orders.
Cost: one sort of the tokens per order. 4 million tokens, vocabulary 8192, orders 1 to 5: seconds, under 1 GB.

Sources: Kneser & Ney 1995, "Improved backing-off for m-gram language modeling"; Chen & Goodman 1998,
"An empirical study of smoothing techniques for language modeling" (TR-10-98), section 3: the modified,
interpolated variant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whet.errors import DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Tokens = NDArray[np.integer]

DEFAULT_DISCOUNTS = (0.5, 1.0, 1.5)
"""Taken from counts of 1, 2, and 3 or more where a table is too small or too regular to estimate them."""


@dataclass(frozen=True, slots=True)
class _Table:
    """One table of counts after discounting.

    Both arrays end with the entry of what was never seen, found at index -1: it keeps 0, passes on 1.
    """

    kept: FloatArray
    """(n-grams + 1,): the share of its context that each n-gram keeps."""
    passed_on: FloatArray
    """(contexts + 1,): the share that each context leaves to the shorter context."""
    discounts: tuple[float, float, float]
    estimated: bool


@dataclass(frozen=True, slots=True)
class KneserNey:
    """The models of orders 1 to `order`. Made by `fit`; `score` gives the loss of all of them at once."""

    vocab_size: int
    keys: tuple[IntArray, ...]
    """Per length n, sorted: id of the first n - 1 tokens * vocab_size + last token; the index is the id."""
    highest: tuple[_Table, ...]
    """Per length n: raw counts, for the model of order n."""
    lower: tuple[_Table, ...]
    """Per length n below the highest: continuation counts, for all models above order n."""

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.highest)

    @classmethod
    def fit(cls, tokens: Tokens, offsets: IntArray, *, vocab_size: int, order: int = 5) -> KneserNey:
        """Count the documents `tokens[offsets[d]:offsets[d + 1]]` and estimate the discounts.

        `tokens` is flat, of any integer dtype; `offsets` has one entry more than there are documents.
        Raises DataError for an id outside the vocabulary or offsets that do not cover `tokens`.
        """
        if order < 1:
            raise ValueError(f"order is {order}; it must be 1 or more")
        depth = _depth(tokens, offsets, vocab_size)
        ids = np.zeros(len(tokens), dtype=np.int32)
        contexts = 1
        keys: list[IntArray] = []
        highest: list[_Table] = []
        lower: list[_Table] = []
        for n in range(1, order + 1):
            at = np.flatnonzero(depth >= n - 1)
            grams, gram_at = np.unique(_keys(ids[at - 1], tokens[at], vocab_size), return_inverse=True)
            if n > 1:
                counts = _continuations(ids, depth, at, gram_at, n)
                lower.append(_discounted(counts, keys[-1] // vocab_size, contexts))
                contexts = len(keys[-1])
            counts = np.bincount(gram_at[depth[at] > 0], minlength=len(grams))
            highest.append(_discounted(counts, grams // vocab_size, contexts))
            keys.append(grams)
            ids = _placed(gram_at, at, len(tokens))
        return cls(vocab_size, tuple(keys), tuple(highest), tuple(lower))

    def score(self, tokens: Tokens, offsets: IntArray) -> tuple[FloatArray, IntArray]:
        """Loss of every document under every order, and how many tokens were scored.

        Returns nats, float64 (order, documents), and counts, int64 (documents,): the length of each
        document less its first token. Raises DataError as `fit` does.
        """
        lengths = _lengths(tokens, offsets)
        document = np.repeat(np.arange(len(lengths)), lengths)
        nll = np.empty((self.order, len(lengths)))
        for row, probability in zip(nll, self.probabilities(tokens, offsets), strict=True):
            row[:] = np.bincount(document, weights=-np.log(probability), minlength=len(lengths))
        return nll, np.maximum(lengths - 1, 0)

    def probabilities(self, tokens: Tokens, offsets: IntArray) -> Iterator[FloatArray]:
        """For each order, the probability (tokens,) of every token given those before it in its document.

        The first token of a document is given, not predicted: 1.0.
        """
        depth = _depth(tokens, offsets, self.vocab_size)
        ids = np.zeros(len(tokens), dtype=np.int32)
        shorter = np.full(len(tokens), 1 / self.vocab_size)
        for n in range(1, self.order + 1):
            at = np.flatnonzero(depth >= n - 1)
            context = ids[at - 1]
            gram = _found(self.keys[n - 1], _keys(context, tokens[at], self.vocab_size))
            probability = _interpolated(self.highest[n - 1], shorter, at, context, gram)
            probability[depth == 0] = 1.0
            yield probability
            if n < self.order:
                shorter = _interpolated(self.lower[n - 1], shorter, at, context, gram)
                ids = _placed(gram, at, len(tokens))

    def notes(self) -> list[str]:
        """One line for every table that had to take the default discounts; none for a corpus of some size."""
        tables = [(f"raw {n}-gram counts", table) for n, table in enumerate(self.highest, 1)]
        tables += [(f"continuation {n}-gram counts", table) for n, table in enumerate(self.lower, 1)]
        why = f"discounts {DEFAULT_DISCOUNTS} by default: their counts of counts give no estimate"
        return [f"{name}: {why}" for name, table in tables if not table.estimated]


def _lengths(tokens: Tokens, offsets: IntArray) -> IntArray:
    """Tokens of each document. Raises DataError for offsets that do not divide all tokens."""
    lengths = np.diff(offsets).astype(np.int64)
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(tokens) or np.any(lengths < 0):
        raise DataError(f"offsets do not divide {len(tokens)} tokens into documents")
    return lengths


def _depth(tokens: Tokens, offsets: IntArray, vocab_size: int) -> NDArray[np.int32]:
    """How many tokens of its document stand before each token. Refuses ids outside the vocabulary."""
    lengths = _lengths(tokens, offsets)
    if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocab_size:
        raise DataError(
            f"token ids from {tokens.min()} to {tokens.max()} do not fit a vocabulary of {vocab_size}",
            fix="use the tokenizer that the tokens were made with",
        )
    assert len(tokens) < 2**31, "n-gram ids are int32"
    assert vocab_size < 2**32, "keys are int64"
    starts = np.repeat(np.asarray(offsets[:-1], dtype=np.int32), lengths)
    return np.arange(len(tokens), dtype=np.int32) - starts


def _keys(context: NDArray[np.int32], last: Tokens, vocab_size: int) -> IntArray:
    """One integer per n-gram; negative, and so never found, where the context was never seen."""
    keys = context.astype(np.int64)
    keys *= vocab_size
    keys += last
    return keys


def _placed(gram: NDArray[np.integer], at: IntArray, length: int) -> NDArray[np.int32]:
    """The id of the n-gram that ends at each position; -1 where the document is still too short."""
    ids = np.full(length, -1, dtype=np.int32)
    ids[at] = gram
    return ids


def _found(keys: IntArray, wanted: IntArray) -> IntArray:
    """The index of every wanted key; -1 where there is none."""
    if len(keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, index, -1)


def _continuations(
    ids: NDArray[np.int32], depth: NDArray[np.int32], at: IntArray, gram_at: IntArray, n: int
) -> IntArray:
    """Continuation counts of the (n - 1)-grams `ids`, from the n-grams `gram_at` that end in them.

    Each different n-gram is one left context. An (n - 1)-gram that opens a document has none and counts
    each time; as a unigram it is the given first token, which is no outcome.
    """
    ending = np.empty(gram_at.max(initial=-1) + 1, dtype=np.int32)
    ending[gram_at] = ids[at]
    kinds = int(ids.max(initial=-1)) + 1
    counts = np.bincount(ending, minlength=kinds)
    if n > 2:
        counts += np.bincount(ids[depth == n - 2], minlength=kinds)
    return counts


def _discounted(counts: IntArray, context: IntArray, contexts: int) -> _Table:
    """Take the discounts from `counts` and hand what was taken to each n-gram's `context`."""
    discounts, estimated = _discounts(counts)
    taken = np.array((0.0, *discounts))[np.minimum(counts, 3)]
    total = np.bincount(context, weights=counts, minlength=contexts)
    passed_on = np.bincount(context, weights=taken, minlength=contexts)
    # A context that nothing followed (the end of a document) passes on everything.
    passed_on = np.where(total > 0, passed_on / np.maximum(total, 1), 1.0)
    kept = (counts - taken) / np.maximum(total, 1)[context]
    return _Table(np.append(kept, 0.0), np.append(passed_on, 1.0), discounts, estimated)


def _discounts(counts: IntArray) -> tuple[tuple[float, float, float], bool]:
    """D1, D2, D3+ (Chen & Goodman 1998, equation 26), and whether they could be estimated."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    if 0 in (n1, n2, n3, n4):
        return DEFAULT_DISCOUNTS, False
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return (found, True) if min(found) > 0 else (DEFAULT_DISCOUNTS, False)


def _interpolated(
    table: _Table, shorter: FloatArray, at: IntArray, context: NDArray[np.int32], gram: IntArray
) -> FloatArray:
    """`shorter` with the positions `at` raised by one order."""
    longer = shorter.copy()
    longer[at] = table.kept[gram] + table.passed_on[context] * shorter[at]
    return longer
