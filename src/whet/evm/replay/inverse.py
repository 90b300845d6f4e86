"""Other inputs for which a condition goes the other way: the chain of instructions is inverted, then tried forwards.

`options(word, holds, given, work)` yields assignments of inputs, the likeliest first; each was evaluated and does what is
asked. Where an inverse is not known (a product of two unknowns), inputs are tried with telling words, alone and in pairs.
Of a hash only that it is to be another hash, of words; preimages nobody finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

from whet.evm.replay.inverses import INVERSES
from whet.evm.replay.mocks import KEYS, MOCKS, PEOPLE, REFUSER
from whet.evm.replay.signing import sign
from whet.evm.replay.symbols import Given, Leaf, Word, Work, evaluate
from whet.evm.tac import WORD
from whet.evm.words import SIGN
from whet.evm.world import EMPTY_HASH

TELLING = (
    0,
    1,
    2,
    32,
    1 << 255,
    WORD,
    WORD >> 1,
    WORD >> 128,
    WORD >> 96,
    1 << 64,
    10**18,
    *PEOPLE[:2],
    MOCKS[0],
)
"""Words that are tried where nothing better is known."""
MOST_PAIRED = 4
"""Inputs that are tried two at a time."""
ACCOUNTS: dict[str, Callable[[int], tuple[int, ...]]] = {
    "EXTCODESIZE": lambda value: MOCKS if value else PEOPLE,
    "EXTCODEHASH": lambda value: PEOPLE if value == EMPTY_HASH else MOCKS if value else (0xDEAD,),
    "CALLED": lambda value: MOCKS if value else (REFUSER,),
    "RETURNED": lambda value: MOCKS if value else PEOPLE,
}
"""Of what an instruction should tell of an account: accounts of which it does."""
COMPARISONS = frozenset({"EQ", "LT", "GT", "SLT", "SGT", "ISZERO"})
MIRRORED = {"GT": "LT", "SGT": "SLT"}


def options(word: int, holds: bool, given: Given, work: Work) -> Iterator[Given]:
    """Assignments, on top of `given` and of other inputs than those in it, after which the word is not 0 (or is 0)."""
    if type(word) is not Word:
        return
    seen: set[frozenset[tuple[Leaf, int]]] = set()
    for more in _candidates(word, holds, given, work):
        if work.left <= 0:
            return
        key = frozenset(more.items())
        if not more or key in seen or not more.keys().isdisjoint(given):
            continue
        seen.add(key)
        if bool(evaluate(word, given | more, work)) == holds:
            yield more


def _candidates(word: Word, holds: bool, given: Given, work: Work) -> Iterator[Given]:
    yield from _turned(word, holds, given, work)
    yield from _tried(word, given, work)


def _turned(word: int, holds: bool, given: Given, work: Work) -> Iterator[Given]:
    """By what kind of condition it is."""
    if type(word) is not Word:
        return
    op, args = word.op, word.args
    if op == "ISZERO":
        yield from _turned(args[0], not holds, given, work)
    elif op in ("AND", "OR") and all(_is_condition(arg) for arg in args):
        yield from _joined(op, args, holds, given, work)
    elif op in ("EQ", "SUB", "XOR"):
        yield from _equal(args, holds == (op == "EQ"), given, work)
    elif op in ("LT", "GT", "SLT", "SGT"):
        yield from _ordered(op, args, holds, given, work)
    else:
        for value in (1, WORD, *PEOPLE, MOCKS[0], 1 << 255, 1 << 160, 32) if holds else (0,):
            yield from force(word, value, given, work)


def _is_condition(word: int) -> bool:
    return word in (0, 1) and (type(word) is not Word or word.op in COMPARISONS | {"AND", "OR"})


def _joined(op: str, args: tuple[int, ...], holds: bool, given: Given, work: Work) -> Iterator[Given]:
    """AND that should be true (OR: false) needs both parts so, otherwise one is enough."""
    a, b = args
    if holds != (op == "AND"):
        for part in (b, a):
            yield from options(part, holds, given, work)
        return
    wrong = [part for part in (a, b) if bool(evaluate(part, given, work)) != holds]
    for first in options(wrong[0], holds, given, work) if wrong else ():
        if len(wrong) == 1:
            yield first
        else:
            for second in options(wrong[1], holds, given | first, work):
                yield first | second


def _equal(args: tuple[int, ...], holds: bool, given: Given, work: Work) -> Iterator[Given]:
    a, b = args
    x, y = (evaluate(arg, given, work) for arg in args)
    if holds:
        yield from _signed_by(a, b, given, work)
        yield from _hashed_alike(a, b, given, work)
        yield from force(a, y, given, work)
        yield from force(b, x, given, work)
        return
    for arg, other in ((a, y), (b, x)):
        for value in (other + 1, other - 1, *PEOPLE, other ^ 1 << 255, other ^ 1 << 200):
            yield from force(arg, value & WORD, given, work)


def _hashed_alike(a: int, b: int, given: Given, work: Work) -> Iterator[Given]:
    """Two hashes, of the same bytes: one's words are those of the other."""
    if type(a) is not Word or type(b) is not Word or (a.op, b.op) != ("KECCAK256", "KECCAK256"):
        return
    for old, new in ((a, b), (b, a)):
        found: Given = {}
        for part, other in zip(old.args, new.args, strict=False):
            wanted = evaluate(other, given | found, work)
            if evaluate(part, given | found, work) != wanted:
                found |= next(force(part, wanted, given | found, work), {})
        yield found


