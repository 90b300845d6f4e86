"""What is asked of the plan from Python: bounded as on the command line, and one name need not be a list."""

from __future__ import annotations

import re
from typing import Any

import pytest

import whet

MODEL = "meta-llama/Llama-3.2-1B"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"length": -5}, "--length: must be at least 8, not -5"),
        ({"batch": 0}, "--batch: must be at least 1, not 0"),
        ({"rank": -1}, "--rank: must be at least 1, not -1"),
        ({"tokens_per_s": 0}, "--speed: must be at least 1e-06, not 0"),
        ({"price_per_hour": float("nan")}, "--price: must be at least 0, not nan"),
    ],
)
def test_a_number_with_which_nothing_can_be_planned(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(whet.WhetError, match=re.escape(words)):
        whet.Asked(**asked)


def test_one_name_is_one_name() -> None:
    cards = "48GB"
    alone, listed = (whet.Asked(cards=cards, targets=targets) for targets in ("mlp", ["mlp"]))
    assert whet.look_ahead(MODEL, alone).as_dict() == whet.look_ahead(MODEL, listed).as_dict()
    assert str(whet.plan_table(MODEL, alone)) == str(whet.plan_table([MODEL], listed))
    assert len(whet.plan_table("all", alone).lines) > 30


def test_what_is_no_target() -> None:
    for wrong in ("name: a\n" * 1000, "~nobody-of-this-name"):
        with pytest.raises(whet.WhetError):
            whet.look_ahead(wrong, whet.Asked(cards="48GB"))
