"""Where the code makes objects in memory, hashes or returns bytes of which one expression says what they are.

Taken are stretches of one block that move the free pointer once, and that compute, write the object and nothing else;
helpers that write memory are followed. What the object is, `contents` claims from one run of the stretch; runs with
other words and lengths must give exactly that. The pointer's reads, the writes and the step of the free pointer are then
not shown; the object stands where the pointer was first read, or where it was last written to. Bytes at the free
pointer that are hashed, returned or reverted with at once are taken alike.

Not taken: stretches of which anything else is still needed (the end of the object, a pointer into it before it is
whole), objects that loops of the same function write, and what only some of its words are written of.
"""

from __future__ import annotations

from collections.abc import Iterator

from whet.evm.meaning.base import END, FunctionMeaning, Place
from whet.evm.meaning.slices import FREE, Run, Stuck
from whet.evm.opcodes import PURE
from whet.evm.solidity.claims import RETURNED_DATA, made_of
from whet.evm.solidity.contents import Seen
from whet.evm.solidity.creation import Creation, ending
from whet.evm.solidity.empties import only_where_returned, zeroed
from whet.evm.solidity.memory import FREE_POINTER
from whet.evm.solidity.samples import Samples, Stretch, moved
from whet.evm.tac import Block, Operand
from whet.evm.terms import Expression, Invoke, Name, Value, variables

_MOST_TRIED = 40
"""Stretches of one function."""
_SLACK = 64
"""Bytes behind an object that may be written with it: the end of its last word."""
_LONGEST = 80


