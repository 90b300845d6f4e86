"""What is said of a text."""

from __future__ import annotations

from dataclasses import dataclass

from whet.evm.verify.nouns import DIFFERENT, INCONCLUSIVE, SAME

NOT_COMPARED = "not compared"
BEHAVES = (SAME, DIFFERENT, INCONCLUSIVE, NOT_COMPARED)
"""Values of `Verdict.behaves`."""

MOST_WHY = 400
"""Characters of `Verdict.why`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a text gets as one of a contract's functions.

    parses: the compiler's parser takes it as exactly one function with a body. compiles: it does in the author's contract, in
    the place of the author's function, by the same compiler with the same settings. abi: whether it is called from outside,
    parameters, results and mutability are the author's. behaves: one of BEHAVES. why: the compiler's first error, the call
    that shows the difference, or what is missing, in one line.
    """

    parses: bool
    compiles: bool
    abi: bool
    behaves: str
    why: str = ""


def refused(why: str, *, parses: bool = False) -> Verdict:
    """Of a text that does not compile."""
    return Verdict(parses, False, False, NOT_COMPARED, one_line(why))


def one_line(text: str) -> str:
    """Bounded, and fit to be written anywhere."""
    said = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return said if len(said) <= MOST_WHY else f"{said[: MOST_WHY - 3]}..."
