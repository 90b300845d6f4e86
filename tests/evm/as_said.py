"""A contract in which the forms are what executes: what they absorb is gone, and calls, events and ends are made anew.

So a form that says too little or too much makes a difference that a replay finds. Arguments are encoded far
behind all memory that is in use. Left as they are: forms of values and of storage, which `honest` checks. Only for tests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from unittest.mock import patch

from whet.evm import tac
from whet.evm.meaning.abi_types import head_words
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.base import END, FunctionMeaning, Meaning
from whet.evm.signatures import Signatures
from whet.evm.structure.graph import reverse_postorder
from whet.evm.tac import WORD, Block, Contract, End, Function, Operand, Statement
from whet.evm.terms import (
    DECODED,
    RETURNED,
    Call,
    Emit,
    Expression,
    Form,
    Group,
    InMemory,
    Invoke,
    Name,
    Operation,
    Return,
    Revert,
    Text,
    Typed,
    Value,
    variables,
)

SCRATCH = 1 << 17
"""Memory from here on is nobody else's."""


class Unsaid(Exception):
    """A term for which no code is made here."""


def meant(contract: Contract) -> Meaning:
    """The meaning without the checks that only a header implies."""
    with patch.dict(analyse.__globals__, skipped_checks=lambda *_: {}):
        return analyse(contract, Signatures())


def as_said(contract: Contract, meaning: Meaning) -> tuple[Contract, Counter[str]]:
    """The contract, and how many forms of each kind execute in it."""
    made: Counter[str] = Counter()
    functions = {
        name: _function(function, meaning.of(name), made) if function.kind != "entry" else function
        for name, function in contract.functions.items()
    }
    return replace(contract, functions=functions), made


