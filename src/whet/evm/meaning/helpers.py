"""Names of private functions that compilers make, each shown by running the function on chosen words.

A name is given only where the function has the arity of the helper and gives, for every sample, the same words or gives
up alike; so checked_add_uint8 adds what fits in 8 bits and gives up for the rest. Only functions that just compute are
tried. Samples are boundaries of all widths; a name is not a proof for all 2**256 words, and never changes what executes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from whet.evm.meaning.walk import Shapes
from whet.evm.tac import WORD, Contract, Function, Operand
from whet.evm.terms import Expression, Invoke, Name, Operation
from whet.evm.words import ONE, THREE, TWO, signed

_STEPS = 400
_MOST_BLOCKS = 12
_DEEPEST = 4

Words = tuple[int, ...]
Outcome = Words | None
"""The words given back; None where the function gives up."""

Claim = Callable[..., Outcome]


class _Unknown(Exception):
    """Something that only a running contract knows."""


def helper_names(contract: Contract, shapes: Shapes) -> dict[str, str]:
    """{private function: the helper that it is}, "" for none of those known. Equal functions are tried once."""
    known: dict[tuple[object, ...], str] = {}
    named: dict[str, str] = {}
    for function in contract.functions.values():
        if function.kind == "private":
            key = _text(function)
            if key not in known:
                known[key] = _helper_name(contract, function, shapes)
            named[function.name] = known[key]
    return named


_CHECKED = re.compile(r"checked_(add|sub|mul|div|mod)_(u?)int(\d+)(_reversed)?")
_STEP = re.compile(r"(increment|decrement)_(u?)int(\d+)")


def spoken(helper: str, args: tuple[Operand, ...]) -> Expression:
    """A call of a helper: `checked(a + b)` for checked arithmetic of uint256, `checked_int8(a + b)` for other types."""
    found, step = _CHECKED.fullmatch(helper), _STEP.fullmatch(helper)
    if step is not None:
        op, unsigned, bits = "ADD" if step[1] == "increment" else "SUB", step[2], step[3]
        said = Operation(op, (args[0], 1))
    elif found is not None:
        op, unsigned, bits = found[1].upper(), found[2], found[3]
        op = f"S{op}" if op in ("DIV", "MOD") and not unsigned else op
        said = Operation(op, tuple(args[::-1] if found[4] else args))
    else:
        return Invoke(Name(helper), args)
    kind = f"{unsigned}int{bits}"
    return Invoke(Name("checked" if kind == "uint256" else f"checked_{kind}"), (said,))


def _text(function: Function) -> tuple[object, ...]:
    blocks = function.blocks.values()
    statements = tuple((s.op, s.args, s.results, s.function) for s in function.statements())
    ends = tuple((b.id, len(b.statements), b.end.op, b.end.args, b.end.targets) for b in blocks)
    phis = tuple((phi.result, tuple(phi.incoming.items())) for b in blocks for phi in b.phis)
    return function.params, function.returns, statements, ends, phis


def _helper_name(contract: Contract, function: Function, shapes: Shapes) -> str:
    if function.returns is None:
        return _panic_name(function)
    if not shapes.of[function.name].computes or len(function.blocks) > _MOST_BLOCKS:
        return ""
    claims = _claims().get((len(function.params), function.returns), ())
    results: dict[Words, Outcome] = {}
    for name, claim in claims:
        if _holds(contract, function, claim, results):
            return name
    return ""


def _panic_name(function: Function) -> str:
    """panic_error_0x11 for a function that does nothing but revert with Panic(0x11)."""
    if function.params or len(function.blocks) != 1:
        return ""
    block = function.entry
    stores = {s.args[0]: s.args[1] for s in block.statements if s.op == "MSTORE"}
    code = stores.get(4)
    if block.end.op == "REVERT" and block.end.args == (0, 36) and stores.get(0) == 0x4E487B71 << 224:
        return f"panic_error_{code:#04x}" if isinstance(code, int) and len(block.statements) == 2 else ""
    if block.end.op == "REVERT" and block.end.args == (0, 0) and not block.statements:
        return "revert_without_data"
    return ""


def _holds(contract: Contract, function: Function, claim: Claim, results: dict[Words, Outcome]) -> bool:
    for sample in _samples(len(function.params)):
        if sample not in results:
            try:
                results[sample] = _run(contract, function, sample, [_STEPS], 0)
            except _Unknown:
                return False
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
def _claims() -> dict[tuple[int, int], tuple[tuple[str, Claim], ...]]:
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
            one.append((f"cleanup_{shown}", _cleaned(_clean(bits, kind == "int"))))
            none.append((f"validator_revert_{shown}", _valid(_clean(bits, kind == "int"))))
        left = WORD ^ ((1 << (256 - bits)) - 1)
        one.append((f"cleanup_bytes{bits // 8}", _cleaned(_masked(left))))
        none.append((f"validator_revert_bytes{bits // 8}", _valid(_masked(left))))
    one.append(("cleanup_bool", _cleaned(lambda x: int(x != 0))))
    none.append(("validator_revert_bool", _valid(lambda x: int(x != 0))))
    one += [
        ("round_up_to_mul_of_32", lambda x: (((x + 31) & WORD) & ~31,)),
        ("shift_left_224", lambda x: (x << 224 & WORD,)),
    ]
    one += [(f"shift_right_{n}", lambda x, n=n: (x >> n,)) for n in (1, 8, 96, 128, 160, 224)]
    two += [
        ("wrapping_add", lambda a, b: ((a + b) & WORD,)),
        ("wrapping_sub", lambda a, b: ((a - b) & WORD,)),
    ]
    two += [("wrapping_mul", lambda a, b: (a * b & WORD,))]
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
    pairs = [(a, b) for a in words for b in (0, 1, 2, WORD, 1 << 255)]
    pairs += [(b, a) for a, b in pairs] + [(a, a) for a in words]
    pairs += [((1 << n) - 1, 1 << n) for n in range(8, 256, 8)]
    return (*pairs, *(((1 << n) + 5, (1 << n - 4) + 3) for n in range(8, 256, 4)))
