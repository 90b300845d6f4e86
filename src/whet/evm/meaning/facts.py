"""What a condition says of variables: `if (x < 256)`, `if (x == uint160(x))`, `if (x >> 160)`, as ranges.

Facts of one comparison at a time, and of what && and || are made of. Left out: `x != c`, and what a fact says of the
variables that its variable is computed from, but for shifts and masks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from whet.evm.meaning.ranges import ANY, ZERO, Range, bits_of, both, unsigned
from whet.evm.tac import WORD, Operand, Statement
from whet.evm.words import signed

Facts = dict[str, Range]
"""{variable: the range in which it is}, beside what is known of it anyway."""

_DEEPEST = 8


def learn(
    condition: Operand, truth: bool, makers: Mapping[str, Statement], at: Callable[[Operand], Range]
) -> Facts:
    """What follows from a condition that is not 0 (truth) or is 0. makers: {variable: what computes it}; at: the range of an
    operand there."""
    found: Facts = {}
    work = [(condition, truth)]
    for _ in range(_DEEPEST):
        if not work:
            break
        word, holds = work.pop()
        if not isinstance(word, str):
            continue
        if not holds:
            _note(found, word, ZERO)
        made = makers.get(word)
        if made is not None:
            work += _parts(made, holds)
            _compared(made, holds, found, at)
    return found


def _note(found: Facts, word: Operand, fact: Range) -> None:
    if isinstance(word, str):
        found[word] = both(found.get(word, ANY), fact)


def _parts(made: Statement, holds: bool) -> list[tuple[Operand, bool]]:
    """Conditions that hold with it."""
    if made.op == "ISZERO":
        return [(made.args[0], not holds)]
    if (made.op == "AND" and holds) or (made.op == "OR" and not holds):
        return [(arg, holds) for arg in made.args]
    return []


def _compared(made: Statement, holds: bool, found: Facts, at: Callable[[Operand], Range]) -> None:
    if len(made.args) != 2:
        return
    op, (a, b) = made.op, made.args
    if (op == "EQ" and holds) or (op in ("SUB", "XOR") and not holds):
        _note(found, a, at(b))
        _note(found, b, at(a))
    elif op in ("LT", "GT", "SLT", "SGT"):
        small, large = (a, b) if op.endswith("LT") else (b, a)
        if not holds:
            small, large = large, small  # now small <= large
        if op.startswith("S"):
            _signed_order(small, large, holds, found, at)
        else:
            _order(small, large, holds, found, at)
    elif not holds and op == "SHR" and isinstance(a, int) and 0 < a < 256:
        _note(found, b, unsigned(a))
    elif not holds and op == "AND":
        for mask, word in ((a, b), (b, a)):
            if isinstance(mask, int):
                _note(found, word, _outside(mask))


def _outside(mask: int) -> Range:
    """Of a word that has none of the mask's bits."""
    left = mask ^ WORD
    return unsigned(left.bit_length(), (left & -left).bit_length() - 1 if left else 256)


def _order(
    small: Operand, large: Operand, strict: bool, found: Facts, at: Callable[[Operand], Range]
) -> None:
    """small < large, or <= where it is not strict."""
    bits = bits_of(at(large))
    if isinstance(large, int):
        bits = (max(large - strict, 0)).bit_length()
    _note(found, small, unsigned(bits))


def _signed_order(
    small: Operand, large: Operand, strict: bool, found: Facts, at: Callable[[Operand], Range]
) -> None:
    below, above = at(large).high, at(small).low
    if isinstance(large, int):
        below = max(signed(large) - strict, 0).bit_length()
    if isinstance(small, int):
        least = signed(small) + strict
        above = (-least - 1).bit_length() if least < 0 else -1
    _note(found, small, Range(255, below))
    _note(found, large, Range(above, 255))
