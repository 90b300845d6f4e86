"""TAC made smaller without changing what it does: needless phis, constants, dead code, needless jumps, names."""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

from whet.evm.algebra import COMMUTATIVE, NARROW, bits_of, simplify
from whet.evm.naming import reading_order, rename
from whet.evm.opcodes import PURE
from whet.evm.tac import Block, Contract, End, Function, Operand, Phi, Statement

_SIMPLER_AT_MOST = 8
_REMOVABLE = PURE | {
    "SLOAD",
    "TLOAD",
    "BALANCE",
    "SELFBALANCE",
    "EXTCODESIZE",
    "EXTCODEHASH",
    "GAS",
    "RETURNDATASIZE",
}
"""Without effect on anything but their result."""

_GROWING = ("MLOAD", "KECCAK256")
_SMALL = 0x10000
"""Bytes of memory that every call can pay for; reads of more, or of what is not known, may be there to run out of gas."""


_FACTS = 128
"""Values and conditions that one block is told of by those before it."""

_Key = TypeVar("_Key")
_Fact = TypeVar("_Fact")


def fold(contract: Contract) -> None:
    """In place."""
    sized = any(s.op == "MSIZE" for f in contract.functions.values() for s in f.statements())
    for function in contract.functions.values():
        _Fold(function, keeps_memory=sized).run()


