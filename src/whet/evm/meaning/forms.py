"""What is shown instead of instructions: arguments, storage variables, events, calls of other contracts, reverts, returns.

A form stands only where every word of it is known on every way and can be said with the function's own variables;
otherwise the plain instruction stays. Indexed arguments of an event are taken to be its first ones.
"""

from __future__ import annotations

import re
from typing import Protocol

from whet.evm.meaning.base import END, FunctionMeaning, StateVariable
from whet.evm.meaning.decoding import Head, decoded
from whet.evm.meaning.helpers import spoken
from whet.evm.meaning.memory import Payload
from whet.evm.meaning.naming import Namer
from whet.evm.meaning.slots import Place, place
from whet.evm.meaning.stores import stored_field
from whet.evm.meaning.symbols import Node, Word, mask_bits
from whet.evm.meaning.walk import Effect, Walk
from whet.evm.tac import Block, Function, Statement
from whet.evm.terms import (
    Assign,
    Do,
    Emit,
    Expression,
    Form,
    Group,
    Index,
    Invoke,
    Member,
    Name,
    Return,
    Revert,
    Text,
    Typed,
    Value,
)


class Known(Protocol):
    """Names by hash; `whet.evm.signatures.Signatures` is one."""

    def functions(self, selector: int) -> tuple[str, ...]: ...
    def errors(self, selector: int) -> tuple[str, ...]: ...
    def events(self, topic: int) -> tuple[str, ...]: ...


_CHANGES = frozenset({"SSTORE", "CALL", "CALLCODE", "DELEGATECALL", "CREATE", "CREATE2"})
_ERROR, _PANIC = 0x08C379A0, 0x4E487B71
_PRECOMPILES = (
    *("ecrecover", "sha256", "ripemd160", "identity", "modexp", "ecadd", "ecmul", "ecpairing", "blake2f"),
    "point_evaluation",
)


