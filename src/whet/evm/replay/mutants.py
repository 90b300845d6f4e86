"""Wrong variants of a contract's TAC, one change each: a harness that does not notice them proves nothing.

Kinds: a constant off by one, the ways of a branch swapped, an operator exchanged, arguments swapped, a store, log or
check dropped, another storage slot. Some mutants mean the same as the original (a constant that is masked away, a
branch that never goes the other way); nobody sorts these out, so a share of mutants noticed is a lower bound.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from whet.evm.tac import WORD, Block, Contract, Operand, Statement

EXCHANGES = {
    "ADD": "SUB",
    "SUB": "ADD",
    "MUL": "ADD",
    "DIV": "MUL",
    "MOD": "DIV",
    "SDIV": "DIV",
    "SMOD": "MOD",
    "LT": "GT",
    "GT": "LT",
    "SLT": "LT",
    "SGT": "GT",
    "EQ": "LT",
    "AND": "OR",
    "OR": "AND",
    "XOR": "OR",
    "SHL": "SHR",
    "SHR": "SHL",
    "SAR": "SHR",
    "CALLER": "ADDRESS",
    "ADDRESS": "CALLER",
    "TIMESTAMP": "NUMBER",
    "SLOAD": "TLOAD",
    "CALL": "CALLCODE",
}
SWAPPED = frozenset(
    {"SUB", "DIV", "MOD", "LT", "GT", "SLT", "SGT", "SHL", "SHR", "SAR", "EXP", "SSTORE", "MSTORE"}
)


def mutant(contract: Contract, place: tuple[str, str], rng: Random) -> tuple[Contract, str]:
    """The contract with one change in that (function, block), and what was changed.

    The text is "" where nothing in the block could be changed.
    """
    name, block_id = place
    function = contract.functions[name]
    old = function.blocks[block_id]
    block = replace(old, statements=[replace(s) for s in old.statements], end=replace(old.end))
    text = _end(block) if rng.random() < 0.15 else _statement(block, rng)
    changed = replace(function, blocks=function.blocks | {block_id: block})
    return replace(contract, functions=contract.functions | {name: changed}), text


def _end(block: Block) -> str:
    end = block.end
    if end.op == "BRANCH":
        end.targets = end.targets[::-1]
        return "ways swapped"
    if end.op == "REVERT":
        end.op = "RETURN"
        return "REVERT became RETURN"
    return ""


def _statement(block: Block, rng: Random) -> str:
    if not block.statements:
        return ""
    at = rng.randrange(len(block.statements))
    statement = block.statements[at]
    ways = [_off_by_one, _exchanged, _swapped]
    rng.shuffle(ways)
    if not statement.results and rng.random() < 0.5:
        del block.statements[at]
        return f"{statement.op} dropped"
    for way in ways:
        if text := way(statement, rng):
            return text
    return ""


def _off_by_one(statement: Statement, rng: Random) -> str:
    numbers = [i for i, arg in enumerate(statement.args) if isinstance(arg, int)]
    if not numbers:
        return ""
    at = rng.choice(numbers)
    args: list[Operand] = list(statement.args)
    old = args[at]
    assert isinstance(old, int)
    args[at] = (old + rng.choice((1, -1))) & WORD
    statement.args = tuple(args)
    return f"{statement.op}: {old:#x} became {args[at]:#x}"


def _exchanged(statement: Statement, rng: Random) -> str:
    old = statement.op
    if old not in EXCHANGES:
        return ""
    statement.op = EXCHANGES[old]
    return f"{old} became {statement.op}"


def _swapped(statement: Statement, rng: Random) -> str:
    if statement.op not in SWAPPED or statement.args[0] == statement.args[1]:
        return ""
    statement.args = statement.args[1::-1]
    return f"{statement.op}: arguments swapped"
