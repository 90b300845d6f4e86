"""What the paper reports of its own model and data: "Decompiling Smart Contracts with a Large Language Model" (arXiv 2506.19624).

It defines neither its similarity nor its edit distance, and its figures of the latter contradict one another, so both are
here. They are marks to look at, not a bar: another model, other functions, other measures.
"""

from __future__ import annotations

from dataclasses import dataclass

NAME = "arXiv 2506.19624"
MODEL = "the paper's model"
SIMILARITY = 0.82
ABOVE = {"0.8": 0.783, "0.9": 0.452}
"""Share of functions with a larger similarity."""
SIMILARITY_PEAKS = (0.85, 0.95)
"""Where its violin is widest; of the shape nothing else is said."""
DISTANCE_QUARTILES = (0.2, 0.3, 0.45)
"""First quartile, median, third quartile of the edit distance."""
SIMILARITY_DISTANCE_CORRELATION = -0.72
NEAR_LENGTH = 0.6764
"""Share of functions within 50 characters of the true length."""
LENGTH_CORRELATION = 0.89
LENGTH_MEDIAN, LENGTH_SPREAD = 5, 254.18
"""Of the signed differences of length, in characters; the spread is their standard deviation."""
LONG = 1000
SIMILARITY_BELOW_LONG, SIMILARITY_ABOVE_LONG = 0.85, 0.70
"""Similarities that functions of fewer, or more, than LONG characters are said to exceed."""
KEYWORDS, KEYWORDS_WITHIN = ("require", "msg.sender"), 0.02
"""The words that it names, and how near their frequency is said to be to the true one."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that the paper says its curve goes through."""

    x: float
    share: float
    where: str


MORE_SIMILAR = (
    Mark(0.7, 0.90, "figure 4"),
    Mark(0.8, 0.783, "figure 3"),
    Mark(0.85, 0.50, "figure 4"),
    Mark(0.9, 0.452, "figure 3"),
)
LESS_DISTANT = (
    Mark(0.2, 0.25, "quartile"),
    Mark(0.3, 0.50, "median"),
    Mark(0.4, 0.60, "figure 4"),
    Mark(0.4, 0.825, "figure 3"),
    Mark(0.45, 0.75, "quartile"),
)
NEARER_LENGTH = (Mark(50, NEAR_LENGTH, "figure 2"),)


def said(what: str, where: str) -> str:
    """What a figure has of the paper's, as a sentence that tells whose it is."""
    return f"{what}: {NAME}, {where}; another model on another test set."
