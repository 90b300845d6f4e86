"""Wrong variants of a contract's TAC, one change each: a harness that does not notice them proves nothing.

Kinds: a constant off by one (another slot, event, offset), the ways of a branch swapped, a check dropped, an operator
exchanged, arguments swapped, a store, log or call dropped. Some mutants mean the same as the original (a constant that is
masked away, a branch that never goes the other way); nobody sorts these out here, so a share of mutants noticed is a
lower bound (`whet.evm.verify.mutation` does).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    "SLT": "SGT",
    "SGT": "SLT",
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
SELECTOR_STEP = 1 << 224
"""Between two selectors, which stand on the left of a word."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was changed: the statement at index `at` of its block (None: its end), which may be gone. False where nothing
    in the block could be changed."""

    text: str = ""
    at: int | None = None
    dropped: bool = False

    def __bool__(self) -> bool:
        return bool(self.text)

    def __str__(self) -> str:
        return self.text


def mutant(contract: Contract, place: tuple[str, str], rng: Random) -> tuple[Contract, Change]:
    """The contract with one change in that (function, block), and what was changed."""
    name, block_id = place
    function = contract.functions[name]
    old = function.blocks[block_id]
    block = replace(old, statements=[replace(s) for s in old.statements], end=replace(old.end))
    change = Change(_end(block, rng)) if rng.random() < 0.15 else _statement(block, rng)
    changed = replace(function, blocks=function.blocks | {block_id: block})
    return replace(contract, functions=contract.functions | {name: changed}), change


def _end(block: Block, rng: Random) -> str:
    end = block.end
    if end.op == "BRANCH" and rng.random() < 0.5:
        end.targets = end.targets[::-1]
        return "ways swapped"
    if end.op == "BRANCH":
        end.op, end.args, end.targets = "JUMP", (), (rng.choice(end.targets),)
        return f"check dropped: always {end.targets[0]}"
    if end.op == "REVERT":
        end.op = "RETURN"
        return "REVERT became RETURN"
    return ""


def _statement(block: Block, rng: Random) -> Change:
    if not block.statements:
        return Change()
    at = rng.randrange(len(block.statements))
    statement = block.statements[at]
    ways = [_off_by_one, _exchanged, _swapped]
    rng.shuffle(ways)
    if not statement.results and rng.random() < 0.5:
        del block.statements[at]
        return Change(f"{statement.op} dropped", at, dropped=True)
    for way in ways:
        if text := way(statement, rng):
            return Change(text, at)
    return Change()


def _off_by_one(statement: Statement, rng: Random) -> str:
    """A mask, or a signed type, becomes half as wide: one bit more or less is rarely seen; of a selector that is stored, or
    the topic of an error, it is the last bit of the four bytes. The limits of types in comparisons (2^64 - 1) are left: what
    lies just behind them fails anyway; so are large words that are divided."""
    numbers = [i for i, arg in enumerate(statement.args) if isinstance(arg, int)]
    if not numbers:
        return ""
    at = rng.choice(numbers)
    args: list[Operand] = list(statement.args)
    old = args[at]
    assert isinstance(old, int)
    if statement.op in ("LT", "GT") and old >> 32 and (_is_mask(old) or _is_mask(old - 1)):
        return ""
    if statement.op in ("DIV", "SDIV") and at == 0 and old >> 128:
        return ""
    unit = SELECTOR_STEP if statement.op == "MSTORE" and at == 1 and old and not old % SELECTOR_STEP else 1
    args[at] = (old + rng.choice((unit, -unit))) & WORD
    if statement.op == "AND" and _is_mask(old):
        args[at] = old >> old.bit_length() // 2
    elif statement.op == "AND" and _is_mask(~old & WORD):
        args[at] = WORD & old << old.bit_count() // 2
    elif statement.op == "SIGNEXTEND" and at == 0:
        args[at] = old // 2 if old else 1
    statement.args = tuple(args)
    return f"{statement.op}: {old:#x} became {args[at]:#x}"


def _is_mask(word: int) -> bool:
    return word & (word + 1) == 0 and word > 1


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
