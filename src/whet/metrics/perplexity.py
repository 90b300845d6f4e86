"""Perplexity: among how many equally likely tokens the model chooses, on average.

Every scored token weighs the same. The mean of the documents' own perplexities is another number: it
lets a document of ten tokens weigh as much as one of ten thousand, and since exp is convex one odd short
document can rule it; nor does it follow from the loss that training minimises.
Values compare only between models with the same tokenizer; bits per byte has no such limit.
Cost: none beyond the loss.
"""

from __future__ import annotations

import numpy as np

from whet.metrics.base import FloatArray, Metric


class Perplexity(Metric):
    """exp of the loss per token, over all tokens of all documents."""

    NAME = "perplexity"
    SUMMARY = "exp of the mean loss per token; only for models with the same tokenizer"
    UNITS = "equally likely tokens"
    EXAMPLE = "metrics: [perplexity]"

    @staticmethod
    def value(nll_nats: FloatArray, tokens: FloatArray, text_bytes: FloatArray) -> FloatArray:
        """exp(sum(nll) / sum(tokens))."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.exp(np.divide(nll_nats, tokens))
