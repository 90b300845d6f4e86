"""chrF: n-grams of characters, up to six, shared with the true text, recall counting twice (Popović 2015).

On the canonical text, blanks left out as is usual; sacrebleu's chrF2. Overall: its corpus figure. 0 to 100. Where neither
side has a character: 100.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.metrics.solidity.base import Pair, SolidityMetric


class ChrF(SolidityMetric):
    """Character n-gram F-score, beta 2, on canonical text."""

    NAME = "chrf"
    SUMMARY = "n-grams of characters shared with the true text"
    UNITS = "0 to 100"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        from sacrebleu.metrics.chrf import CHRF

        metric = CHRF()
        texts = [(pair.candidate.canonical, pair.reference.canonical) for pair in pairs]
        return [metric.sentence_score(one, [other]).score if one or other else 100.0 for one, other in texts]

    @classmethod
    def overall(cls, pairs: Sequence[Pair], values: Sequence[float]) -> float:
        from sacrebleu.metrics.chrf import CHRF

        written = [pair.candidate.canonical for pair in pairs]
        true = [pair.reference.canonical for pair in pairs]
        return float(CHRF().corpus_score(written, [true]).score) if any(written + true) else 100.0
