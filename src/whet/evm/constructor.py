"""Which part of creation code becomes the contract: the constructor is run on what is known without a chain.

Creation code copies code into memory and returns it (CODECOPY ... RETURN). Its instructions are followed from the first
one with known words (constants and what is computed from them) and unknown ones; at a condition that is unknown both
ways are followed. Code counts as creation code only if a way ends by returning a copied part of it, no way ends in
success otherwise, and the calldata, which is empty in a creation, was not asked for on that way. So runtime code that
returns a part of itself (a table, a sub-contract) is not mistaken.

Left out: code that a constructor puts together in memory word by word. Jump targets are only looked at for the byte of
a JUMPDEST. Cost: at most STEPS instructions for one code.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from whet import limits
from whet.evm.opcodes import OPCODES
from whet.evm.words import ONE, TWO

STEPS = 50_000
"""Instructions followed for one code; those of real constructors stay below 5,000."""

_VISITS = 3
"""Times that an unknown condition is followed both ways, for one chain of callers."""
_WAYS = 64
"""Ways that wait to be followed."""
_WORDS = 1024
"""Words of stack, and of memory, that one way may have."""


class Unknown:
    """A word that is not known; equal only to itself."""


Word = int | Unknown


@dataclass(frozen=True, slots=True)
class Deployed:
    """offset, length: the bytes that become the contract's code. appended: bytes behind them that the constructor writes
    (Vyper's immutables). arguments: where the constructor reads its arguments from; None if it has none."""

    offset: int
    length: int
    appended: int
    arguments: int | None


@dataclass(slots=True)
class _Way:
    pc: int
    stack: list[Word] = field(default_factory=list)
    memory: dict[int, Word] = field(default_factory=dict)
    copied: dict[Word, tuple[int, int]] = field(default_factory=dict)
    """{memory offset: (offset in the code, length)}."""
    asked_calldata: bool = False
    called: bool = False

    def fork(self, pc: int) -> _Way:
        return _Way(pc, [*self.stack], {**self.memory}, {**self.copied}, self.asked_calldata, self.called)


def deployed(code: bytes, steps: int = STEPS) -> Deployed | None:
    """What `code` deploys if it is creation code; None if it is not, or cannot be told within `steps`."""
    return _Search(code, steps).result()


class _Search:
    def __init__(self, code: bytes, steps: int) -> None:
        self.code, self.steps = code, steps
        self.ways = [_Way(0)]
        self.seen: set[tuple[int, int, tuple[int | None, ...]]] = set()
        self.visits: Counter[tuple[int, tuple[int, ...]]] = Counter()
        self.found: list[Deployed] = []
        self.arguments: int | None = None
        self.copies: set[tuple[int, int]] = set()
        self.other_success = False

    def result(self) -> Deployed | None:
        while self.ways and self.steps > 0 and not self.other_success:
            self._follow(self.ways.pop())
        if self.other_success or not self.found:
            return None
        return replace(self.found[0], arguments=self._arguments(self.found[0]))

    def _arguments(self, found: Deployed) -> int | None:
        """Since 0.5 all bytes behind the code are copied; before, as many as the arguments have where that is known."""
        if self.arguments is not None:
            return self.arguments
        if b"dsolc" in self.code:
            return None  # the key of the version in the metadata, since 0.5.9: what is copied is a constant
        behind = [copy for copy in sorted(self.copies) if copy[0] >= found.offset + found.length]
        for offset, length in behind[-1:]:
            if deployed(self.code[offset : offset + length], STEPS // 10) is None:
                return offset
        return None

    def _follow(self, way: _Way) -> None:
        """Go on until the way ends; forks are put aside."""
        while self.steps > 0:
            self.steps -= 1
            opcode = OPCODES.get(self.code[way.pc]) if way.pc < len(self.code) else OPCODES[0]
            if opcode is None or len(way.stack) < opcode.pops or len(way.stack) > _WORDS:
                return
            if not self._step(way, opcode.name, opcode.pops, opcode.pushes, opcode.immediate):
                return

    def _step(self, way: _Way, name: str, pops: int, pushes: int, immediate: int) -> bool:
        """Execute one instruction; False where the way ends."""
        stack, at = way.stack, way.pc
        way.pc += 1 + immediate
        if name.startswith("PUSH"):
            stack.append(int.from_bytes(self.code[at + 1 : way.pc].ljust(immediate, b"\0"), "big"))
        elif name.startswith("DUP"):
            stack.append(stack[-pops])
        elif name.startswith("SWAP"):
            stack[-1], stack[-pops] = stack[-pops], stack[-1]
        else:
            args = [stack.pop() for _ in range(pops)]
            if name in ("JUMP", "JUMPI"):
                return self._jump(way, args)
            if name in ("STOP", "SELFDESTRUCT", "RETURN", "REVERT", "INVALID"):
                self._end(way, name, args)
                return False
            self._effect(way, name, args)
            if pushes:
                stack.append(self._value(way, name, args))
        return True

    def _jump(self, way: _Way, args: list[Word]) -> bool:
        target, condition = args[0], args[1] if len(args) == 2 else 1
        if condition == 0:
            return True
        if isinstance(condition, Unknown):
            if self._often(way):
                return False
            if len(self.ways) < _WAYS:
                self.ways.append(way.fork(way.pc))
        if isinstance(target, Unknown) or not self._lands(target):
            return False
        way.pc = target
        return self._new(way)

    def _lands(self, target: int) -> bool:
        return target < len(self.code) and self.code[target] == 0x5B

    def _often(self, way: _Way) -> bool:
        """Whether this condition was met _VISITS times, called from the same places: a loop whose end is not known."""
        returns = tuple(word for word in way.stack if isinstance(word, int) and self._lands(word))
        self.visits[way.pc, returns] += 1
        return self.visits[way.pc, returns] > _VISITS

    def _new(self, way: _Way) -> bool:
        """Whether nothing stood here before with the same words on top of the stack."""
        top = tuple(word if isinstance(word, int) else None for word in way.stack[-32:])
        key = (way.pc, len(way.stack), top)
        new = key not in self.seen
        self.seen.add(key)
        return new

    def _end(self, way: _Way, name: str, args: list[Word]) -> None:
        if name in ("REVERT", "INVALID"):
            return
        copy = way.copied.get(args[0]) if name == "RETURN" else None
        length = args[-1] if args else 0
        fits = isinstance(length, int) and copy is not None and copy[1] <= length <= limits.CODE_BYTES
        if copy is None or isinstance(length, Unknown) or not fits or way.asked_calldata:
            self.other_success = True
        else:
            self.found.append(Deployed(*copy, appended=length - copy[1], arguments=None))

    def _effect(self, way: _Way, name: str, args: list[Word]) -> None:
        if name == "CODECOPY":
            self._copy(way, *args)
        elif name == "MSTORE" and isinstance(args[0], int) and len(way.memory) < _WORDS:
            way.memory[args[0]] = args[1]
        elif name.startswith("CALLDATA"):
            way.asked_calldata = True
        elif name in ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2"):
            way.called = True

    def _copy(self, way: _Way, to: Word, offset: Word, length: Word) -> None:
        if isinstance(offset, int) and isinstance(length, int):
            if 0 < offset < len(self.code) and length and len(way.copied) < _WORDS:
                way.copied[to] = (offset, length)
                self.copies.add((offset, length))
        elif isinstance(offset, int) and offset <= len(self.code):
            self.arguments = offset  # as many bytes as CODESIZE says are behind it
        if isinstance(to, int) and isinstance(length, int):
            for at in [at for at in way.memory if to - 32 < at < to + length]:
                del way.memory[at]

    def _value(self, way: _Way, name: str, args: list[Word]) -> Word:
        if name == "MLOAD" and isinstance(args[0], int) and len(way.memory) < _WORDS:
            return way.memory.setdefault(args[0], Unknown())
        if name in ("CALLDATASIZE", "CALLDATALOAD") or (name == "RETURNDATASIZE" and not way.called):
            return 0
        known = [word for word in args if isinstance(word, int)]
        if len(known) < len(args):
            return Unknown()
        if name in TWO:
            return TWO[name](*known)
        return ONE[name](*known) if name in ONE else Unknown()
