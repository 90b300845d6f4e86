"""Terms as Solidity, each with its type; what Solidity has no word for is computed by assembly in a line before.

Every term is a 256-bit word in the three-address code. Here it gets the type that its text has by itself (`a < b` is a
bool), and is converted where another is wanted, never changing the word. Operands that are looked at only sometimes
(of && and ?:) become an `if` where they need lines of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from whet.evm.keccak import keccak256
from whet.evm.solidity.abi import KEYWORDS, in_memory
from whet.evm.solidity.lines import Line, Nest, Node
from whet.evm.solidity.types import (
    ATOM,
    CHOICE,
    UNARY,
    WORD_TYPE,
    from_word,
    is_unsigned,
    is_value,
    literal,
    mask_of,
    number_text,
    to_word,
)
from whet.evm.tac import WORD
from whet.evm.terms import (
    Call,
    Expression,
    Index,
    InMemory,
    Invoke,
    Member,
    Name,
    Operation,
    Text,
    Typed,
    children,
)
from whet.evm.text.expressions import cut_to, simple_condition
from whet.evm.text.numbers import quoted


class Unsayable(Exception):
    """A term that neither Solidity nor assembly can say here; the function is written at the next level."""


@dataclass(slots=True)
class Piece:
    """Solidity's text of a term. type: "" for a bare number. others: {type: text} where a shorter one says the same."""

    text: str
    tightness: int
    type: str
    mentions: frozenset[str] = frozenset()
    value: int | None = None
    raw: bool = False
    checked: bool = False
    others: dict[str, str] = field(default_factory=dict)

    def around(self, tightness: int) -> str:
        """In parentheses where an operator beside it needs them."""
        return f"({self.text})" if self.tightness < tightness else self.text


_INFIX = {
    "EXP": ("**", 95),
    "MUL": ("*", 80),
    "ADD": ("+", 70),
    "SUB": ("-", 70),
    "AND": ("&", 50),
    "XOR": ("^", 45),
    "OR": ("|", 40),
}
_BITS = frozenset({"AND", "OR", "XOR"})
_COMPARE = {"LT": "<", "GT": ">", "SLT": "<", "SGT": ">", "EQ": "=="}
_OPPOSITE = {"<": ">=", ">": "<=", "==": "!=", ">=": "<", "<=": ">", "!=": "=="}
_TURNED = {"<": ">", ">": "<", "==": "=="}
_ALIKE = frozenset({"ADD", "MUL", "AND", "OR", "XOR"})
_WORDS = {
    "CALLER": ("msg.sender", "address"),
    "CALLVALUE": ("msg.value", WORD_TYPE),
    "ORIGIN": ("tx.origin", "address"),
    "GASPRICE": ("tx.gasprice", WORD_TYPE),
    "ADDRESS": ("address(this)", "address"),
    "CALLDATASIZE": ("msg.data.length", WORD_TYPE),
    "TIMESTAMP": ("block.timestamp", WORD_TYPE),
    "NUMBER": ("block.number", WORD_TYPE),
    "COINBASE": ("block.coinbase", "address"),
    "PREVRANDAO": ("block.prevrandao", WORD_TYPE),
    "GASLIMIT": ("block.gaslimit", WORD_TYPE),
    "BASEFEE": ("block.basefee", WORD_TYPE),
    "BLOBBASEFEE": ("block.blobbasefee", WORD_TYPE),
    "CHAINID": ("block.chainid", WORD_TYPE),
    "SELFBALANCE": ("address(this).balance", WORD_TYPE),
    "GAS": ("gasleft()", WORD_TYPE),
}
_OF_ADDRESS = {"BALANCE": ("balance", WORD_TYPE), "EXTCODEHASH": ("codehash", "bytes32")}
_ARITHMETIC = frozenset({"ADD", "SUB", "MUL", "EXP"})


@dataclass(slots=True)
class Context:
    """What a function's terms may speak of.

    types: of the function's variables. names: what a `Name` is: text and type. called: {name in a term: (name in the
    text, types of parameters, of results)} of private functions. members: {struct: {member: type}}.
    literal: nothing is said in Solidity that assembly can say. codes: bytes that CODECOPY may read.
    """

    types: dict[str, str]
    names: Mapping[str, Piece]
    called: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]]
    spelled: dict[str, str]
    literal: bool = False
    code_size: int = 0
    payable: bool = True
    """Whether msg.value may be asked for by name."""
    members: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    raw_memory: bool = False
    """Assembly asks where free memory begins, and may have written there what Solidity would overwrite."""
    needed: set[str] = field(default_factory=set)
    """Helpers of the text that this function calls."""
    temporaries: int = 0
    reading: frozenset[str] = frozenset()
    """Names that assembly may read as they are."""
    interfaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """{interface: {signature: declaration}} of other contracts' functions, added to here."""
    of_variables: Mapping[str, str] = field(default_factory=dict)
    """Types of variables of the three-address code that are known for sure."""


