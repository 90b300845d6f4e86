"""The blocks of one function, cloned: which there are, in which contexts, and where each of them goes on.

A block is cloned for every combination of known code offsets on the function's own stack (return offsets of what is
inlined, function pointers); so shared tails get a copy for each way through, and all jumps have fixed targets. Where
control enters a private function with its return offset on the stack, that is a call, and control goes on at that offset.

Nothing is believed of a private function: the blocks of each are followed until all of them end, and one that reads
what lies beneath its arguments, or returns otherwise than was thought, is none (`NotAFunction`). What it costs is
bounded for each function and for all together; what is cut off then is noted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.blocks import Constant, Disassembly, Item, RawBlock
from whet.evm.dispatch import Edge
from whet.evm.functions import Private
from whet.evm.stacks import DEEPEST, NOT_ZERO, ZERO, never, show
from whet.evm.tac import Function

RETURN_OFFSET = -1
"""Stands in a context for the word that holds where this function returns to."""

Context = tuple[int | None, ...]
"""For each word of the function's own stack, deepest first: an offset of the code, RETURN_OFFSET, `stacks.ZERO` or
`NOT_ZERO`, or None."""

Key = tuple[int, Context]

_CALLS_ON_A_WAY = 32


class NotAFunction(Exception):
    """This cannot be a function as it was thought to be."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


@dataclass(slots=True)
class Program:
    """What the functions of a contract are built from. privates: {offset: functions that begin there, most bound first}."""

    disassembly: Disassembly
    privates: dict[int, list[Private]]
    entered: dict[Edge, str]
    """{edge of the dispatcher: name of the function behind it}"""
    used: set[int]
    """Code offsets that jumps take from the stack of an earlier block; only these are kept apart."""
    escaped: list[int]
    """Code offsets that a jump to an unknown word may go to."""
    most_blocks: int
    """Blocks one function may have; more are cut off."""
    most_words: int
    """What the blocks of one function may cost: their instructions, four each, and the stack words on entry to them,
    since each may become a phi with an operand per way in."""
    words_left: int
    """The same for all functions that are yet to be built."""


@dataclass(slots=True)
class Way:
    """Where control goes: through calls, to a block (key), or out (`end`: ENTER, RETURNPRIVATE, or what is wrong)."""

    calls: list[Private]
    key: Key | None
    end: str = ""
    function: str = ""


@dataclass(slots=True)
class Node:
    """A block in a context. kind: how it ends (`RawBlock.last`), or SWITCH (its `cases`), "decided" (a JUMPI of which only
    one way is ever gone), "underflow", "overflow". ways: of a JUMPI the one taken first. ways_in: how many lead here."""

    key: Key
    kind: str = ""
    ways: list[Way] = field(default_factory=list)
    cases: tuple[int, ...] = ()
    id: str = ""
    ways_in: int = 0


def explore(program: Program, out: Function, context: Context, *, sealed: bool) -> list[Node]:
    """All nodes of the function `out`, which begins with this stack, each behind those that lead to it but for loops.

    sealed: beneath that stack lie words of others, which the function may not touch; else there is nothing. Raises
    NotAFunction. What is cut off stands in the notes of `out`.
    """
    return _Explorer(program, out, sealed=sealed).run((out.pc, context))


