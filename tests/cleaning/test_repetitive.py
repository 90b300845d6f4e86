"""Documents that repeat their own lines are dropped; code with its usual echoes is kept."""

from __future__ import annotations

from whet.cleaning.repetitive import Repetitive
from whet.records import Document, Dropped


def outcome(text: str) -> str:
    result = Repetitive().apply(Document(text=text, origin="a", group="a"))
    return result.reason if isinstance(result, Dropped) else "kept"


def test_repeated_lines() -> None:
    assert outcome("connection refused, retrying\n" * 40) == "repetitive"
    assert outcome("".join(f"line number {n} of many\n" for n in range(40))) == "kept"


def test_half_repeated_is_kept() -> None:
    lines = [f"self.assertEqual(result, 1)\nresult = run({n}, strictly)\n" for n in range(40)]
    assert outcome("".join(lines)) == "kept"


def test_short_lines_and_short_documents_are_not_judged() -> None:
    assert outcome("    }\n    return\n" * 100) == "kept"
    assert outcome("connection refused, retrying\n" * 10) == "kept"
