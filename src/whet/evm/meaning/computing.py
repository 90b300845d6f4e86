"""What a private function that only computes is: a helper of the compiler's, shown by running it on chosen words.

A name is given only where the function has the arity of the helper and gives, for every sample, the same words or gives
up alike; so checked_add_uint8 adds what fits in 8 bits and gives up for the rest. Samples are boundaries of all widths; a
name is not a proof for all 2**256 words, and never changes what executes. Most functions are told apart by few samples.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from whet.evm.tac import WORD, Contract, Function, Operand
from whet.evm.words import ONE, THREE, TWO, signed

_STEPS = 4000
_MOST_BLOCKS = 24
_DEEPEST = 4

Words = tuple[int, ...]
Outcome = Words | None
"""The words given back; None where the function gives up."""

Claim = Callable[..., Outcome]


class _Unknown(Exception):
    """Something that only a running contract knows."""


def computed_name(contract: Contract, function: Function) -> str:
    """The helper that a function is which computes and nothing else; "" for none of those known."""
    arity = (len(function.params), function.returns)
    if len(function.blocks) > _MOST_BLOCKS or arity not in _claims():
        return ""
    results: dict[Words, Outcome] = {}
    try:
        for name, claim in _candidates(contract, function, arity, results):
            if _holds(contract, function, claim, results):
                return name
    except _Unknown:
        pass
    return ""


def _candidates(
    contract: Contract, function: Function, arity: tuple[int, int | None], results: dict[Words, Outcome]
) -> tuple[tuple[str, Claim], ...]:
    """Helpers that give the same for the first samples."""
    found = _sorted_claims(arity)
    for sample in _FIRST[arity[0]]:
        results[sample] = _run(contract, function, sample, [_STEPS], 0)
        found = found.get(results[sample])
        if found is None:
            return ()
    return tuple(found)


@cache
def _sorted_claims(arity: tuple[int, int | None]) -> Any:
    """Claims by what they give for the first samples: {outcome of the first: {of the second: ... [claims]}}."""
    *firsts, last = _FIRST[arity[0]]
    root: dict[Outcome, Any] = {}
    for name, claim in _claims()[arity]:
        node = root
        for sample in firsts:
            node = node.setdefault(claim(*sample), {})
        node.setdefault(claim(*last), []).append((name, claim))
    return root


_LOWS = (128, 64, 192, 32, 96, 160, 224)
_FIRST: dict[int, tuple[Words, ...]] = {
    1: ((7,), (WORD,), *((1 << bits,) for bits in _LOWS), (255,)),
    2: ((7, 2), (WORD, 1), *(((1 << bits) - 1, 1) for bits in _LOWS), (1 << 255, WORD)),
}
"""Samples that come first, by how many arguments there are."""


def _holds(contract: Contract, function: Function, claim: Claim, results: dict[Words, Outcome]) -> bool:
    for sample in _samples(len(function.params)):
        if sample not in results:
            results[sample] = _run(contract, function, sample, [_STEPS], 0)
        if results[sample] != claim(*sample):
            return False
    return True


def _run(contract: Contract, function: Function, args: Words, steps: list[int], depth: int) -> Outcome:
    """The function on constants."""
    words: dict[str, int] = dict(zip(function.params, args, strict=True))

    def word(operand: Operand) -> int:
        return operand if isinstance(operand, int) else words[operand]

    block, source = function.entry, ""
    while True:
        steps[0] -= len(block.statements) + 1
        if steps[0] < 0 or depth > _DEEPEST:
            raise _Unknown
        words.update([(phi.result, word(phi.incoming[source])) for phi in block.phis])
        for s in block.statements:
            given = tuple(word(arg) for arg in s.args)
            if s.op == "CALLPRIVATE":
                made = _run(contract, contract.functions[s.function], given, steps, depth + 1)
                if made is None:
                    return None
                words.update(zip(s.results, made, strict=True))
            elif s.results:
                words[s.results[0]] = _compute(s.op, given)
        end = block.end
        if end.op == "RETURNPRIVATE":
            return tuple(word(arg) for arg in end.args)
        if end.op not in ("JUMP", "BRANCH"):
            return None
        source = block.id
        block = function.blocks[end.targets[1 if end.op == "BRANCH" and not word(end.args[0]) else 0]]


def _compute(op: str, args: Words) -> int:
    table: dict[str, Callable[..., int]] = {1: ONE, 2: TWO, 3: THREE}.get(len(args), {})  # type: ignore[assignment]
    if op not in table:
        raise _Unknown
    return table[op](*args)


# What helpers do.


@cache
def _claims() -> dict[tuple[int, int | None], tuple[tuple[str, Claim], ...]]:
    """{(arguments, results): (name, what it gives)}; wider types first."""
    two: list[tuple[str, Claim]] = []
    one: list[tuple[str, Claim]] = []
    none: list[tuple[str, Claim]] = []
    for bits in range(256, 0, -8):
        for kind in ("uint", "int"):
            name = f"{kind}{bits}"
            two += [
                (f"checked_{op}_{name}", _checked(op, bits, kind == "int"))
                for op in ("add", "sub", "mul", "div", "mod")
            ]
            one += [
                (f"increment_{name}", _step(bits, kind == "int", 1)),
                (f"decrement_{name}", _step(bits, kind == "int", -1)),
            ]
            shown = "address" if name == "uint160" else name
            if bits < 256:
                one.append((f"cleanup_{shown}", _cleaned(_clean(bits, kind == "int"))))
            none.append((f"validator_revert_{shown}", _valid(_clean(bits, kind == "int"))))
        left = WORD ^ ((1 << (256 - bits)) - 1)
        if bits < 256:
            one.append((f"cleanup_bytes{bits // 8}", _cleaned(_masked(left))))
        none.append((f"validator_revert_bytes{bits // 8}", _valid(_masked(left))))
    one.append(("cleanup_bool", _cleaned(lambda x: int(x != 0))))
    none.append(("validator_revert_bool", _valid(lambda x: int(x != 0))))
    one += [
        ("identity", lambda x: (x,)),
        ("round_up_to_mul_of_32", lambda x: (((x + 31) & WORD) & ~31,)),
        ("divide_by_32_ceil", lambda x: (((x + 31) & WORD) >> 5,)),
        ("negate_int256", lambda x: (-x & WORD,) if x != 1 << 255 else None),
        ("extract_byte_array_length", _byte_array_length),
        ("array_allocation_size", _allocation(lambda length: 32 * length + 32)),
        ("array_allocation_size_bytes", _allocation(lambda length: (length + 31 & ~31) + 32)),
    ]
    one += [(f"shift_left_{n}", lambda x, n=n: (x << n & WORD,)) for n in range(8, 256, 8)]
    one += [(f"shift_right_{n}", lambda x, n=n: (x >> n,)) for n in (1, *range(8, 256, 8))]
    two += [
        ("wrapping_add", lambda a, b: ((a + b) & WORD,)),
        ("wrapping_sub", lambda a, b: ((a - b) & WORD,)),
    ]
    two += [("wrapping_mul", lambda a, b: (a * b & WORD,)), ("checked_exp_uint256", _power)]
    two += [("max", lambda a, b: (max(a, b),)), ("min", lambda a, b: (min(a, b),))]
    two += [
        (f"{n}_reversed", lambda a, b, c=claim: c(b, a))
        for n, claim in two
        if "_sub" in n or "_div" in n or "_mod" in n
    ]
    return {
        (2, 1): tuple(two),
        (1, 1): tuple(one),
        (1, 0): tuple(n for n in none if not n[0].endswith(("256", "bytes32"))),
    }


def _power(a: int, b: int) -> Outcome:
    if a < 2:
        return (a**b if b < 2 else a,)
    return (a**b,) if b < 256 and a**b <= WORD else None


def _byte_array_length(x: int) -> Outcome:
    """The length that the word in the slot of bytes or a string says, long or short."""
    length = x >> 1 if x & 1 else x >> 1 & 0x7F
    return (length,) if (x & 1) == (length >= 32) else None


def _allocation(size: Callable[[int], int]) -> Claim:
    """Bytes of an array in memory, its length too; no array is longer than 2**64 - 1."""
    return lambda length: (size(length),) if length < 1 << 64 else None


def _clean(bits: int, is_signed: bool) -> Callable[[int], int]:
    return (lambda x: TWO["SIGNEXTEND"](bits // 8 - 1, x)) if is_signed else (lambda x: x & ((1 << bits) - 1))


def _masked(mask: int) -> Callable[[int], int]:
    return lambda x: x & mask


def _cleaned(clean: Callable[[int], int]) -> Claim:
    return lambda x: (clean(x),)


def _valid(clean: Callable[[int], int]) -> Claim:
    return lambda x: () if clean(x) == x else None


def _checked(op: str, bits: int, is_signed: bool) -> Claim:
    """Arguments are cleaned first, as compilers do where they are not known to be clean."""
    clean = _clean(bits, is_signed)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)

    def claim(a: int, b: int) -> Outcome:
        x, y = clean(a), clean(b)
        if is_signed:
            x, y = signed(x), signed(y)
        if op in ("div", "mod") and not y:
            return None
        result = _EXACT[op](x, y)
        return (result & WORD,) if low <= result <= high else None

    return claim


def _quotient(x: int, y: int) -> int:
    return abs(x) // abs(y) if (x < 0) == (y < 0) else -(abs(x) // abs(y))


_EXACT: dict[str, Callable[[int, int], int]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": _quotient,
    "mod": lambda x, y: x - y * _quotient(x, y),
}


def _step(bits: int, is_signed: bool, by: int) -> Claim:
    add = _checked("add" if by > 0 else "sub", bits, is_signed)
    return lambda x: add(x, 1)


@cache
def _samples(count: int) -> tuple[Words, ...]:
    """Words at the boundaries of all widths, in pairs near each other and far apart."""
    edges = {(1 << bits) + near & WORD for bits in range(0, 257, 8) for near in (-1, 0)}
    words = sorted(edges | {2, 7, WORD - 1, WORD >> 1, 1 << 255})
    if count == 1:
        return tuple(
            (word,)
            for word in [*words, *(word + 2 & WORD for word in words), *(WORD ^ word for word in words)]
        )
    if count != 2:
        return ()
    pairs = [(a, b) for a in words for b in (1, WORD)] + [
        (a, b) for a in (7, 1 << 255) for b in (0, 2, 1 << 255)
    ]
    pairs += [(b, a) for a, b in pairs] + [(a, a) for a in words]
    pairs += [((1 << n) - 1, 1 << n) for n in range(8, 256, 8)]
    return (*pairs, *(((1 << n) + 5, (1 << n - 4) + 3) for n in range(8, 256, 4)))
