"""What forms claim, checked while their contract runs: probes are put into the code, and say what variables held.

A probe is a LOG4 whose first topic is MARK: (MARK, number of the form, which value, the value). Only for tests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from whet.evm import tac
from whet.evm.interpret import Block, Result, Transaction, run
from whet.evm.keccak import keccak256
from whet.evm.lifting import lift_code
from whet.evm.meaning.abi_types import head_words, is_dynamic
from whet.evm.meaning.base import END, FunctionMeaning, Meaning, StateVariable
from whet.evm.meaning.structs import structs_of
from whet.evm.terms import (
    RETURNED,
    Assign,
    Call,
    Emit,
    Expression,
    Form,
    Group,
    Index,
    InMemory,
    Invoke,
    Member,
    Name,
    Operation,
    Return,
    Revert,
    Text,
    Typed,
    Value,
    children,
    variables,
)
from whet.evm.words import ONE, THREE, TWO
from whet.evm.world import Account, Log, World

MARK = int.from_bytes(keccak256(b"probe"), "big")
ADDRESS, CALLER = 0xC0DE, 0xCA11E5
BEFORE, AFTER, STORED, HASHED = 1 << 20, 1 << 21, 1 << 22, 1 << 23
"""Which value: the statement's own arguments, its results, the word in the slot before, the hash of a call's input."""


BITS = {"bool": 8, "address": 160} | {
    f"{kind}{size}": int(size) * (8 if kind == "bytes" else 1)
    for kind, step in (("uint", 8), ("int", 8), ("bytes", 1))
    for size in map(str, range(step, 33 * step, step))
}
"""How many bits a value of a type takes in storage."""


class Unsaid(Exception):
    """A term that is not evaluated here."""


@dataclass
class Claim:
    function: str
    place: tuple[str, int]
    form: Form
    names: tuple[str, ...]
    op: str
    results: tuple[str, ...]


@dataclass
class Probed:
    contract: tac.Contract
    meaning: Meaning
    claims: list[Claim] = field(default_factory=list)


class Seeing(World):
    """Keeps the logs of what was undone too."""

    def revert(self, mark: tuple[int, int, int]) -> None:
        self.undone = self.logs[mark[1] :]
        super().revert(mark)


def probed(contract: tac.Contract, meaning: Meaning) -> Probed:
    """The contract with a probe at every form of its functions."""
    made = Probed(contract, meaning)
    functions = {
        name: _probed_function(made, function, meaning.of(name))
        for name, function in contract.functions.items()
    }
    made.contract = replace(contract, functions=functions)
    return made


def _probed_function(made: Probed, function: tac.Function, said: FunctionMeaning) -> tac.Function:
    blocks = {}
    for id_, block in function.blocks.items():
        statements: list[tac.Statement] = []
        for index, s in [*enumerate(block.statements), (END, None)]:
            form = said.forms.get((id_, index))
            number = len(made.claims)
            if form is not None:
                names = tuple(dict.fromkeys(variables(form)))
                op, args = (s.op, s.args) if s is not None else (block.end.op, block.end.args)
                made.claims.append(
                    Claim(function.name, (id_, index), form, names, op, s.results if s else ())
                )
                statements += [_probe(number, which, name) for which, name in enumerate(names)]
                statements += [_probe(number, BEFORE + i, arg) for i, arg in enumerate(args)]
                statements += _looks(made, number, form, op, args)
            if s is not None:
                statements.append(s)
                if form is not None:
                    statements += [_probe(number, AFTER + i, r) for i, r in enumerate(s.results)]
        blocks[id_] = replace(block, statements=statements)
    return replace(function, blocks=blocks)


def _probe(number: int, which: int, value: tac.Operand) -> tac.Statement:
    return tac.Statement("LOG4", (0, 0, MARK, number, which, value), (), 0)


def _looks(
    made: Probed, number: int, form: Form, op: str, args: tuple[tac.Operand, ...]
) -> list[tac.Statement]:
    """What the slot of a field holds; the hash of a call's input."""
    target = form.target if isinstance(form, Assign) else form.expression if isinstance(form, Value) else None
    variable = _variable(made, target) if isinstance(target, Name) else None
    name = f"probe{number}"
    if variable is not None and not variable.transient:
        return [tac.Statement("SLOAD", (variable.slot,), (name,), 0), _probe(number, STORED, name)]
    if op == "SSTORE" and isinstance(target, Member):
        return [tac.Statement("SLOAD", args[:1], (name,), 0), _probe(number, STORED, name)]
    if op in ("CALL", "CALLCODE", "STATICCALL", "DELEGATECALL"):
        start = len(args) - 4
        return [tac.Statement("KECCAK256", args[start : start + 2], (name,), 0), _probe(number, HASHED, name)]
    return []


def _variable(made: Probed, name: Expression) -> StateVariable | None:
    found = [v for v in made.meaning.storage if isinstance(name, Name) and v.name == name.name]
    return found[0] if found else None


