"""Operations in Solidity where it has a word for them, else by assembly in a line before."""

from __future__ import annotations

from collections.abc import Callable

from whet.evm.solidity.arithmetic import DIVIDE, INFIX, SHIFTS, Arithmetic
from whet.evm.solidity.assembly import ASKED, LAZY
from whet.evm.solidity.comparisons import COMPARE, Comparisons
from whet.evm.solidity.conversion import empty_object
from whet.evm.solidity.pieces import Piece, joined
from whet.evm.solidity.sometimes import Sometimes
from whet.evm.solidity.types import ATOM, WORD_TYPE
from whet.evm.terms import Expression, Name, Operation

_WORDS = {
    "CALLER": ("msg.sender", "address"),
    "CALLVALUE": ("msg.value", WORD_TYPE),
    "ORIGIN": ("tx.origin", "address"),
    "GASPRICE": ("tx.gasprice", WORD_TYPE),
    "ADDRESS": ("address(this)", "address"),
    "CALLDATASIZE": ("msg.data.length", WORD_TYPE),
    "TIMESTAMP": ("block.timestamp", WORD_TYPE),
    "NUMBER": ("block.number", WORD_TYPE),
    "COINBASE": ("block.coinbase", "address"),
    "PREVRANDAO": ("block.prevrandao", WORD_TYPE),
    "GASLIMIT": ("block.gaslimit", WORD_TYPE),
    "BASEFEE": ("block.basefee", WORD_TYPE),
    "BLOBBASEFEE": ("block.blobbasefee", WORD_TYPE),
    "CHAINID": ("block.chainid", WORD_TYPE),
    "SELFBALANCE": ("address(this).balance", WORD_TYPE),
    "GAS": ("gasleft()", WORD_TYPE),
}
_OF_ADDRESS = {
    "BALANCE": ("balance", WORD_TYPE),
    "EXTCODEHASH": ("codehash", "bytes32"),
    "EXTCODESIZE": ("code.length", WORD_TYPE),
}


class Operators(Comparisons, Arithmetic, Sometimes):
    """All operations."""

    def operation(self, term: Operation, want: str) -> Piece:
        if term.op in LAZY:
            return self.lazy(term, want)
        if not self.is_assembly(term):
            return _WRITERS[term.op](self, term)
        piece = self.instruction(term)
        return piece if piece.text in self.context.types else self.computed(piece.text, piece)

    def is_assembly(self, term: Operation) -> bool:
        """Whether an operation is not said in Solidity."""
        op, args = term.op, term.args
        if op in LAZY or op in ASKED:
            return False
        if self.context.literal or op not in _WRITERS:
            return True
        if op == "MLOAD":
            return not self.is_object(args[0])
        if op == "CALLDATALOAD":
            return not self.context.in_calldata
        if op in ("ADDMOD", "MULMOD"):
            return not isinstance(args[2], int) or not args[2]  # Solidity's revert for 0
        return op == "SIGNEXTEND" and not (isinstance(args[0], int) and args[0] < 31)

    def word(self, term: Operation) -> Piece:
        """What Solidity has a name for."""
        if term.op == "CALLVALUE" and not self.context.payable:
            self.context.needed.add("callValue")
            return Piece("callValue()", ATOM, WORD_TYPE)
        text, kind = _WORDS[term.op]
        return Piece(text, ATOM, kind)

    def code_size(self, _term: Operation) -> Piece:
        return Piece(str(self.context.code_size), ATOM, WORD_TYPE)

    def of_address(self, term: Operation) -> Piece:
        member, kind = _OF_ADDRESS[term.op]
        target = self.sol(term.args[0], "address")
        return joined(f"{target.around(ATOM)}.{member}", ATOM, kind, target)

    def is_object(self, term: Expression) -> bool:
        """Whether a term is a pointer to an object in memory that begins with its length."""
        if isinstance(term, Name) and term.name in self.context.names:
            kind = self.context.names[term.name].type
        else:
            kind = self.type_of(term) if isinstance(term, str) else ""
        return empty_object(kind) != ""

    def length(self, term: Operation) -> Piece:
        """The first word of an object in memory."""
        base = self.natural(term.args[0])
        text = f"bytes({base.text})" if base.type == "string memory" else base.text
        return joined(f"{text}.length", ATOM, WORD_TYPE, base)

    def calldata_word(self, term: Operation) -> Piece:
        """A slice reverts where it begins behind calldata; what is read past its end is 0 for both."""
        start = self.sol(term.args[0], WORD_TYPE)
        return joined(f"bytes32(msg.data[{start.text}:])", ATOM, "bytes32", start)

    def leading_zeros(self, term: Operation) -> Piece:
        """CLZ (EIP-7939), which the compiler's assembly does not have for this chain."""
        self.context.needed.add("clz")
        value = self.sol(term.args[0], WORD_TYPE)
        return joined(f"clz({value.text})", ATOM, WORD_TYPE, value)

    def block_hash(self, term: Operation) -> Piece:
        number = self.sol(term.args[0], WORD_TYPE)
        return joined(f"blockhash({number.text})", ATOM, "bytes32", number)


_WRITERS: dict[str, Callable[[Operators, Operation], Piece]] = {
    **dict.fromkeys(_WORDS, Operators.word),
    **dict.fromkeys(_OF_ADDRESS, Operators.of_address),
    **dict.fromkeys(COMPARE, Operators.compare),
    **dict.fromkeys(INFIX, Operators.infix),
    **dict.fromkeys(DIVIDE, Operators.divide),
    **dict.fromkeys(SHIFTS, Operators.shift),
    "ISZERO": Operators.is_zero,
    "!": Operators.is_zero,
    "NOT": Operators.complement,
    "CODESIZE": Operators.code_size,
    "BLOCKHASH": Operators.block_hash,
    "CLZ": Operators.leading_zeros,
    "CALLDATALOAD": Operators.calldata_word,
    "MLOAD": Operators.length,
    "ADDMOD": Operators.modular,
    "MULMOD": Operators.modular,
    "SIGNEXTEND": Operators.extended,
}
"""How operations are said in Solidity."""
