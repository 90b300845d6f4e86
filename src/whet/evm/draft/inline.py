"""Values shown where they are used instead of in a line of their own, where nothing in between changes them."""

from __future__ import annotations

from whet.evm.draft.effects import PURE
from whet.evm.draft.nouns import Draft, DraftBlock, DraftEnd, Line, uses
from whet.evm.structure.graph import reverse_postorder
from whet.evm.terms import Do, Expression, Member, Name, Operation, Typed, Value, replaced, size, variables

LARGEST = 40
"""Words, variables and operations in one line at most."""

LOOK_BACK = 64
"""Lines that are looked at behind one another for a value."""


def drop_unused(draft: Draft) -> None:
    """Takes out lines and phis that only compute what nobody reads. Phis that only feed one another go too.

    What is done for its effect alone assigns nothing.
    """
    read = live(draft)
    for block in draft.blocks.values():
        block.phis = {name: incoming for name, incoming in block.phis.items() if name in read}
        block.lines = [line for line in block.lines if _stays(line) or read & set(line.results)]
        for line in block.lines:
            if isinstance(line.form, Value) and not read & set(line.results):
                line.form, line.results = Do(line.form.expression), ()


def _stays(line: Line) -> bool:
    return bool(line.effect.writes) or "halt" in line.effect.reads or not isinstance(line.form, Value)


def live(draft: Draft) -> set[str]:
    """Variables that something with an effect, or the end of a block, depends on."""
    needs: dict[str, list[str]] = {}
    work: list[str] = []
    for block in draft.blocks.values():
        work += [name for argument in _end_terms(block.end) for name in variables(argument)]
        for name, incoming in block.phis.items():
            needs[name] = [n for value in incoming.values() for n in variables(value)]
        for line in block.lines:
            names = list(variables(line.form))
            if _stays(line):
                work += names
            for result in line.results:
                needs[result] = names
    found: set[str] = set()
    while work:
        name = work.pop()
        if name not in found:
            found.add(name)
            work += needs.get(name, [])
    return found


def _end_terms(end: DraftEnd) -> list[Expression]:
    return list(end.args) if end.form is None else [end.form]  # type: ignore[list-item]


def drop_single_phis(draft: Draft) -> None:
    """A phi that has only one value, itself aside, is that value."""
    values: dict[str, Expression] = {}
    for block in draft.blocks.values():
        for name, incoming in list(block.phis.items()):
            different = [v for v in dict.fromkeys(incoming.values()) if v != name]
            if len(different) == 1:
                values[name] = different[0]
                del block.phis[name]
    if values:
        substitute(draft, resolved(values))


def resolved(values: dict[str, Expression]) -> dict[str, Expression]:
    """The same with variables that stand for other variables followed to the end."""
    found: dict[str, Expression] = {}
    for name, value in values.items():
        seen = {name}
        while isinstance(value, str) and value in values and value not in seen:
            seen.add(value)
            value = values[value]
        found[name] = value
    return found


def substitute(draft: Draft, values: dict[str, Expression]) -> None:
    """Replaces variables everywhere."""
    for block in draft.blocks.values():
        for line in block.lines:
            line.form = replaced(line.form, values)
        _substitute_end(block.end, values)
        for incoming in block.phis.values():
            for source, value in incoming.items():
                incoming[source] = replaced(value, values)


def _substitute_end(end: DraftEnd, values: dict[str, Expression]) -> None:
    end.args = tuple(replaced(argument, values) for argument in end.args)
    if end.form is not None:
        end.form = replaced(end.form, values)


def inline(draft: Draft) -> None:
    """First, in each block, values that depend on the machine; then, over all blocks, those that only compute."""
    counted = uses(draft)
    for block in draft.blocks.values():
        _inline_block(block, counted)
    _inline_pure(draft, counted)


def _inline_block(block: DraftBlock, counted: dict[str, int]) -> None:
    out: list[Line] = []
    for line in block.lines:
        absorb(line, out, counted)
        out.append(line)
    end = block.end
    terms = Line(
        Value(Operation("", end.args)) if end.form is None else end.form, (), end.effect, end.inlined
    )
    absorb(terms, out, counted)
    if end.form is not None:
        end.form = terms.form
    elif isinstance(terms.form, Value) and isinstance(terms.form.expression, Operation):
        end.args = terms.form.expression.args
    end.effect, end.inlined = terms.effect, terms.inlined
    block.lines = out


def absorb(line: Line, out: list[Line], counted: dict[str, int]) -> None:
    """Moves values from the lines before into `line`, the latest first."""
    wanted = {name for name in variables(line.form) if counted.get(name) == 1}
    between = PURE
    room = LARGEST - size(line.form)
    for place in range(len(out) - 1, max(-1, len(out) - 1 - LOOK_BACK), -1):
        if not wanted:
            return
        candidate = out[place]
        value = _single(candidate)
        if (
            value is not None
            and candidate.results[0] in wanted
            and size(value) <= room
            and candidate.effect.commutes(between | line.inlined)
        ):
            wanted.discard(candidate.results[0])
            room -= size(value)
            line.form = replaced(line.form, {candidate.results[0]: value})
            line.inlined |= candidate.effect
            line.effect |= candidate.effect
            del out[place]
        else:
            between |= candidate.effect


def _single(line: Line) -> Expression | None:
    if isinstance(line.form, Value) and len(line.results) == 1:
        return line.form.expression
    return None


def _inline_pure(draft: Draft, counted: dict[str, int]) -> None:
    values: dict[str, Expression] = {}
    for name in reverse_postorder(draft.successors()):
        block = draft.blocks[name]
        kept: list[Line] = []
        for line in block.lines:
            line.form = replaced(line.form, values)
            value = _single(line)
            if value is not None and line.effect.pure and _moves(line.results[0], value, counted):
                values[line.results[0]] = value
            else:
                kept.append(line)
        block.lines = kept
    if values:
        substitute(draft, values)


def _moves(name: str, value: Expression, counted: dict[str, int]) -> bool:
    return trivial(value) or (counted.get(name) == 1 and size(value) <= LARGEST // 2)


def trivial(value: Expression) -> bool:
    """As short as a variable's name, so that it is shown as often as it is used."""
    if isinstance(value, Typed):
        return trivial(value.value)
    if isinstance(value, Member):
        return isinstance(value.base, Name)
    return isinstance(value, int | str | Name) or (isinstance(value, Operation) and not value.args)
