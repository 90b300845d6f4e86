"""Symbolic words as expressions over the variables of one function, as far as they can be said there."""

from __future__ import annotations

from whet.evm.meaning.evidence import mask_type
from whet.evm.meaning.symbols import Node, Word, linear
from whet.evm.meaning.walk import Walk
from whet.evm.opcodes import PURE
from whet.evm.tac import WORD, Function
from whet.evm.terms import Expression, Name, Operation

_DEEPEST = 12


class Namer:
    """arguments: {offset in calldata: (name, type)} of the ABI's arguments that are one word."""

    def __init__(self, function: Function, walk: Walk, arguments: dict[int, tuple[str, str]]) -> None:
        self.function, self.walk, self.arguments = function, walk, arguments
        self.made: dict[str, tuple[str, int]] = dict.fromkeys(function.params, ("", -1))
        self.variables: dict[Node, list[str]] = {}
        for block in function.blocks.values():
            for phi in block.phis:
                self.made[phi.result] = (block.id, -1)
            for index, s in enumerate(block.statements):
                self.made |= dict.fromkeys(s.results, (block.id, index))
        for name, word in walk.words.items():
            if isinstance(word, Node):
                self.variables.setdefault(word, []).append(name)
        self.dominators = _dominators(function)

    def is_known(self, name: str, block: str, index: int) -> bool:
        """Whether the variable is assigned on every way to the statement."""
        made = self.made.get(name)
        if made is None:
            return False
        if made[0] == block:
            return index == -1 or made[1] < index
        return made[0] == "" or made[0] in self.dominators[block]

    def say(self, word: Word, block: str, index: int, depth: int = 0) -> Expression | None:
        """An expression for the word at a statement; None where it cannot be said there."""
        if isinstance(word, int):
            return word
        argument = self.argument(word)
        if argument is not None:
            return argument
        for name in self.variables.get(word, ()):
            if self.is_known(name, block, index):
                return name
        if depth == _DEEPEST:
            return None
        if word.op == "SUM":
            return self._sum(word, block, index, depth)
        if word.op not in PURE:
            return None
        parts = [self.say(arg, block, index, depth + 1) for arg in word.args]
        return None if None in parts else Operation(word.op, tuple(parts))  # type: ignore[arg-type]

    def argument(self, word: Node) -> Name | None:
        """The ABI's argument that the word is, cleaned or not."""
        mask = 0
        if word.op == "AND" and isinstance(word.args[0], int) and isinstance(word.args[1], Node):
            mask, word = word.args[0], word.args[1]
        if word.op != "CALLDATALOAD" or word.args[0] not in self.arguments:
            return None
        name, kind = self.arguments[word.args[0]]
        return Name(name) if not mask or mask_type(mask) == kind else None

    def _sum(self, word: Node, block: str, index: int, depth: int) -> Expression | None:
        constant, terms = linear(word)
        result: Expression | None = None
        for node, factor in sorted(terms, key=lambda term: term[1] > WORD >> 1):
            part = self.say(node, block, index, depth + 1)
            if part is None:
                return None
            minus = factor > WORD >> 1
            times = (1 << 256) - factor if minus else factor
            part = part if times == 1 else Operation("MUL", (part, times))
            if result is None:
                result = Operation("SUB", (0, part)) if minus else part
            else:
                result = Operation("SUB" if minus else "ADD", (result, part))
        if constant and result is not None:
            minus = constant > WORD >> 1
            amount = (1 << 256) - constant if minus else constant
            return Operation("SUB" if minus else "ADD", (result, amount))
        return result


def _dominators(function: Function) -> dict[str, frozenset[str]]:
    """{block: the blocks on every way to it, itself too}. Blocks stand in reverse postorder."""
    sources: dict[str, list[str]] = {id_: [] for id_ in function.blocks}
    for id_, block in function.blocks.items():
        for target in block.end.targets:
            sources[target].append(id_)
    known: dict[str, frozenset[str]] = {}
    changed = True
    while changed:
        changed = False
        for id_ in function.blocks:
            before = [known[s] for s in sources[id_] if s in known]
            now = frozenset.intersection(*before) | {id_} if before and id_ != "b0" else frozenset({id_})
            if known.get(id_) != now:
                known[id_] = now
                changed = True
    return known
