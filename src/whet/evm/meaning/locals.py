"""Names of local variables where it is certain what they are: `i` of a loop that counts from 0 by 1, `success` of a call.

Every name stands once in a function, and names nothing else in the contract. Left out: everything else; a wrong name is
worse than `v7`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from whet.evm.meaning.base import Meaning, Variable
from whet.evm.tac import Contract, Function, Phi, Statement

_INDEXES = "ijklmn"
_MOST = 100
_CALLS = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"})
_ORDERED = frozenset({"LT", "GT", "SLT", "SGT"})
_STEPS = frozenset({"increment_uint256", "wrapping_add", "checked_add_uint256"})


def name_locals(contract: Contract, meaning: Meaning, helpers: Mapping[str, str]) -> None:
    """Writes names into `variables` of all functions."""
    taken = {variable.name for variable in meaning.storage} | set(contract.functions)
    taken |= {known.name for known in meaning.functions.values()}
    for name, known in meaning.functions.items():
        given = set(taken)
        for variable, wish in _wishes(contract.functions[name], helpers):
            found = next((one for one in _names(wish) if one not in given), "")
            known.variables.setdefault(variable, Variable()).name = found
            given.add(found)


def _names(wish: str) -> Iterator[str]:
    """The wish, and what comes next: i, j, k; success, success2."""
    yield from _INDEXES if wish == "i" else (wish,)
    yield from (f"{wish}{number}" for number in range(2, _MOST))


def _wishes(function: Function, helpers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    order = {id_: position for position, id_ in enumerate(function.blocks)}
    makers: dict[str, Statement] = {}
    compared: set[object] = set()
    for s in function.statements():
        makers.update(dict.fromkeys(s.results, s))
        compared |= set(s.args) if s.op in _ORDERED else set()
    for id_, block in function.blocks.items():
        for phi in block.phis:
            if phi.result in compared and _counts(phi, order, order[id_], makers, helpers):
                yield phi.result, "i"
        for s in block.statements:
            if s.op in _CALLS:
                yield s.results[0], "success"


def _counts(
    phi: Phi, order: Mapping[str, int], head: int, makers: Mapping[str, Statement], helpers: Mapping[str, str]
) -> bool:
    """Whether it is 0 at first, and one more each time round."""
    first = [value for source, value in phi.incoming.items() if order[source] < head]
    again = [value for source, value in phi.incoming.items() if order[source] >= head]
    if not again or any(value != 0 for value in first):
        return False
    for value in again:
        made = makers.get(value) if isinstance(value, str) else None
        if made is None or phi.result not in made.args:
            return False
        helper = helpers.get(made.function, "")
        if not (made.op == "ADD" or helper in _STEPS) or (set(made.args) - {phi.result}) - {1}:
            return False
        if len(made.args) == 2 and set(made.args) == {phi.result}:
            return False
    return True
