"""Bytes that Solidity encodes: calldata, and the data of errors."""

from __future__ import annotations

from whet.evm.solidity.abi import fits, signature
from whet.evm.solidity.assembly import Assembly
from whet.evm.solidity.pieces import Piece, joined, listed, literal_text
from whet.evm.solidity.types import ATOM, WORD_TYPE, in_memory
from whet.evm.terms import Expression


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