def _signed_by(a: int, b: int, given: Given, work: Work) -> Iterator[Given]:
    """The signer and another word, equal: both one of those who can sign."""
    for signer, other in ((a, b), (b, a)):
        if type(other) is Word and type(signer) is Word and "ECRECOVER" in (signer.op, *_ops(signer)):
            for person in PEOPLE:
                for first in force(other, person, given, work):
                    for second in force(signer, person, given | first, work):
                        yield first | second


def _ops(word: Word) -> Iterator[str]:
    for arg in word.args:
        if type(arg) is Word:
            yield arg.op


def _ordered(op: str, args: tuple[int, ...], holds: bool, given: Given, work: Work) -> Iterator[Given]:
    small, large = args if op in ("LT", "SLT") else args[::-1]
    shift = SIGN if op in ("SLT", "SGT") else 0  # the order of signed words is that of unsigned ones, shifted
    x, y = (evaluate(arg, given, work) + shift & WORD for arg in (small, large))
    if holds:
        wanted = [
            (small, y - 1),
            (large, x + 1),
            (small, 0),
            (small, y // 2),
            (large, WORD),
            (large, WORD >> 96),
        ]
    else:
        wanted = [(small, y), (large, x), (small, y + 1), (large, x - 1), (small, WORD), (large, 0)]
    for arg, value in wanted:
        if 0 <= value <= WORD:
            yield from force(arg, value - shift & WORD, given, work)


def force(word: int, value: int, given: Given, work: Work) -> Iterator[Given]:
    """Assignments of one input (of a signature's three) that may make the word that value."""
    if type(word) is not Word or work.left <= 0:
        return
    work.left -= 1
    if word.op == "LEAF":
        yield {word.leaf: value}
    elif word.op == "ECRECOVER":
        yield from _sign(word, value, given, work)
    elif word.op in COMPARISONS:
        yield from _turned(word, bool(value), given, work) if value in (0, 1) else ()
    elif word.op in ACCOUNTS:
        for account in ACCOUNTS[word.op](value):
            yield from force(word.args[0], account, given, work)
    else:
        if word.op == "OR":
            yield from _halves(word.args, value, given, work)
        for index, arg in enumerate(word.args):
            if type(arg) is Word and word.op in INVERSES:
                now = [evaluate(one, given, work) for one in word.args]
                for wanted in INVERSES[word.op](index, value, now):
                    yield from force(arg, wanted & WORD, given, work)


def _halves(args: tuple[int, ...], value: int, given: Given, work: Work) -> Iterator[Given]:
    """Both parts of a word that was put together of two."""
    one, other = args
    if type(one) is not Word or type(other) is not Word or _room(one) & _room(other):
        return
    for first in force(one, value & _room(one), given, work):
        for second in force(other, value & _room(other), given | first, work):
            yield first | second


def _room(word: Word) -> int:
    """Bits that it may have."""
    first, second = word.args if len(word.args) == 2 else (0, 0)
    if word.op == "AND":
        return int(first if type(second) is Word else second)
    if word.op in ("SHL", "SHR") and type(first) is not Word and first < 256:
        return WORD << first & WORD if word.op == "SHL" else WORD >> first
    return WORD


def _sign(word: Word, value: int, given: Given, work: Work) -> Iterator[Given]:
    if value not in KEYS:
        return
    digest, *rest = word.args
    v = None if type(rest[0]) is Word else int(rest[0])
    signature = sign(evaluate(digest, given, work), KEYS[value], v)
    found: Given = {}
    for part, wanted in zip(rest, signature or (), strict=False):
        if evaluate(part, given | found, work) == wanted:
            continue
        step = next((one for one in force(part, wanted, given | found, work)), None)
        if step is None:
            return
        found |= step
    if signature:
        yield found


def _tried(word: Word, given: Given, work: Work) -> Iterator[Given]:
    """Telling words for one input, and for two."""
    free = sorted(word.leaves - given.keys())
    words = dict.fromkeys((*TELLING, *_constants(word)))
    for leaf in free:
        for value in words:
            yield {leaf: value}
    few = list(words)[:10]
    for one, other in combinations(free[:MOST_PAIRED], 2):
        for value in few:
            yield from ({one: value, other: second} for second in few)


def _constants(word: Word) -> list[int]:
    """Numbers in the expression, and their neighbours."""
    found: dict[int, None] = {}
    todo: list[Word] = [word]
    for _ in range(40):
        if not todo:
            break
        for arg in todo.pop().args:
            if type(arg) is Word:
                todo.append(arg)
            else:
                found |= dict.fromkeys((arg, arg + 1 & WORD, arg - 1 & WORD))
    return list(found)[:12]
