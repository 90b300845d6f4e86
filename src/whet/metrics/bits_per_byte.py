"""Bits per byte: what the model needs to write down the raw text, per byte of it.

The only loss that compares models with different tokenizers, and any model with a compressor. The bytes
are those of the raw text in UTF-8; the loss is that of all its tokens (and of an end mark if one is
scored, which makes very short documents look a little worse). Cost: none beyond the loss.
"""

from __future__ import annotations

import math

import numpy as np

from whet.metrics.base import FloatArray, Metric


class BitsPerByte(Metric):
    """Summed loss in bits over summed UTF-8 bytes."""

    NAME = "bits_per_byte"
    SUMMARY = "loss in bits per byte of raw text; comparable between tokenizers"
    UNITS = "bits per UTF-8 byte"
    EXAMPLE = "metrics: [bits_per_byte]"

    @staticmethod
    def value(nll_nats: FloatArray, tokens: FloatArray, text_bytes: FloatArray) -> FloatArray:
        """sum(nll) / ln 2 / sum(bytes)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(nll_nats, math.log(2) * text_bytes)
