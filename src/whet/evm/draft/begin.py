"""Three-address code and what is known of its meaning, as a draft."""

from __future__ import annotations

from whet.evm import tac
from whet.evm.draft.effects import HALTS, MADE, PURE, STORED, effect_of
from whet.evm.draft.inline import live
from whet.evm.draft.nouns import Draft, DraftBlock, DraftEnd, Line, assigned
from whet.evm.meaning.base import END, FunctionMeaning, Place
from whet.evm.structure.graph import reverse_postorder
from whet.evm.terms import Do, Expression, Form, Group, Invoke, Name, Operation, Value, variables


def begin(function: tac.Function, meaning: FunctionMeaning) -> Draft:
    """The draft of a function: skipped branches go one way, unreachable blocks are gone, absorbed statements too
    unless they are still needed."""
    ends = {block.id: _end(block, meaning) for block in function.blocks.values()}
    reached = list(reverse_postorder({block: end.targets for block, end in ends.items()}))
    came: dict[str, set[str]] = {block: set() for block in reached}
    for name in reached:
        for target in ends[name].targets:
            came[target].add(name)
    draft = Draft(function.name, function.params, {}, list(function.notes))
    hidden: dict[str, list[tuple[int, Line]]] = {}
    for name in reached:
        block = function.blocks[name]
        phis: dict[str, dict[str, Expression]] = {
            p.result: {b: v for b, v in p.incoming.items() if b in came[name]} for p in block.phis
        }
        lines = [_line(name, number, s, meaning) for number, s in enumerate(block.statements)]
        hidden[name] = [(n, line) for n, line in enumerate(lines) if (name, n) in meaning.absorbed]
        shown = [line for n, line in enumerate(lines) if (name, n) not in meaning.absorbed]
        draft.blocks[name] = DraftBlock(name, phis, _one_by_one(shown), ends[name])
    if any(hidden.values()):
        _show_needed(draft, hidden, function, meaning)
    return draft


def _end(block: tac.Block, meaning: FunctionMeaning) -> DraftEnd:
    end = block.end
    target = meaning.skipped.get(block.id)
    if target is not None and target in end.targets:
        return DraftEnd("JUMP", (), (target,))
    form = meaning.forms.get((block.id, END))
    effect = effect_of(end.op) if end.op in ("RETURN", "REVERT") else PURE
    if isinstance(form, Value) and end.op in ("BRANCH", "SWITCH"):
        return DraftEnd(end.op, (form.expression,), end.targets, end.cases)
    if end.op == "BRANCH" and end.targets[0] == end.targets[1]:
        return DraftEnd("JUMP", (), end.targets[:1])
    return DraftEnd(end.op, end.args, end.targets, end.cases, end.function, end.why, form, effect)


def _line(block: str, number: int, statement: tac.Statement, meaning: FunctionMeaning) -> Line:
    form = meaning.forms.get((block, number)) or _plain(statement)
    effect = effect_of(statement.op)
    if isinstance(form, Value) and (form.pure or form.halts):
        effect = HALTS if form.halts else PURE
    elif isinstance(form, Value) and form.pure is False and effect.pure:
        effect = STORED  # a field of storage, shown where a mask cuts it out of a word that was read before
    elif isinstance(form, Value) and form.pure is False and statement.op in ("MLOAD", "KECCAK256"):
        effect = MADE  # an object, shown where the pointer to it was read, or where its bytes are hashed
    return Line(form, assigned(form, statement.results), effect)


def _one_by_one(lines: list[Line]) -> list[Line]:
    """`(a, b) = (x, y)` of what only computes as two lines, so that each can stand where it is used."""
    found: list[Line] = []
    for line in lines:
        value = line.form.expression if isinstance(line.form, Value) else None
        if line.effect.pure and isinstance(value, Group) and len(value.items) == len(line.results) > 1:
            parts = zip(line.results, value.items, strict=True)
            found += [Line(Value(item, pure=True), (result,), PURE) for result, item in parts]
        else:
            found.append(line)
    return found


def _plain(statement: tac.Statement) -> Form:
    expression: Invoke | Operation
    if statement.op == "CALLPRIVATE":
        expression = Invoke(Name(statement.function), statement.args)
    else:
        expression = Operation(statement.op, statement.args)
    return Value(expression) if statement.results else Do(expression)


def _show_needed(
    draft: Draft, hidden: dict[str, list[tuple[int, Line]]], function: tac.Function, meaning: FunctionMeaning
) -> None:
    """Absorbed statements whose results are still read, and that nothing else assigns, are shown all the same."""
    have = {result for block in draft.blocks.values() for line in block.lines for result in line.results}
    where = {r: (name, n, line) for name, lines in hidden.items() for n, line in lines for r in line.results}
    work = sorted(live(draft) - have)
    back: set[Place] = set()
    while work:
        name, number, line = where.get(work.pop(), ("", 0, None))
        if line is not None and (name, number) not in back:
            back.add((name, number))
            work += variables(line.form)
    for name in dict.fromkeys(block for block, _ in back):
        draft.blocks[name].lines = _one_by_one(
            [
                _line(name, number, statement, meaning)
                for number, statement in enumerate(function.blocks[name].statements)
                if (name, number) not in meaning.absorbed or (name, number) in back
            ]
        )
