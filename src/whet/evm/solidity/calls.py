"""Calls of other contracts: Solidity's own where the function's name is known, else low-level ones."""

from __future__ import annotations

from whet.evm.solidity.abi import KEYWORDS, fits, signature
from whet.evm.solidity.encoding import Encoding
from whet.evm.solidity.pieces import Piece, Unsayable, joined, listed, said, variable
from whet.evm.solidity.types import ATOM, WORD_TYPE, in_memory
from whet.evm.terms import Call

_HELPERS = {"CALL": "callOrRevert", "STATICCALL": "readOrRevert", "DELEGATECALL": "delegateOrRevert"}


class Calls(Encoding):
    """The terms `Call`."""

    def call(self, term: Call) -> Piece:
        if not term.checked:
            return self._bare(term)
        known = fits(term.selector, term.name, term.types) and term.name not in KEYWORDS
        return self._whole(term) if known and term.kind in ("CALL", "STATICCALL") else self._by_selector(term)

    def _whole(self, term: Call) -> Piece:
        """A call that decodes what comes back and passes on what goes wrong."""
        args = [self.sol(arg, in_memory(kind)) for arg, kind in zip(term.args, term.types, strict=True)]
        options = self._options(term)
        interface = self._declared(term)
        target = self.sol(term.target, "address")
        shown = target.text
        if term.asks_code and term.returns:  # since 0.8.10 what comes back is asked instead
            self.context.needed.add("withCode")
            shown = f"withCode({shown})"
        text = f"{interface}({shown}).{term.name}{_braces(options)}({listed(args)})"
        return joined(text, ATOM, _result(term), target, *args, *options.values())

    def _options(self, term: Call) -> dict[str, Piece]:
        given = {"value": None if term.value == 0 else term.value, "gas": term.gas}
        return {name: self.sol(value, WORD_TYPE) for name, value in given.items() if value is not None}

    def _declared(self, term: Call) -> str:
        """The interface that has the function; another one where it is declared otherwise already."""
        kind = "view" if term.kind == "STATICCALL" else "payable" if term.value != 0 else ""
        params = ", ".join(in_memory(kind) for kind in term.types)
        returns = f" returns ({', '.join(in_memory(kind) for kind in term.returns)})" if term.returns else ""
        text = f"function {term.name}({params}) external{' ' + kind if kind else ''}{returns};"
        key = signature(term.name, term.types)
        number = 0
        while True:
            name = f"External{number or ''}"
            if self.context.interfaces.setdefault(name, {}).setdefault(key, text) == text:
                return name
            number += 1

    def _by_selector(self, term: Call) -> Piece:
        """The same by low-level calls, where nothing but the selector is known."""
        if term.kind not in _HELPERS:
            raise Unsayable(f"the whole of {term.kind}")
        name = _HELPERS[term.kind]
        self.context.needed.add(name)
        parts = [self.sol(term.target, "address"), self._calldata(term)]
        if term.kind == "CALL":
            parts.append(self.sol(term.value, WORD_TYPE))
        gas = Piece("gasleft()", ATOM, WORD_TYPE) if term.gas is None else self.sol(term.gas, WORD_TYPE)
        parts.append(gas)
        must = "true" if term.asks_code or not term.returns else "false"
        text = f"{name}({listed(parts)}, {must})"
        if term.returns:
            text = f"abi.decode({text}, ({', '.join(term.returns)}))"
        return joined(text, ATOM, _result(term), *parts)

    def _calldata(self, term: Call) -> Piece:
        if term.selector is None and term.types == ("bytes",):
            return self.sol(term.args[0], "bytes memory")
        return self.encoded(term.selector, term.name, term.types, term.args)

    def _bare(self, term: Call) -> Piece:
        """The instruction alone, by its low-level function: true for success."""
        if term.kind == "CALLCODE":
            raise Unsayable(term.kind)
        target, data, options = self.sol(term.target, "address"), self._calldata(term), self._options(term)
        text = f"{target.around(ATOM)}.{term.kind.lower()}{_braces(options)}({data.text})"
        name, free = self.temporary("bool"), variable(self.temporary())
        call = joined(text, ATOM, "bool", target, data, *options.values())
        line = said(f"({name}, ) = {text};", call, (name,))
        if not term.output:
            self.out.append(line)
            return variable(name, "bool")
        where, length = (self.settled(part) for part in term.output)
        self.assembly(f"{free.text} := mload(0x40)", sets=(free.text,))
        self.out.append(line)
        self._copy_output(where, length)
        self.assembly(f"mstore(0x40, {free.text})", free)  # as if nothing had been encoded
        return variable(name, "bool")

    def _copy_output(self, where: Piece, length: Piece) -> None:
        """The first bytes of what came back, into memory."""
        size = self.computed("returndatasize()")
        limit = f"if gt({size.text}, {length.text}) {{ {size.text} := {length.text} }}"
        self.assembly(limit, length, size)
        self.assembly(f"returndatacopy({where.text}, 0, {size.text})", where, size)


def results_of(term: Call) -> tuple[str, ...]:
    """The types of what a checked call gives."""
    return tuple(in_memory(kind) for kind in term.returns)


def _result(term: Call) -> str:
    """The type of what a checked call gives; "()" for none or several."""
    return in_memory(term.returns[0]) if len(term.returns) == 1 else "()"


def _braces(options: dict[str, Piece]) -> str:
    told = ", ".join(f"{name}: {piece.text}" for name, piece in options.items())
    return f"{{{told}}}" if told else ""
