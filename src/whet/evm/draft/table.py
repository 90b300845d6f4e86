"""The dispatcher as a table: tests of one word against constants that lead to public functions, and one way for the rest.

Only where that is all that these blocks do: every condition compares the same word with a constant, so that trying each
constant and the words beside it tells what happens for all words.
"""

from __future__ import annotations

from whet.evm.draft.effects import EVERYTHING
from whet.evm.draft.nouns import Draft, DraftBlock, DraftEnd, Line
from whet.evm.structure.graph import reverse_postorder
from whet.evm.tac import WORD
from whet.evm.terms import Dispatch, Expression, Operation

FEWEST = 2
"""Functions that make a table."""

_TESTS = {"EQ", "LT", "GT", "SUB", "XOR"}


def tabulate(draft: Draft) -> None:
    """Replaces the first such part of a draft; leaves others as they are."""
    for name in reverse_postorder(draft.successors()):
        found = _table(draft, name)
        if found is not None:
            subject, cases, default = found
            first = draft.blocks[name]
            first.lines.append(Line(Dispatch(subject, cases), (), EVERYTHING))
            first.end = DraftEnd("JUMP", (), (default,))
            kept = set(reverse_postorder(draft.successors()))
            draft.blocks = {id_: block for id_, block in draft.blocks.items() if id_ in kept}
            return


def _table(draft: Draft, first: str) -> tuple[Expression, tuple[tuple[int, str], ...], str] | None:
    """(what is tested, (constant, function) of each, the block for the rest)."""
    tests: dict[str, Expression] = {}
    work = [first]
    while work:
        name = work.pop()
        block = draft.blocks[name]
        if name in tests or not block.end.targets:
            continue
        if block.end.op != "BRANCH" or (name != first and (block.lines or block.phis)):
            return None
        tests[name] = block.end.args[0]
        work += block.end.targets
    compared = [_compared(test) for test in tests.values()]
    subjects = {each[0] for each in compared if each is not None}
    if None in compared or len(subjects) != 1:
        return None
    constants = {each[1] for each in compared if each is not None}
    (subject,) = subjects
    default = _leaf(draft, tests, first, WORD)
    beside = {c + near & WORD for c in constants for near in (-1, 1)} | {0, WORD}
    if any(_leaf(draft, tests, first, word) != default for word in beside - constants):
        return None
    cases = []
    for constant in sorted(constants):
        leaf = _leaf(draft, tests, first, constant)
        if leaf != default and not _enters(draft.blocks[leaf]):
            return None
        if leaf != default:
            cases.append((constant, draft.blocks[leaf].end.function))
    return (subject, tuple(cases), default) if len(cases) >= FEWEST else None


def _enters(block: DraftBlock) -> bool:
    return block.end.op == "ENTER" and not block.lines and not block.phis and not block.end.args


def _compared(test: Expression) -> tuple[Expression, int] | None:
    """(the word, the constant) of a comparison."""
    while isinstance(test, Operation) and test.op == "ISZERO":
        test = test.args[0]
    if not isinstance(test, Operation) or test.op not in _TESTS:
        return None
    one, other = test.args
    if isinstance(one, int) == isinstance(other, int):
        return None
    return (other, one) if isinstance(one, int) else (one, other)  # type: ignore[return-value]


def _holds(test: Expression, word: int) -> bool:
    assert isinstance(test, Operation)
    if test.op == "ISZERO":
        return not _holds(test.args[0], word)
    one, other = (arg if isinstance(arg, int) else word for arg in test.args)
    return {"EQ": one == other, "LT": one < other, "GT": one > other}.get(test.op, one != other)


def _leaf(draft: Draft, tests: dict[str, Expression], first: str, word: int) -> str:
    name = first
    for _ in range(len(tests)):
        if name not in tests:
            break
        held, failed = draft.blocks[name].end.targets
        name = held if _holds(tests[name], word) else failed
    return name
