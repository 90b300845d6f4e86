"""Every registered metric, and what its value is."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from whet.errors import DataError
from whet.metrics.base import METRICS, DocumentScores, Metric


def scores(nll: list[float], tokens: list[int], text_bytes: list[int]) -> DocumentScores:
    return DocumentScores(np.array(nll, dtype=np.float64), np.array(tokens), np.array(text_bytes))


def test_the_registry_finds_each_metric() -> None:
    assert METRICS.names() == ["bits_per_byte", "perplexity"]


@pytest.mark.parametrize("metric", list(METRICS), ids=lambda metric: metric.NAME)
def test_a_metric_is_one_formula_for_one_or_many_totals(metric: type[Metric]) -> None:
    nll, tokens, text_bytes = np.array([10.0, 20.0]), np.array([5.0, 8.0]), np.array([15.0, 30.0])
    many = metric.value(nll, tokens, text_bytes)
    assert many.shape == (2,)
    assert [float(metric.value(nll[i], tokens[i], text_bytes[i])) for i in (0, 1)] == many.tolist()
    assert metric.NAME in metric.EXAMPLE
    assert metric.LOWER_IS_BETTER


def test_bits_per_byte_of_a_coin_per_byte_is_one() -> None:
    bits = METRICS.get("bits_per_byte")
    assert float(bits.value(np.float64(100 * math.log(2)), np.float64(40), np.float64(100))) == pytest.approx(
        1.0
    )


def test_perplexity_of_a_uniform_choice_is_the_number_of_choices() -> None:
    perplexity = METRICS.get("perplexity")
    assert float(
        perplexity.value(np.float64(7 * math.log(50)), np.float64(7), np.float64(1))
    ) == pytest.approx(50)


def test_perplexity_weighs_tokens_not_documents() -> None:
    totals = scores([math.log(1000), 0.0], [1, 2], [1, 1]).totals()
    assert float(METRICS.get("perplexity").value(*totals)) == pytest.approx(10), "not (1000 + 1) / 2"


def test_nothing_to_divide_by_is_not_a_number_and_no_warning() -> None:
    for metric in METRICS:
        assert not np.isfinite(metric.value(*np.zeros(3)))


def test_totals() -> None:
    assert scores([1.5, 2.5], [3, 4], [10, 20]).totals() == (4.0, 7, 30)


@pytest.mark.parametrize(
    ("nll", "tokens", "text_bytes", "message"),
    [
        ([1.0, math.nan], [1, 1], [1, 1], "document 1: loss of a document is nan"),
        ([math.inf, 1.0], [1, 1], [1, 1], "document 0: loss of a document is inf"),
        ([1.0, 1.0], [1, -1], [1, 1], "document 1: tokens"),
        ([1.0, 1.0], [1], [1, 1], "one length"),
    ],
)
def test_refuses_scores_that_are_none(
    nll: list[float], tokens: list[int], text_bytes: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        scores(nll, tokens, text_bytes)


def test_metrics_and_comparison_load_without_torch() -> None:
    code = (
        "import sys, whet.metrics.base as base, whet.metrics.kneser_ney, whet.evaluate.compare;"
        "base.METRICS.names(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