class Lowering:
    """Writes terms. Lines that they need before them are put into `out`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.out: list[Node] = []
        self.apart = False
        """Wrapping arithmetic goes into lines of its own, since what is around it checks."""
        self.hidden_assembly = False
        """A helper was called that is assembly."""

    # Variables.

    def spelled(self, variable: str) -> str:
        return self.context.spelled.setdefault(variable, f"v{len(self.context.spelled)}")

    def type_of(self, variable: str) -> str:
        kind = self.context.of_variables.get(variable) or WORD_TYPE
        return self.context.types.setdefault(self.spelled(variable), kind)

    def temporary(self, kind: str = WORD_TYPE) -> str:
        name = f"t{self.context.temporaries}"
        self.context.temporaries += 1
        self.context.types[name] = kind
        return name

    # Assembly.

    def assembly(self, text: str, sets: tuple[str, ...], mentions: frozenset[str]) -> None:
        self.out.append(Line(text, sets, mentions, assembly=True))

    def yul(self, term: Expression) -> tuple[str, frozenset[str]]:
        """A term inside of assembly, with the variables that it mentions."""
        if isinstance(term, int):
            return _yul_number(term), frozenset()
        if isinstance(term, str):
            return self.spelled(term), frozenset({self.spelled(term)})
        if isinstance(term, Typed):
            return self.yul(term.value)
        if isinstance(term, Operation):
            return self._yul_operation(term)
        if isinstance(term, Name):
            piece = self._named(term)
            if piece.text.isidentifier() and piece.text in self.context.reading:
                return piece.text, frozenset({piece.text})
        if isinstance(term, Member) and term.name in ("offset", "length") and isinstance(term.base, Name):
            piece = self._named(term.base)
            if piece.type.endswith(" calldata"):
                return f"{piece.text}.{term.name}", frozenset({piece.text})
        return self._kept(self.sol(term, WORD_TYPE))

    def _kept(self, piece: Piece) -> tuple[str, frozenset[str]]:
        """The variable that holds a piece, made if it is none."""
        if piece.text in self.context.types:
            return piece.text, piece.mentions
        name = self.temporary(piece.type or WORD_TYPE)
        self.put(name, piece)
        return name, frozenset({name})

    def put(self, name: str, piece: Piece) -> None:
        """`name = piece;`"""
        self.out.append(
            Line(f"{name} = {piece.text};", (name,), piece.mentions, raw=piece.raw, checked=piece.checked)
        )

    def _yul_operation(self, term: Operation) -> tuple[str, frozenset[str]]:
        if term.op in ("&&", "||", "?:"):
            return self._kept(self.sol(term, WORD_TYPE))
        if term.op == "CODESIZE":
            return str(self.context.code_size), frozenset()
        if term.op in ("CALLVALUE",):
            return self._kept(self.sol(term, WORD_TYPE))
        name = {"!": "iszero", "KECCAK256": "keccak256"}.get(term.op, term.op.lower())
        if term.op in ("CLZ", "MSIZE"):
            raise Unsayable(f"{name} cannot be said for this compiler")
        said = [self.yul(arg) for arg in term.args]
        text = f"{name}({', '.join(text for text, _ in said)})"
        return text, frozenset().union(*(mentions for _, mentions in said))

    # Solidity.

    def sol(self, term: Expression, want: str = "") -> Piece:
        """A term as Solidity, converted to the type that is wanted."""
        if want in ("", WORD_TYPE, "bool") or not is_value(want):
            return self.convert(self._sol(term, want), want)
        term = trimmed(term, mask_of(want))
        if want == "bytes4" and term == Operation("CALLDATALOAD", (0,)):
            return Piece("msg.sig", ATOM, "bytes4")
        return self.convert(self._sol(term, want), want)

    def convert(self, piece: Piece, want: str) -> Piece:
        """The same value with another type. Without a wanted type it stays, a bare number as well."""
        if not want or piece.type == want:
            return piece
        if piece.value is not None and not piece.type:
            text = literal(piece.value, want) if is_value(want) else None
            if text is not None:
                return Piece(text, ATOM if text[0] != "-" else UNARY, want)
            piece = Piece(number_text(piece.value), ATOM, WORD_TYPE)
            piece.text = f"uint256({piece.text})"
        if want in piece.others:
            return self._with(piece, piece.others[want], ATOM, want)
        if want.endswith(" memory") and piece.type.partition(" ")[0] == want.partition(" ")[0]:
            return self._with(piece, piece.text, piece.tightness, want)  # Solidity copies it
        if not is_value(piece.type):
            piece = self._first_word(piece) if " " not in location(piece.type) else self._pointer(piece)
        if not is_value(want):
            return self._reference(piece, want)
        if want == "bool":
            zero = literal(0, piece.type)
            return self._with(piece, f"{piece.around(26)} != {zero}", 25, "bool")
        word = to_word(piece.text, piece.tightness, piece.type)
        text, tightness = from_word(*word, want)
        return self._with(piece, text, tightness, want)

    def _with(self, piece: Piece, text: str, tightness: int, kind: str) -> Piece:
        return Piece(text, tightness, kind, piece.mentions, None, piece.raw, piece.checked)

    def _first_word(self, piece: Piece) -> Piece:
        """What the first slot of something in storage holds."""
        slot, mentions = self.slot(piece)
        name = self.temporary()
        self.assembly(f"{name} := sload({slot})", (name,), mentions)
        return Piece(name, ATOM, WORD_TYPE, frozenset({name}))

    def slot(self, piece: Piece) -> tuple[str, frozenset[str]]:
        """Assembly's name for where something in storage begins."""
        if piece.text.isidentifier():
            return f"{piece.text}.slot", frozenset()
        name = self.temporary(f"{piece.type} storage")
        self.put(name, piece)
        return f"{name}.slot", frozenset({name})

    def _pointer(self, piece: Piece) -> Piece:
        """Where an object in memory lies."""
        if not piece.type.endswith(" memory") or not piece.text.isidentifier():
            raise Unsayable(f"{piece.text} ({piece.type}) as a word")
        name = self.temporary()
        self.assembly(f"{name} := {piece.text}", (name,), frozenset({piece.text}))
        return Piece(name, ATOM, WORD_TYPE, frozenset({name}))

    def _reference(self, piece: Piece, want: str) -> Piece:
        """The object in memory at a place."""
        if not want.endswith(" memory"):
            raise Unsayable(f"{piece.text} as {want}")
        word, mentions = self._kept(self.convert(piece, WORD_TYPE))
        name = self.temporary(want)
        self.assembly(f"{name} := {word}", (name,), mentions)
        return Piece(name, ATOM, want, frozenset({name}))

    def _sol(self, term: Expression, want: str) -> Piece:
        if isinstance(term, int):
            return Piece(number_text(term), ATOM, "", value=term)
        if isinstance(term, str):
            kind = self.type_of(term)
            return Piece(self.spelled(term), ATOM, kind, frozenset({self.spelled(term)}))
        if isinstance(term, Typed):
            if isinstance(term.value, int) and is_value(term.type):
                text = literal(term.value, term.type)
                if text is not None:
                    return Piece(text, ATOM, term.type)
            return self._sol(term.value, want)
        if isinstance(term, Operation):
            return self._operation(term, want)
        if isinstance(term, Text):
            return Piece(quoted(term.value), ATOM, "string memory")
        if isinstance(term, Name):
            return self._named(term)
        if isinstance(term, Index):
            return self._index(term)
        if isinstance(term, Member):
            return self._member(term)
        if isinstance(term, Invoke):
            return self._invoke(term, want)
        if isinstance(term, InMemory):
            return self.convert(self._sol(term.pointer, ""), f"{term.type} memory")
        if isinstance(term, Call):
            return self.whole_call(term) if term.checked else self._bare_call(term)
        raise Unsayable(type(term).__name__)

    def _named(self, term: Name) -> Piece:
        if term.name not in self.context.names:
            raise Unsayable(term.name)
        known = self.context.names[term.name]
        return Piece(known.text, known.tightness, known.type, known.mentions)

    def _index(self, term: Index) -> Piece:
        base = self._sol(term.base, "")
        inner = element_types(base.type)
        if inner is None:
            raise Unsayable(f"an element of {base.type}")
        key = self.sol(term.key, inner[0])
        return self._both(f"{base.text}[{key.text}]", ATOM, inner[1], base, key)

    def _member(self, term: Member) -> Piece:
        base = self._sol(term.base, "")
        if term.name == "offset" and base.type.endswith(" calldata"):
            name = self.temporary()
            self.assembly(f"{name} := {base.text}.offset", (name,), base.mentions)
            return Piece(name, ATOM, WORD_TYPE, frozenset({name}))
        if term.name == "length" and base.type.endswith(("[]", " calldata")):
            text = f"bytes({base.text})" if base.type.startswith("string") else base.text
            return self._both(f"{text}.length", ATOM, WORD_TYPE, base)
        if term.name in (inner := self.context.members.get(base.type, {})):
            return self._both(f"{base.text}.{term.name}", ATOM, inner[term.name], base)
        raise Unsayable(f"{term.name} of {base.type}")

    def _both(self, text: str, tightness: int, kind: str, *parts: Piece) -> Piece:
        mentions = frozenset().union(*(part.mentions for part in parts))
        return Piece(
            text, tightness, kind, mentions, None, any(p.raw for p in parts), any(p.checked for p in parts)
        )

    # Operations.

    def _operation(self, term: Operation, want: str) -> Piece:
        op, args = term.op, term.args
        if op in ("&&", "||"):
            return self._logical(op, args, want)
        if op == "?:":
            return self._choice(args, want)
        if self.context.literal and op not in ("CALLVALUE",):
            return self._computed(term)
        if op in ("ISZERO", "!"):
            return self._not(args[0])
        if op in _WORDS:
            if op == "CALLVALUE" and not self.context.payable:
                self.context.needed.add("callValue")
                return Piece("callValue()", ATOM, WORD_TYPE)
            return Piece(*(_WORDS[op][0], ATOM, _WORDS[op][1]))
        if op == "SHR" and args == (224, Operation("CALLDATALOAD", (0,))):
            return Piece("uint256(uint32(msg.sig))", ATOM, WORD_TYPE)
        if op == "CODESIZE":
            return Piece(str(self.context.code_size), ATOM, WORD_TYPE)
        if op in _OF_ADDRESS:
            member, kind = _OF_ADDRESS[op]
            target = self.sol(args[0], "address")
            return self._both(f"{target.around(ATOM)}.{member}", ATOM, kind, target)
        if op == "EXTCODESIZE":
            target = self.sol(args[0], "address")
            return self._both(f"{target.around(ATOM)}.code.length", ATOM, WORD_TYPE, target)
        if op == "BLOCKHASH":
            number = self.sol(args[0], WORD_TYPE)
            return self._both(f"blockhash({number.text})", ATOM, "bytes32", number)
        if op in _COMPARE:
            return self._compare(op, args)
        if op in _INFIX:
            return self._infix(op, args)
        if op in ("SHL", "SHR", "SAR"):
            return self._shift(op, args)
        if op == "NOT":
            value = self.sol(args[0], WORD_TYPE)
            return self._both(f"~{value.around(UNARY)}", UNARY, WORD_TYPE, value)
        if op in ("DIV", "MOD", "SDIV", "SMOD") and isinstance(args[1], int) and 0 < args[1] < WORD:
            return self._divide(op, args)
        if op in ("DIV", "MOD", "SDIV", "SMOD"):
            return self._divide_or_nothing(op, args)
        if op in ("ADDMOD", "MULMOD") and isinstance(args[2], int) and args[2]:
            parts = [self.sol(arg, WORD_TYPE) for arg in args]
            return self._both(f"{op.lower()}({', '.join(p.text for p in parts)})", ATOM, WORD_TYPE, *parts)
        if op == "SIGNEXTEND" and isinstance(args[0], int) and args[0] < 31:
            value = self.sol(args[1], WORD_TYPE)
            size = 8 * args[0] + 8
            return self._both(f"int{size}(uint{size}({value.text}))", ATOM, f"int{size}", value)
        return self._computed(term)

    def _computed(self, term: Operation) -> Piece:
        """By assembly, in a line before."""
        text, mentions = self._yul_operation(term)
        if text in self.context.types:
            return Piece(text, ATOM, self.context.types[text], mentions)
        name = self.temporary()
        self.assembly(f"{name} := {text}", (name,), mentions)
        return Piece(name, ATOM, WORD_TYPE, frozenset({name}))

    def _not(self, value: Expression) -> Piece:
        return self._negated(self._sol(value, "bool"))

    def _negated(self, piece: Piece) -> Piece:
        """True where the piece is 0."""
        if piece.type == "bool":
            for sign, opposite in _OPPOSITE.items():
                left, found, right = piece.text.partition(f" {sign} ")
                if found and piece.tightness in (25, 30) and _is_whole(left) and _is_whole(right):
                    return self._with(piece, f"{left} {opposite} {right}", piece.tightness, "bool")
            if piece.text.startswith("!") and piece.tightness == UNARY:
                return self._with(piece, piece.text[1:], UNARY, "bool")
            return self._with(piece, f"!{piece.around(UNARY)}", UNARY, "bool")
        zero = self.convert(Piece("0", ATOM, "", value=0), piece.type)
        return self._with(piece, f"{piece.around(26)} == {zero.text}", 25, "bool")

    def _compare(self, op: str, args: tuple[Expression, ...]) -> Piece:
        left, right = (self._sol(arg, "") for arg in args)
        sign = _COMPARE[op]
        for one, other in ((left, right), (right, left)):
            if op == "EQ" and one.type == "bool" and other.value in (0, 1):
                return one if other.value else self._negated(one)
        if left.value is not None and right.value is None:
            left, right, sign = right, left, _TURNED[sign]
        kind = _common(left, right) if op == "EQ" else ""
        if op in ("SLT", "SGT"):
            kind = "int256"
        elif op != "EQ" or not kind:
            kind = WORD_TYPE
            if all(not p.type or is_unsigned(p.type) for p in (left, right)) and (left.type or right.type):
                kind = ""
        left, right = (self.convert(left, kind), self.convert(right, kind)) if kind else (left, right)
        if not left.type and left.value is not None:
            left = Piece(f"uint256({left.text})", ATOM, WORD_TYPE)
        tightness = 25 if op == "EQ" else 30
        text = f"{left.around(tightness + 1)} {sign} {right.around(tightness + 1)}"
        return self._both(text, tightness, "bool", left, right)

    def _infix(self, op: str, args: tuple[Expression, ...]) -> Piece:
        if op == "AND" and (cut := cut_to(args)) is not None:
            return self._cut(args, *cut)
        if op in _ALIKE and isinstance(args[0], int) and not isinstance(args[1], int):
            args = (args[1], args[0])
        sign, tightness = _INFIX[op]
        if op == "ADD" and isinstance(args[1], int) and WORD - args[1] < 1 << 64:
            op, sign, args = "SUB", "-", (args[0], WORD + 1 - args[1])
        left, right = (self._word(arg) for arg in args)
        if op in _ARITHMETIC:
            left, right = self._settled(left), self._settled(right)
        if left.value is not None and (right.value is not None or op == "EXP"):
            left = Piece(f"uint256({left.text})", ATOM, WORD_TYPE)
        mixed = 90 if op in _BITS else tightness
        needs = (mixed + (op == "EXP"), mixed + (op not in _ALIKE or mixed == 90))
        if op in _BITS:
            needs = (0 if _same(op, left) else needs[0], 0 if _same(op, right) else needs[1])
        text = f"{left.around(needs[0])} {sign} {right.around(needs[1])}"
        made = self._both(text, tightness, WORD_TYPE, left, right)
        if op not in _ARITHMETIC:
            return made
        return self._wrapping(made)

    def _settled(self, piece: Piece) -> Piece:
        """A piece that arithmetic which wraps may stand around: what is checked is in a line before."""
        return self._held(piece) if piece.checked else piece

    def _held(self, piece: Piece) -> Piece:
        name = self.temporary(piece.type)
        self.put(name, piece)
        return Piece(name, ATOM, piece.type, frozenset({name}))

    def _wrapping(self, made: Piece) -> Piece:
        """Arithmetic that wraps; in a line of its own if what is around it checks."""
        made.raw = True
        return self._held(made) if self.apart else made

    def _word(self, arg: Expression) -> Piece:
        piece = self._sol(arg, "")
        return piece if piece.value is not None and not piece.type else self.convert(piece, WORD_TYPE)

    def _cut(self, args: tuple[Expression, ...], kind: str, value: Expression) -> Piece:
        piece = self._sol(value, "")
        if piece.type == kind:
            return piece
        word = self.convert(piece, WORD_TYPE)
        text, _ = from_word(word.text, word.tightness, kind)
        if kind == "address":
            made = self._both(f"uint256(uint160({word.text}))", ATOM, WORD_TYPE, word)
        else:
            mask = next(arg for arg in args if isinstance(arg, int))
            shown = number_text(mask) if mask < WORD >> 1 else f"~uint256({number_text(WORD - mask)})"
            made = self._both(f"{word.around(90)} & {shown}", 50, WORD_TYPE, word)
            if kind.startswith("uint"):
                made = self._both(f"uint256({text})", ATOM, WORD_TYPE, word)
        made.others = {kind: text, "uint160": f"uint160({word.text})"} if kind == "address" else {kind: text}
        return made

    def _shift(self, op: str, args: tuple[Expression, ...]) -> Piece:
        amount, value = self._word(args[0]), self._word(args[1])
        if value.value is not None:
            value = Piece(f"uint256({value.text})", ATOM, WORD_TYPE)
        if op == "SAR":
            value = self.convert(value, "int256")
            text = f"{value.around(60)} >> {amount.around(61)}"
            return self._both(text, 60, "int256", value, amount)
        sign = "<<" if op == "SHL" else ">>"
        return self._both(f"{value.around(60)} {sign} {amount.around(61)}", 60, WORD_TYPE, value, amount)

    def _divide(self, op: str, args: tuple[Expression, ...]) -> Piece:
        kind = "int256" if op[0] == "S" else WORD_TYPE
        left, right = (self.sol(arg, kind) for arg in args)
        if left.value is not None or literal_text(left):
            left = Piece(f"{kind}({left.text})", ATOM, kind)
        sign = "/" if op.endswith("DIV") else "%"
        return self._both(f"{left.around(80)} {sign} {right.around(81)}", 80, kind, left, right)

    def _divide_or_nothing(self, op: str, args: tuple[Expression, ...]) -> Piece:
        """The EVM's division by 0 gives 0; Solidity's reverts."""
        kind = "int256" if op[0] == "S" else WORD_TYPE
        left, right = self.sol(args[0], kind), self.sol(args[1], kind)
        if _does_more(args[0]):
            left = self._held(left)
        if right.text not in self.context.types:
            right = self._held(right)
        sign = "/" if op.endswith("DIV") else "%"
        text = f"{right.text} == 0 ? {'int256(0)' if kind == 'int256' else '0'} : {left.around(80)} {sign} {right.text}"
        made = self._both(text, CHOICE, kind, left, right)
        return self._wrapping(made) if kind == "int256" else made

    # What is looked at only sometimes.

    def _aside(self, write: Callable[[], Piece]) -> tuple[Piece, list[Node]]:
        """A piece, and the lines that it needs, apart."""
        before, self.out = self.out, []
        piece = write()
        lines, self.out = self.out, before
        return piece, lines

    def _logical(self, op: str, args: tuple[Expression, ...], want: str) -> Piece:
        left = self._sol(args[0], want)
        if want != "bool" and left.type != "bool":
            return self._decided(op, left, args[1])
        left = self.convert(left, "bool")
        right, lines = self._aside(lambda: self._sol(args[1], "bool"))
        if want == "bool" or right.type == "bool":
            right, more = self._aside(lambda: self.convert(right, "bool"))
            if not lines and not more:
                around = 20 if op == "&&" else 15
                text = f"{left.around(around)} {op} {right.around(around + 1)}"
                return self._both(text, around, "bool", left, right)
            return self._in_if(op, left, right, [*lines, *more], "bool")
        left_word = self.convert(left, WORD_TYPE)
        before, self.out = self.out, lines
        right = self.convert(right, WORD_TYPE)
        lines, self.out = self.out, before
        return self._in_if(op, left_word, right, lines, WORD_TYPE)

    def _decided(self, op: str, left: Piece, other: Expression) -> Piece:
        right, lines = self._aside(lambda: self.sol(other, WORD_TYPE))
        return self._in_if(op, self.convert(left, WORD_TYPE), right, lines, WORD_TYPE)

    def _in_if(self, op: str, left: Piece, right: Piece, lines: list[Node], kind: str) -> Piece:
        name = self.temporary(kind)
        self.put(name, left)
        test = name if kind == "bool" else f"{name} != 0"
        if op == "||":
            test = f"!{name}" if kind == "bool" else f"{name} == 0"
        lines = [
            *lines,
            Line(f"{name} = {right.text};", (name,), right.mentions, False, right.raw, right.checked),
        ]
        self.out.append(Nest([(f"if ({test})", lines)], mentions=frozenset({name})))
        return Piece(name, ATOM, kind, frozenset({name}))

    def _choice(self, args: tuple[Expression, ...], want: str) -> Piece:
        condition = self.sol(simple_condition(args[0]), "bool")
        kind = want if want and is_value(want) else WORD_TYPE
        held, first = self._aside(lambda: self.sol(args[1], kind))
        failed, second = self._aside(lambda: self.sol(args[2], kind))
        if not first and not second:
            text = f"{condition.around(CHOICE + 1)} ? {held.around(CHOICE + 1)} : {failed.around(CHOICE + 1)}"
            if literal_text(held) and literal_text(failed):
                text = f"{kind}({text})"
                return self._both(text, ATOM, kind, condition, held, failed)
            return self._both(text, CHOICE, kind, condition, held, failed)
        name = self.temporary(kind)
        first.append(Line(f"{name} = {held.text};", (name,), held.mentions, False, held.raw, held.checked))
        second.append(
            Line(f"{name} = {failed.text};", (name,), failed.mentions, False, failed.raw, failed.checked)
        )
        self.out.append(
            Nest(
                [(f"if ({condition.text})", first), ("else", second)],
                mentions=condition.mentions,
                raw=condition.raw,
            )
        )
        return Piece(name, ATOM, kind, frozenset({name}))

    # Calls.

    def _invoke(self, term: Invoke, want: str) -> Piece:
        callee = term.callee
        if isinstance(callee, Name) and callee.name.partition("_")[0] == "checked" and len(term.args) == 1:
            return self._checked(callee.name, term.args[0])
        if isinstance(callee, Name) and callee.name in self.context.called:
            name, takes, gives = self.context.called[callee.name]
            args = [self.sol(arg, kind) for arg, kind in zip(term.args, takes, strict=True)]
            text = f"{name}({', '.join(arg.text for arg in args)})"
            return self._both(text, ATOM, gives[0] if len(gives) == 1 else "()", *args)
        if isinstance(callee, Name) and callee.name == "keccak256":
            args = [self.sol(arg, WORD_TYPE) for arg in term.args]
            if self.context.raw_memory and 1 <= len(args) <= 2:
                name = ("hash", "hashPair")[len(args) - 1]
                self.context.needed.add(name)
                self.hidden_assembly = True
                return self._both(f"{name}({', '.join(arg.text for arg in args)})", ATOM, "bytes32", *args)
            encoded = ", ".join(arg.text if not literal_text(arg) else f"uint256({arg.text})" for arg in args)
            return self._both(f"keccak256(abi.encode({encoded}))", ATOM, "bytes32", *args)
        raise Unsayable(f"a call of {callee}")

    def whole_call(self, term: Call) -> Piece:
        """A call that decodes what comes back and passes on what goes wrong: Solidity's own where its name is known."""
        signature = f"{term.name}({','.join(term.types)})"
        known = term.name and all(term.types) and _selector(signature) == term.selector
        if not known or term.kind not in ("CALL", "STATICCALL") or term.name in KEYWORDS:
            return self._call_by_selector(term)
        args = [self.sol(arg, in_memory(kind)) for arg, kind in zip(term.args, term.types, strict=True)]
        options = self._options(term)
        interface = self._declared(term)
        target = self.sol(term.target, "address")
        text = f"{interface}({target.text}).{term.name}{_braces(options)}({', '.join(a.text for a in args)})"
        return self._both(text, ATOM, _result(term), target, *args, *(piece for _, piece in options))

    def _options(self, term: Call) -> list[tuple[str, Piece]]:
        options: list[tuple[str, Piece]] = []
        if term.value != 0:
            options.append(("value", self.sol(term.value, WORD_TYPE)))
        if term.gas is not None:
            options.append(("gas", self.sol(term.gas, WORD_TYPE)))
        return options

    def _declared(self, term: Call) -> str:
        """The interface that has the function; another one where it is declared otherwise already."""
        kind = "view" if term.kind == "STATICCALL" else "payable" if term.value != 0 else ""
        params = ", ".join(in_memory(kind) for kind in term.types)
        returns = f" returns ({', '.join(in_memory(kind) for kind in term.returns)})" if term.returns else ""
        text = f"function {term.name}({params}) external{' ' + kind if kind else ''}{returns};"
        key = f"{term.name}({','.join(term.types)})"
        number = 0
        while True:
            name = f"External{number or ''}"
            if self.context.interfaces.setdefault(name, {}).setdefault(key, text) == text:
                return name
            number += 1

    def _call_by_selector(self, term: Call) -> Piece:
        """The same by low-level calls, where nothing but the selector is known."""
        helper = {"CALL": "callOrRevert", "STATICCALL": "readOrRevert", "DELEGATECALL": "delegateOrRevert"}
        if term.kind not in helper:
            raise Unsayable(f"the whole of {term.kind}")
        target = self.sol(term.target, "address")
        data = self.encoded(term.selector, term.name, term.types, term.args)
        parts = [target, data]
        if term.kind == "CALL":
            parts.append(self.sol(term.value, WORD_TYPE))
        name = helper[term.kind]
        self.context.needed.add(name)
        parts.append(
            Piece("gasleft()", ATOM, WORD_TYPE) if term.gas is None else self.sol(term.gas, WORD_TYPE)
        )
        must = "true" if term.asks_code or not term.returns else "false"
        text = f"{name}({', '.join(part.text for part in parts)}, {must})"
        if term.returns:
            text = f"abi.decode({text}, ({', '.join(term.returns)}))"
        return self._both(text, ATOM, _result(term), *parts)

    def _bare_call(self, term: Call) -> Piece:
        """The instruction alone, by its low-level function: true for success."""
        if term.kind == "CALLCODE":
            raise Unsayable(term.kind)
        target = self.sol(term.target, "address")
        data = self.encoded(term.selector, term.name, term.types, term.args)
        options = self._options(term)
        call = f"{target.around(ATOM)}.{term.kind.lower()}{_braces(options)}({data.text})"
        made = self._both(call, ATOM, "bool", target, data, *(piece for _, piece in options))
        name = self.temporary("bool")
        free = self.temporary()
        output = [self._settled_yul(part) for part in term.output]
        if term.output:
            self.assembly(f"{free} := mload(0x40)", (free,), frozenset())
        self.out.append(
            Line(f"({name}, ) = {call};", (name,), made.mentions, raw=made.raw, checked=made.checked)
        )
        if term.output:
            where, length = output
            size = self.temporary()
            self.assembly(f"{size} := returndatasize()", (size,), frozenset())
            self.assembly(f"if gt({size}, {length[0]}) {{ {size} := {length[0]} }}", (), length[1] | {size})
            self.assembly(f"returndatacopy({where[0]}, 0, {size})", (), where[1] | {size})
            self.assembly(f"mstore(0x40, {free})", (), frozenset({free}))  # as if nothing had been encoded
        return Piece(name, ATOM, "bool", frozenset({name}))

    def _settled_yul(self, term: Expression) -> tuple[str, frozenset[str]]:
        """A term's value now, in a variable."""
        text, mentions = self.yul(term)
        if text in self.context.types or isinstance(term, int):
            return text, mentions
        name = self.temporary()
        self.assembly(f"{name} := {text}", (name,), mentions)
        return name, frozenset({name})

    def encoded(
        self, selector: int | None, name: str, types: tuple[str, ...], args: tuple[Expression, ...]
    ) -> Piece:
        """The bytes of calldata or of an error."""
        known = [kind or WORD_TYPE for kind in types]
        pieces = [self._argument(arg, kind) for arg, kind in zip(args, known, strict=True)]
        texts = [piece.text for piece in pieces]
        if selector is None:
            return self._both(
                f"abi.encode({', '.join(texts)})" if texts else '""', ATOM, "bytes memory", *pieces
            )
        signature = f"{name}({','.join(types)})"
        if name and all(types) and _selector(signature) == selector:
            head = f'abi.encodeWithSignature("{signature}"'
        else:
            head = f"abi.encodeWithSelector(bytes4({selector:#010x})"
        return self._both(f"{', '.join([head, *texts])})", ATOM, "bytes memory", *pieces)

    def _argument(self, arg: Expression, kind: str) -> Piece:
        """An argument whose type the text must show, also of a bare number."""
        piece = self.sol(arg, kind if is_value(kind) else f"{kind} memory")
        if literal_text(piece):
            piece = self._with(piece, f"{kind}({piece.text})", ATOM, kind)
        return piece

    def _checked(self, name: str, inner: Expression) -> Piece:
        """`checked_uint8(a + b)`: arithmetic of that type, which cleans its operands and reverts."""
        if not isinstance(inner, Operation):
            raise Unsayable(name)
        kind = name.partition("_")[2] or WORD_TYPE
        sign, tightness = {
            "ADD": ("+", 70), "SUB": ("-", 70), "MUL": ("*", 80), "DIV": ("/", 80), "MOD": ("%", 80),
            "SDIV": ("/", 80), "SMOD": ("%", 80), "EXP": ("**", 95),
        }[inner.op]  # fmt: skip
        before, self.apart = self.apart, True
        left, right = (self.sol(arg, kind) for arg in inner.args)
        self.apart = before
        if literal_text(left) and (literal_text(right) or inner.op == "EXP"):
            left = Piece(f"{kind}({left.text})", ATOM, kind)
        text = f"{left.around(tightness)} {sign} {right.around(tightness + 1)}"
        made = self._both(text, tightness, kind, left, right)
        made.raw, made.checked = False, True
        return made

    def whole(self, write: Callable[[], Piece]) -> Piece:
        """What one line says: arithmetic that wraps and such that must not do not share it."""
        lines, temporaries = len(self.out), self.context.temporaries
        piece = write()
        if piece.raw and piece.checked:
            del self.out[lines:]
            self.context.temporaries = temporaries
            before, self.apart = self.apart, True
            piece = write()
            self.apart = before
        return piece

    def condition(self, term: Expression) -> Piece:
        """As a bool. Heads cannot stand in `unchecked` alone, so that wrapping arithmetic is in lines before."""
        before, self.apart = self.apart, True
        piece = self.sol(simple_condition(term), "bool")
        self.apart = before
        return piece

    def several(self, terms: tuple[Expression, ...], kinds: tuple[str, ...]) -> Piece:
        """`a, b` with these types."""
        pieces = [self.sol(term, kind) for term, kind in zip(terms, kinds, strict=True)]
        return self._both(", ".join(piece.text for piece in pieces), ATOM, "", *pieces)