class _Fold:
    def __init__(self, function: Function, *, keeps_memory: bool) -> None:
        self.function = function
        self.keeps_memory = keeps_memory
        self.same: dict[str, Operand] = {}
        self.makers: dict[str, Statement] = {}
        self.bits: dict[str, int] = {}

    def run(self) -> None:
        changed = True
        while changed:
            changed = self._values()
            changed |= self._branches()
        self._substitute()
        self._decided()
        self._repeated()
        self._unused()
        self._join()
        rename(self.function)

    def _final(self, operand: Operand) -> Operand:
        """What an operand stands for after all replacements so far."""
        path = []
        while operand.__class__ is str and operand in self.same:
            path.append(operand)
            operand = self.same[operand]
        for name in path:
            self.same[name] = operand
        return operand

    def _values(self) -> bool:
        """Replace phis of one value and pure statements of constants; until nothing changes."""
        changed, again = False, True
        final, same = self._final, self.same
        while again:
            again = False
            before = len(same)
            for block in self.function.blocks.values():
                kept_phis = []
                for phi in block.phis:
                    values = {final(operand) for operand in phi.incoming.values()} - {phi.result}
                    if len(values) == 1:
                        same[phi.result] = values.pop()
                        again = True
                    else:
                        kept_phis.append(phi)
                block.phis = kept_phis
                block.statements = [s for s in block.statements if not self._replaced(s)]
            again |= len(same) != before
            changed |= again
        return changed

    def _replaced(self, statement: Statement) -> bool:
        """A pure statement made simpler; whether it is gone because its result is known."""
        if statement.op not in PURE:
            if statement.op in NARROW:
                self.bits[statement.results[0]] = NARROW[statement.op]
            return False
        statement.args = tuple([self._final(arg) for arg in statement.args])
        for _ in range(_SIMPLER_AT_MOST):
            simpler = simplify(statement.op, statement.args, self.makers, self.bits)
            if simpler is None:
                break
            if not isinstance(simpler, tuple):
                self.same[statement.results[0]] = simpler
                return True
            statement.op, statement.args = simpler
        self.makers[statement.results[0]] = statement
        self.bits[statement.results[0]] = bits_of(statement, self.bits)
        return False

    def _branches(self) -> bool:
        """BRANCH on a constant becomes JUMP; what it no longer reaches goes."""
        changed = False
        blocks = self.function.blocks
        for block in blocks.values():
            if block.end.op == "BRANCH":
                condition = self._final(block.end.args[0])
                if isinstance(condition, int):
                    self._decide(block, condition != 0)
                    changed = True
        if changed:
            self._unreached()
        return changed

    def _decide(self, block: Block, truth: bool) -> None:
        """The block's BRANCH always goes one way."""
        kept, lost = block.end.targets if truth else block.end.targets[::-1]
        block.end = End("JUMP", (), (kept,), block.end.pc)
        if lost != kept:
            _forget(self.function.blocks[lost], block.id)

    def _unreached(self) -> None:
        blocks = self.function.blocks
        seen, work = {"b0"}, ["b0"]
        while work:
            for target in blocks[work.pop()].end.targets:
                if target not in seen:
                    seen.add(target)
                    work.append(target)
        for id_ in [id_ for id_ in blocks if id_ not in seen]:
            for target in blocks[id_].end.targets:
                if target in blocks:
                    _forget(blocks[target], id_)
            del blocks[id_]

    def _substitute(self) -> None:
        final = self._final
        not_zero: dict[str, Operand] = {}
        for block in self.function.blocks.values():
            for phi in block.phis:
                phi.incoming = {id_: final(operand) for id_, operand in phi.incoming.items()}
            for statement in block.statements:
                statement.args = tuple([final(arg) for arg in statement.args])
                if statement.op == "ISZERO":
                    not_zero[statement.results[0]] = statement.args[0]
        for block in self.function.blocks.values():
            end = block.end
            end.args = tuple([final(arg) for arg in end.args])
            if end.op == "BRANCH":
                _turn(end, not_zero)

    def _decided(self) -> None:
        """A BRANCH on what an earlier BRANCH on the only way here was about: one of its ways is never gone."""
        blocks = self.function.blocks
        sources = _sources(blocks)
        known: dict[str, dict[Operand, bool]] = {}
        changed = False
        for id_ in reading_order(self.function):
            block, facts = blocks[id_], {}
            only = sources.get(id_, [])
            if len(only) == 1 and only[0].id in known:
                facts = _newest(known[only[0].id])
                end = only[0].end
                if end.op == "BRANCH":
                    facts[end.args[0]] = id_ == end.targets[0]
            known[id_] = facts
            if block.end.op == "BRANCH" and block.end.args[0] in facts:
                self._decide(block, facts[block.end.args[0]])
                changed = True
        if changed:
            self._unreached()

    def _repeated(self) -> None:
        """What was computed on the only way here is not computed again."""
        blocks = self.function.blocks
        sources = _sources(blocks)
        known: dict[str, dict[tuple[str, tuple[Operand, ...]], str]] = {}
        for id_ in reading_order(self.function):
            only = sources.get(id_, [])
            values = _newest(known[only[0].id]) if len(only) == 1 and only[0].id in known else {}
            kept = []
            for statement in blocks[id_].statements:
                statement.args = tuple([self._final(arg) for arg in statement.args])
                if statement.op in PURE:
                    args = statement.args
                    key = (
                        statement.op,
                        tuple(sorted(args, key=repr)) if statement.op in COMMUTATIVE else args,
                    )
                    if key in values:
                        self.same[statement.results[0]] = values[key]
                        continue
                    values[key] = statement.results[0]
                kept.append(statement)
            blocks[id_].statements = kept
            known[id_] = values
        self._substitute()

    def _unused(self) -> None:
        """Remove what nothing reads and what has no effect but its result."""
        makers: dict[str, Statement | Phi] = {}
        live: list[Operand] = []
        for block in self.function.blocks.values():
            for phi in block.phis:
                makers[phi.result] = phi
            for statement in block.statements:
                if self._removable(statement):
                    makers[statement.results[0]] = statement
                else:
                    live.extend(statement.args)
            live.extend(block.end.args)
        needed: set[str] = set()
        while live:
            operand = live.pop()
            if operand.__class__ is str and operand not in needed:
                needed.add(operand)
                maker = makers.get(operand)
                if maker is not None:
                    live.extend(maker.args if isinstance(maker, Statement) else maker.incoming.values())
        for block in self.function.blocks.values():
            block.phis = [phi for phi in block.phis if phi.result in needed]
            block.statements = [
                s for s in block.statements if not self._removable(s) or s.results[0] in needed
            ]

    def _removable(self, statement: Statement) -> bool:
        """Whether it could go if nothing read its result. MLOAD and KECCAK256 grow memory, which MSIZE shows."""
        if statement.op in _GROWING and not self.keeps_memory:
            return all(isinstance(arg, int) and arg < _SMALL for arg in statement.args)
        return statement.op in _REMOVABLE

    def _join(self) -> None:
        """A block that is only jumped to by one JUMP goes to the end of the block that jumps."""
        blocks = self.function.blocks
        into: dict[str, int] = {}
        for block in blocks.values():
            for target in block.end.targets:
                into[target] = into.get(target, 0) + 1
        for id_ in list(blocks):
            if id_ in blocks:
                self._extend(blocks[id_], into)

    def _extend(self, block: Block, into: dict[str, int]) -> None:
        blocks = self.function.blocks
        while block.end.op == "JUMP":
            target = block.end.targets[0]
            if into[target] != 1 or target in ("b0", block.id) or blocks[target].phis:
                return
            gone = blocks.pop(target)
            block.statements += gone.statements
            block.end = gone.end
            for after in gone.end.targets:
                _rename_source(blocks[after], gone.id, block.id)


def _newest(facts: dict[_Key, _Fact]) -> dict[_Key, _Fact]:
    """A copy without the oldest: a chain of blocks hands them on from each to the next."""
    return dict(islice(facts.items(), max(0, len(facts) - _FACTS), None))


def _sources(blocks: dict[str, Block]) -> dict[str, list[Block]]:
    """{id: the blocks that lead there}, one that leads there on both ways twice."""
    sources: dict[str, list[Block]] = {}
    for block in blocks.values():
        for target in block.end.targets:
            sources.setdefault(target, []).append(block)
    return sources


def _forget(block: Block, source: str) -> None:
    for phi in block.phis:
        phi.incoming.pop(source, None)


def _rename_source(block: Block, old: str, new: str) -> None:
    for phi in block.phis:
        if old in phi.incoming:
            phi.incoming = {new if id_ == old else id_: operand for id_, operand in phi.incoming.items()}


def _turn(end: End, not_zero: dict[str, Operand]) -> None:
    """BRANCH on ISZERO(x): on x, the other way round."""
    condition = end.args[0]
    while isinstance(condition, str) and condition in not_zero:
        condition = not_zero[condition]
        end.targets = end.targets[::-1]
    end.args = (condition,)
