"""Names of state variables by their getters: a public function that gives back exactly one variable, or an element of it.

A name is given where one known function reads nothing but the variable, with its arguments as the keys in order; where
two functions would name one variable, or one name two variables, the number of the slot stays.
"""

from __future__ import annotations

import re

from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.slots import place
from whet.evm.meaning.symbols import Node, Word, mask_bits
from whet.evm.meaning.walk import Walk

_TAKEN = re.compile(
    r"[avxpf]\d*|(arg|stor|transient|[pf])_?\w*\d\w*|mem8?|msg|block|tx|this|calldata|code|returndata"
)
"""Names that mean something else in a text."""

Span = tuple[int, int, int]
"""(slot, first byte from the lowest, bytes) of a variable."""


def name_variables(storage: list[StateVariable], read: list[tuple[str, Span]]) -> None:
    """Renames variables in place. read: (name of a function, what it gives back)."""
    names: dict[Span, set[str]] = {}
    spans: dict[str, set[Span]] = {}
    for name, span in read:
        if _TAKEN.fullmatch(name):
            continue
        names.setdefault(span, set()).add(name)
        spans.setdefault(name, set()).add(span)
    for variable in storage:
        given = names.get((variable.slot, variable.offset, variable.size), set())
        if len(given) == 1 and not variable.transient:
            (name,) = given
            variable.name = name if len(spans[name]) == 1 else variable.name


def got(walk: Walk, arguments: int) -> Span | None:
    """The variable that the function gives back, with all its arguments as keys; None if it does anything else."""
    ends = [effect for effect in walk.effects if effect.op == "RETURN"]
    others = [e for e in walk.effects if e.op not in ("RETURN", "SLOAD", "KECCAK256")]
    if walk.cut or len(ends) != 1 or any(e.op != "REVERT" or e.args != (0, 0) for e in others):
        return None
    payload = ends[0].payload
    if payload is None or not payload.sure or payload.length != 32:
        return None
    return _variable(payload.words[0], arguments)


def _variable(word: Word | None, arguments: int) -> Span | None:
    word, low, bits = _truth(word), 0, 256
    if isinstance(word, Node) and word.op == "SIGNEXTEND" and isinstance(word.args[0], int):
        bits, word = 8 * word.args[0] + 8, word.args[1]
    elif isinstance(word, Node) and word.op == "AND" and isinstance(word.args[0], int):
        bits, word = mask_bits(word.args[0]) or 0, word.args[1]
    if isinstance(word, Node) and word.op == "SHR" and isinstance(word.args[0], int):
        low, word = word.args[0], word.args[1]
        bits = min(bits, 256 - low)
    if not isinstance(word, Node) or word.op != "SLOAD" or low % 8 or bits % 8 or not bits:
        return None
    found = place(word.args[0])
    if found is None or not isinstance(found.path[0], int) or found.strides:
        return None
    if found.path[1:] != ("map", 0) * arguments or not _are_arguments(found.keys):
        return None
    return (found.path[0], 0, 32) if arguments else (found.path[0], low // 8, bits // 8)


def _truth(word: Word | None) -> Word | None:
    """What is behind `!!word`."""
    while isinstance(word, Node) and word.op == "ISZERO":
        inner = word.args[0]
        if not isinstance(inner, Node) or inner.op != "ISZERO":
            return word
        word = inner.args[0]
    return word


def _are_arguments(keys: tuple[Word | None, ...]) -> bool:
    for position, key in enumerate(keys):
        key = _truth(key)
        while isinstance(key, Node) and key.op in ("AND", "SIGNEXTEND"):
            key = key.args[-1]
        if not isinstance(key, Node) or key.op != "CALLDATALOAD" or key.args[0] != 4 + 32 * position:
            return False
    return True