class _Explorer:
    def __init__(self, program: Program, out: Function, *, sealed: bool) -> None:
        self.program, self.out, self.sealed = program, out, sealed
        self.nodes: dict[Key, Node] = {}
        self._words_left = min(program.most_words, program.words_left)
        self._leaves: dict[int, list[Item]] = {}

    def run(self, start: Key) -> list[Node]:
        first = self.nodes[start] = Node(start)
        work = [first]
        while work:
            node = work.pop()
            self._follow(node)
            for way in node.ways:
                if way.key is not None:
                    self._reach(way, way.key, work)
        return self._in_order(first)

    def _reach(self, way: Way, key: Key, work: list[Node]) -> None:
        if key not in self.nodes:
            if len(self.nodes) >= self.program.most_blocks or self._words_left <= 0:
                way.key, way.end = None, "cut"
                return self._note(f"cut off after {len(self.nodes)} blocks")
            self._pay(4 + len(key[1]) + len(self.program.disassembly.block(key[0]).instructions))
            self.nodes[key] = Node(key)
            work.append(self.nodes[key])
        self.nodes[key].ways_in += 1
        return None

    def _pay(self, words: int) -> None:
        self._words_left -= words
        self.program.words_left -= words

    def _note(self, note: str) -> None:
        if note not in self.out.notes:
            self.out.notes.append(note)

    def _follow(self, node: Node) -> None:
        """Find out how a node ends, and the ways on."""
        pc, context = node.key
        block = self.program.disassembly.block(pc)
        effect = block.effect
        if effect.takes > len(context):
            node.kind = "underflow"
            if self.sealed:
                raise NotAFunction(self.out.name)
        elif len(context) + effect.grows > DEEPEST:
            node.kind = "overflow"
        else:
            kept = context[: len(context) - effect.takes]
            self._ways(node, block, kept + tuple([_word(item, context) for item in self._known(block)]))

    def _ways(self, node: Node, block: RawBlock, left: Context) -> None:
        context, effect = node.key[1], block.effect
        gone = never(effect, context)
        node.kind = "decided" if gone else block.last
        if block.last in ("JUMP", "JUMPI") and gone != "taken":
            target = _word(effect.target, context)
            after = show(left, effect.shown, True)
            if target is None or target in (ZERO, NOT_ZERO):
                self._switch(node, after)
            else:
                how = "jumped" if block.last == "JUMP" else "taken"
                node.ways.append(self._way(block.pc, how, target, after))
        if block.last in ("JUMPI", "FALL") and gone != "fell":
            node.ways.append(self._way(block.pc, "fell", block.end, show(left, effect.shown, False)))

    def _switch(self, node: Node, left: Context) -> None:
        pc, cases = node.key[0], tuple(self.program.escaped)
        self._pay(len(cases))
        if not cases or node.kind == "JUMPI" or self._words_left <= 0:
            node.ways.append(Way([], None, "unknown target"))
            return
        node.kind, node.cases = "SWITCH", cases
        node.ways = [self._way(pc, "jumped", target, left) for target in cases]
        self._note(
            f"the jump at the end of block 0x{pc:x} goes to one of {len(cases)} places, known when running"
        )

    def _way(self, pc: int, how: str, target: int, context: Context) -> Way:
        """The way to `target`, through the functions that are entered on it."""
        program = self.program
        entered = program.entered.get((pc, how))
        if entered is not None and self.out.kind == "entry":
            return Way([], None, "ENTER", entered)
        calls: list[Private] = []
        while True:
            if target == RETURN_OFFSET:
                return self._returned(calls, context)
            if target not in program.disassembly.jumpdests and how != "fell":
                return Way(calls, None, "bad jump")
            private = self._enters(target, context) if len(calls) < _CALLS_ON_A_WAY else None
            if private is None:
                return Way(calls, (target, context))
            calls.append(private)
            if private.leaves is None:
                return Way(calls, None, "no return")
            back = context[-1 - private.takes]
            assert back is not None
            target, how = back, "jumped"
            context = context[: len(context) - private.takes - 1] + (None,) * private.leaves

    def _enters(self, target: int, context: Context) -> Private | None:
        """The private function that control enters at `target`, with what it needs on the stack."""
        for private in self.program.privates.get(target, ()):
            back = context[-1 - private.takes] if private.takes < len(context) else None
            if (
                back is not None
                and back < ZERO
                and all(context[-1 - slot] == offset for slot, offset in private.bound)
            ):
                return private
        return None

    def _returned(self, calls: list[Private], context: Context) -> Way:
        if len(context) != self.out.returns:
            raise NotAFunction(self.out.name)
        return Way(calls, None, "RETURNPRIVATE")

    def _known(self, block: RawBlock) -> list[Item]:
        """What a block leaves, without constants that no jump uses."""
        leaves = self._leaves.get(block.pc)
        if leaves is None:
            used = self.program.used
            leaves = [
                None if isinstance(item, Constant) and item.value not in used else item
                for item in block.effect.leaves
            ]
            self._leaves[block.pc] = leaves
        return leaves

    def _in_order(self, start: Node) -> list[Node]:
        """Reverse postorder."""
        order: list[Node] = []
        seen = {start.key}
        path = [(start, self._next(start))]
        while path:
            node, following = path[-1]
            if following:
                after = following.pop()
                if after.key not in seen:
                    seen.add(after.key)
                    path.append((after, self._next(after)))
            else:
                order.append(node)
                path.pop()
        return order[::-1]

    def _next(self, node: Node) -> list[Node]:
        keys = [way.key for way in node.ways if way.key is not None]
        return [self.nodes[key] for key in dict.fromkeys(keys)]


def _word(item: Item, context: Context) -> int | None:
    if item is None:
        return None
    if isinstance(item, int):
        return context[-1 - item]
    if isinstance(item, Constant):
        return item.value
    word = context[-1 - item.slot]
    return word if word is not None and word < ZERO and word <= item.mask else None
