"""Reads and writes of single words of objects in memory, hashes of whole ones: `a[i]`, `a[i] = x`, `pair.f1`.

Taken are MLOAD and MSTORE at a place that is one typed pointer and a distance: of so many words, a member; of an array,
an element if a branch on the way there has asked whether the index is less than the array's length, so that
Solidity's own check never fails. Where that branch goes nowhere but to Solidity's panic and the element is read at
once, the branch itself is left to Solidity. Left out: words within bytes, and elements that nothing was asked about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from whet.evm.meaning.base import END, FunctionMeaning, Place
from whet.evm.opcodes import PURE
from whet.evm.solidity.samples import dominating
from whet.evm.solidity.sums import Sum, sum_of
from whet.evm.tac import Block, Function, Operand, Statement
from whet.evm.terms import (
    Assign,
    Expression,
    Form,
    Index,
    InMemory,
    Invoke,
    Member,
    Name,
    Operation,
    Revert,
    Value,
)

_OUT_OF_BOUNDS = 0x32


def with_elements(function: Function, known: FunctionMeaning, kinds: Mapping[str, str]) -> FunctionMeaning:
    """kinds: types of the function's variables that point to objects in memory."""
    if not kinds:
        return known
    found = _Elements(function, known, kinds)
    found.find()
    return replace(known, forms=known.forms | found.forms, skipped=known.skipped | found.skipped)


@dataclass(slots=True)
class _Access:
    """One word of an object. index: of an array's elements."""

    target: Expression
    base: str
    index: Sum | None = None


class _Elements:
    def __init__(self, function: Function, known: FunctionMeaning, kinds: Mapping[str, str]) -> None:
        self.function, self.known, self.kinds = function, known, kinds
        self.made = {r: s for s in function.statements() for r in s.results}
        self.above = dominating(function)
        self.came = function.predecessors()
        self.forms: dict[Place, Form] = {}
        self.skipped: dict[str, str] = {}

    def find(self) -> None:
        for block in self.function.blocks.values():
            for index, s in enumerate(block.statements):
                place = (block.id, index)
                if place in self.known.absorbed or place in self.known.forms or block.id not in self.above:
                    continue
                if s.op == "KECCAK256" and (hashed := self._whole(s)):
                    pointer = InMemory(hashed, self.kinds[hashed])
                    self.forms[place] = Value(Invoke(Name("keccak256"), (pointer,)))
                elif s.op in ("MLOAD", "MSTORE") and (access := self._access(s.args[0])) is not None:
                    asked = self._asked(block.id, access) if access.index is not None else ""
                    if asked is None:
                        continue
                    if s.op == "MLOAD":
                        self.forms[place] = Value(access.target)
                        self._leave_check(block, index, asked)
                    else:
                        self.forms[place] = Assign(access.target, s.args[1])

    def _whole(self, s: Statement) -> str:
        """The pointer to bytes of which all are hashed, "" for none."""
        made = self.made.get(s.args[1]) if isinstance(s.args[1], str) else None
        if made is None or made.op != "MLOAD" or self.kinds.get(pointer := str(made.args[0])) != "bytes":
            return ""
        return pointer if sum_of(s.args[0], self.made, self.kinds) == (32, ((pointer, 1),)) else ""

    def _access(self, address: Operand) -> _Access | None:
        constant, terms = sum_of(address, self.made, self.kinds)
        bases = [name for name, factor in terms if factor == 1 and name in self.kinds]
        if len(bases) != 1:
            return None
        base, kind = bases[0], self.kinds[bases[0]]
        rest = tuple(term for term in terms if term[0] != base)
        pointer = InMemory(base, kind)
        if kind.startswith("Words"):
            position, odd = divmod(constant, 32)
            if rest or odd or position >= int(kind.removeprefix("Words")):
                return None
            return _Access(Member(pointer, f"f{position}"), base)
        if (
            not kind.endswith("[]")
            or constant < 32
            or any(factor % 32 for _, factor in rest)
            or constant % 32
        ):
            return None
        at: Sum = ((constant - 32) // 32, tuple((name, factor // 32) for name, factor in rest))
        index = _said(at)
        return None if index is None else _Access(Index(pointer, index), base, at)

    # Checks.

    def _asked(self, block: str, access: _Access) -> str | None:
        """The block whose branch asks whether the index is in bounds; None if nothing does."""
        for name in (block, *self.above[block]):
            came = self.came[name]
            if len(came) != 1:
                continue
            end = self.function.blocks[came[0]].end
            if end.op != "BRANCH" or end.targets[0] == end.targets[1] or not isinstance(end.args[0], str):
                continue
            if self._is_bound(end.args[0], end.targets[0] == name, access):
                return came[0]
        return None

    def _is_bound(self, condition: str, holds: bool, access: _Access) -> bool:
        s = self.made.get(condition)
        while s is not None and s.op == "ISZERO" and isinstance(s.args[0], str):
            s, holds = self.made.get(s.args[0]), not holds
        if s is None or s.op not in ("LT", "GT") or not holds:
            return False
        index, length = s.args if s.op == "LT" else s.args[::-1]
        return self._is_length(length, access.base) and sum_of(index, self.made, self.kinds) == access.index

    def _is_length(self, operand: Operand, base: str) -> bool:
        s: Statement | None = self.made.get(operand) if isinstance(operand, str) else None
        return s is not None and s.op == "MLOAD" and s.args == (base,)

    def _leave_check(self, block: Block, index: int, asked: str) -> None:
        """Takes the branch out if its other way is the panic that Solidity's own check gives."""
        if not asked or self.came[block.id] != [asked] or asked in self.known.skipped:
            return
        before = block.statements[:index]
        if any(s.op not in PURE and s.op not in ("MLOAD", "SLOAD", "TLOAD") for s in before):
            return
        (other,) = (t for t in self.function.blocks[asked].end.targets if t != block.id)
        form = self.known.forms.get((other, END))
        if isinstance(form, Revert) and form.error == "Panic" and form.args == (_OUT_OF_BOUNDS,):
            self.skipped[asked] = block.id


def _said(index: Sum) -> Expression | None:
    """An index as a term; None for sums of many parts."""
    constant, terms = index
    if not terms:
        return constant
    if len(terms) != 1 or terms[0][1] != 1:
        return None
    return terms[0][0] if not constant else Operation("ADD", (terms[0][0], constant))
