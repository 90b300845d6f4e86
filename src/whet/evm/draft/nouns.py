"""A function on its way to text: blocks whose statements are terms (`whet.evm.terms`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from whet.evm.draft.effects import PURE, Effect
from whet.evm.terms import Expression, Form, Value, variables


@dataclass(slots=True)
class Line:
    """One statement. results: the variables that it assigns, of a `Value`; nothing else assigns any.

    effect: of all of it. inlined: of the values that were moved into it, whose order the text does not say.
    """

    form: Form
    results: tuple[str, ...]
    effect: Effect
    inlined: Effect = PURE


@dataclass(slots=True)
class DraftEnd:
    """How a block ends: as `tac.End`, with expressions. form: what is shown of an exit instead."""

    op: str
    args: tuple[Expression, ...] = ()
    targets: tuple[str, ...] = ()
    cases: tuple[int, ...] = ()
    function: str = ""
    why: str = ""
    form: Form | None = None
    effect: Effect = PURE
    inlined: Effect = PURE


@dataclass(slots=True)
class DraftBlock:
    """phis: {variable: {block that control comes from: value}}."""

    id: str
    phis: dict[str, dict[str, Expression]]
    lines: list[Line]
    end: DraftEnd


@dataclass(slots=True)
class Draft:
    """A function. blocks: the first is where it begins."""

    name: str
    params: tuple[str, ...]
    blocks: dict[str, DraftBlock]
    notes: list[str] = field(default_factory=list)
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{variable: those of the three-address code that became it}, of variables that several became."""

    @property
    def first(self) -> str:
        return next(iter(self.blocks))

    def successors(self) -> dict[str, tuple[str, ...]]:
        return {block.id: block.end.targets for block in self.blocks.values()}

    def predecessors(self) -> dict[str, list[str]]:
        """{block: blocks that go there}, each once."""
        found: dict[str, list[str]] = {block: [] for block in self.blocks}
        for block in self.blocks.values():
            for target in dict.fromkeys(block.end.targets):
                found[target].append(block.id)
        return found


def used_by_end(end: DraftEnd) -> list[str]:
    """Variables that the end of a block reads."""
    if end.form is not None:
        return list(variables(end.form))
    return [name for argument in end.args for name in variables(argument)]


def uses(draft: Draft) -> dict[str, int]:
    """{variable: how often it stands anywhere}."""
    counted: dict[str, int] = {}
    for block in draft.blocks.values():
        names = used_by_end(block.end)
        for line in block.lines:
            names += variables(line.form)
        for incoming in block.phis.values():
            for value in incoming.values():
                names += variables(value)
        for name in names:
            counted[name] = counted.get(name, 0) + 1
    return counted


def assigned(form: Form, results: tuple[str, ...]) -> tuple[str, ...]:
    """The variables that a form assigns, where the statement's own are `results`."""
    if not isinstance(form, Value):
        return ()
    return results if form.results is None else form.results
