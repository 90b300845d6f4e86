"""Keyword frequency: whether what matters for security is there as often as it was.

For each of `WORDS`, how often it stands in the written functions over how often in the true ones, all functions
together (`frequencies`). The metric is for a single function: F1 of the multisets of these words; 1 where neither has any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from whet.metrics.solidity.base import Pair, SolidityMetric
from whet.metrics.solidity.structure import f1
from whet.metrics.solidity.syntax import Solidity

WORDS = ("require", "assert", "revert", "msg.sender", "msg.value", "tx.origin", "block.timestamp", "emit", "delegatecall",
         "call", "selfdestruct", "unchecked", "assembly")  # fmt: skip
_SAME = {"now": "block.timestamp", "suicide": "selfdestruct", "throw": "revert"}
"""What older versions call them."""


class Keywords(SolidityMetric):
    """F1 of the words that matter for security."""

    NAME = "keywords"
    SUMMARY = "require, msg.sender and their like, as often as in the true text"
    UNITS = "F1, 0 to 1"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        return [f1(counted(pair.candidate).elements(), counted(pair.reference).elements()) for pair in pairs]


def counted(side: Solidity) -> Counter[str]:
    """How often each of WORDS stands in it."""
    texts = [_SAME.get(token.text, token.text) for token in side.tokens]
    found = Counter(text for text in texts if text in WORDS)
    found.update(
        word for a, dot, b in zip(texts, texts[1:], texts[2:], strict=False)
        if dot == "." and (word := f"{a}.{b}") in WORDS
    )  # fmt: skip
    return found


def frequencies(pairs: Sequence[Pair]) -> dict[str, tuple[int, int]]:
    """{word: (times in the written functions, times in the true ones)}, words that stand in neither left out."""
    written: Counter[str] = Counter()
    true: Counter[str] = Counter()
    for pair in pairs:
        written += counted(pair.candidate)
        true += counted(pair.reference)
    return {word: (written[word], true[word]) for word in WORDS if written[word] or true[word]}
