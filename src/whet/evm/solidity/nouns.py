"""What the emitter gives: a contract's Solidity, function by function, and how much of each is assembly."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

READABLE, PLAIN, LITERAL = 0, 1, 2
"""Levels of a function's text. READABLE: everything that is known of its meaning. PLAIN: arithmetic, conditions and
storage as Solidity, the rest as assembly. LITERAL: each statement as assembly; only control flow and calls are Solidity."""

LAST_LEVEL = LITERAL


@dataclass(slots=True)
class SolidityFunction:
    """One function of the text.

    name: in the text; of: its name in the three-address code (`tac.Function.name`).
    selector: None for fallback, receive and private ones. in_fallback: its name is not known, so that Solidity cannot
    give it its selector; the text's fallback calls it.
    signature: "transfer(address,uint256)", the types by the ABI; returns: types, or None where they are not known and
    the text returns whole encoded words by assembly.
    statements: how many statements it has; assembly: how many of these are assembly.
    first_line, last_line: of the whole text, from 1.
    """

    name: str
    of: str
    kind: str
    selector: int | None
    signature: str
    returns: tuple[str, ...] | None
    mutability: str
    level: int
    statements: int
    assembly: int
    first_line: int = 0
    last_line: int = 0
    in_fallback: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Source:
    """A contract as Solidity.

    compiler: version that compiles `text`; settings: of the standard JSON's "settings", without outputSelection.
    abi: what can be called, as in a compiler's output, functions that only the fallback reaches too.
    variables: {name of a state variable in `meaning.base.Meaning.storage`: how the text says it}.
    """

    text: str
    contract: str
    compiler: str
    settings: dict[str, Any]
    abi: list[dict[str, Any]]
    functions: list[SolidityFunction]
    notes: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)

    def written(self, function: SolidityFunction) -> str:
        """The function's text, by itself."""
        lines = self.text.split("\n")[function.first_line - 1 : function.last_line]
        return textwrap.dedent("\n".join(lines))
