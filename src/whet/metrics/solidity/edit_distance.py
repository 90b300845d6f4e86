"""Normalised edit distance: how much of the text would have to be typed anew.

Levenshtein's distance of the two canonical texts (`syntax`: pretty-printed, without comments) in characters, insertions,
deletions and substitutions costing one each, over the length of the longer one. 0: the same text; 1: nothing in common.
Two empty texts are the same. The library is rapidfuzz.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.metrics.solidity.base import Pair, SolidityMetric


class EditDistance(SolidityMetric):
    """Levenshtein distance in characters over the longer length, on canonical text."""

    NAME = "edit_distance"
    SUMMARY = "characters that would have to be typed anew, of the longer text"
    UNITS = "share of characters, 0 to 1"
    LOWER_IS_BETTER = True

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        from rapidfuzz.distance import Levenshtein

        return [
            Levenshtein.normalized_distance(pair.candidate.canonical, pair.reference.canonical)
            for pair in pairs
        ]
