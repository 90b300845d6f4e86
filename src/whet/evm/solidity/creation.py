"""Where the code makes objects in memory, and what Solidity says for that: `bytes memory v = abi.encode(a, b);`

Taken are stretches of one block that move the free pointer once, and that compute, write the object and nothing else;
helpers that write memory are followed. What the object is, `contents` claims from one run of the stretch; runs with
other words and lengths must give exactly that. The pointer's reads, the writes and the step of the free pointer are then
not shown; the object stands where the pointer was first read, or where it was last written to.

Not taken: stretches of which anything else is still needed (the end of the object, a pointer into it before it is
whole), objects that loops of the same function write, and what only some of its words are written of.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from whet.evm.draft.begin import begin
from whet.evm.draft.inline import live
from whet.evm.meaning.base import END, FunctionMeaning, Place
from whet.evm.meaning.slices import FREE, LENGTHS, SPACE, Run, Slice, Stuck, computed, run
from whet.evm.meaning.walk import Shapes
from whet.evm.opcodes import PURE
from whet.evm.solidity.contents import Seen, made_of
from whet.evm.solidity.memory import FREE_POINTER
from whet.evm.structure.graph import dominators, reverse_postorder
from whet.evm.tac import Block, Contract, Function, Operand, Statement
from whet.evm.terms import Expression, Form, Invoke, Name, Operation, Return, Revert, Value, variables

_RUNS = 6
_MOST_TRIED = 40
"""Stretches of one function."""
_SLACK = 64
"""Bytes behind an object that may be written with it: the end of its last word."""
_LONGEST = 80
_DEEPEST = 6
_MEMORY = frozenset({"MLOAD", "MSTORE", "MSTORE8", "MCOPY", "CALLDATACOPY", "SLOAD", "TLOAD", "RETURNDATASIZE"})
_WRITES = frozenset({"MSTORE", "MSTORE8", "MCOPY", "CALLDATACOPY"})
_ALLOCATING = ("allocate_memory", "finalize_allocation")
"""Helpers of the compiler's that move the free pointer and may panic as Solidity does."""


@dataclass(slots=True)
class Creation:
    """An object that is made at a place. pointer: the variable that gets it; hidden: what is not shown for it."""

    place: Place
    pointer: str
    type: str
    form: Form
    hidden: set[Place]
    aliases: dict[Place, str] = field(default_factory=dict)
    """{place: pointer}: the same pointer, read again."""


def with_creations(function: Function, known: FunctionMeaning, found: list[Creation]) -> FunctionMeaning:
    """The meaning with objects instead of the code that makes them, as far as nothing else needs that code."""
    while found:
        forms, absorbed = dict(known.forms), set(known.absorbed)
        for one in found:
            absorbed |= one.hidden - {one.place}
            forms[one.place] = one.form
            for place in one.aliases:
                forms[place] = Value(one.pointer, pure=True)
        trial = replace(known, forms=forms, absorbed=absorbed)
        needed = live(begin(function, trial))
        kept = [one for one in found if not needed & _lost(function, one)]
        if len(kept) == len(found):
            for one in found:
                if one.pointer and not needed & {one.pointer, *one.aliases.values()}:
                    del forms[one.place]
                    absorbed.add(one.place)
            return trial
        found[:] = kept
    return known


def _lost(function: Function, one: Creation) -> set[str]:
    """Results of what is not shown, the pointer aside."""
    places = one.hidden - one.aliases.keys() - {one.place}
    made = {r for block, index in places for r in function.blocks[block].statements[index].results}
    return made - {one.pointer}


def _ending(op: str, term: Expression) -> Form:
    """What is done with bytes instead of plain memory."""
    if op == "KECCAK256":
        return Value(Invoke(Name("keccak256"), (term,)), pure=False)
    if op == "REVERT":
        return Revert("", (term,), None, ("bytes",))
    is_encoded = isinstance(term, Invoke) and term.callee == Name("abi.encode")
    return Return(term.args) if is_encoded else Return((term,), raw=True)  # type: ignore[union-attr]


class Creations:
    """Finds them in all functions of a contract. helpers: {function: what of the compiler's it is}."""

    def __init__(self, contract: Contract, helpers: Mapping[str, str]) -> None:
        self.contract, self.shapes, self.helpers = contract, Shapes(contract), helpers

    def of(self, function: Function, known: FunctionMeaning) -> list[Creation]:
        """Of one function, in the order of its blocks. known: what is shown instead of statements otherwise."""
        return list(_OfFunction(self, function, known).found())

    def runs(self, s: Statement) -> bool:
        """Whether a stretch may hold the statement."""
        if s.op == "CALLPRIVATE":
            return self.shapes.of[s.function].only_memory and (not self.moves(s) or self._allocates(s))
        return s.op in PURE or s.op in _MEMORY

    def moves(self, s: Statement) -> bool:
        return self.shapes.allocates(s)

    def _allocates(self, s: Statement) -> bool:
        return self.helpers.get(s.function, "").startswith(_ALLOCATING)

    def may_hide(self, s: Statement) -> bool:
        """Whether leaving out a call leaves out nothing but what Solidity does too."""
        if s.op != "CALLPRIVATE":
            return True
        return not self.shapes.of[s.function].halts or self._allocates(s)


