"""Terms as text: infix operators with as few parentheses as Solidity's rules of precedence need.

Signed operations carry an s: `a <s b`, `a /s b`. `mem[p]`, `calldata[p]` are the 32 bytes from p on; `stor[k]` and
`transient[k]` are slots. Instructions without a form of their own are written as Yul writes them, in small letters.
"""

from __future__ import annotations

from whet.evm.tac import WORD
from whet.evm.terms import (
    Call,
    Expression,
    Group,
    Index,
    InMemory,
    Invoke,
    Member,
    Name,
    Operation,
    Slice,
    Text,
    Typed,
)
from whet.evm.text.numbers import ATOM, number, quoted, typed

_INFIX = {
    "EXP": ("**", 95),
    "MUL": ("*", 80),
    "DIV": ("/", 80),
    "MOD": ("%", 80),
    "SDIV": ("/s", 80),
    "SMOD": ("%s", 80),
    "ADD": ("+", 70),
    "SUB": ("-", 70),
    "AND": ("&", 50),
    "XOR": ("^", 45),
    "OR": ("|", 40),
    "LT": ("<", 30),
    "GT": (">", 30),
    "SLT": ("<s", 30),
    "SGT": (">s", 30),
    "EQ": ("==", 25),
    "&&": ("&&", 20),
    "||": ("||", 15),
}
_SHIFTS = {"SHL": "<<", "SHR": ">>", "SAR": ">>s"}
_SHIFT, _UNARY, _CHOICE = 60, 90, 10
_LEFT = frozenset({"ADD", "MUL", "AND", "OR", "XOR", "&&", "||"})
"""Need no parentheses on the right for the same operator."""
_OPPOSITE = {"LT": (">=", 30), "GT": ("<=", 30), "SLT": (">=s", 30), "SGT": ("<=s", 30), "EQ": ("!=", 25)}
_TURNED = {op: op for op in ("ADD", "MUL", "AND", "OR", "XOR", "EQ")}
_TURNED |= {"LT": "GT", "GT": "LT", "SLT": "SGT", "SGT": "SLT"}
"""The same with the operands the other way round: constants stand on the right."""
_BITS = frozenset({"AND", "OR", "XOR"})

_WORDS = {
    "CALLER": "msg.sender",
    "CALLVALUE": "msg.value",
    "ORIGIN": "tx.origin",
    "GASPRICE": "tx.gasprice",
    "ADDRESS": "this",
    "CALLDATASIZE": "calldata.length",
    "CODESIZE": "code.length",
    "RETURNDATASIZE": "returndata.length",
    "TIMESTAMP": "block.timestamp",
    "NUMBER": "block.number",
    "COINBASE": "block.coinbase",
    "PREVRANDAO": "block.prevrandao",
    "GASLIMIT": "block.gaslimit",
    "BASEFEE": "block.basefee",
    "BLOBBASEFEE": "block.blobbasefee",
    "CHAINID": "block.chainid",
    "SELFBALANCE": "this.balance",
    "GAS": "gasleft()",
    "MSIZE": "msize()",
}
_READS = {"MLOAD": "mem", "SLOAD": "stor", "TLOAD": "transient", "CALLDATALOAD": "calldata"}
_MEMBERS = {"BALANCE": "balance", "EXTCODESIZE": "code.length", "EXTCODEHASH": "codehash"}

_PRECOMPILES = (
    *("ecrecover", "sha256", "ripemd160", "identity", "modexp", "ecadd", "ecmul", "ecpairing", "blake2f"),
    "point_evaluation",
)
"""Contracts at the addresses 1, 2, ..."""