def _does_more(term: Expression) -> bool:
    """Whether a term has to be computed even where its value is not needed."""
    return isinstance(term, Invoke | Call) or any(_does_more(child) for child in children(term))


def trimmed(term: Expression, mask: int) -> Expression:
    """A term of which only some bits matter, without what makes no difference to them."""
    if not isinstance(term, Operation) or term.op not in ("AND", "OR"):
        return term
    for one, other in (term.args, term.args[::-1]):
        if isinstance(one, int) and term.op == "AND" and one & mask == mask:
            return trimmed(other, mask)
        if term.op == "OR" and _is_outside(one, mask):
            return trimmed(other, mask)
    return term


def _is_outside(term: Expression, mask: int) -> bool:
    """Whether a term is 0 in all bits of a mask."""
    if isinstance(term, int):
        return not term & mask
    if not isinstance(term, Operation) or term.op != "AND":
        return False
    return any(isinstance(arg, int) and not arg & mask for arg in term.args)


def _selector(signature: str) -> int:
    return int.from_bytes(keccak256(signature.encode())[:4], "big")


def _braces(options: list[tuple[str, Piece]]) -> str:
    told = ", ".join(f"{name}: {piece.text}" for name, piece in options)
    return f"{{{told}}}" if told else ""


def _result(term: Call) -> str:
    """The type of what a checked call gives; "()" for none or several."""
    return in_memory(term.returns[0]) if len(term.returns) == 1 else "()"