@dataclass
class Maker:
    """Writes the blocks of one function."""

    meaning: FunctionMeaning
    blocks: dict[str, Block] = field(default_factory=dict)
    out: list[Statement] = field(default_factory=list)
    number: int = 0
    objects: int = 0

    def new(self) -> str:
        self.number += 1
        return f"said{self.number}"

    def put(self, op: str, *args: Operand) -> str:
        name = self.new()
        self.out.append(Statement(op, args, (name,), 0))
        return name

    def do(self, op: str, *args: Operand) -> None:
        self.out.append(Statement(op, args, (), 0))

    def word(self, term: Expression) -> Operand:
        if isinstance(term, int | str):
            return term
        if isinstance(term, Typed):
            return self.word(term.value)
        if isinstance(term, Operation):
            return self.put(term.op, *[self.word(arg) for arg in term.args])
        if isinstance(term, Name) and term.name.startswith("arg"):
            return self._argument(int(term.name[3:]))
        raise Unsaid(term)

    def _argument(self, position: int) -> Operand:
        kinds = [p.type for p in self.meaning.parameters or ()]
        word = self.put("CALLDATALOAD", 4 + 32 * sum(map(head_words, kinds[:position])))
        kind = kinds[position]
        if kind == "address" or (kind.startswith("uint") and kind != "uint256"):
            bits = 160 if kind == "address" else int(kind[4:])
            return self.put("AND", (1 << bits) - 1, word)
        if kind.startswith("int") and kind != "int256":
            return self.put("SIGNEXTEND", int(kind[3:]) // 8 - 1, word)
        if kind.startswith("bytes") and kind != "bytes32":
            return self.put("AND", WORD ^ ((1 << 256 - 8 * int(kind[5:])) - 1), word)
        if kind == "bool":
            return self.put("ISZERO", self.put("ISZERO", word))
        return word

    def encoded(self, selector: int | None, args: tuple[Expression, ...]) -> tuple[Operand, Operand]:
        """(offset, length) of memory that holds the arguments."""
        start, skip = SCRATCH, 0
        if selector is not None:
            self.do("MSTORE", start, selector << 224)
            skip = 4
        words = [None if isinstance(arg, InMemory) else self.word(arg) for arg in args]
        end: Operand = SCRATCH + skip + 32 * len(words)
        for position, (word, arg) in enumerate(zip(words, args, strict=True)):
            place = SCRATCH + skip + 32 * position
            if word is not None:
                self.do("MSTORE", place, word)
            else:
                assert isinstance(arg, InMemory)
                self.do("MSTORE", place, self.put("SUB", end, SCRATCH + skip))
                end = self.tail(arg, end)
        return start, end - SCRATCH if isinstance(end, int) else self.put("SUB", end, SCRATCH)

    def tail(self, arg: InMemory, end: Operand) -> Operand:
        """Writes an object with its length at `end`; returns where that ends."""
        self.objects += 1
        pointer = self.word(arg.pointer)
        length = self.put("MLOAD", pointer)
        size = self.put("MUL", length, 32) if arg.type.endswith("[]") else length
        self.do("MSTORE", end, length)
        content = self.put("ADD", end, 32)
        self.do("MCOPY", content, self.put("ADD", pointer, 32), size)
        self.do("MSTORE", self.put("ADD", content, size), 0)
        rounded = self.put("AND", self.put("ADD", size, 31), WORD ^ 31)
        return self.put("ADD", content, rounded)

    def raw(self, term: Expression) -> tuple[Operand, Operand]:
        """(offset, length) of bytes that are not encoded."""
        if term == RETURNED:
            length = self.put("RETURNDATASIZE")
            self.do("RETURNDATACOPY", SCRATCH, 0, length)
            return SCRATCH, length
        assert isinstance(term, InMemory)
        pointer = self.word(term.pointer)
        return self.put("ADD", pointer, 32), self.put("MLOAD", pointer)

    def text(self, value: str) -> tuple[Operand, Operand]:
        data = value.encode()
        padded = data.ljust(-(-len(data) // 32) * 32, b"\0")
        words = [int.from_bytes(padded[at : at + 32], "big") for at in range(0, len(padded), 32)]
        return self.encoded(0x08C379A0, (32, len(data), *words))

    def split(self, id_: str, end: End) -> None:
        self.blocks[id_] = replace(self.blocks[id_], statements=self.out, end=end)
        self.out = []

    def fresh_block(self) -> str:
        id_ = f"{self.new()}block"
        self.blocks[id_] = Block(id_, 0, [], [], End("STOP"))
        return id_

    def refuse(self, here: str, condition: Operand, forward: bool = False) -> str:
        """Ends `here`: reverts where the condition is not 0. Returns the block where it goes on."""
        good, bad = self.fresh_block(), self.fresh_block()
        self.split(here, End("BRANCH", (condition,), (bad, good)))
        start: Operand = 0
        length: Operand = 0
        if forward:
            start, length = SCRATCH, self.put("RETURNDATASIZE")
            self.do("RETURNDATACOPY", start, 0, length)
        self.split(bad, End("REVERT", (start, length)))
        return good

    def call(self, here: str, call: Call, results: tuple[str, ...]) -> str:
        """A call with all its checks. Returns the block where it goes on."""
        target, value = self.word(call.target), self.word(call.value)
        gas = self.put("GAS") if call.gas is None else self.word(call.gas)
        raw = call.types == ("bytes",) and call.selector is None
        start, length = self.raw(call.args[0]) if raw else self.encoded(call.selector, call.args)
        if call.asks_code:
            here = self.refuse(here, self.put("ISZERO", self.put("EXTCODESIZE", target)))
        gas = self.put("GAS") if call.gas is None else gas
        paid = (value,) if call.kind in ("CALL", "CALLCODE") else ()
        success = self.put(call.kind, gas, target, *paid, start, length, 0, 0)
        here = self.refuse(here, self.put("ISZERO", success), forward=True)
        return self.decode(here, call.returns, results)

    def decode(self, here: str, kinds: tuple[str, ...], results: tuple[str, ...]) -> str:
        """What came back as words of types, with all checks. Returns the block where it goes on."""
        size = 32 * len(kinds)
        here = self.refuse(here, self.put("LT", self.put("RETURNDATASIZE"), size))
        place = SCRATCH
        self.do("RETURNDATACOPY", place, 0, size)
        for position, (kind, result) in enumerate(zip(kinds, results, strict=True)):
            self.out.append(Statement("MLOAD", (self.put("ADD", place, 32 * position),), (result,), 0))
            here = self.refuse(here, self.dirty(result, kind))
        return here

    def dirty(self, word: str, kind: str) -> Operand:
        if kind == "bool":
            return self.put("GT", word, 1)
        if kind == "address" or kind.startswith("uint"):
            bits = 160 if kind == "address" else int(kind[4:])
            return self.put("SHR", bits, word) if bits < 256 else 0
        if kind.startswith("bytes"):
            return self.put("SHL", 8 * int(kind[5:]), word) if kind != "bytes32" else 0
        assert kind.startswith("int"), kind
        return self.put("SUB", word, self.put("SIGNEXTEND", int(kind[3:]) // 8 - 1, word))


def _function(function: Function, said: FunctionMeaning, made: Counter[str]) -> Function:
    maker = Maker(said)
    hidden = _hidden(function, said)
    last = {}
    for id_, block in function.blocks.items():
        here = id_
        maker.blocks[id_] = replace(block, statements=[])
        for index, s in enumerate(block.statements):
            form = said.forms.get((id_, index))
            kept = list(maker.out)
            try:
                here, handled = _statement(maker, here, s, form, made)
            except Unsaid:
                maker.out, handled = kept, False
                made["unsaid"] += 1
            if not handled and (id_, index) not in hidden:
                maker.out.append(s)
        end = _end(maker, block, said, made)
        maker.split(here, end)
        last[id_] = here
    made["object"] += maker.objects
    return _connected(function, maker.blocks, last)


def _hidden(function: Function, said: FunctionMeaning) -> set[tuple[str, int]]:
    """Absorbed statements, but for those whose results something else still reads."""
    hidden = set(said.absorbed)
    given = {
        r for f in said.forms.values() if isinstance(f, Value) and f.results is not None for r in f.results
    }
    while True:
        read = {
            name
            for id_, block in function.blocks.items()
            for index, s in enumerate(block.statements)
            if (id_, index) not in hidden
            for name in _read(s.args, said.forms.get((id_, index)))
        }
        for id_, block in function.blocks.items():
            ends = () if id_ in said.skipped else block.end.args
            read |= set(_read(ends, said.forms.get((id_, END))))
            read |= {v for phi in block.phis for v in phi.incoming.values() if isinstance(v, str)}
        back = {
            (id_, index)
            for id_, index in hidden
            if set(function.blocks[id_].statements[index].results) & (read - given)
        }
        if not back:
            return hidden
        hidden -= back


def _read(args: tuple[Operand, ...], form: Form | None) -> list[str]:
    term = form.expression if isinstance(form, Value) else None
    hashed = isinstance(term, Invoke) and term.callee == Name("keccak256")
    decoded = isinstance(term, Invoke) and term.callee == DECODED
    if isinstance(form, Emit | Return | Revert) or isinstance(term, Call) or hashed or decoded:
        return list(variables(form))
    return [arg for arg in args if isinstance(arg, str)]


def _statement(
    maker: Maker, here: str, s: Statement, form: Form | None, made: Counter[str]
) -> tuple[str, bool]:
    """(the block where it goes on, whether it was made anew)."""
    if isinstance(form, Emit):
        args = [maker.word(arg) for arg in form.args[: form.indexed]]
        start, length = maker.encoded(None, form.args[form.indexed :])
        maker.do(f"LOG{form.indexed + 1}", start, length, form.topic, *args)
        made["emit"] += 1
        return here, True
    if isinstance(form, Value) and isinstance(form.expression, Call):
        if form.expression.checked:
            here = maker.call(here, form.expression, form.results or ())
            made["checked call"] += 1
            return here, True
        call = form.expression
        raw = call.types == ("bytes",) and call.selector is None
        start, length = maker.raw(call.args[0]) if raw else maker.encoded(call.selector, call.args)
        gas = maker.put("GAS") if call.gas is None else maker.word(call.gas)
        paid = (maker.word(call.value),) if call.kind in ("CALL", "CALLCODE") else ()
        output = tuple(maker.word(part) for part in call.output) or (0, 0)
        args = (gas, maker.word(call.target), *paid, start, length, *output)
        maker.out.append(Statement(s.op, tuple(args), s.results, 0))
        made["call"] += 1
        return here, True
    if isinstance(form, Value) and isinstance(form.expression, Invoke) and form.expression.callee == DECODED:
        _, kinds = form.expression.args
        assert isinstance(kinds, Group)
        types = tuple(kind.name for kind in kinds.items if isinstance(kind, Name))
        here = maker.decode(here, types, form.results or ())
        made["decoded"] += 1
        return here, True
    if isinstance(form, Value) and s.op == "KECCAK256":
        assert isinstance(form.expression, Invoke)
        args = form.expression.args
        place = maker.raw(args[0]) if isinstance(args[0], InMemory) else maker.encoded(None, args)
        maker.out.append(Statement(s.op, place, s.results, 0))
        made["hash"] += 1
        return here, True
    if isinstance(form, Value) and form.results is None and isinstance(form.expression, str):
        maker.out.append(Statement("OR", (form.expression, 0), s.results, 0))
        return here, True
    return here, False


def _end(maker: Maker, block: Block, said: FunctionMeaning, made: Counter[str]) -> End:
    form = said.forms.get((block.id, END))
    target = said.skipped.get(block.id)
    if target is not None:
        return End("JUMP", (), (target,))
    kept = list(maker.out)
    try:
        if isinstance(form, Return):
            made["return"] += 1
            place = maker.raw(form.values[0]) if form.raw else maker.encoded(None, form.values)
            return End("RETURN", place)
        if isinstance(form, Revert):
            made["revert"] += 1
            first = form.args[0] if form.args else 0
            if form.selector is None and form.args:
                return End("REVERT", maker.raw(first))
            if isinstance(first, Text):
                return End("REVERT", maker.text(first.value))
            return End("REVERT", maker.encoded(form.selector, form.args))
    except Unsaid:
        maker.out = kept
        made["unsaid"] += 1
    return block.end


def _connected(function: Function, blocks: dict[str, Block], last: dict[str, str]) -> Function:
    """The function with what can be reached, and phis that know from where."""
    reached = list(reverse_postorder({id_: block.end.targets for id_, block in blocks.items()}))
    came: dict[str, set[str]] = {id_: set() for id_ in reached}
    for id_ in reached:
        for target in blocks[id_].end.targets:
            came[target].add(id_)
    kept = {}
    for id_ in reached:
        phis = [
            tac.Phi(
                p.result,
                {last.get(b, b): v for b, v in p.incoming.items() if last.get(b, b) in came[id_]},
            )
            for p in blocks[id_].phis
        ]
        kept[id_] = replace(blocks[id_], phis=phis)
    return replace(function, blocks=kept)