class Writer:
    """Writes expressions. `names` gives the text of a variable."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def text(self, term: Expression, around: int = 0) -> str:
        """The text of an expression that stands beside an operator of precedence `around`."""
        text, tightness = self._term(term)
        return f"({text})" if tightness < around else text

    def condition(self, term: Expression, holds: bool = True) -> str:
        """The text of an expression of which only matters whether it is 0."""
        return self.text(simple_condition(term, holds))

    def several(self, terms: tuple[Expression, ...]) -> str:
        return ", ".join(self.text(term) for term in terms)

    def _term(self, term: Expression) -> tuple[str, int]:
        if isinstance(term, int):
            return number(term)
        if isinstance(term, str):
            return self.names.get(term, term), ATOM
        if isinstance(term, Operation):
            return self._operation(term.op, term.args)
        if isinstance(term, Typed):
            literal = typed(term.value, term.type) if isinstance(term.value, int) else ""
            return (literal, ATOM if literal[0] != "-" else _UNARY) if literal else self._term(term.value)
        return self._access(term), ATOM

    def _access(self, term: Name | Text | Index | Slice | Member | Invoke | Call | InMemory | Group) -> str:
        if isinstance(term, Name):
            return term.name
        if isinstance(term, Text):
            return quoted(term.value)
        if isinstance(term, Index):
            return f"{self.text(term.base, ATOM)}[{self.text(term.key)}]"
        if isinstance(term, Slice):
            return f"{self.text(term.base, ATOM)}[{self.text(term.start)}:{self.text(term.stop)}]"
        if isinstance(term, Member):
            return f"{self.text(term.base, ATOM)}.{term.name}"
        if isinstance(term, Group):
            return f"({self.several(term.items)})"
        if isinstance(term, InMemory):
            return f"{term.type}({self.text(term.pointer)})"
        if isinstance(term, Call):
            return self._call(term)
        return f"{self.text(term.callee, ATOM)}{self._options(term.options)}({self.several(term.args)})"

    def _options(self, options: tuple[tuple[str, Expression], ...]) -> str:
        said = ", ".join(f"{name}: {self.text(value)}" for name, value in options)
        return f"{{{said}}}" if said else ""

    def _call(self, call: Call) -> str:
        """`token.transfer(to, amount)`; where the result is the instruction's own word, `token.call.transfer(...)`."""
        options: tuple[tuple[str, Expression], ...] = (("value", call.value),) if call.value != 0 else ()
        options += (("gas", call.gas),) if call.gas is not None else ()
        target = self.text(Typed(call.target, "address"), ATOM)
        steps = [call.kind.lower()] if not call.checked or call.kind in ("DELEGATECALL", "CALLCODE") else []
        if call.selector is not None or call.name:
            steps.append(call.name or f"f_{call.selector:08x}")
        callee = ".".join((target, *steps))
        if call.selector is None and isinstance(call.target, int) and 0 < call.target <= len(_PRECOMPILES):
            callee = _PRECOMPILES[call.target - 1]
        text = f"{callee}{self._options(options)}({self.several(call.args)})"
        if not call.output:
            return text
        start, length = call.output
        return f"{text} to mem[{self.text(start)}:{self.text(Operation('ADD', (start, length)))}]"

    def _operation(self, op: str, args: tuple[Expression, ...]) -> tuple[str, int]:
        if op in ("ISZERO", "!"):
            return self._not(args[0])
        if op == "AND" and (kind := cut_to(args)):
            return f"{kind[0]}({self.text(kind[1])})", ATOM
        if op in _TURNED and isinstance(args[0], int) and not isinstance(args[1], int):
            return self._operation(_TURNED[op], (args[1], args[0]))
        if op == "ADD" and isinstance(args[1], int) and WORD - args[1] < 1 << 64:
            return self._infix("-", 70, "SUB", (args[0], WORD + 1 - args[1]))
        if op in _INFIX:
            return self._infix(*_INFIX[op], op, args)
        if op in _SHIFTS:
            return self._shift(op, args)
        if op == "?:":
            condition, held, failed = args
            text = f"{self.text(simple_condition(condition), _CHOICE + 1)} ? {self.text(held, _CHOICE + 1)}"
            return f"{text} : {self.text(failed, _CHOICE)}", _CHOICE
        return self._other(op, args)

    def _infix(self, sign: str, precedence: int, op: str, args: tuple[Expression, ...]) -> tuple[str, int]:
        right_needs = precedence if op in _LEFT else precedence + 1
        left_needs = precedence if op != "EXP" else precedence + 1
        left, right = (self._operand(op, a, n) for a, n in zip(args, (left_needs, right_needs), strict=True))
        return f"{left} {sign} {right}", precedence

    def _operand(self, op: str, term: Expression, around: int) -> str:
        """Bits mixed with other operators get parentheses though the rules would not need them."""
        if op in _BITS and isinstance(term, Operation) and term.op not in (op, "ISZERO", "NOT"):
            return self.text(term, _UNARY)
        return self.text(term, around)

    def _shift(self, op: str, args: tuple[Expression, ...]) -> tuple[str, int]:
        if op == "SHR" and args == (224, Operation("CALLDATALOAD", (0,))):
            return "msg.sig", ATOM
        return f"{self.text(args[1], _SHIFT)} {_SHIFTS[op]} {self.text(args[0], _SHIFT + 1)}", _SHIFT

    def _not(self, value: Expression) -> tuple[str, int]:
        if isinstance(value, Operation) and value.op in _OPPOSITE:
            op, args = value.op, value.args
            if isinstance(args[0], int):
                op, args = _TURNED[op], args[::-1]
            sign, precedence = _OPPOSITE[op]
            return self._infix(sign, precedence, op, args)
        return f"!{self.text(value, _UNARY)}", _UNARY

    def _other(self, op: str, args: tuple[Expression, ...]) -> tuple[str, int]:
        if op in _WORDS:
            return _WORDS[op], ATOM
        if op in _READS:
            return f"{_READS[op]}[{self.text(args[0])}]", ATOM
        if op in _MEMBERS:
            return f"{self.text(args[0], ATOM)}.{_MEMBERS[op]}", ATOM
        if op == "NOT":
            return f"~{self.text(args[0], _UNARY)}", _UNARY
        if op == "SIGNEXTEND" and isinstance(args[0], int) and args[0] < 32:
            return f"int{8 * args[0] + 8}({self.text(args[1])})", ATOM
        return f"{op.lower()}({self.several(args)})", ATOM


