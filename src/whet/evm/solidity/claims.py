"""What expressions that make objects in memory give, to test claims of `contents` on runs."""

from __future__ import annotations

from whet.evm.meaning.slices import RETURNED_BYTES, Run, Stuck, calldata, computed, returned
from whet.evm.terms import Expression, InMemory, Invoke, Name, Operation, Slice, Text, Typed

MOST_BYTES = 1 << 12
RETURNED_DATA = Invoke(Name("returned"))
"""All that the last call gave back, as an object."""


def content(run: Run, pointer: int, kind: str) -> bytes:
    """Length and content of an object, padded; nothing for one that is too long."""
    size = run.read(pointer, 32)
    length = int.from_bytes(size, "big") * (32 if kind.endswith("[]") else 1)
    if length > MOST_BYTES or pointer + length + 64 > len(run.memory):
        return b""
    return size + run.read(pointer + 32, length).ljust(-(-length // 32) * 32, b"\0")


def made_of(run: Run, term: Expression) -> bytes:
    """The object that an expression makes, by the state at the end of a run, its length included."""
    if isinstance(term, Text):
        return _with_length(term.value.encode())
    if isinstance(term, Slice):
        start, stop = value_of(run, term.start), value_of(run, term.stop)
        return _with_length(calldata(start, stop - start))
    if not isinstance(term, Invoke) or not isinstance(term.callee, Name):
        raise Stuck
    name, args = term.callee.name, term.args
    if name == "hex":
        return _with_length(_packed_bytes(run, term))
    if term == RETURNED_DATA:
        return _with_length(returned(0, RETURNED_BYTES))
    if name.startswith("Words"):
        return b"".join(value_of(run, arg).to_bytes(32, "big") for arg in args)
    if name.startswith("new "):
        count = value_of(run, args[0])
        if count > MOST_BYTES:
            raise Stuck
        return count.to_bytes(32, "big") + bytes(count * (32 if name.endswith("[]") else 1))
    if name == "abi.encodePacked":
        return _with_length(b"".join(_packed_bytes(run, arg) for arg in args))
    if name == "abi.encodeWithSelector":
        return _with_length(value_of(run, args[0]).to_bytes(32, "big")[:4] + _abi(run, args[1:]))
    return _with_length(_abi(run, args))


def _with_length(data: bytes) -> bytes:
    return len(data).to_bytes(32, "big") + data


def _packed_bytes(run: Run, term: Expression) -> bytes:
    if isinstance(term, Text):
        return term.value.encode()
    if isinstance(term, Invoke) and isinstance(term.args[0], Text):
        return bytes.fromhex(term.args[0].value)
    if isinstance(term, InMemory):
        pointer = value_of(run, term.pointer)
        return run.read(pointer + 32, int.from_bytes(run.read(pointer, 32), "big"))
    assert isinstance(term, Typed)
    word = value_of(run, term).to_bytes(32, "big")
    if term.type.startswith("bytes"):
        return word[: int(term.type[5:])]
    return word[12:] if term.type == "address" else word[-int(term.type[4:]) // 8 :]


def _abi(run: Run, args: tuple[Expression, ...]) -> bytes:
    heads, tails = b"", b""
    for arg in args:
        if isinstance(arg, InMemory):
            heads += (32 * len(args) + len(tails)).to_bytes(32, "big")
            tails += content(run, value_of(run, arg.pointer), arg.type)
        else:
            heads += value_of(run, arg).to_bytes(32, "big")
    return heads + tails


def value_of(run: Run, term: Expression) -> int:
    """The word of a term by the state at the end of a run."""
    if isinstance(term, int | str):
        return run.word(term)
    if isinstance(term, Typed):
        return value_of(run, term.value)
    if isinstance(term, Operation) and term.op in run.given:
        return run.given[term.op]
    if isinstance(term, Operation):
        return computed(term.op, tuple(value_of(run, arg) for arg in term.args))
    raise Stuck
