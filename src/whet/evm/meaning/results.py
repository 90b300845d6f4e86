"""Calls of other contracts with all that a compiler writes around them, as one statement: `v = token.balanceOf(a)`.

Taken together are the check that the target has code, the call, the revert with the data of one that failed, the check
of how much came back, the words of it and the checks of their unused bits. Nothing but arithmetic, memory and the free
pointer may stand in between; what is asked must give up as Solidity's own decoding does, without data. All of these
ends undo everything, so their order among each other makes no difference, but for one case: code that encodes an
argument that may fail (an enum) before or after it asks for the target's code.
A call without results is taken only with the check for code. Types are those that were checked: a word that old code
cleans where it is used is a uint256. Of a `try` the words of a call that succeeded are decoded where it goes on,
`abi.decode(returndata, (T))`. Left out: results of more than words (strings, arrays), `transfer`, `send`. Assumed: the free
pointer stays below 2**64. The returned data are no longer in memory, nor does the free pointer move.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from whet.evm.meaning.asked import cleaned, is_full, least_size, plain
from whet.evm.meaning.base import END, Place
from whet.evm.meaning.closure import spread
from whet.evm.meaning.memory import FREE_POINTER
from whet.evm.meaning.naming import Namer
from whet.evm.meaning.refusals import EMPTY, FORWARDED, refusal
from whet.evm.meaning.symbols import Node, Word, inside
from whet.evm.meaning.walk import Effect, Walk
from whet.evm.opcodes import PURE
from whet.evm.tac import Block, Function, Operand, Statement
from whet.evm.terms import DECODED, RETURNED, Call, Form, Group, Invoke, Name, Value

_MOST_BLOCKS = 24
_BEFORE = PURE | {"GAS", "MLOAD", "MSTORE", "EXTCODESIZE"}


@dataclass(slots=True)
class Whole:
    """A call taken together: what stands at its place, and what of its surroundings is hidden or said otherwise."""

    form: Form
    skipped: dict[str, str]
    absorbed: set[Place]
    forms: dict[Place, Form]


@dataclass(slots=True)
class _Way:
    """The way on from a call. words: how many were asked for; types: of those checked."""

    effect: Effect
    sizes: dict[Word, int | None] = field(default_factory=dict)
    words: int = 0
    types: dict[int, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    absorbed: set[Place] = field(default_factory=set)
    passed: list[str] = field(default_factory=list)
    read: dict[int, str] = field(default_factory=dict)
    """{number of a word that came back: the first variable that holds it}"""
    stale: set[str] = field(default_factory=set)
    """Variables that mean nothing once branches are skipped."""
    decodes: bool = False
    """That the call succeeded is known already."""
    order: list[Place] = field(default_factory=list)
    """The statements that read what came back, as they follow one another."""

    def output(self, word: Word) -> int | None:
        """The number of a word that came back; None for other words."""
        if not isinstance(word, Node) or word.op != "WORD" or not isinstance(word.args[1], int):
            return None
        source, at = word.args
        mine = source.op == "OUTPUT" and source.args[1] is self.effect.result
        return at // 32 if mine and at % 32 == 0 else None


class Results:
    """Takes calls of one function together with what is around them."""

    def __init__(self, function: Function, walk: Walk, namer: Namer) -> None:
        self.function, self.walk, self.namer = function, walk, namer
        self.came = function.predecessors()
        self.made = {
            result: (block.id, index)
            for block in function.blocks.values()
            for index, s in enumerate(block.statements)
            for result in s.results
        }

    def whole(self, effect: Effect, call: Call) -> Whole | None:
        """`call` taken together; None where something around it is not as Solidity writes it."""
        way = _Way(effect, stale=set(self._of(effect).results))
        self._follow(way, self.function.blocks[effect.block], effect.index + 1)
        if effect.args[-1] != 32 * way.words or not way.skipped:
            return None
        asks_code = self._asks_for_code(way)
        if not asks_code and way.words == 0:
            return None
        names = tuple(way.read.get(i) or f"{self._of(effect).results[0]}_{i}" for i in range(way.words))
        forms = self._read_again(way)
        hidden = way.absorbed | {(block, END) for block in way.skipped}
        if forms is None or spread(self.function, way.stale, hidden) is None:
            return None
        types = tuple(way.types.get(i, "uint256") for i in range(way.words))
        said = replace(call, returns=types, checked=True, asks_code=asks_code, output=())
        return Whole(Value(said, names), way.skipped, way.absorbed, forms)

    def tried(self, effect: Effect, call: Call) -> Whole | None:
        """A call whose failure is not passed on, as `try` makes it: the words of one that succeeded are decoded at once."""
        block = self.function.blocks[effect.block]
        if block.end.op != "BRANCH":
            return None
        condition, holds = plain(self._word(block.end.args[0]))
        good = block.end.targets[0 if holds else 1]
        if condition is not effect.result or self.came[good] != [block.id]:
            return None
        way = _Way(effect, passed=[block.id], decodes=True)
        self._follow(way, self.function.blocks[good], 0)
        if not way.read or effect.args[-1] != 32 * way.words:
            return None
        forms = self._read_again(way)
        hidden = way.absorbed | {(name, END) for name in way.skipped}
        if forms is None or spread(self.function, way.stale, hidden) is None:
            return None
        first = way.read[min(way.read)]
        names = tuple(way.read.get(i) or f"{first}_{i}" for i in range(way.words))
        types = tuple(Name(way.types.get(i, "uint256")) for i in range(way.words))
        at = min((self.made[name] for name in way.read.values()), key=lambda place: way.order.index(place))
        forms[at] = Value(Invoke(DECODED, (RETURNED, Group(types))), names, halts=True)
        return Whole(Value(replace(call, output=())), way.skipped, way.absorbed - {at}, forms)

    def _of(self, effect: Effect) -> Statement:
        return self.function.blocks[effect.block].statements[effect.index]

    def _word(self, operand: Operand) -> Word:
        return operand if isinstance(operand, int) else self.walk.words.get(operand, 0)

    # The way on from the call.

    def _follow(self, way: _Way, block: Block, start: int) -> None:
        for _ in range(_MOST_BLOCKS):
            way.passed.append(block.id)
            if not self._statements(way, block, start):
                break
            absorbed = set(way.absorbed)
            following = self._next(way, block)
            if following is None:
                way.absorbed = absorbed
            if following is None or not set(self.came[following]) <= set(way.passed):
                way.skipped.pop(block.id if following is not None else "", None)
                break
            block, start = self.function.blocks[following], 0

    def _statements(self, way: _Way, block: Block, start: int) -> bool:
        """Passes the statements of a block; False where one is not part of the call."""
        for index, s in enumerate(block.statements[start:], start):
            place = (block.id, index)
            if s.op == "RETURNDATASIZE":
                way.sizes[self._word(s.results[0])] = None
            elif s.op == "MSTORE":
                if not self._makes_room(way, s):
                    return False
                way.absorbed.add(place)
            elif s.op == "CALLPRIVATE":
                if not self._private(way, place, s):
                    return False
            elif s.op == "MLOAD":
                position = way.output(self._word(s.results[0]))
                if position is not None and position not in way.read:
                    way.read[position] = s.results[0]
                    way.absorbed.add(place)
                    way.order.append(place)
            elif s.op not in PURE:
                return False
        return True

    def _makes_room(self, way: _Way, s: Statement) -> bool:
        """Whether it moves the free pointer behind what came back."""
        return s.args[0] == FREE_POINTER and any(part in way.sizes for part in inside(self._word(s.args[1])))

    def _private(self, way: _Way, place: Place, s: Statement) -> bool:
        """Passes a helper that only decodes what came back, or makes room for it, or computes."""
        shape = self.walk.shapes.of[s.function]
        given = self.walk.returned.get(place)
        if not shape.decodes or given is None:
            return False
        outputs = [way.output(word) for word in given]
        decodes = bool(outputs) and None not in outputs
        makes_room = not outputs and {way.effect.args[-2], way.effect.args[-4]} & {
            self._word(a) for a in s.args
        }
        if not decodes and not makes_room:
            return shape.pure
        first, last = self.walk.asked[place]
        for condition, name, block, _ in self.walk.conditions[first:last]:
            asker = self.walk.contract.functions[name]
            if not isinstance(condition, int) and not self._is_asked(
                way, condition, asker, asker.blocks[block]
            ):
                return False
        for position, result in zip(outputs, s.results, strict=True):
            way.read.setdefault(position or 0, result)
        way.absorbed.add(place)
        way.order.append(place)
        return True

    def _next(self, way: _Way, block: Block) -> str | None:
        """The block that follows where all goes well."""
        if block.end.op == "JUMP":
            return block.end.targets[0]
        if block.end.op != "BRANCH":
            return None
        condition, holds = plain(self._word(block.end.args[0]))
        if condition is way.effect.result and not way.decodes:
            good = block.end.targets[0 if holds else 1]
            refused = refusal(self.walk.contract, self.function, block)
            if not way.skipped and (refused is None or refused.what != FORWARDED or refused.good != good):
                return None
            way.skipped[block.id] = good
            return good
        if not (way.skipped or way.decodes) or isinstance(condition, int):
            return None
        if self._is_asked(way, self._word(block.end.args[0]), self.function, block):
            refused = refusal(self.walk.contract, self.function, block)
            way.skipped[block.id] = refused.good if refused is not None else ""
            return way.skipped[block.id]
        return self._smaller(way, block, condition, holds)

    def _is_asked(self, way: _Way, condition: Word, function: Function, block: Block) -> bool:
        """Whether a BRANCH is a check of the decoding, or one that cannot fail; notes what it checks."""
        refused = refusal(self.walk.contract, function, block)
        if refused is None:
            return False
        condition, holds = plain(condition)
        fails = holds == refused.when
        if fails and is_full(condition, way.sizes):
            return True
        if refused.what != EMPTY:
            return False
        size = least_size(condition, way.sizes) if fails else None
        if size is not None and size % 32 == 0:
            way.words = max(way.words, size // 32)
            return True
        clean = cleaned(condition, fails)
        position = way.output(clean[0]) if clean is not None else None
        return (
            clean is not None
            and position is not None
            and way.types.setdefault(position, clean[1]) == clean[1]
        )

    def _smaller(self, way: _Way, block: Block, condition: Word, holds: bool) -> str | None:
        """Where `size = returndatasize() < most ? returndatasize() : most` ends."""
        limit = least_size(condition, way.sizes)
        less, more = block.end.targets if holds else block.end.targets[::-1]
        if limit is None:
            return None
        ends = {name: self._only_asks(way, name, block.id) for name in (less, more)}
        sources, meeting = (less, more), ends[less]
        if ends[less] == more:
            sources = (less, block.id)
        elif ends[more] == less:
            sources, meeting = (block.id, more), less
        elif meeting is None or meeting != ends[more]:
            return None
        way.passed += [name for name in sources if name != block.id]
        way.skipped[block.id] = less if sources[0] == less else more
        self._met(way, self.function.blocks[meeting or ""], sources, limit)
        return meeting

    def _only_asks(self, way: _Way, name: str, source: str) -> str | None:
        """Where a block leads that does nothing but ask again how much came back, and make room for it."""
        block = self.function.blocks[name]
        if self.came[name] != [source] or block.end.op != "JUMP":
            return None
        for index, s in enumerate(block.statements):
            if s.op == "RETURNDATASIZE":
                way.sizes[self._word(s.results[0])] = None
            elif s.op == "CALLPRIVATE":
                if s.results or not self._private(way, (name, index), s):
                    return None
            elif s.op not in PURE:
                return None
        return block.end.targets[0]

    def _met(self, way: _Way, block: Block, sources: tuple[str, str], limit: int) -> None:
        """sources: the blocks from which control comes with less than `limit` bytes, and with more."""
        for phi in block.phis:
            less, more = (self._word(phi.incoming[source]) for source in sources)
            if less in way.sizes and more == limit:
                way.sizes[self._word(phi.result)] = limit
            if less != more:
                way.stale.add(phi.result)

    # What stands around it.

    def _asks_for_code(self, way: _Way) -> bool:
        """Whether the block before the call asks if its target has code; then that is skipped."""
        before = self.function.blocks[way.effect.block].statements[: way.effect.index]
        came = self.came[way.effect.block]
        shapes = self.walk.shapes.of
        simple = all(
            s.op in _BEFORE or (s.op == "CALLPRIVATE" and shapes[s.function].only_memory) for s in before
        )
        if len(came) != 1 or not simple:
            return False
        block = self.function.blocks[came[0]]
        refused = refusal(self.walk.contract, self.function, block)
        if refused is None or refused.what != EMPTY:
            return False
        size, holds = plain(self._word(block.end.args[0]))
        target = _address(way.effect.args[1])
        found = isinstance(size, Node) and size.op == "EXTCODESIZE" and _address(size.args[0]) == target
        if found and holds != refused.when:
            way.skipped[block.id] = refused.good
            return True
        return False

    def _read_again(self, way: _Way) -> dict[Place, Form] | None:
        """Other reads of what came back, as the variable that has it; None where one cannot be said so."""
        forms: dict[Place, Form] = {}
        for word, names in self.namer.variables.items():
            position = way.output(word)
            for name in names if position is not None else ():
                place = self.made.get(name)
                if place is None or place in way.absorbed:
                    continue
                s = self.function.blocks[place[0]].statements[place[1]]
                first = way.read.get(position or 0)
                if s.op != "MLOAD":
                    continue
                if first is None or not self.namer.is_known(first, *place):
                    return None
                forms[place] = Value(first, pure=True)
        return forms


def _address(word: Word) -> Word:
    """The word whose low bits are an address."""
    is_cut = isinstance(word, Node) and word.op == "AND" and word.args[0] == (1 << 160) - 1
    return word.args[1] if is_cut and isinstance(word, Node) else word
