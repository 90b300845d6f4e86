"""Expressions of a dispatcher, and the comparisons of the selector among them.

The selector is the first four bytes of the call data, and compilers cut it out by shift, by division and by mask, and
compare it by EQ, SUB or XOR, of which the last two are 0 for equals.
"""

from __future__ import annotations

from whet.evm.words import ONE, TWO

Expression = int | tuple["str | Expression", ...]
"""A word, or (instruction, argument, ...) of instructions that only compute."""

Stack = tuple[Expression, ...]
"""Deepest first."""


_SELECTOR_SHIFT = 224


def about_the_call(condition: Expression | str) -> bool:
    """It asks for the selector, the size of the call data, ether, or (in a library) the own address, and nothing else."""
    if isinstance(condition, tuple) and len(condition) > 1 and condition != _FIRST:
        return all(about_the_call(part) for part in condition[1:])
    return isinstance(condition, int) or condition in (
        _FIRST,
        ("CALLDATASIZE",),
        ("CALLVALUE",),
        ("ADDRESS",),
    )


def strip(condition: Expression | str) -> tuple[Expression | str, bool]:
    """Without its ISZEROs, and whether their number is odd."""
    flipped = False
    while isinstance(condition, tuple) and condition[0] == "ISZERO":
        condition, flipped = condition[1], not flipped
    return condition, flipped


def tests_selector(condition: Expression) -> tuple[int, bool] | None:
    """(selector, what the condition is for it) of a comparison with the selector."""
    inner, flipped = strip(condition)
    if _is_selector(inner):
        return 0, flipped
    if not isinstance(inner, tuple) or inner[0] not in ("EQ", "SUB", "XOR") or len(inner) != 3:
        return None
    for constant, other in ((inner[1], inner[2]), (inner[2], inner[1])):
        if isinstance(constant, int) and not isinstance(other, str):
            value = _selector_value(constant, other)
            if value is not None:
                return value, (inner[0] == "EQ") != flipped
    return None


def _selector_value(constant: int, other: Expression) -> int | None:
    if _is_selector(other):
        return constant if constant < 1 << 32 else None
    if other in (("AND", _HIGH, _FIRST), ("AND", _FIRST, _HIGH)) and constant % (1 << _SELECTOR_SHIFT) == 0:
        return constant >> _SELECTOR_SHIFT
    return None


_FIRST: Expression = ("CALLDATALOAD", 0)
_HIGH = 0xFFFFFFFF << _SELECTOR_SHIFT


def _is_selector(expression: Expression | str) -> bool:
    """The first four bytes of the call data as a number, in the ways that compilers write it."""
    if not isinstance(expression, tuple):
        return False
    if expression in (("SHR", _SELECTOR_SHIFT, _FIRST), ("DIV", _FIRST, 1 << _SELECTOR_SHIFT)):
        return True
    if expression[0] == "AND" and len(expression) == 3:
        a, b = expression[1], expression[2]
        return (a == 0xFFFFFFFF and _is_selector(b)) or (b == 0xFFFFFFFF and _is_selector(a))
    return False


def compute(name: str, taken: list[Expression]) -> Expression:
    """What an instruction that only computes gives; its arguments top of the stack first."""
    words = [word for word in taken if isinstance(word, int)]
    if len(words) == len(taken) == 1 and name in ONE:
        return ONE[name](*words)
    if len(words) == len(taken) == 2 and name in TWO:
        return TWO[name](*words)
    return (name, *taken)


def nodes(expression: Expression | str) -> int:
    """Instructions and words in it."""
    return 1 + sum(map(nodes, expression[1:])) if isinstance(expression, tuple) else 1
