"""Where the public functions begin: the code from offset 0 walked with expressions on the stack.

Every dispatcher compares the first four bytes of the call data (the selector) with constants, one after the other, in a
binary search, or in a Yul switch; so a jump whose condition is such a comparison leads to a function. The walk goes on
through whatever only computes (and through functions, as unoptimised via-IR code has them), on both sides of every
jump, and stops at the first block with an effect; what it stops at behind the last comparison is the fallback, or,
where the call data is known to be empty, the receive function.

A function may be entered at an edge only if every way that leads over that edge was walked: code that ends the walk and
then comes back to the dispatcher takes the edges that it reaches out of the result. Of the stack a function is told the
words on top that are the same on all these ways; one that reads what lies beneath is none (`build` refuses it).

Leaves out: dispatch by a table of jumps (not made by solc). Costs one step per block and stack, more for long blocks,
at most `_STEPS`.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import takewhile
from typing import NamedTuple

from whet.evm.blocks import Constant, Disassembly, RawBlock
from whet.evm.opcodes import BY_NAME, PURE
from whet.evm.selectors import Expression, Stack, about_the_call, compute, nodes, strip, tests_selector

Edge = tuple[int, str]
"""(offset of the block that is left, "taken" | "fell" | "jumped")."""

_STEPS = 4096
_MOST_NODES = 64
"""Instructions and constants in one expression."""
_MOST_WORDS = 64
"""Stack words of a dispatcher; real ones have under ten."""


class Entry(NamedTuple):
    """A function that the dispatcher goes over to: at block `pc`, with these words on the stack (deepest first).

    beneath: there may be more words beneath them, unknown ones.
    """

    kind: str
    selector: int | None
    pc: int
    stack: Stack = ()
    beneath: bool = False

    @property
    def name(self) -> str:
        return f"f_{self.selector:08x}" if self.selector is not None else self.kind


class _State(NamedTuple):
    pc: int
    stack: Stack
    empty: bool
    compared: bool


_START: Edge = (-1, "")
"""Stands for the edge that leads to offset 0."""


def find_entries(walk: Walk, places: Collection[int], refused: Collection[str] = ()) -> dict[Edge, Entry]:
    """What is entered at which edges of the dispatcher. Edges that lead to one function share its entry.

    places: where a jump may go to whose target is not a constant of its block. refused: names of functions to leave out.
    """
    found: dict[str, tuple[Entry, list[Edge]]] = {}
    for edge, entry in [*walk.functions, *walk.others()]:
        first, edges = found.setdefault(entry.name, (entry, []))
        if entry.pc == first.pc:
            edges.append(edge)
    entries: dict[Edge, Entry] = {}
    for name, (entry, edges) in found.items():
        if name not in refused:
            stack, beneath = _common([stack for edge in edges for stack in walk.stacks[edge]])
            entries |= dict.fromkeys(edges, entry._replace(stack=stack, beneath=beneath))
    return _walked(entries, walk, places)


def _common(stacks: list[Stack]) -> tuple[Stack, bool]:
    """The words on top that all have, and whether some have more."""
    common = stacks[0]
    for stack in stacks:
        pairs = zip(reversed(common), reversed(stack), strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        common = common[len(common) - same :]
    return common, any(len(stack) > len(common) for stack in stacks)


def _walked(entries: dict[Edge, Entry], walk: Walk, places: Collection[int]) -> dict[Edge, Entry]:
    """The entries without those that code may come to which the walk did not follow."""
    while True:
        begun = [pc for edge, pc in walk.ended if edge not in entries]
        reached = _reached(begun, walk.disassembly, places)
        kept = {} if reached is None else {e: entry for e, entry in entries.items() if e[0] not in reached}
        if len(kept) == len(entries):
            return kept
        entries = kept


def _reached(start: list[int], disassembly: Disassembly, places: Collection[int]) -> set[int] | None:
    """Every block that control may come to from these; None where that are too many."""
    reached: set[int] = set()
    work, steps, anywhere = start, 0, False
    while work:
        pc = work.pop()
        if pc in reached:
            continue
        reached.add(pc)
        block = disassembly.block(pc)
        steps += 1 + len(block.instructions) // 16
        if steps > _STEPS:
            return None
        target = block.effect.target
        if isinstance(target, Constant):
            work += [target.value] if target.value in disassembly.jumpdests else []
        elif block.last in ("JUMP", "JUMPI") and not anywhere:
            anywhere = True
            work += places
        if block.last in ("JUMPI", "FALL"):
            work.append(block.end)
    return reached


class Walk:
    """The dispatcher of this code, walked.

    functions: public ones, with the edge where they are entered. ended: (edge, block behind it) wherever the walk did
    not go on. leaves: those of them that are behind comparisons. stacks: all that an edge was met with."""

    def __init__(self, disassembly: Disassembly) -> None:
        self.disassembly = disassembly
        self.functions: list[tuple[Edge, Entry]] = []
        self.leaves: list[tuple[Edge, _State]] = []
        self.ended: list[tuple[Edge, int]] = []
        self.stacks: dict[Edge, dict[Stack, None]] = {}
        self._ends: dict[_State, bool] = {}
        """States from which the walk did not go on, and whether what lies there may be a function."""
        self._run()

    def _run(self) -> None:
        start = _State(0, (), False, False)
        ways: dict[_State, list[Edge]] = {start: [_START]}
        work, steps = [start], 0
        while work and steps < _STEPS:
            state = work.pop()
            steps += 1 + len(self.disassembly.block(state.pc).instructions) // 16
            for edge, following in self._step(state):
                self._meet(edge, following.stack)
                if following not in ways:
                    work.append(following)
                ways.setdefault(following, []).append(edge)
        self._ends |= dict.fromkeys(work, False)
        self.ended += [(edge, state.pc) for state in self._ends for edge in ways[state]]
        self.leaves = [(edge, s) for s, may_be in self._ends.items() if may_be for edge in ways[s]]

    def _meet(self, edge: Edge, stack: Stack) -> None:
        self.stacks.setdefault(edge, {})[stack] = None

    def _end(self, state: _State, *, may_be: bool) -> list[tuple[Edge, _State]]:
        self._ends[state] = may_be
        return []

    def others(self) -> list[tuple[Edge, Entry]]:
        """The fallback and the receive function, once there are public ones."""
        found: list[tuple[Edge, Entry]] = []
        if not self.functions:
            return found
        for edge, state in self.leaves:
            if edge != _START and not self._refuses(state.pc):
                kind = "receive" if state.empty else "fallback"
                found.append((edge, Entry(kind, None, state.pc)))
        return found

    def _refuses(self, pc: int) -> bool:
        block = self.disassembly.block(pc)
        return block.last == "INVALID" or (block.last == "REVERT" and len(block.instructions) < 8)

    def _step(self, state: _State) -> list[tuple[Edge, _State]]:
        block = self.disassembly.block(state.pc)
        done = _execute(block, state.stack)
        if done is None or block.last not in ("JUMP", "JUMPI", "FALL"):
            return self._end(state, may_be=state.compared)
        stack, target, condition = done
        if block.last == "FALL":
            return [((state.pc, "fell"), state._replace(pc=block.end, stack=stack))]
        if not isinstance(target, int) or target not in self.disassembly.jumpdests:
            return self._end(state, may_be=False)
        if block.last == "JUMP":
            return [((state.pc, "jumped"), state._replace(pc=target, stack=stack))]
        assert condition is not None
        return self._branch(state, block, stack, target, condition)

    def _branch(
        self,
        state: _State,
        block: RawBlock,
        stack: Stack,
        target: int,
        condition: Expression,
    ) -> list[tuple[Edge, _State]]:
        tested = tests_selector(condition)
        foreign = not about_the_call(condition) or (state.compared and strip(condition)[0] == ("CALLVALUE",))
        if tested is None and foreign:
            return self._end(state, may_be=state.compared)
        sides = []
        for name, pc, truth in (("taken", target, True), ("fell", block.end, False)):
            way = (state.pc, name)
            if tested is not None and tested[1] == truth:
                self._meet(way, stack)
                self.ended.append((way, pc))
                self.functions.append((way, Entry("public", tested[0], pc)))
                continue
            sides.append(
                (way, _learn(state, condition, truth, tested is not None)._replace(pc=pc, stack=stack))
            )
        return sides


def _learn(state: _State, condition: Expression, truth: bool, compared: bool) -> _State:
    """What is known behind a branch: that the call data is empty or too short, or that a selector was compared."""
    inner, flipped = strip(condition)
    if inner == ("CALLDATASIZE",):
        is_empty = truth == flipped
        return state._replace(empty=state.empty or is_empty, compared=state.compared or compared)
    short = inner == ("LT", ("CALLDATASIZE",), 4) and truth != flipped
    long = inner in (("GT", ("CALLDATASIZE",), 3), ("LT", 3, ("CALLDATASIZE",))) and truth == flipped
    return state._replace(compared=state.compared or compared or short or long)


_Done = tuple[Stack, "Expression | None", "Expression | None"]


def _execute(block: RawBlock, entry: Stack) -> _Done | None:
    """(stack, jump target, condition) behind the block; None if it does anything but compute (or set up memory)."""
    stack = list(entry)
    for _, name, value in block.instructions:
        if len(stack) > _MOST_WORDS:
            return None
        if name == "PUSH":
            stack.append(value)
            continue
        if name == "JUMPDEST":
            continue
        if name in ("DUP", "SWAP"):
            if len(stack) < value + (name == "SWAP"):
                return None
            if name == "DUP":
                stack.append(stack[-value])
            else:
                stack[-1], stack[-value - 1] = stack[-value - 1], stack[-1]
            continue
        pops = BY_NAME[name].pops
        if len(stack) < pops:
            return None
        taken = [stack.pop() for _ in range(pops)]
        if name == "JUMP":
            return tuple(stack), taken[0], None
        if name == "JUMPI":
            return tuple(stack), taken[0], taken[1]
        if name in PURE:
            if sum(map(nodes, taken)) > _MOST_NODES:
                return None
            stack.append(compute(name, taken))
        elif name not in ("POP", "MSTORE"):
            return None
    return tuple(stack), None, None
