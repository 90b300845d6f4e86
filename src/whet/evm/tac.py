"""The nouns of three-address code (TAC): `Contract` > `Function` > `Block` > `Statement`, and their JSON.

A contract's TAC is a program: executed by `whet.evm.interpret` it does what the bytecode does, and nothing else is
needed to execute it (not the bytecode, only the bytes that the code reads from itself, in `Contract.data`).

Operands. An `int` is a 256-bit word, 0 <= word < 2**256. A `str` names a variable of its function ("v12", "a0"); every
variable is assigned at one place (static single assignment, SSA). Arguments stand in the order of the Yellow Paper, top
of the stack first: `SUB(a, b)` is a - b, `MSTORE(offset, value)`, `CALL(gas, to, value, in, insize, out, outsize)`.

Statements are EVM instructions without the stack's own (PUSH, DUP, SWAP, POP, JUMP, JUMPDEST and PC are gone), and
CALLPRIVATE: call of a private function with arguments and results. A block ends with one `End`:

| op              | args              | targets            | meaning                                                   |
|-----------------|-------------------|--------------------|-----------------------------------------------------------|
| JUMP            |                   | (next,)            | go on in that block                                       |
| BRANCH          | (condition,)      | (if_not_0, if_0)   | go on in one of two blocks                                |
| SWITCH          | (value,)          | (block, ...)       | jump to a place known only when running: `cases[i]` is    |
|                 |                   |                    | the value that leads to `targets[i]`; another that is in  |
|                 |                   |                    | `Contract.places`: not executable; any other: INVALID     |
| ENTER           | arguments         |                    | go over to the public function `function`; no way back    |
| RETURNPRIVATE   | values            |                    | back to the caller, who takes the values as results       |
| RETURN, REVERT  | (offset, length)  |                    | end of the call with that part of memory                  |
| STOP            |                   |                    | end of the call without data                              |
| SELFDESTRUCT    | (beneficiary,)    |                    | end of the call                                           |
| INVALID         |                   |                    | exceptional halt: all gas is gone; `why` says what it was |
| UNRESOLVED      | (target,) or ()   |                    | the analysis was cut off here or does not know the        |
|                 |                   |                    | target of a jump; `why` says which; not executable        |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "whet.tac/1"
"""Stands in every JSON; a reader refuses another."""

WORD = (1 << 256) - 1
"""The largest word; also the mask that wraps arithmetic."""

Operand = int | str
"""A word (int) or the name of a variable (str)."""

EXITS = frozenset(
    {"RETURN", "REVERT", "STOP", "SELFDESTRUCT", "INVALID", "UNRESOLVED", "ENTER", "RETURNPRIVATE"}
)
"""Ends after which no block of this function follows."""


Cleanup = tuple[str, int]
"""An instruction that drops bits, and its constant: what `whet.evm.cleanups` finds."""


@dataclass(slots=True)
class Statement:
    """One instruction: `results = op(args)`. Source: `pc`, the byte offset of the EVM instruction it stands for."""

    op: str
    args: tuple[Operand, ...]
    results: tuple[str, ...]
    pc: int
    function: str = ""
    """Of a CALLPRIVATE: the name (`Function.name`) of the function that is called."""


@dataclass(slots=True)
class Phi:
    """A variable whose value depends on the block that control came from: {id of that block: operand}.

    All phis of a block are assigned at once, before its statements.
    """

    result: str
    incoming: dict[str, Operand]


@dataclass(slots=True)
class End:
    """How a block ends; the table of this module says what each op means."""

    op: str
    args: tuple[Operand, ...] = ()
    targets: tuple[str, ...] = ()
    pc: int = 0
    cases: tuple[int, ...] = ()
    function: str = ""
    why: str = ""


@dataclass(slots=True)
class Block:
    """Straight-line code. `id` is unique in its function ("b0" is where the function begins), `pc` the byte offset of
    its first instruction. The same offset may stand in several blocks: code shared between callers is cloned."""

    id: str
    pc: int
    phis: list[Phi]
    statements: list[Statement]
    end: End


@dataclass(slots=True)
class Function:
    """One function.

    kind: "entry" (where every call begins: the dispatcher), "public" (has a selector), "fallback", "receive", "private".
    params: variables that hold the arguments, in the order of the stack from deepest to top. A public function has
    some only where the dispatcher left words on the stack that it reads.
    returns: how many words RETURNPRIVATE gives back; None for one that never returns.
    """

    name: str
    kind: str
    pc: int
    params: tuple[str, ...]
    returns: int | None
    blocks: dict[str, Block]
    selector: int | None = None
    notes: list[str] = field(default_factory=list)
    """What was cut off or guessed in this function; empty where all of it is known."""

    def statements(self) -> Iterator[Statement]:
        for block in self.blocks.values():
            yield from block.statements

    def predecessors(self) -> dict[str, list[str]]:
        """{id of each block: ids of the blocks whose end leads there, each once, in the order of `blocks`}."""
        found: dict[str, list[str]] = {id_: [] for id_ in self.blocks}
        for id_, block in self.blocks.items():
            for target in dict.fromkeys(block.end.targets):
                found[target].append(id_)
        return found

    @property
    def entry(self) -> Block:
        return self.blocks["b0"]

    @property
    def complete(self) -> bool:
        """Every jump resolved, nothing cut off."""
        return not self.notes and all(block.end.op != "UNRESOLVED" for block in self.blocks.values())


@dataclass(slots=True)
class Contract:
    """What bytecode does, as functions. `functions` is in order: the entry first, then public ones by selector,
    fallback and receive, private ones by offset; names are its keys.

    code_size: bytes of the code (CODESIZE).
    data: {offset: bytes} every part of the code that the code may read (CODECOPY): tables, sub-contracts, appended data.
    notes: what was cut off or guessed, anywhere.
    places: where a jump may go to (offsets of every JUMPDEST), if the contract has a SWITCH; else ().
    """

    functions: dict[str, Function]
    code_size: int
    data: dict[int, bytes]
    notes: list[str] = field(default_factory=list)
    places: tuple[int, ...] = ()
    figures: dict[str, int] = field(default_factory=dict)
    """Counted while lifting: jump_sites, jump_sites_resolved, jumpdests, jumpdests_reached, steps, ..."""
    cleaned: dict[int, Cleanup] = field(default_factory=dict)
    """{offset of an MSTORE: how its value was cleaned directly before}: what encoders tell of types (`whet.evm.cleanups`)."""

    @property
    def public(self) -> dict[int, Function]:
        """{selector: function}."""
        return {
            f.selector: f for f in self.functions.values() if f.selector is not None and f.kind == "public"
        }

    @property
    def entry(self) -> Function:
        return next(iter(self.functions.values()))


# JSON: words as "0x..", variables by their names, everything else as it is.


def to_json(contract: Contract) -> dict[str, Any]:
    """The contract as plain JSON values; `from_json` gives the same contract back."""
    return {
        "schema": SCHEMA,
        "code_size": contract.code_size,
        "data": {hex(offset): part.hex() for offset, part in sorted(contract.data.items())},
        "notes": list(contract.notes),
        "places": _words(contract.places),
        "figures": dict(contract.figures),
        "cleaned": {hex(offset): [op, hex(word)] for offset, (op, word) in sorted(contract.cleaned.items())},
        "functions": [_function_json(function) for function in contract.functions.values()],
    }


def from_json(raw: dict[str, Any]) -> Contract:
    """The contract that `to_json` wrote. Raises ValueError for another schema."""
    if raw.get("schema") != SCHEMA:
        raise ValueError(f"schema {raw.get('schema')!r}, not {SCHEMA!r}")
    functions = [_function_from(entry) for entry in raw["functions"]]
    return Contract(
        functions={function.name: function for function in functions},
        code_size=raw["code_size"],
        data={int(offset, 16): bytes.fromhex(part) for offset, part in raw["data"].items()},
        notes=list(raw["notes"]),
        places=_offsets(raw["places"]),
        figures=dict(raw["figures"]),
        cleaned={
            int(offset, 16): (op, int(word, 16)) for offset, (op, word) in raw.get("cleaned", {}).items()
        },
    )


def _function_json(function: Function) -> dict[str, Any]:
    return {
        "name": function.name,
        "kind": function.kind,
        "pc": function.pc,
        "selector": None if function.selector is None else f"0x{function.selector:08x}",
        "params": list(function.params),
        "returns": function.returns,
        "notes": list(function.notes),
        "blocks": [_block_json(block) for block in function.blocks.values()],
    }


def _block_json(block: Block) -> dict[str, Any]:
    end = block.end
    raw_end: dict[str, Any] = {
        "op": end.op,
        "args": _words(end.args),
        "targets": list(end.targets),
        "pc": end.pc,
    }
    raw_end |= {"cases": _words(end.cases)} if end.cases else {}
    raw_end |= {"function": end.function} if end.function else {}
    raw_end |= {"why": end.why} if end.why else {}
    return {
        "id": block.id,
        "pc": block.pc,
        "phis": [
            {"result": p.result, "incoming": {b: _word(v) for b, v in p.incoming.items()}} for p in block.phis
        ],
        "statements": [_statement_json(statement) for statement in block.statements],
        "end": raw_end,
    }


def _statement_json(statement: Statement) -> dict[str, Any]:
    raw = {
        "op": statement.op,
        "args": _words(statement.args),
        "results": list(statement.results),
        "pc": statement.pc,
    }
    return raw | ({"function": statement.function} if statement.function else {})


def _word(operand: Operand) -> str:
    return hex(operand) if isinstance(operand, int) else operand


def _words(operands: tuple[Operand, ...]) -> list[str]:
    return [_word(operand) for operand in operands]


def _operand(text: str) -> Operand:
    return int(text, 16) if text.startswith("0x") else text


def _function_from(raw: dict[str, Any]) -> Function:
    blocks = [_block_from(entry) for entry in raw["blocks"]]
    return Function(
        name=raw["name"],
        kind=raw["kind"],
        pc=raw["pc"],
        params=tuple(raw["params"]),
        returns=raw["returns"],
        blocks={block.id: block for block in blocks},
        selector=None if raw["selector"] is None else int(raw["selector"], 16),
        notes=list(raw["notes"]),
    )


def _block_from(raw: dict[str, Any]) -> Block:
    end = raw["end"]
    return Block(
        id=raw["id"],
        pc=raw["pc"],
        phis=[Phi(p["result"], {b: _operand(v) for b, v in p["incoming"].items()}) for p in raw["phis"]],
        statements=[
            Statement(s["op"], _operands(s["args"]), tuple(s["results"]), s["pc"], s.get("function", ""))
            for s in raw["statements"]
        ],
        end=End(
            op=end["op"],
            args=_operands(end["args"]),
            targets=tuple(end["targets"]),
            pc=end["pc"],
            cases=_offsets(end.get("cases", ())),
            function=end.get("function", ""),
            why=end.get("why", ""),
        ),
    )


def _offsets(texts: Sequence[str]) -> tuple[int, ...]:
    return tuple(int(text, 16) for text in texts)


def _operands(texts: list[str]) -> tuple[Operand, ...]:
    return tuple(_operand(text) for text in texts)
