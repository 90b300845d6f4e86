"""What the analyses of meaning say about a contract, for the printers of text and of Solidity.

Everything is optional: where nothing is said, readers show plain instructions. What is said here changes only what is
shown. The three-address code stays what it is, and what executes is that code alone.

Statements are addressed by place: (block id, index in `Block.statements`), the end of a block by (block id, END).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.terms import Form

ERROR, PANIC = 0x08C379A0, 0x4E487B71
"""Selectors of `Error(string)` and `Panic(uint256)`."""
Place = tuple[str, int]
"""(block id, index of the statement in its block)."""

END = -1
"""The index that stands for the end of a block."""


@dataclass(slots=True)
class Variable:
    """How a variable is shown. name: "" for one that the printer chooses; type: "" for unknown.

    type: proved, where it is of a variable of the function: whatever happens, it holds a clean value of that type.
    likely: what evidence says where nothing is proved: a type, or what the word points to: "bytes memory",
    "uint256[] memory", "memory", "storage", "calldata". For readers; no declaration may rest on it.
    """

    name: str = ""
    type: str = ""
    likely: str = ""


@dataclass(slots=True)
class FunctionMeaning:
    """What is known of one function (`tac.Function`), by the name that it has there."""

    name: str = ""
    """As written in the header: "transfer"; "" for `Function.name`."""

    parameters: tuple[Variable, ...] | None = None
    """Of a public function the ABI's arguments: forms refer to them as `Name`. None for `Function.params`."""

    returns: tuple[str, ...] | None = None
    """Types of what is returned; None for unknown."""

    visibility: str = ""
    """ "public", "external", "internal", "private"; "" for what `Function.kind` says."""

    mutability: str = ""
    """ "pure", "view", "nonpayable", "payable"; "" for unknown."""

    variables: dict[str, Variable] = field(default_factory=dict)
    """{variable of the function, its params too: name and type}."""

    forms: dict[Place, Form] = field(default_factory=dict)
    """What is shown instead of a statement or of an end.

    A statement's results keep standing for what it computes: the form of an SLOAD is a `Value`. Variables in a form
    must be assigned on every way there. Of an end of a block: `Revert`, `Return`, `Do`; of a BRANCH or SWITCH a
    `Value`, the condition.
    """

    absorbed: set[Place] = field(default_factory=set)
    """Statements that are not shown, since a form says what they are for (the MSTOREs of an event's data).

    One whose results are still used where nothing else assigns them is shown nevertheless.
    """

    body: Form | None = None
    """Shown instead of all statements: `return name`."""

    skipped: dict[str, str] = field(default_factory=dict)
    """{block id: one of the targets of its BRANCH}: shown as if control always went there.

    For checks that the header or a form implies: of calldata's length, of msg.value, of overflow.
    """

    notes: list[str] = field(default_factory=list)
    """Said above the function: what was guessed, what contradicts itself."""


@dataclass(slots=True)
class StateVariable:
    """A variable in storage, as it would be declared. type: as in Solidity, "mapping(address => uint256)".

    slot: number of the slot; offset, size: bytes from the lowest, within it. transient: EIP-1153.
    """

    name: str
    type: str
    slot: int
    offset: int = 0
    size: int = 32
    transient: bool = False


@dataclass(slots=True)
class Meaning:
    """What is known of a contract. declarations: lines above the functions (events, errors, structs, interfaces)."""

    functions: dict[str, FunctionMeaning] = field(default_factory=dict)
    """By `tac.Function.name`."""

    storage: list[StateVariable] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)

    def of(self, name: str) -> FunctionMeaning:
        """What is known of a function; an empty answer if nothing is."""
        return self.functions.get(name) or FunctionMeaning()