def check(made: Probed, calldata: bytes, storage: dict[int, int]) -> Counter[str]:
    """Runs one call. Returns how many claims of each kind held; raises AssertionError for one that did not."""
    accounts = {ADDRESS: Account(storage=dict(storage)), CALLER: Account(balance=1 << 90)}
    world = Seeing(accounts, lift_code)
    world.undone = []
    result = run(made.contract, world, Transaction(CALLER, ADDRESS, calldata))
    logs = world.undone if result.status == "revert" else result.logs
    held: Counter[str] = Counter()
    seen: dict[int, dict[int, int]] = {}
    last = -1
    for log in logs:
        if log.topics[:1] == (MARK,) and len(log.topics) == 4:
            _, number, which, value = log.topics
            if number != last or which in seen.get(number, {}):
                _done(made, last, seen.get(last, {}), calldata, held)
                seen[number] = seen.get(number, {}) if _continues(which) else {}
            seen[number][which] = value
            last = number
        elif log.address == ADDRESS:
            _emitted(made, last, seen.get(last, {}), log, calldata, held)
    _done(made, last, seen.get(last, {}), calldata, held)
    if last >= 0 and made.claims[last].place[1] == END:
        _ended(made, made.claims[last], seen[last], result, calldata, held)
    return held


def _continues(which: int) -> bool:
    """Results of a private call, or of a call, come behind what it did."""
    return AFTER <= which < STORED


def _emitted(
    made: Probed, number: int, values: dict[int, int], log: Log, data: bytes, held: Counter[str]
) -> None:
    claim = made.claims[number] if number >= 0 else None
    if claim is None or not isinstance(claim.form, Emit):
        return
    if any(isinstance(arg, InMemory) for arg in claim.form.args):
        return
    args = [_word(made, claim, values, arg, data) for arg in claim.form.args]
    count = len(log.topics) - 1
    assert (claim.form.topic, claim.form.indexed) == (log.topics[0], count), claim
    assert tuple(args[:count]) == log.topics[1:], claim
    assert _packed(args[count:]) == log.data, claim
    held["emit"] += 1


def _ended(
    made: Probed, claim: Claim, values: dict[int, int], result: Result, data: bytes, held: Counter[str]
) -> None:
    form = claim.form
    if isinstance(form, Return | Revert) and any(
        a == RETURNED or isinstance(a, InMemory) for a in children(form)
    ):
        return
    if isinstance(form, Return) and result.status == "success":
        words = [_word(made, claim, values, value, data) for value in form.values]
        assert _packed(words) == result.data, claim
        held["return"] += 1
    if isinstance(form, Revert):
        assert _reverted(made, claim, values, form, data) == result.data, claim
        held["revert"] += 1


