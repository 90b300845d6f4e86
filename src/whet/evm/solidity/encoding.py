"""Bytes that Solidity encodes: calldata, the data of errors; and objects in memory that one expression makes."""

from __future__ import annotations

from whet.evm.solidity.abi import fits, signature
from whet.evm.solidity.assembly import Assembly
from whet.evm.solidity.conversion import empty_object
from whet.evm.solidity.pieces import Piece, Unsayable, joined, listed, literal_text
from whet.evm.solidity.types import ATOM, WORD_TYPE, in_memory, is_value
from whet.evm.terms import Expression, InMemory, Invoke, Name, Operation, Slice, Text, Typed
from whet.evm.text.numbers import quoted

_ENCODERS = ("abi.encode", "abi.encodePacked", "abi.encodeWithSelector")


def is_object(term: Invoke) -> bool:
    """Whether a call makes an object in memory (`whet.evm.solidity.creation`)."""
    name = term.callee.name if isinstance(term.callee, Name) else ""
    return name in ("hex", "returned", *_ENCODERS) or name.startswith(("new ", "Words"))


class Encoding(Assembly):
    """Arguments by the rules of the ABI."""

    def encoded(
        self, selector: int | None, name: str, types: tuple[str, ...], args: tuple[Expression, ...]
    ) -> Piece:
        """The bytes of calldata or of an error. selector: None for arguments alone. name: "" for unknown."""
        known = [kind or WORD_TYPE for kind in types]
        pieces = [self._argument(arg, kind) for arg, kind in zip(args, known, strict=True)]
        if selector is None:
            text = f"abi.encode({listed(pieces)})" if pieces else '""'
            return joined(text, ATOM, "bytes memory", *pieces)
        if fits(selector, name, types):
            head = f'abi.encodeWithSignature("{signature(name, types)}"'
        else:
            head = f"abi.encodeWithSelector(bytes4({selector:#010x})"
        text = f"{', '.join([head, *(piece.text for piece in pieces)])})"
        return joined(text, ATOM, "bytes memory", *pieces)

    def _argument(self, arg: Expression, kind: str) -> Piece:
        """An argument whose type the text must show, also of a bare number."""
        piece = self.sol(arg, in_memory(kind))
        return joined(f"{kind}({piece.text})", ATOM, kind, piece) if literal_text(piece) else piece

    # Objects in memory (`whet.evm.solidity.creation`).

    def object_made(self, term: Invoke, want: str) -> Piece | None:
        """What makes an object. None for a call of anything else."""
        if not isinstance(term.callee, Name) or not is_object(term):
            return None
        name, args = term.callee.name, term.args
        if name == "hex" and isinstance(args[0], Text):
            return Piece(f'hex"{args[0].value}"', ATOM, "bytes memory")
        if name == "returned":
            self.context.needed.add(name)
            self.hidden_assembly = True
            return Piece("returned()", ATOM, "bytes memory")
        if name.startswith("new "):
            return self._new(name.removeprefix("new "), args[0], want)
        if name.startswith("Words"):
            return self._call_of(name, [self.sol(arg, WORD_TYPE) for arg in args], f"{name} memory")
        return self._call_of(name, [self._encodable(arg) for arg in args], "bytes memory")

    def _call_of(self, name: str, args: list[Piece], kind: str) -> Piece:
        return joined(f"{name}({listed(args)})", ATOM, kind, *args)

    def _new(self, kind: str, count: Expression, want: str) -> Piece:
        empty = empty_object(want)
        if count == 0 and empty:
            return Piece(empty, ATOM, want)
        return self._call_of(f"new {kind}", [self.sol(count, WORD_TYPE)], f"{kind} memory")

    def _encodable(self, arg: Expression) -> Piece:
        """An argument of an encoding, with the type that decides how it is encoded."""
        if isinstance(arg, Text):
            return Piece(quoted(arg.value), ATOM, "string memory")
        if isinstance(arg, InMemory):
            return self.sol(arg, f"{arg.type} memory")
        if isinstance(arg, Typed):
            return self._argument(arg.value if not isinstance(arg.value, int) else arg, arg.type)
        if isinstance(arg, Invoke) and (made := self.object_made(arg, "")) is not None:
            return made
        piece = self.natural(arg)
        return piece if is_value(piece.type) and not literal_text(piece) else self._argument(arg, WORD_TYPE)

    def slice_of_calldata(self, term: Slice) -> Piece:
        """`msg.data[a:b]`"""
        if term.base != Name("msg.data"):
            raise Unsayable("a part of something")
        if term.start == 0 and term.stop == Operation("CALLDATASIZE"):
            return Piece("msg.data", ATOM, "bytes calldata")
        parts = [self.sol(part, WORD_TYPE) for part in (term.start, term.stop)]
        start = "" if term.start == 0 else parts[0].text
        return joined(f"msg.data[{start}:{parts[1].text}]", ATOM, "bytes calldata", *parts)