class _OfFunction:
    def __init__(self, all_of: Creations, function: Function, known: FunctionMeaning) -> None:
        self.all, self.function, self.known, self.left = all_of, function, known, _MOST_TRIED
        self.made: dict[str, Statement] = {}
        self.where: dict[str, Place] = dict.fromkeys(function.params, ("", -1))
        for block in function.blocks.values():
            self.where |= {phi.result: (block.id, -1) for phi in block.phis}
            for index, s in enumerate(block.statements):
                self.made |= dict.fromkeys(s.results, s)
                self.where |= dict.fromkeys(s.results, (block.id, index))
        self.above = _dominators(function)

    def found(self) -> Iterator[Creation]:
        for block in self.function.blocks.values():
            start = 0
            for index, s in [*enumerate(block.statements), (END, None)]:
                if self.left == 0 or block.id not in self.above:
                    return
                if s is None or s.op == "KECCAK256":
                    made = self._consumption(block, index, start)
                elif index >= start and self.all.moves(s) and self.all.runs(s):
                    made = self._stretch(block, index, start)
                else:
                    continue
                if made is not None:
                    yield made[0]
                    start = made[1]

    def _consumption(self, block: Block, index: int, least: int) -> tuple[Creation, int] | None:
        """Bytes at the free pointer that are hashed, returned or reverted with."""
        op, args = block.end.op, block.end.args
        if index != END:
            op, args = "KECCAK256", block.statements[index].args
        if op not in ("KECCAK256", "RETURN", "REVERT") or (block.id, index) in self.known.forms | dict.fromkeys(
            self.known.absorbed
        ):
            return None
        self.left -= 1
        stop = first = (len(block.statements) if index == END else index) - 1
        while first >= least and stop - first < _LONGEST and self._goes_on(block, first):
            first -= 1
        starts = [i for i in range(first + 1, stop + 1) if self._reads_pointer(block.statements[i])]
        for start in reversed(starts[-4:]):
            term = self._consumed(block, start, stop, (block.id, index), args)
            if term is not None:
                return Creation((block.id, index), "", "", _ending(op, term[0]), term[1]), index
        return None

    def _consumed(
        self, block: Block, start: int, stop: int, place: Place, args: tuple[Operand, ...]
    ) -> tuple[Expression, set[Place]] | None:
        try:
            runs = [self._run(block, start, stop, number) for number in range(_RUNS)]
            ends = [made.word(args[0]) + made.word(args[1]) for made in runs]
            if any(made.word(args[0]) != FREE or self._moved(made) for made in runs):
                return None
            hidden = self._hidden(block, runs, ends)
            if hidden is None:
                return None
            where = (block.id, stop + 1)
            seen = self._seen(block, start, stop, where, runs[0])
            for term in seen.bytes_at(FREE, ends[0] - FREE):
                if all(
                    made_of(made, term)[32:] == made.read(FREE, end - FREE)
                    for made, end in zip(runs, ends, strict=True)
                ):
                    read = {(block.id, i) for i in range(start, stop + 1) if self._reads_pointer(block.statements[i])}
                    return term, hidden | read
        except Stuck:
            pass
        return None

    def _stretch(self, block: Block, moved: int, least: int) -> tuple[Creation, int] | None:
        """The object whose pointer is moved at a statement, and the first statement behind the stretch."""
        first = moved
        while first > least and moved - first < _LONGEST and self._goes_on(block, first - 1):
            first -= 1
        last = moved
        while last + 1 < len(block.statements) and last - moved < _LONGEST and self._goes_on(block, last + 1):
            last += 1
        starts = [i for i in range(first, moved + 1) if self._reads_pointer(block.statements[i])]
        for start in reversed(starts[-4:]):
            for stop in dict.fromkeys((self._last_write(block, start, moved, last), moved)):
                made = self._tried(block, start, stop) if stop is not None else None
                if made is not None:
                    return made, stop + 1  # type: ignore[operator]
        return None

    def _goes_on(self, block: Block, index: int) -> bool:
        s = block.statements[index]
        return self.all.runs(s) and not self.all.moves(s) and (block.id, index) not in self.known.absorbed

    def _reads_pointer(self, s: Statement) -> bool:
        return (s.op == "MLOAD" and s.args == (FREE_POINTER,)) or (
            s.op == "CALLPRIVATE" and self.all.helpers.get(s.function, "").startswith("allocate_")
        )

    def _last_write(self, block: Block, start: int, moved: int, last: int) -> int | None:
        """The last statement that writes into the object, as long as nothing else is written."""
        try:
            made = self._run(block, start, last, 0)
        except Stuck:
            return None
        end = int.from_bytes(made.read(FREE_POINTER, 32), "big")
        stop = moved
        for (_, index), offset, size in made.writes:
            if offset == FREE_POINTER:
                continue
            if not FREE <= offset or (index > moved and not self._ends(block, index, offset, end)):
                if index > moved:
                    break
                continue
            stop = max(stop, index)
        return stop

    def _ends(self, block: Block, index: int, offset: int, end: int) -> bool:
        """Whether a write behind the step of the free pointer belongs to the object: to its words, or 0 behind them."""
        s = block.statements[index]
        return offset < end or (offset == end and s.op == "MSTORE" and s.args[1] == 0)

    # Runs.

    def _run(self, block: Block, start: int, stop: int, number: int) -> Run:
        """Sizes are small; words that nothing is read behind are any words."""
        part = Slice({block.id: (start, stop + 1)}, block.id, block.id)
        sizes = self._sizes(block, start, stop, number)
        made = run(self.all.contract, self.function, part, number, sizes)
        pointers = {made.values[name] // SPACE for name in made.free}
        read = {at // SPACE for at in made.read_at} & pointers
        source = random.Random(number * 7919 + stop)
        given = {
            name: source.getrandbits(256) | 1 << 255
            for name in [*made.free, *self._environment(block, start, stop)]
            if name not in made.free or made.values[name] // SPACE not in read
        }
        return run(self.all.contract, self.function, part, number, {**given, **sizes})

    def _environment(self, block: Block, start: int, stop: int) -> list[str]:
        return [r for s in block.statements[start : stop + 1] if s.op == "CALLDATALOAD" for r in s.results]

    def _sizes(self, block: Block, start: int, stop: int, number: int) -> dict[str, int]:
        """Values of variables from outside that lengths, and how far the free pointer moves, are computed from, and of
        what else is computed from these alone."""
        inside = block.statements[start : stop + 1]
        work: list[str] = []
        for s in inside:
            if s.op == "CALLDATACOPY":
                work += [arg for arg in s.args[1:] if isinstance(arg, str)]
            elif s.op == "MSTORE" and s.args[0] == FREE_POINTER and isinstance(s.args[1], str):
                work.append(s.args[1])
            elif s.op == "CALLPRIVATE" and self.all.moves(s):
                work += [arg for arg in s.args if isinstance(arg, str)]
        found: dict[str, int] = {}
        seen: set[str] = set()
        while work:
            name = work.pop()
            if name in seen:
                continue
            seen.add(name)
            made = self.made.get(name)
            if made is not None and made.op in PURE and made.op != "CALLDATALOAD":
                work += [arg for arg in made.args if isinstance(arg, str)]
            elif made is None or made not in inside or made.op in ("CALLDATALOAD", "SLOAD"):
                found[name] = LENGTHS[(number + 3 * len(found)) % len(LENGTHS)]
        outside = {arg for s in inside for arg in s.args if isinstance(arg, str)} - found.keys()
        for name in outside - {r for s in inside for r in s.results}:
            value = self._computed(name, found, 0)
            if value is not None:
                found[name] = value
        return found

    def _computed(self, name: str, sizes: Mapping[str, int], depth: int) -> int | None:
        """The value of a variable that is computed from sizes and what is known of the call."""
        if name in sizes:
            return sizes[name]
        made = self.made.get(name)
        if made is None or made.op not in PURE or made.op == "CALLDATALOAD" or depth > _DEEPEST:
            return None
        args = [arg if isinstance(arg, int) else self._computed(arg, sizes, depth + 1) for arg in made.args]
        return None if None in args else computed(made.op, tuple(args))  # type: ignore[arg-type]

    # One stretch.

    def _tried(self, block: Block, start: int, stop: int) -> Creation | None:
        try:
            runs = [self._run(block, start, stop, number) for number in range(_RUNS)]
        except Stuck:
            return None
        hidden = self._hidden(block, runs, [FREE + self._moved(made) for made in runs])
        if hidden is None:
            return None
        pointers = {
            r: (block.id, i)
            for i in range(start, stop + 1)
            for r in block.statements[i].results
            if self._reads_pointer(block.statements[i]) and runs[0].values[r] == FREE
        }
        if not pointers:
            return None
        pointer, first = next(iter(pointers.items()))
        for place in (first, (block.id, stop)):
            if place != first and (len(pointers) > 1 or not self._is_free_until(block, start, stop, hidden, pointer)):
                continue
            claim = self._claimed(block, start, stop, place, runs)
            made_of_it = self._depends(block, start, stop, pointer)
            if claim is not None and not made_of_it & set(variables(claim[1])):
                kind, term = claim
                form = Value(term, (pointer,), pure=False)
                aliases = {p: r for r, p in pointers.items() if r != pointer}
                return Creation(place, pointer, kind, form, hidden | set(pointers.values()) | {place}, aliases)
        return None

    def _hidden(self, block: Block, runs: list[Run], ends: list[int]) -> set[Place] | None:
        """Statements that write the object or move the free pointer; None where one does more than that."""
        hidden: set[Place] = set()
        for made, end in zip(runs, ends, strict=True):
            for place, offset, size in made.writes:
                if offset == FREE_POINTER or (FREE <= offset and offset + size <= end + _SLACK):
                    hidden.add(place)
                elif offset + size > FREE_POINTER:
                    return None
        for name, index in hidden:
            s = block.statements[index]
            if not self.all.may_hide(s) or any(
                place == (name, index) and offset < FREE_POINTER for place, offset, _ in runs[0].writes
            ):
                return None
        return hidden

    def _depends(self, block: Block, start: int, stop: int, pointer: str) -> set[str]:
        """The pointer, and what is computed from it in the stretch."""
        depends = {pointer}
        for s in block.statements[start : stop + 1]:
            if depends & set(s.args):
                depends.update(s.results)
        return depends

    def _is_free_until(self, block: Block, start: int, stop: int, hidden: set[Place], pointer: str) -> bool:
        """Whether nothing that stays shown before the last write needs the pointer."""
        inner = self._depends(block, start, stop, pointer) - {pointer}
        for index in range(start, stop + 1):
            s = block.statements[index]
            if (block.id, index) not in hidden and s.op not in PURE and (inner | {pointer}) & set(s.args):
                return False
        shown = (
            s
            for other in self.function.blocks.values()
            for i, s in enumerate(other.statements)
            if (other.id, i) not in hidden and (other is not block or not start <= i <= stop)
        )
        if any(inner & set(s.args) for s in shown):
            return False
        blocks = self.function.blocks.values()
        return not any(
            inner & set(b.end.args) or any(inner & set(p.incoming.values()) for p in b.phis) for b in blocks
        )

    def _claimed(
        self, block: Block, start: int, stop: int, place: Place, runs: list[Run]
    ) -> tuple[str, Expression] | None:
        try:
            seen = self._seen(block, start, stop, place, runs[0])
            for kind, term in seen.claims():
                if all(self._holds(made, term) for made in runs):
                    return kind, term
        except Stuck:
            pass
        return None

    def _seen(self, block: Block, start: int, stop: int, place: Place, made: Run) -> Seen:
        copies = [s for s in block.statements[start : stop + 1] if s.op == "CALLDATACOPY"]
        stored: dict[int, Operand] = {}
        for (_, index), offset, _ in made.writes:
            s = block.statements[index]
            stored.pop(offset, None)
            if s.op == "MSTORE":
                stored[offset] = s.args[1]
        copied = copies[0] if len(copies) == 1 else None
        return Seen(made, self._moved(made), stored, self.made, lambda n: self._said(n, place, 0), copied)

    def _moved(self, made: Run) -> int:
        return int.from_bytes(made.read(FREE_POINTER, 32), "big") - FREE

    def _holds(self, made: Run, term: Expression) -> bool:
        content = made_of(made, term)
        enough = len(content) <= self._moved(made) < len(content) + 64
        return enough and made.read(FREE, len(content)) == content

    def _said(self, name: str, place: Place, depth: int) -> Expression | None:
        """A variable where an object is made; what it is computed from where it comes later."""
        where = self.where.get(name)
        if where is None or depth > _DEEPEST:
            return None
        block, index = where
        if block == "" or (block == place[0] and index < place[1]) or (
            block != place[0] and block in self.above.get(place[0], ())
        ):
            return name
        s = self.made.get(name)
        if s is None or s.op not in PURE or s.op == "CALLDATALOAD" or block != place[0]:
            return None
        parts = [arg if isinstance(arg, int) else self._said(arg, place, depth + 1) for arg in s.args]
        return None if None in parts else Operation(s.op, tuple(parts))  # type: ignore[arg-type]


def _dominators(function: Function) -> dict[str, set[str]]:
    """{block: all that stand on every way to it}."""
    order = reverse_postorder({block.id: block.end.targets for block in function.blocks.values()})
    nearest = dominators(order, function.predecessors())
    found: dict[str, set[str]] = {}
    for name in order:
        above, at = set[str](), name
        while nearest.get(at, at) != at:
            at = nearest[at]
            above.add(at)
        found[name] = above
    return found
