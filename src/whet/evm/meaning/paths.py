"""What is read from and written to storage, as variables: `balances[key]`, fields that share a slot, lengths of arrays.

Only whole variables are said, and a field only where the slot was read in the same block with nothing in between that
could have changed it.
"""

from __future__ import annotations

import re

from whet.evm.meaning.base import StateVariable
from whet.evm.meaning.saying import Sayer, typed
from whet.evm.meaning.slots import Place, place
from whet.evm.meaning.stores import stored_field
from whet.evm.meaning.symbols import Node, Word, mask_bits
from whet.evm.meaning.walk import Effect, Walk
from whet.evm.terms import Assign, Expression, Form, Index, Member, Name, Value

_CHANGES = frozenset({"SSTORE", "CALL", "CALLCODE", "DELEGATECALL", "CREATE", "CREATE2"})


class Paths:
    """Forms of SLOAD, SSTORE, TLOAD and TSTORE, and of the masks that take a field out of a word."""

    def __init__(self, walk: Walk, sayer: Sayer, storage: list[StateVariable]) -> None:
        self.walk, self.sayer, self.function = walk, sayer, sayer.function
        self.storage = {(v.slot, v.transient): v for v in storage if v.size == 32}
        self.fields = {(v.slot, v.offset, v.size): v for v in storage if v.size < 32 and not v.transient}
        self.loads = {e.result: i for i, e in enumerate(walk.effects) if e.op == "SLOAD" and e.depth == 0}

    def loaded(self, effect: Effect) -> Form | None:
        """Of an SLOAD or TLOAD."""
        target = self._variable(effect, effect.args[0], effect.op == "TLOAD")
        return Value(target) if target is not None else None

    def _variable(self, effect: Effect, slot: Word, transient: bool) -> Expression | None:
        """`balances[key]` for a slot that is a whole variable."""
        found = place(slot)
        if found is None:
            return None
        root = self.storage.get((found.path[0], transient))  # type: ignore[arg-type]
        return self._path(effect, found, Name(root.name), root.type) if root is not None else None

    def _path(self, effect: Effect, found: Place, base: Expression, kind: str) -> Expression | None:
        keys, strides = (
            list(found.keys),
            {
                s[0]: (s[1], self.walk.symbols.sum(*whole))
                for s, whole in zip(found.strides, found.indexes, strict=True)
            },
        )
        expression = base
        for position in range(1, len(found.path), 2):
            step, offset = found.path[position], found.path[position + 1]
            inner = element(kind, str(step))
            if inner is None:
                return None
            if step == "map":
                word = keys.pop(0) if keys else None
            else:
                factor, word = strides.get(position, (0, None))
                if factor != 1 or offset:
                    return None
            key = self.sayer.say(effect, word) if word is not None else None
            if key is None:
                return None
            expression, kind = Index(expression, key), inner
            if offset:
                expression, kind = Member(expression, f"f{offset}"), ""
        if kind == "string" or kind.startswith("mapping(") or (kind.endswith("]") and kind[-2] != "["):
            return None
        return Member(expression, "length") if kind.endswith("[]") else expression

    def stored(self, effect: Effect) -> Form | None:
        """Of an SSTORE or TSTORE."""
        target = self._variable(effect, effect.args[0], effect.op == "TSTORE")
        value = self.sayer.say(effect, effect.args[1])
        if target is not None and value is not None:
            return Assign(target, value)
        part = stored_field(effect.args[1])
        if part is None or (part[3].args[0] is not effect.args[0] and part[3].args[0] != effect.args[0]):
            return None
        low, high, word, load = part
        variable = self.fields.get((effect.args[0], low // 8, (high - low) // 8))  # type: ignore[arg-type]
        value = self.sayer.say(effect, word)
        if variable is None or value is None or not self._is_fresh(load, effect.block, effect.index):
            return None
        return Assign(Name(variable.name), typed(value, variable.type))

    def field(self, block: str, index: int, word: Node) -> Form | None:
        """`sload(slot) >> low & mask` as the variable that lies there."""
        if word.op != "AND" or not isinstance(word.args[0], int) or not isinstance(word.args[1], Node):
            return None
        bits, inner, low = mask_bits(word.args[0]), word.args[1], 0
        if inner.op == "SHR" and isinstance(inner.args[0], int):
            low, inner = inner.args
        if bits is None or inner.op != "SLOAD" or not self._is_fresh(inner, block, index):
            return None
        variable = self.fields.get((inner.args[0], low // 8, bits // 8))
        return Value(Name(variable.name), pure=False) if variable is not None and not low % 8 else None

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


def element(kind: str, step: str) -> str | None:
    """The type behind a step of a path ("map", "data", "index"), "" for unknown; None where the step does not fit.

    Nor does one to an element that shares its slot with others: what is read there is several."""
    if not kind:
        return None if step == "index" else ""
    if step == "map":
        return kind.partition(" => ")[2][:-1] if kind.startswith("mapping(") else None
    if not kind.endswith("]") or (kind.endswith("[]") != (step == "data")):
        return None
    inner = kind[: kind.rindex("[")]
    return None if _PACKED.fullmatch(inner) else inner


_PACKED = re.compile(r"bool|u?int(8|16|24|32|40|48|56|64|72|80|88|96|104|112|120|128)|bytes([1-9]|1[0-6])")