class Stretches:
    """Of one function. known: what is shown instead of statements otherwise."""

    def __init__(self, samples: Samples, known: FunctionMeaning) -> None:
        self.samples, self.known, self.left = samples, known, _MOST_TRIED
        self.function = samples.function

    def found(self) -> Iterator[Creation]:
        for block in self.function.blocks.values():
            start = 0
            for index, s in [*enumerate(block.statements), (END, None)]:
                if self.left == 0 or block.id not in self.samples.above:
                    return
                if s is None or s.op == "KECCAK256":
                    made = self._consumption(block, index, start)
                elif index >= start and self.samples.moves(s) and self.samples.may_hold(s):
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
        if op not in ("KECCAK256", "RETURN", "REVERT") or (
            block.id,
            index,
        ) in self.known.forms | dict.fromkeys(self.known.absorbed):
            return None
        self.left -= 1
        stop = first = (len(block.statements) if index == END else index) - 1
        while first >= least and stop - first < _LONGEST and self._goes_on(block, first):
            first -= 1
        starts = [i for i in range(first + 1, stop + 1) if self.samples.reads_pointer(block.statements[i])]
        for start in reversed(starts[-4:]):
            term = self._consumed(block, start, stop, (block.id, index), args)
            if term is not None:
                return Creation((block.id, index), "", "", ending(op, term[0]), term[1]), index
        return None

    def _consumed(
        self, block: Block, start: int, stop: int, place: Place, args: tuple[Operand, ...]
    ) -> tuple[Expression, set[Place]] | None:
        try:
            runs = self.samples.runs(Stretch(block, start, stop))
            ends = [made.word(args[0]) + made.word(args[1]) for made in runs]
            if any(made.word(args[0]) != FREE or moved(made) for made in runs):
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
                    read = {
                        (block.id, i)
                        for i in range(start, stop + 1)
                        if self.samples.reads_pointer(block.statements[i])
                    }
                    return term, hidden | read
        except Stuck:
            pass
        return None

    def _stretch(self, block: Block, step: int, least: int) -> tuple[Creation, int] | None:
        """The object whose pointer is moved at a statement, and the first statement behind the stretch."""
        first = step
        while first > least and step - first < _LONGEST and self._goes_on(block, first - 1):
            first -= 1
        last = step
        while last + 1 < len(block.statements) and last - step < _LONGEST and self._goes_on(block, last + 1):
            last += 1
        starts = [i for i in range(first, step + 1) if self.samples.reads_pointer(block.statements[i])]
        for start in reversed(starts[-4:]):
            last_write = self._last_write(block, start, step, last)
            if last_write is not None and (new := self._new(block, start, max(step, last_write))) is not None:
                return new, max(step, last_write) + 1
            for stop in dict.fromkeys((last_write, step)):
                made = self._tried(block, start, stop) if stop is not None else None
                if made is not None:
                    return made, stop + 1  # type: ignore[operator]
        return None

    def _goes_on(self, block: Block, index: int) -> bool:
        s = block.statements[index]
        return (
            self.samples.may_hold(s)
            and not self.samples.moves(s)
            and (block.id, index) not in self.known.absorbed
        )

    def _last_write(self, block: Block, start: int, step: int, last: int) -> int | None:
        """The last statement that writes into the object, as long as nothing else is written."""
        try:
            made = self.samples.run(Stretch(block, start, last), 0)
        except Stuck:
            return None
        end = int.from_bytes(made.read(FREE_POINTER, 32), "big")
        stop = step
        for (_, index), offset, _ in made.writes:
            if offset == FREE_POINTER:
                continue
            if not offset >= FREE or (index > step and not self._ends(block, index, offset, end)):
                if index > step:
                    break
                continue
            stop = max(stop, index)
        return stop

    def _ends(self, block: Block, index: int, offset: int, end: int) -> bool:
        """Whether a write behind the step of the free pointer belongs to the object: to its words, or 0 behind them."""
        s = block.statements[index]
        return offset < end or (offset == end and s.op == "MSTORE" and s.args[1] == 0)

    def _tried(self, block: Block, start: int, stop: int) -> Creation | None:
        try:
            runs = self.samples.runs(Stretch(block, start, stop))
        except Stuck:
            return None
        hidden = self._hidden(block, runs, [FREE + moved(made) for made in runs])
        if hidden is None:
            return None
        pointers = {
            r: (block.id, i)
            for i in range(start, stop + 1)
            for r in block.statements[i].results
            if self.samples.reads_pointer(block.statements[i]) and runs[0].values[r] == FREE
        }
        if not pointers:
            return None
        pointer, first = next(iter(pointers.items()))
        for place in (first, (block.id, stop)):
            if place != first and (
                len(pointers) > 1 or not self._is_free_until(block, start, stop, hidden, pointer)
            ):
                continue
            claim = self._claimed(block, start, stop, place, runs)
            made_of_it = self._depends(block, start, stop, pointer)
            if claim is not None and not made_of_it & set(variables(claim[1])):
                kind, term = claim
                form = Value(term, (pointer,), pure=False)
                aliases = {p: r for r, p in pointers.items() if r != pointer}
                made = Creation(
                    place, pointer, kind, form, hidden | set(pointers.values()) | {place}, aliases
                )
                if term == RETURNED_DATA and len(pointers) == 1:
                    asking = only_where_returned(self.function, block, stop + 1, pointer)
                    made.skipped = {asking: block.id} if asking else {}
                return made
        return None

    def _new(self, block: Block, start: int, stop: int) -> Creation | None:
        """An object of a length known only when running, that a branch behind fills with zeros."""
        try:
            runs = self.samples.runs(Stretch(block, start, stop))
        except Stuck:
            return None
        stores = [
            s for s in block.statements[start : stop + 1] if s.op == "MSTORE" and s.args[0] != FREE_POINTER
        ]
        read = [i for i in range(start, stop + 1) if self.samples.reads_pointer(block.statements[i])]
        if len(stores) != 1 or len(read) != 1 or not isinstance(length := stores[0].args[1], str):
            return None
        pointer, first = block.statements[read[0]].results[0], (block.id, read[0])
        found = zeroed(self.function, block, pointer, length) if stores[0].args[0] == pointer else None
        if found is None or self.samples.said(length, first) != length:
            return None
        kind, meets, filled = found
        size = 1 if kind == "bytes" else 32
        for made in runs:
            count = made.word(length)
            if not 32 + size * count <= moved(made) < 64 + size * count:
                return None
        hidden = self._hidden(block, runs, [FREE + moved(made) for made in runs])
        if hidden is None:
            return None
        form = Value(Invoke(Name(f"new {kind}"), (length,)), (pointer,), pure=False)
        return Creation(first, pointer, kind, form, hidden | {first, filled}, skipped={block.id: meets})

    def _hidden(self, block: Block, runs: list[Run], ends: list[int]) -> set[Place] | None:
        """Statements that write the object or move the free pointer; None where one does more than that."""
        hidden: set[Place] = set()
        for made, end in zip(runs, ends, strict=True):
            for place, offset, size in made.writes:
                if offset == FREE_POINTER or (offset >= FREE and offset + size <= end + _SLACK):
                    hidden.add(place)
                elif offset + size > FREE_POINTER:
                    return None
        for name, index in hidden:
            s = block.statements[index]
            if not self.samples.may_hide(s) or any(
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
        return Seen(
            made, moved(made), stored, self.samples.made, lambda n: self.samples.said(n, place), copied
        )

    def _holds(self, made: Run, term: Expression) -> bool:
        content = made_of(made, term)
        enough = len(content) <= moved(made) < len(content) + 64
        return enough and made.read(FREE, len(content)) == content
