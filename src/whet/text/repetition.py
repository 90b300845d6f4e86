"""How much a text repeats itself: counted in words, whatever the tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w{1,12}|[^\w\s]")
RUN = 4
"""Words in a run. Shorter runs recur in every text."""
FEWEST_TIMES = 3
"""What is said twice is no loop."""


def words(text: str) -> list[str]:
    """Words and single signs of punctuation or of scripts without spaces, in order; what is longer than a word in pieces."""
    return _WORD.findall(text)


def repeated_share(said: Sequence[str], run: int = RUN) -> float:
    """Of all runs of `run` words, the share that stood in the text before; 0 where there are none."""
    runs = [tuple(said[at : at + run]) for at in range(len(said) - run + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def loop(said: Sequence[str]) -> tuple[list[str], int]:
    """The stretch that the end of a text consists of, again and again, and how often it is said whole.

    Of all stretches the one that covers most words, of equal ones the shortest; ([], 0) where nothing is said
    FEWEST_TIMES. Work grows with the square of the length.
    """
    best: tuple[list[str], int] = ([], 0)
    for period in range(1, len(said) // FEWEST_TIMES + 1):
        same = 0
        while same < len(said) - period and said[-1 - same] == said[-1 - same - period]:
            same += 1
        times = 1 + same // period
        if times >= FEWEST_TIMES and times * period > len(best[0]) * best[1]:
            best = (list(said[-period:]), times)
    return best
