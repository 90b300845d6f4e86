"""What text is made of: expressions and the forms of a statement that a reader sees instead of plain instructions.

Built by `whet.evm.expressions` out of three-address code and by `whet.evm.meaning` where more is known; printed by
`whet.evm.text`. Terms are for reading: nothing executes them, and what cannot be said with them stays an instruction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias, TypeVar, Union

from whet.evm.tac import Operand

Expression: TypeAlias = Union[
    Operand,
    "Operation",
    "Typed",
    "Name",
    "Text",
    "Index",
    "Slice",
    "Member",
    "Invoke",
    "Call",
    "InMemory",
    "Group",
]
"""As in three-address code an int is a word and a str a variable of the function; everything else is one of these."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`op(args)`: an EVM instruction ("ADD"), arguments top of the stack first, or one of `LOGICAL`."""

    op: str
    args: tuple[Expression, ...] = ()


LOGICAL = frozenset({"&&", "||", "!", "?:"})
"""Operations that no instruction has. && and || give the value that decided (0 or the first operand that is not 0), as
in Python; `!` is 1 for 0 and 0 for the rest, as ISZERO; ?: is (condition, if not 0, if 0)."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A value that is to be read as `type`: "bool", "address", "int128", "bytes4" ...; constants are written so."""

    value: Expression
    type: str


@dataclass(frozen=True, slots=True)
class Name:
    """Written as it stands: a storage variable, a parameter, a constant, a type."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal, written with quotes, escaped."""

    value: str


@dataclass(frozen=True, slots=True)
class Index:
    """`base[key]`."""

    base: Expression
    key: Expression


@dataclass(frozen=True, slots=True)
class Slice:
    """`base[start:stop]`."""

    base: Expression
    start: Expression
    stop: Expression


