"""Control flow that no tree says: blocks as rows of a machine, `place` says which is next."""

from __future__ import annotations

from collections.abc import Mapping

from whet.evm.draft.nouns import DraftBlock, DraftEnd
from whet.evm.solidity.heads import Heads, chain, switch
from whet.evm.solidity.lines import Line, Nest, Node
from whet.evm.solidity.types import WORD_TYPE

_PLACE = "place"


class Machine(Heads):
    """For trees with labels."""

    def machine(self) -> None:
        numbers = {name: number for number, name in enumerate(self.blocks)}
        self.context.types[_PLACE] = WORD_TYPE
        mentions = frozenset({_PLACE})
        rows = [
            (f"{_PLACE} == {numbers[name]}", self._row(block, numbers)) for name, block in self.blocks.items()
        ]
        self.out.append(Line(f"{_PLACE} = 0;", (_PLACE,)))
        self.out.append(Nest([("while (true)", [chain(rows, mentions)])], mentions=mentions))

    def _row(self, block: DraftBlock, numbers: Mapping[str, int]) -> list[Node]:
        def write() -> None:
            self.block(block)
            self._go_on(block.end, numbers)

        return self.aside(write)[1]

    def _go_on(self, end: DraftEnd, numbers: Mapping[str, int]) -> None:
        places = [numbers[target] for target in end.targets]
        if not places:
            self.counted(lambda: self.exit(end))
        elif end.op == "BRANCH":
            condition = self.condition(end.args[0])
            held, failed = places
            text = f"{_PLACE} = {condition.text} ? {held} : {failed};"
            self.out.append(Line(text, (_PLACE,), condition.mentions))
        elif end.op == "SWITCH":
            subject = self.kept(self.sol(end.args[0], WORD_TYPE))
            cases: list[tuple[int, list[Node]]] = [
                (case, [_go_to(place)]) for case, place in zip(end.cases, places, strict=True)
            ]
            self.out.append(switch(subject, cases))
        else:
            self.out.append(_go_to(places[0]))


def _go_to(place: int) -> Line:
    return Line(f"{_PLACE} = {place};", (_PLACE,))
