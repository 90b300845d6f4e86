"""What the text of one function may speak of, and how the function ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from whet.evm.solidity.pieces import Piece


@dataclass(slots=True)
class Context:
    """What a function's terms may speak of.

    types: of the text's variables. names: what a `Name` is: text and type. called: {name in a term: (name in the
    text, types of parameters, of results)} of private functions. spelled: {variable of the three-address code: of the
    text}. members: {struct: {member: type}}. literal: nothing is said in Solidity that assembly can say.
    code_size: of the original, in bytes.
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
    in_calldata: bool = False
    """Words are read from within calldata only."""
    needed: set[str] = field(default_factory=set)
    """Helpers of the text that this function calls."""
    temporaries: int = 0
    reading: frozenset[str] = frozenset()
    """Names that assembly may read as they are."""
    interfaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """{interface: {signature: declaration}} of other contracts' functions, added to here."""
    of_variables: Mapping[str, str] = field(default_factory=dict)
    """Types of variables of the three-address code that are known for sure."""


@dataclass(slots=True)
class Frame:
    """How the function ends, and what it declares outside of itself.

    returns: types of what it gives back; None where only assembly gives back. codes: {offset: bytes} of the original's
    code that CODECOPY may read. errors: {name: declaration}, events: {signature: declaration}, added to here.
    """

    returns: tuple[str, ...] | None
    private: bool
    codes: Mapping[int, bytes] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    """Names of functions and variables, which events and errors must not have."""
    entered: Mapping[str, list[str]] = field(default_factory=dict)
    """Of the dispatcher: {function: the lines that go over to it}."""