class Forms:
    """Writes the forms of one function into `meaning`."""

    def __init__(
        self,
        function: Function,
        walk: Walk,
        namer: Namer,
        known: Known,
        storage: list[StateVariable],
        helpers: dict[str, str],
        heads: list[Head],
    ) -> None:
        self.function, self.walk, self.namer, self.known = function, walk, namer, known
        self.storage = {(v.slot, v.transient): v for v in storage if v.size == 32}
        self.fields = {(v.slot, v.offset, v.size): v for v in storage if v.size < 32 and not v.transient}
        self.loads = {e.result: i for i, e in enumerate(walk.effects) if e.op == "SLOAD" and e.depth == 0}
        self.helpers, self.heads = helpers, heads
        self.meaning = FunctionMeaning()

    def run(self) -> FunctionMeaning:
        for block in self.function.blocks.values():
            for index, s in enumerate(block.statements):
                form = self._simple(block.id, index, s)
                if form is not None:
                    self.meaning.forms[block.id, index] = form
            self._dead_end(block)
        for effect in self.walk.effects:
            if effect.depth == 0 and effect.function == self.function.name:
                form = self._form(effect)
                if form is not None:
                    self.meaning.forms[effect.block, effect.index] = form
                    if effect.payload is not None:
                        self._absorb(effect, effect.payload)
        return self.meaning

    def _absorb(self, effect: Effect, payload: Payload) -> None:
        """The statements that only wrote what the form says."""
        shapes = self.walk.shapes
        for block, index in payload.by:
            s = self.function.blocks[block].statements[index]
            if s.op == "MSTORE" or (s.op == "CALLPRIVATE" and shapes.of[s.function].only_memory):
                self.meaning.absorbed.add((block, index))

    def _simple(self, block: str, index: int, s: Statement) -> Form | None:
        """The form of a statement without effect: an argument, a field of storage, a helper."""
        if s.op == "CALLPRIVATE":
            return self._private(block, index, s)
        word = self.walk.words.get(s.results[0]) if len(s.results) == 1 else None
        if not isinstance(word, Node):
            return None
        if s.op == "CALLDATALOAD":
            name = self.namer.argument(word)
            return Value(name, pure=True) if name is not None else None
        return self._field(block, index, word) if s.op == "AND" else None

    def _private(self, block: str, index: int, s: Statement) -> Form | None:
        given = decoded(self.walk, self.namer, self.heads, (block, index), s)
        if given is not None:
            return Value(given[0] if len(given) == 1 else Group(given), pure=True)
        helper = self.helpers.get(s.function)
        if not helper or self.walk.contract.functions[s.function].returns is None:
            return None
        call = spoken(helper, s.args)
        return Value(call, halts=True) if s.results else Do(call)

    def _dead_end(self, block: Block) -> None:
        """A call of a panic that ends a block: the end itself says so."""
        last = block.statements[-1] if block.statements else None
        helper = self.helpers.get(last.function, "") if last is not None else ""
        if block.end.op != "INVALID" or not helper.startswith(("panic_error_", "revert_")):
            return
        code = helper.rpartition("_")[2]
        is_panic = helper.startswith("panic_error_")
        self.meaning.forms[block.id, END] = Revert("Panic", (int(code, 16),)) if is_panic else Revert()
        self.meaning.absorbed.add((block.id, len(block.statements) - 1))

    def _field(self, block: str, index: int, word: Node) -> Form | None:
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

    def _form(self, effect: Effect) -> Form | None:
        op = effect.op
        if op in ("SLOAD", "TLOAD"):
            target = self._variable(effect, effect.args[0], op == "TLOAD")
            return Value(target) if target is not None else None
        if op in ("SSTORE", "TSTORE"):
            return self._store(effect, op == "TSTORE")
        if op.startswith("LOG"):
            return self._emit(effect)
        if op in ("CALL", "STATICCALL", "DELEGATECALL", "CALLCODE"):
            return self._call(effect)
        if op == "REVERT":
            return self._revert(effect)
        if op == "RETURN":
            return self._return(effect)
        if op == "KECCAK256":
            words = self._words(effect, effect.payload)
            return Value(Invoke(Name("keccak256"), words), pure=True) if words is not None else None
        return None

    def _say(self, effect: Effect, word: Word) -> Expression | None:
        index = len(self.function.blocks[effect.block].statements) if effect.index == END else effect.index
        return self.namer.say(word, effect.block, index)

    def _words(self, effect: Effect, payload: Payload | None) -> tuple[Expression, ...] | None:
        """The words of a payload; None if one of them cannot be said."""
        if payload is None or not payload.sure or not isinstance(payload.length, int):
            return None
        said = [self._say(effect, word) if word is not None else None for word in payload.words]
        return None if None in said else tuple(said)  # type: ignore[arg-type]

    # Storage.

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
            key = self._say(effect, word) if word is not None else None
            if key is None:
                return None
            expression, kind = Index(expression, key), inner
            if offset:
                expression, kind = Member(expression, f"f{offset}"), ""
        if kind == "string" or kind.startswith("mapping(") or (kind.endswith("]") and kind[-2] != "["):
            return None
        return Member(expression, "length") if kind.endswith("[]") else expression

    def _store(self, effect: Effect, transient: bool) -> Form | None:
        target = self._variable(effect, effect.args[0], transient)
        value = self._say(effect, effect.args[1])
        if target is not None and value is not None:
            return Assign(target, value)
        part = stored_field(effect.args[1])
        if part is None or (part[3].args[0] is not effect.args[0] and part[3].args[0] != effect.args[0]):
            return None
        low, high, word, load = part
        variable = self.fields.get((effect.args[0], low // 8, (high - low) // 8))  # type: ignore[arg-type]
        value = self._say(effect, word)
        if variable is None or value is None or not self._is_fresh(load, effect.block, effect.index):
            return None
        return Assign(Name(variable.name), _typed(value, variable.type))

    # Events, calls, ends.

    def _emit(self, effect: Effect) -> Form | None:
        topics = effect.args[2:]
        data = self._words(effect, effect.payload)
        indexed = [said for topic in topics[1:] if (said := self._say(effect, topic)) is not None]
        if data is None or len(indexed) < len(topics) - 1 or not topics or not isinstance(topics[0], int):
            return None
        args = (*indexed, *data)
        for signature in self.known.events(topics[0]):
            if (types := split_types(signature)) is not None and len(types) == len(args):
                typed = tuple(_typed(arg, kind) for arg, kind in zip(args, types, strict=True))
                return Emit(signature.partition("(")[0], typed)
        return Emit(f"event_{topics[0] >> 224:08x}", args)

    def _call(self, effect: Effect) -> Form | None:
        gas, to, *rest = effect.args
        payload = effect.payload
        target = self._say(effect, to)
        value = self._say(effect, rest[0]) if effect.op in ("CALL", "CALLCODE") else 0
        words = self._words(effect, payload)
        if target is None or value is None or words is None or payload is None:
            return None
        options: tuple[tuple[str, Expression], ...] = (("value", value),) if value != 0 else ()
        if not (isinstance(gas, Node) and gas.op == "GAS"):
            amount = self._say(effect, gas)
            if amount is None:
                return None
            options += (("gas", amount),)
        callee, args = self._callee(effect, to, target, payload, words)
        return Value(Invoke(callee, args, options), pure=False)

    def _callee(
        self, effect: Effect, to: Word, target: Expression, payload: Payload, words: tuple[Expression, ...]
    ) -> tuple[Expression, tuple[Expression, ...]]:
        kind = {
            "CALL": "call",
            "STATICCALL": "staticcall",
            "DELEGATECALL": "delegatecall",
            "CALLCODE": "callcode",
        }
        if payload.selector is None:
            if isinstance(to, int) and 0 < to <= len(_PRECOMPILES):
                return Name(_PRECOMPILES[to - 1]), words
            return Member(Typed(target, "address"), kind[effect.op]), words
        for signature in self.known.functions(payload.selector):
            if (types := split_types(signature)) is not None and len(types) == len(words):
                words = tuple(_typed(arg, kind) for arg, kind in zip(words, types, strict=True))
                return self._method(effect, target, signature.partition("(")[0]), words
        return self._method(effect, target, f"f_{payload.selector:08x}"), words

    def _method(self, effect: Effect, target: Expression, name: str) -> Expression:
        base = Typed(target, "address")
        if effect.op == "CALL":
            return Member(base, name)
        return Member(Member(base, effect.op.lower()), name)

    def _revert(self, effect: Effect) -> Form | None:
        payload = effect.payload
        if effect.args[1] == 0:
            return Revert()
        if payload is None or payload.selector is None or not payload.sure:
            return None
        if payload.selector == _ERROR:
            text = _text(payload.words)
            return Revert("", (Text(text),)) if text is not None else None
        words = self._words(effect, payload)
        if words is None:
            return None
        if payload.selector == _PANIC and len(words) == 1:
            return Revert("Panic", words)
        for signature in self.known.errors(payload.selector):
            if (types := split_types(signature)) is not None and len(types) == len(words):
                typed = tuple(_typed(arg, kind) for arg, kind in zip(words, types, strict=True))
                return Revert(signature.partition("(")[0], typed)
        return Revert(f"error_{payload.selector:08x}", words)

    def _return(self, effect: Effect) -> Form | None:
        words = self._words(effect, effect.payload)
        if words is None or effect.payload is None or effect.payload.selector is not None:
            return None
        return Return(words) if effect.payload.length % 32 == 0 else None  # type: ignore[operator]


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


def split_types(signature: str) -> tuple[str, ...] | None:
    """The argument types of "f(address,uint256)" if each of them is one word; None with dynamic ones or structs."""
    inner = signature[signature.index("(") + 1 : -1]
    types = tuple(inner.split(",")) if inner else ()
    return None if any(c in inner for c in "()[") or "bytes" in types or "string" in types else types


def _typed(value: Expression, kind: str) -> Expression:
    return Typed(value, kind) if isinstance(value, int) else value


def _text(words: tuple[Word | None, ...]) -> str | None:
    """The string of an Error(string) whose words are constants."""
    if len(words) < 2 or any(not isinstance(word, int) for word in words) or words[0] != 32:
        return None
    data = b"".join(word.to_bytes(32, "big") for word in words[2:] if isinstance(word, int))
    size = words[1]
    if not isinstance(size, int) or size > len(data):
        return None
    try:
        return data[:size].decode()
    except UnicodeDecodeError:
        return None
