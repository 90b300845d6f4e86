"""What is read from and written to storage, as variables: `balances[key]`, fields that share a slot, lengths of arrays.

Only whole variables are said, and a field only where the slot was read in the same block with nothing in between that
could have changed it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.saying import Sayer, typed
from whet.evm.meaning.slots import place
from whet.evm.meaning.stores import stored_field
from whet.evm.meaning.structs import Struct
from whet.evm.meaning.symbols import Node, Word, mask_bits
from whet.evm.meaning.walk import Effect, Walk
from whet.evm.terms import Assign, Expression, Form, Index, Member, Name, Value

_CHANGES = frozenset({"SSTORE", "CALL", "CALLCODE", "DELEGATECALL", "CREATE", "CREATE2"})


class Paths:
    """Forms of SLOAD, SSTORE, TLOAD and TSTORE, and of the masks that take a field out of a word."""

    def __init__(
        self, walk: Walk, sayer: Sayer, storage: list[StateVariable], structs: Mapping[str, Struct]
    ) -> None:
        self.walk, self.sayer, self.function, self.structs = walk, sayer, sayer.function, structs
        self.storage = {(v.slot, v.transient): v for v in storage if v.size == 32}
        self.fields = {(v.slot, v.offset, v.size): v for v in storage if v.size < 32 and not v.transient}
        self.loads = {e.result: i for i, e in enumerate(walk.effects) if e.op == "SLOAD" and e.depth == 0}

    def loaded(self, effect: Effect) -> Form | None:
        """Of an SLOAD or TLOAD."""
        target = self._variable(effect, effect.args[0], effect.op == "TLOAD")
        return Value(target) if target is not None else None

    def _variable(self, effect: Effect, slot: Word, transient: bool) -> Expression | None:
        """`balances[key]` for a slot that is a whole variable."""
        reached = self._reached(effect.block, effect.index, slot, transient)
        if reached is None:
            return None
        expression, kind, offset = reached
        if kind in self.structs:
            members = [m for m in self.structs[kind].members if m[2] == offset]
            if len(members) != 1 or members[0][3]:
                return None
            expression, kind = Member(expression, members[0][0]), members[0][1]
        elif offset:
            return None
        if kind == "string" or kind.startswith("mapping(") or (kind.endswith("]") and kind[-2] != "["):
            return None
        return Member(expression, "length") if kind.endswith("[]") else expression

    def _reached(
        self, block: str, index: int, slot: Word, transient: bool
    ) -> tuple[Expression, str, int] | None:
        """What lies at the end of a slot's path, its type, and which of its slots it is."""
        found = place(slot)
        root = self.storage.get((found.path[0], transient)) if found is not None else None  # type: ignore[arg-type]
        if found is None or root is None:
            return None
        expression: Expression = Name(root.name)
        kind, offset, keys = root.type, 0, list(found.keys)
        strides = {
            s[0]: (s[1], self.walk.symbols.sum(*whole))
            for s, whole in zip(found.strides, found.indexes, strict=True)
        }
        for position in range(1, len(found.path), 2):
            step = str(found.path[position])
            if kind in self.structs:
                inside = [m for m in self.structs[kind].members if m[2] == offset]
                if len(inside) != 1:
                    return None
                expression, kind, offset = Member(expression, inside[0][0]), inside[0][1], 0
            inner = element(kind, step)
            factor, word = (1, keys.pop(0)) if step == "map" and keys else strides.get(position, (0, None))
            if not inner or offset or factor != 1 or word is None:
                return None
            key = self.sayer.namer.say(word, block, index)
            if key is None:
                return None
            expression, kind, offset = Index(expression, key), inner, int(found.path[position + 1])
        return expression, kind, offset

    def _part(self, block: str, index: int, slot: Word, low: int, high: int) -> tuple[Expression, str] | None:
        """What lies in some bits of a slot, and its type."""
        if low % 8 or high % 8:
            return None
        variable = self.fields.get((slot, low // 8, (high - low) // 8))  # type: ignore[arg-type]
        if variable is not None:
            return Name(variable.name), variable.type
        reached = self._reached(block, index, slot, False)
        if reached is None or reached[1] not in self.structs:
            return None
        for name, kind, at, byte in self.structs[reached[1]].members:
            if (at, 8 * byte, 8 * byte + _bits(kind)) == (reached[2], low, high):
                return Member(reached[0], name), kind
        return None

    def stored(self, effect: Effect) -> Form | None:
        """Of an SSTORE or TSTORE."""
        target = self._variable(effect, effect.args[0], effect.op == "TSTORE")
        value = self.sayer.say(effect, effect.args[1])
        if target is not None and value is not None:
            return Assign(target, value)
        field = stored_field(effect.args[1])
        if field is None or (field[3].args[0] is not effect.args[0] and field[3].args[0] != effect.args[0]):
            return None
        low, high, word, load = field
        part = self._part(effect.block, effect.index, effect.args[0], low, high)
        value = self.sayer.say(effect, word)
        if part is None or value is None or not self._is_fresh(load, effect.block, effect.index):
            return None
        return Assign(part[0], typed(value, part[1]))

    def field(self, block: str, index: int, word: Node) -> Form | None:
        """`sload(slot) >> low & mask` as the variable that lies there."""
        bits, low = 0, 0
        if word.op == "AND" and isinstance(word.args[0], int) and isinstance(word.args[1], Node):
            bits, word = mask_bits(word.args[0]) or 0, word.args[1]
        if word.op == "SHR" and isinstance(word.args[0], int) and isinstance(word.args[1], Node):
            low, word = word.args
            bits = bits or 256 - low
        if not bits or word.op != "SLOAD" or not self._is_fresh(word, block, index):
            return None
        part = self._part(block, index, word.args[0], low, low + bits)
        return Value(part[0], pure=False) if part is not None else None

    def _is_fresh(self, load: Node, block: str, index: int) -> bool:
        """Whether the word was read in this block, and nothing has changed storage since."""
        first = self.loads.get(load)
        if first is None or self.walk.effects[first].block != block:
            return False
        shapes = self.walk.shapes
        between = self.function.blocks[block].statements[self.walk.effects[first].index + 1 : max(index, 0)]
        return not any(
            s.op in _CHANGES or (s.op == "CALLPRIVATE" and not shapes.of[s.function].only_memory)
            for s in between
        )


def _bits(kind: str) -> int:
    """How many bits a value takes in storage; 0 for what is none."""
    if kind in ("bool", "address"):
        return 8 if kind == "bool" else 160
    size = re.fullmatch(r"(u?int|bytes)(\d+)", kind)
    return int(size[2]) * (8 if size[1] == "bytes" else 1) if size else 0


def element(kind: str, step: str) -> str | None:
    """The type behind a step of a path ("map", "data", "index"); None where the step does not fit.

    Nor does one to an element that shares its slot with others: what is read there is several."""
    if step == "map":
        return kind.partition(" => ")[2][:-1] if kind.startswith("mapping(") else None
    if not kind.endswith("]") or (kind.endswith("[]") != (step == "data")):
        return None
    inner = kind[: kind.rindex("[")]
    return None if _PACKED.fullmatch(inner) else inner


_PACKED = re.compile(r"bool|u?int(8|16|24|32|40|48|56|64|72|80|88|96|104|112|120|128)|bytes([1-9]|1[0-6])")