def location(kind: str) -> str:
    """ " memory" or " calldata" of a type that has one; "" for what lies in storage, and for values."""
    return next((place for place in (" memory", " calldata") if kind.endswith(place)), "")


def element_types(kind: str) -> tuple[str, str] | None:
    """(type of the key, of the element) of a mapping or an array in storage; None for others."""
    if kind.startswith("mapping("):
        depth = 0
        for place in range(len("mapping("), len(kind)):
            depth += (kind[place] == "(") - (kind[place] == ")")
            if depth == 0 and kind.startswith(" => ", place):
                return kind[len("mapping(") : place], kind[place + 4 : -1]
        return None
    if kind.endswith("]"):
        return WORD_TYPE, kind[: kind.rindex("[")]
    return None


def literal_text(piece: Piece) -> bool:
    """Whether a piece is a bare number, whose type Solidity would choose by itself."""
    text = piece.text.removeprefix("-")
    return text[:1].isdigit() and all(c.isalnum() for c in text)


def _is_whole(text: str) -> bool:
    """Whether no operator of a comparison or below stands in a text outside of parentheses."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and text.startswith(
            (" < ", " > ", " == ", " != ", " <= ", " >= ", " && ", " || ", " ? "), place
        ):
            return False
        if depth < 0:
            return False
    return depth == 0


def _same(op: str, piece: Piece) -> bool:
    return piece.tightness == _INFIX[op][1] and piece.type == WORD_TYPE


def _common(left: Piece, right: Piece) -> str:
    """The type in which two pieces can be compared without losing bits; "" for none but words."""
    for one, other in ((left, right), (right, left)):
        if one.type and one.type != WORD_TYPE:
            if other.type == one.type or one.type in other.others:
                return one.type
            if not other.type and other.value is not None and literal(other.value, one.type) is not None:
                return one.type
    return ""


def _yul_number(value: int) -> str:
    if value < 1 << 16:
        return str(value) if value < 10 else hex(value)
    return f"not({WORD - value:#x})" if WORD - value < 1 << 64 else hex(value)
