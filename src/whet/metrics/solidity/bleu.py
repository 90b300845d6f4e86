"""BLEU: n-grams of tokens, up to four, that the written text shares with the true one (Papineni et al. 2002).

Tokens are those of the grammar, no tokenizer of natural language. For a single function: sacrebleu's sentence BLEU with
its default smoothing (exp) and effective order; overall: corpus BLEU, which is no mean of them. 0 to 100. Where neither
side has a token: 100.
"""

from __future__ import annotations

from collections.abc import Sequence

from whet.metrics.solidity.base import Pair, SolidityMetric
from whet.metrics.solidity.syntax import Solidity


class Bleu(SolidityMetric):
    """BLEU-4 on the grammar's tokens."""

    NAME = "bleu"
    SUMMARY = "n-grams of tokens shared with the true text"
    UNITS = "0 to 100"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        from sacrebleu.metrics.bleu import BLEU

        metric = BLEU(tokenize="none", effective_order=True)
        texts = [(_text(pair.candidate), _text(pair.reference)) for pair in pairs]
        return [metric.sentence_score(one, [other]).score if one or other else 100.0 for one, other in texts]

    @classmethod
    def overall(cls, pairs: Sequence[Pair], values: Sequence[float]) -> float:
        from sacrebleu.metrics.bleu import BLEU

        written, true = [_text(pair.candidate) for pair in pairs], [_text(pair.reference) for pair in pairs]
        return (
            float(BLEU(tokenize="none").corpus_score(written, [true]).score) if any(written + true) else 100.0
        )


def _text(side: Solidity) -> str:
    """Tokens with one blank between them; blanks within a token (a string) are made visible, so that it stays one."""
    return " ".join("\u2423".join(token.text.split()) for token in side.tokens)