def cut_to(args: tuple[Expression, ...]) -> tuple[str, Expression] | None:
    """AND with a mask of whole bytes as a conversion: (type, value). At the lower end uintN or address, at the upper
    bytesN."""
    for mask, value in (args, args[::-1]):
        if isinstance(mask, int) and not isinstance(value, int) and mask not in (0, WORD):
            bits = mask.bit_length()
            if mask & (mask + 1) == 0 and bits % 8 == 0:
                return ("address" if bits == 160 else f"uint{bits}"), value
            low = WORD - mask
            if low & (low + 1) == 0 and low.bit_length() % 8 == 0 and low.bit_length() > 8 * 12:
                return f"bytes{32 - low.bit_length() // 8}", value
    return None


def simple_condition(term: Expression, holds: bool = True) -> Expression:
    """An expression that is 0 exactly where `term` is (or, not `holds`, exactly where it is not), simpler if it can be."""
    if isinstance(term, Operation):
        if term.op in ("ISZERO", "!"):
            return simple_condition(term.args[0], not holds)
        if term.op in ("SUB", "XOR") and not holds:
            return Operation("EQ", term.args)
        if term.op in ("SUB", "XOR"):
            return Operation("ISZERO", (Operation("EQ", term.args),))
        if term.op in ("&&", "||"):
            other = {"&&": "||", "||": "&&"}[term.op]
            return Operation(
                term.op if holds else other, tuple(simple_condition(a, holds) for a in term.args)
            )
    return term if holds else Operation("ISZERO", (term,))