@dataclass(frozen=True, slots=True)
class Member:
    """`base.name`."""

    base: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Invoke:
    """`callee{options}(args)`, options as (name, value): calls, conversions, `new`, `abi.encode`."""

    callee: Expression
    args: tuple[Expression, ...] = ()
    options: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A call of another contract.

    kind: the instruction: "CALL", "STATICCALL", "DELEGATECALL" or "CALLCODE". target: the address, one word.
    selector: the four bytes before the arguments; None for calldata that is the arguments' words alone, or, of the type
    "bytes", those bytes.
    name: of the function, "" for unknown. types: of each argument, "" for unknown.
    value: in wei. gas: None for all that is left.
    checked: stands for the whole of Solidity's call of a function: no code at the target, a revert (its data is passed
    on) and returned data that do not decode as `returns` end the call; its value is what was decoded. Without it the
    value is the instruction's own word (1 for success), `returns` is () and `output` says where in memory (offset,
    length) the first bytes of what comes back are written; () for nowhere.
    asks_code: of a checked call, whether a target without code is refused before it is called. Solidity does so where
    there are no results, before 0.8.10 always; with results it matters for precompiled contracts alone.
    """

    kind: str
    target: Expression
    name: str = ""
    selector: int | None = None
    types: tuple[str, ...] = ()
    args: tuple[Expression, ...] = ()
    returns: tuple[str, ...] = ()
    value: Expression = 0
    gas: Expression | None = None
    checked: bool = False
    asks_code: bool = False
    output: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class InMemory:
    """The object of a type that takes more than a word ("bytes", "string", "uint256[]") at a pointer to its length."""

    pointer: Expression
    type: str


RETURNED = Name("returndata")
"""All the bytes that the last call gave back."""

DECODED = Name("abi.decode")
"""Called with bytes and a `Group` of the types of the words in them."""


@dataclass(frozen=True, slots=True)
class Group:
    """`(a, b)`."""

    items: tuple[Expression, ...]


# Forms of a statement.


@dataclass(frozen=True, slots=True)
class Value:
    """`results = expression`. Inlined at its use where the order of effects allows it.

    results: variables that are assigned; None for those of the statement itself. Others are possible where what is
    shown here is read later: a call that gives what a later MLOAD, absorbed, finds in memory.
    pure: may be moved and shown more than once; None for what the statement's instruction says of itself.
    halts: depends on nothing but its variables, but may revert: shown even where nobody reads it.
    """

    expression: Expression
    results: tuple[str, ...] | None = None
    pure: bool | None = None
    halts: bool = False


@dataclass(frozen=True, slots=True)
class Assign:
    """`target = value`, or with an operator ("+") `target += value`."""

    target: Expression
    value: Expression
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Do:
    """An expression evaluated for its effect."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Emit:
    """`emit event(args)`. topic: its first, the hash of its signature; indexed: how many of the arguments are topics,
    the first ones; types: of each argument, "" for unknown."""

    event: str
    args: tuple[Expression, ...] = ()
    topic: int = 0
    indexed: int = 0
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revert:
    """`revert error(args)`; without a name `revert(args)`, as for strings and for nothing. For the end of a block.

    selector: the four bytes before the arguments; types: of each argument, "" unknown. Without a selector there is no
    data, or it is the bytes of the one argument and nothing else."""

    error: str = ""
    args: tuple[Expression, ...] = ()
    selector: int | None = None
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Return:
    """`return (values)`. For the end of a block. raw: not encoded, the bytes of the one value and nothing else."""

    values: tuple[Expression, ...] = ()
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Goes over to the function of the case that `subject` is equal to; goes on where there is none.

    cases: (word, name of the function)."""

    subject: Expression
    cases: tuple[tuple[int, str], ...]


Form: TypeAlias = Value | Assign | Do | Emit | Revert | Return | Dispatch

T = TypeVar("T", bound="Expression | Form")


def children(term: Expression | Form) -> Iterator[Expression]:
    """The expressions directly inside, in the order in which they are written."""
    if isinstance(term, int | str | Text | Name):
        return
    if isinstance(term, Operation):  # most terms: this is where printing spends its time
        yield from term.args
        return
    for field in fields(term):
        if field.name not in _NOT_EXPRESSIONS:
            yield from _inside(getattr(term, field.name))


_NOT_EXPRESSIONS = frozenset(
    {"op", "type", "name", "results", "pure", "operator", "event", "error", "halts", "cases"}
    | {"kind", "selector", "types", "returns", "checked", "asks_code", "raw", "topic", "indexed"}
)


def _inside(value: object) -> Iterator[Expression]:
    if value is None:
        return
    if isinstance(value, tuple):
        for item in value:
            yield from _inside(item[1] if isinstance(item, tuple) else item)
    else:
        yield value  # type: ignore[misc]


def variables(term: Expression | Form) -> Iterator[str]:
    """Every variable that stands in a term, as often as it does, in the order in which they are written."""
    if isinstance(term, str):
        yield term
        return
    for child in children(term):
        yield from variables(child)


def replaced(term: T, values: Mapping[str, Expression]) -> T:
    """The same term with variables replaced by what `values` gives for them, once: not inside of what it gives."""
    if isinstance(term, str):
        return values.get(term, term)  # type: ignore[return-value]
    if isinstance(term, int | Name | Text):
        return term
    if isinstance(term, Operation):
        args = _replaced_field(term.args, values)
        return term if args is term.args else Operation(term.op, args)  # type: ignore[return-value, arg-type]
    changed: dict[str, Any] = {}
    for field in fields(term):
        if field.name not in _NOT_EXPRESSIONS:
            before = getattr(term, field.name)
            after = _replaced_field(before, values)
            if after is not before:
                changed[field.name] = after
    return replace(term, **changed) if changed else term


def _replaced_field(value: object, values: Mapping[str, Expression]) -> object:
    """The same object where nothing is replaced."""
    if value is None:
        return None
    if not isinstance(value, tuple):
        return replaced(value, values)  # type: ignore[type-var]
    items = tuple(
        (item[0], replaced(item[1], values)) if isinstance(item, tuple) else replaced(item, values)
        for item in value
    )
    same = all(one is other for one, other in zip(items, value, strict=True))
    return value if same else items


def size(term: Expression | Form) -> int:
    """How many words, variables and operations a term has."""
    return 1 + sum(size(child) for child in children(term))
