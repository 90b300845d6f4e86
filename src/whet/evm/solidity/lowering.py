"""Terms as Solidity, each with its type; what Solidity has no word for is computed by assembly in a line before.

Every term is a 256-bit word in the three-address code. Here it gets the type that its text has by itself (`a < b` is a
bool), and is converted where another is wanted (`conversion`), never changing the word.
"""

from __future__ import annotations

from whet.evm.solidity.calls import Calls
from whet.evm.solidity.encoding import is_object
from whet.evm.solidity.hashes import IN_SCRATCH
from whet.evm.solidity.operators import Operators
from whet.evm.solidity.pieces import Piece, Unsayable, joined, listed, literal_text, variable
from whet.evm.solidity.types import ATOM, WORD_TYPE, element_types, in_memory, is_value, literal, number_text
from whet.evm.terms import (
    DECODED,
    Call,
    Expression,
    Group,
    Index,
    InMemory,
    Invoke,
    Member,
    Name,
    Operation,
    Slice,
    Text,
    Typed,
)
from whet.evm.text.numbers import quoted


class Lowering(Operators, Calls):
    """Every kind of term."""

    def natural(self, term: Expression, want: str = "") -> Piece:
        if isinstance(term, int):
            return Piece(number_text(term), ATOM, "", value=term)
        if isinstance(term, str):
            return variable(self.spelled(term), self.type_of(term))
        if isinstance(term, Typed):
            return _constant(term) or self.natural(term.value, want)
        if isinstance(term, Operation):
            return self.operation(term, want)
        if isinstance(term, Invoke):
            return self.object_made(term, want) or self._invoke(term)
        if isinstance(term, Call):
            return self.call(term)
        if isinstance(term, InMemory):
            return self.sol(term.pointer, f"{term.type} memory")
        return self._place(term)

    def _place(self, term: Expression) -> Piece:
        """What has a name, and what lies in it."""
        if isinstance(term, Text):
            return Piece(quoted(term.value), ATOM, "string memory")
        if isinstance(term, Name):
            return self.named(term)
        if isinstance(term, Index):
            return self._index(term)
        if isinstance(term, Member):
            return self._member(term)
        if isinstance(term, Slice):
            return self.slice_of_calldata(term)
        raise Unsayable(type(term).__name__)

    def _index(self, term: Index) -> Piece:
        base = self.natural(term.base)
        inner = element_types(base.type.removesuffix(" memory"))
        if inner is None:
            raise Unsayable(f"an element of {base.type}")
        if base.type.endswith(" memory"):
            inner = (inner[0], in_memory(inner[1]))
        key = self.sol(term.key, inner[0])
        return joined(f"{base.text}[{key.text}]", ATOM, inner[1], base, key)

    def _member(self, term: Member) -> Piece:
        base = self.natural(term.base)
        if term.name == "offset" and base.type.endswith(" calldata"):
            return self.computed(f"{base.text}.offset", base)
        if term.name == "length" and base.type.endswith(("[]", " calldata", " memory")):
            is_string = base.type.partition(" ")[0] == "string"
            text = f"bytes({base.text})" if is_string else base.text
            return joined(f"{text}.length", ATOM, WORD_TYPE, base)
        if base.type.startswith("Words"):
            return joined(f"{base.text}.{term.name}", ATOM, WORD_TYPE, base)
        if term.name in (inner := self.context.members.get(base.type, {})):
            return joined(f"{base.text}.{term.name}", ATOM, inner[term.name], base)
        raise Unsayable(f"{term.name} of {base.type}")

    def _invoke(self, term: Invoke) -> Piece:
        """A call of this contract's own: checked arithmetic, a private function, a hash."""
        callee = term.callee
        if isinstance(callee, Name):
            if callee.name.partition("_")[0] == "checked" and len(term.args) == 1:
                return self.checked(callee.name, term.args[0])
            if callee.name in self.context.called:
                return self._private(callee.name, term.args)
            if callee == DECODED:
                return self._decoded(returned_types(term))
            if callee.name == "keccak256":
                return self._hash(term.args)
        raise Unsayable(f"a call of {callee}")

    def _decoded(self, kinds: tuple[str, ...]) -> Piece:
        self.context.needed.add("returned")
        self.hidden_assembly = True
        kind = kinds[0] if len(kinds) == 1 else "()"
        return Piece(f"abi.decode(returned(), ({', '.join(kinds)}))", ATOM, kind)

    def _private(self, callee: str, terms: tuple[Expression, ...]) -> Piece:
        name, takes, gives = self.context.called[callee]
        args = [self.sol(arg, kind) for arg, kind in zip(terms, takes, strict=True)]
        return joined(f"{name}({listed(args)})", ATOM, gives[0] if len(gives) == 1 else "()", *args)

    def _hash(self, terms: tuple[Expression, ...]) -> Piece:
        """Of bytes in memory, or of words."""
        if (
            len(terms) == 1
            and isinstance(terms[0], InMemory | Invoke | Slice | Text)
            and not _is_word(terms[0])
        ):
            data = self.sol(terms[0], "bytes memory")
            return joined(f"keccak256({data.text})", ATOM, "bytes32", data)
        args = [self.sol(arg, WORD_TYPE) for arg in terms]
        if self.context.raw_memory and 1 <= len(args) <= len(IN_SCRATCH):
            name = IN_SCRATCH[len(args) - 1]
            self.context.needed.add(name)
            self.hidden_assembly = True
            return joined(f"{name}({listed(args)})", ATOM, "bytes32", *args)
        words = ", ".join(f"uint256({arg.text})" if literal_text(arg) else arg.text for arg in args)
        return joined(f"keccak256(abi.encode({words}))", ATOM, "bytes32", *args)


def returned_types(term: Invoke) -> tuple[str, ...]:
    """The types that a term decodes what came back as."""
    kinds = term.args[1]
    assert isinstance(kinds, Group)
    return tuple(kind.name for kind in kinds.items if isinstance(kind, Name))


def _is_word(term: Expression) -> bool:
    """Whether a call gives a word: checked arithmetic, a hash, a private function."""
    return isinstance(term, Invoke) and not is_object(term)


def _constant(term: Typed) -> Piece | None:
    """A number as its type writes it; None for what is no number, or no value of that type."""
    if not isinstance(term.value, int) or not is_value(term.type):
        return None
    text = literal(term.value, term.type)
    return None if text is None else Piece(text, ATOM, term.type)