def _reverted(made: Probed, claim: Claim, values: dict[int, int], form: Revert, data: bytes) -> bytes:
    if not form.error and not form.args:
        return b""
    if form.args and isinstance(form.args[0], Text):
        text = form.args[0].value.encode()
        padded = text.ljust(-(-len(text) // 32) * 32, b"\0")
        return bytes.fromhex("08c379a0") + _packed([32, len(text)]) + padded
    assert form.selector is not None
    return form.selector.to_bytes(4, "big") + _packed(
        [_word(made, claim, values, a, data) for a in form.args]
    )


def _done(made: Probed, number: int, values: dict[int, int], data: bytes, held: Counter[str]) -> None:
    """What a statement's own arguments and results show."""
    if number < 0:
        return
    claim, form = made.claims[number], made.claims[number].form
    try:
        if isinstance(form, Assign):
            _assigned(made, claim, values, form, data)
            held["assign"] += 1
        elif isinstance(form, Value) and AFTER in values:
            kind = _valued(made, claim, values, form, data)
            held[kind] += 1
    except Unsaid:
        held["not evaluated"] += 1


def _assigned(made: Probed, claim: Claim, values: dict[int, int], form: Assign, data: bytes) -> None:
    value = _word(made, claim, values, form.value, data)
    slot, written = values[BEFORE], values[BEFORE + 1]
    if isinstance(form.target, Name):
        variable = _variable(made, form.target)
        assert variable is not None, claim
        assert variable.slot == slot, claim
        if not variable.transient:
            low, mask = 8 * variable.offset, (1 << 8 * variable.size) - 1
            expected = values[STORED] & ~(mask << low) | (value & mask) << low
            assert written == expected, (claim, hex(written), hex(expected))
        return
    found, kind = _slot(made, claim, values, form.target, data)
    assert found == slot, claim
    expected = value
    if isinstance(form.target, Member) and STORED in values:
        low, mask = 8 * int(form.target.name.partition("_")[2] or 0), (1 << BITS.get(kind, 256)) - 1
        expected = values[STORED] & ~(mask << low) | (value & mask) << low
    assert written in (value, expected), claim


def _valued(made: Probed, claim: Claim, values: dict[int, int], form: Value, data: bytes) -> str:
    term = form.expression
    if claim.op in ("SLOAD", "TLOAD"):
        slot = _slot(made, claim, values, term, data)[0]
        assert slot == values[BEFORE], (claim, hex(slot), values)
        return "slot"
    if HASHED in values:
        assert _hash_of_call(made, claim, values, term, data) == values[HASHED], claim
        return "call"
    if isinstance(term, Name) and STORED in values:
        variable = _variable(made, term)
        assert variable is not None
        mask = (1 << 8 * variable.size) - 1
        assert values[AFTER] == values[STORED] >> 8 * variable.offset & mask, claim
        return "field"
    items = term.items if isinstance(term, Group) else (term,)
    for position, item in enumerate(items):
        word = _word(made, claim, values, item, data)
        assert word == values[AFTER + position], (claim, hex(word), hex(values[AFTER + position]))
    return "value"


def _hash_of_call(made: Probed, claim: Claim, values: dict[int, int], term: Expression, data: bytes) -> int:
    assert isinstance(term, Call)
    if any(isinstance(arg, InMemory) for arg in term.args):
        raise Unsaid
    words = _packed([_word(made, claim, values, arg, data) for arg in term.args])
    selector = b"" if term.selector is None else term.selector.to_bytes(4, "big")
    return int.from_bytes(keccak256(selector + words), "big")


def _packed(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(32, "big") for word in words)


def _slot(
    made: Probed, claim: Claim, values: dict[int, int], term: Expression, data: bytes
) -> tuple[int, str]:
    """(slot, type of what lies there) of a path like `balances[a].f1`."""
    if isinstance(term, Name):
        variable = _variable(made, term)
        assert variable is not None, claim
        return variable.slot, variable.type
    if isinstance(term, Member):
        slot, kind = _slot(made, claim, values, term.base, data)
        if term.name == "length":
            return slot, "uint256"
        struct = structs_of(made.meaning.declarations)[kind]
        inner, place = next((m[1], m[2]) for m in struct.members if m[0] == term.name)
        return slot + place & tac.WORD, inner
    if not isinstance(term, Index):
        raise Unsaid
    slot, kind = _slot(made, claim, values, term.base, data)
    key = _word(made, claim, values, term.key, data)
    if kind.startswith("mapping("):
        hashed = keccak256(key.to_bytes(32, "big") + slot.to_bytes(32, "big"))
        return int.from_bytes(hashed, "big"), kind.partition(" => ")[2][:-1]
    if kind.endswith("[]"):
        hashed = keccak256(slot.to_bytes(32, "big"))
        return int.from_bytes(hashed, "big") + key & tac.WORD, kind[:-2]
    if kind.endswith("]"):
        return slot + key & tac.WORD, kind[: kind.rindex("[")]
    raise Unsaid


_TX = {"CALLER": CALLER, "ADDRESS": ADDRESS, "CALLVALUE": 0, "ORIGIN": CALLER}
_BLOCK = {"TIMESTAMP": "timestamp", "NUMBER": "number", "CHAINID": "chain_id"}


def _word(made: Probed, claim: Claim, values: dict[int, int], term: Expression, data: bytes) -> int:
    if isinstance(term, int):
        return term
    if isinstance(term, str):
        return values[claim.names.index(term)]
    if isinstance(term, Typed):
        return _word(made, claim, values, term.value, data)
    if isinstance(term, Name):
        return _argument(made, claim, term.name, data)
    if isinstance(term, Operation):
        args = [_word(made, claim, values, arg, data) for arg in term.args]
        return _computed(term.op, args)
    if isinstance(term, Invoke) and isinstance(term.callee, Name):
        args = [_word(made, claim, values, arg, data) for arg in term.args]
        if term.callee.name == "keccak256":
            return int.from_bytes(keccak256(_packed(args)), "big")
        if term.callee.name.startswith("checked"):
            return args[0]
    raise Unsaid


def _computed(op: str, args: list[int]) -> int:
    if op in _TX:
        return _TX[op]
    if op in _BLOCK:
        return int(getattr(Block(), _BLOCK[op]))
    table = {1: ONE, 2: TWO, 3: THREE}.get(len(args), {})
    if op not in table:
        raise Unsaid
    return table[op](*args)  # type: ignore[operator]


def _argument(made: Probed, claim: Claim, name: str, data: bytes) -> int:
    """A static argument of one word."""
    parameters = made.meaning.of(claim.function).parameters or ()
    if not name.startswith("arg"):
        raise Unsaid
    position = int(name[3:])
    *before, kind = [p.type for p in parameters[: position + 1]]
    if is_dynamic(kind) or head_words(kind) != 1:
        raise Unsaid
    at = 4 + 32 * sum(map(head_words, before))
    return int.from_bytes(data[at:][:32].ljust(32, b"\0"), "big")
