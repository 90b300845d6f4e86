"""Fewer blocks: chains of blocks become one, ends that say the same become one, `c ? x : y` needs no blocks."""

from __future__ import annotations

from whet.evm.draft.effects import PURE, Effect
from whet.evm.draft.inline import absorb, substitute
from whet.evm.draft.nouns import Draft, DraftBlock, DraftEnd, Line, uses
from whet.evm.structure.graph import reverse_postorder
from whet.evm.terms import Do, Expression, Operation, Value, replaced, size, variables

SMALL_EXIT = 3
"""Lines of a block that ends the function and may stand once for each way in."""

MOST_COPIES = 12
"""Ways in to an exit for which it is copied."""

LARGEST_CHOICE = 24
"""Words, variables and operations in `c ? x : y` at most."""


def join_chains(draft: Draft) -> None:
    """A block with one way in, from a block with one way on, becomes the end of that block."""
    predecessors = draft.predecessors()
    values: dict[str, Expression] = {}
    for name in list(draft.blocks):
        while name in draft.blocks and draft.blocks[name].end.op == "JUMP":
            block = draft.blocks[name]
            follow = draft.blocks[block.end.targets[0]]
            if predecessors[follow.id] != [name] or follow.id in (name, draft.first):
                break
            values |= {phi: incoming[name] for phi, incoming in follow.phis.items()}
            block.lines += follow.lines
            block.end = follow.end
            _renamed_source(draft, follow, name)
            for target in dict.fromkeys(follow.end.targets):
                predecessors[target] = [name if p == follow.id else p for p in predecessors[target]]
            del draft.blocks[follow.id]
    if values:
        substitute(draft, _followed(values))


def _followed(values: dict[str, Expression]) -> dict[str, Expression]:
    found: dict[str, Expression] = {}
    for name, value in values.items():
        while isinstance(value, str) and value in values:
            value = values[value]
        found[name] = replaced(value, values) if not isinstance(value, int | str) else value
    return found


def _renamed_source(draft: Draft, gone: DraftBlock, name: str) -> None:
    for target in dict.fromkeys(gone.end.targets):
        for incoming in draft.blocks[target].phis.values():
            if gone.id in incoming:
                incoming[name] = incoming.pop(gone.id)


def copy_exits(draft: Draft) -> None:
    """Small blocks that end the function and depend on where control came from stand once for each way in."""
    predecessors = draft.predecessors()
    for block in list(draft.blocks.values()):
        ways = predecessors[block.id]
        if block.end.targets or not block.phis or not 1 < len(ways) <= MOST_COPIES:
            continue
        if len(block.lines) <= SMALL_EXIT:
            for number, source in enumerate(ways):
                _copy(draft, block, source, f"{block.id}.{number}")
            del draft.blocks[block.id]


def _copy(draft: Draft, block: DraftBlock, source: str, name: str) -> None:
    values: dict[str, Expression] = {phi: incoming[source] for phi, incoming in block.phis.items()}
    values |= {r: f"{r}.{name}" for line in block.lines for r in line.results}
    lines = []
    for line in block.lines:
        results = tuple(f"{r}.{name}" for r in line.results)
        form = replaced(line.form, values)
        if isinstance(form, Value) and form.results is not None:
            form = Value(form.expression, results, form.pure)
        lines.append(Line(form, results, line.effect, line.inlined))
    end = block.end
    args = tuple(replaced(argument, values) for argument in end.args)
    form_of_end = None if end.form is None else replaced(end.form, values)
    copied = DraftEnd(end.op, args, (), (), end.function, end.why, form_of_end, end.effect, end.inlined)
    draft.blocks[name] = DraftBlock(name, {}, lines, copied)
    came = draft.blocks[source].end
    came.targets = tuple(name if target == block.id else target for target in came.targets)


def join_equal_exits(draft: Draft) -> None:
    """Ends of the function that say the same become one block, so that conditions for them can be joined."""
    first: dict[object, str] = {}
    instead: dict[str, str] = {}
    for block in draft.blocks.values():
        end = block.end
        if end.targets or block.phis or any(line.results for line in block.lines) or block.id == draft.first:
            continue
        said = (end.op, end.args, end.function, end.why, end.form, *(line.form for line in block.lines))
        same = first.setdefault(said, block.id)
        if same != block.id:
            instead[block.id] = same
    for block in draft.blocks.values():
        block.end.targets = tuple(instead.get(target, target) for target in block.end.targets)
        if block.end.op == "BRANCH" and block.end.targets[0] == block.end.targets[1]:
            block.end = DraftEnd("JUMP", (), block.end.targets[:1])
    for gone in instead:
        del draft.blocks[gone]


def copied_meeting(draft: Draft, name: str, ways: list[str], most_lines: int) -> Draft | None:
    """A draft in which a block where `ways` meet stands on each of them; None if it is too long or a way is a branch.

    For drafts without phis. Blocks are shared with the given draft but for those that change.
    """
    block = draft.blocks[name]
    straight = all(draft.blocks[way].end.op == "JUMP" for way in ways)
    if (
        block.end.op != "JUMP"
        or len(block.lines) > most_lines
        or len(ways) < 2
        or not straight
        or name in ways
    ):
        return None
    blocks = {other: draft.blocks[other] for other in draft.blocks if other != name}
    for way in ways:
        blocks[way] = DraftBlock(way, {}, blocks[way].lines + block.lines, block.end)
    return None if name == draft.first else Draft(draft.name, draft.params, blocks, draft.notes)


def choose(draft: Draft) -> bool:
    """Blocks that only decide between two values for one phi become `c && x`, `c || x` or `c ? x : y`.

    Says whether anything was changed; the chains that this leaves are for `join_chains`.
    """
    changed = False
    predecessors, counted = draft.predecessors(), uses(draft)
    for block in list(draft.blocks.values()):
        ways = predecessors[block.id]
        if len(ways) == 2 and len(block.phis) == 1 and block.id != draft.first:
            changed |= _choice(draft, block, ways, predecessors, counted)
    return changed


def _choice(
    draft: Draft,
    block: DraftBlock,
    ways: list[str],
    predecessors: dict[str, list[str]],
    counted: dict[str, int],
) -> bool:
    fork = _fork(draft, block, ways, predecessors)
    if fork is None:
        return False
    branch = draft.blocks[fork].end
    ((phi, incoming),) = block.phis.items()
    sides = [_side(draft, fork, target, block.id, incoming, counted) for target in branch.targets]
    if sides[0] is None or sides[1] is None:
        return False
    value = _chosen(branch.args[0], sides[0][0], sides[1][0])
    if size(value) > LARGEST_CHOICE or phi in variables(value):
        return False
    for arm in branch.targets:
        if arm != block.id:
            del draft.blocks[arm]
    draft.blocks[fork].end = DraftEnd("JUMP", (), (block.id,))
    block.phis = {}
    predecessors[block.id] = [fork]
    effect = branch.effect | sides[0][1] | sides[1][1]
    block.lines.insert(0, Line(Value(value), (phi,), effect, effect))
    return True


def _fork(draft: Draft, block: DraftBlock, ways: list[str], predecessors: dict[str, list[str]]) -> str | None:
    """The block that decides which of two ways leads to `block`, with nothing but one block on each."""
    for fork in [*ways, *(p for way in ways for p in predecessors[way])]:
        end = draft.blocks[fork].end if fork in draft.blocks else None
        if end is None or end.op != "BRANCH" or fork == block.id:
            continue
        arms = [target for target in end.targets if target != block.id]
        arrived = {fork if target == block.id else target for target in end.targets}
        if arrived == set(ways) and all(
            _between(draft.blocks[a], fork, block.id, predecessors) for a in arms
        ):
            return fork
    return None


def _between(arm: DraftBlock, fork: str, target: str, predecessors: dict[str, list[str]]) -> bool:
    return arm.end.op == "JUMP" and arm.end.targets == (target,) and predecessors[arm.id] == [fork]


def _side(
    draft: Draft, fork: str, arm: str, target: str, incoming: dict[str, Expression], counted: dict[str, int]
) -> tuple[Expression, Effect] | None:
    """What the phi becomes on one way, if that way does nothing but compute it."""
    if arm == target:
        return incoming[fork], PURE
    block = draft.blocks[arm]
    line, rest = Line(Value(incoming[arm]), (), PURE), list(block.lines)
    if block.phis or any(other.effect.writes for other in rest):
        return None
    absorb(line, rest, counted)
    if rest or not isinstance(line.form, Value):
        return None
    return line.form.expression, line.effect


def _chosen(condition: Expression, held: Expression, failed: Expression) -> Expression:
    """`condition ? held : failed`, shorter where the values allow it."""
    if isinstance(condition, Operation) and condition.op == "ISZERO":
        return _chosen(condition.args[0], failed, held)
    opposite = Operation("ISZERO", (condition,))
    if failed == Operation("ISZERO", (opposite,)):
        failed = 0
    if held == opposite:
        held = 0
    if failed == condition or (failed == 0 and isinstance(failed, int)):
        return Operation("&&", (condition, held))
    if held == condition or (held == 1 and boolean(condition)):
        return Operation("||", (condition, failed))
    if held == 0:
        return Operation("&&", (opposite, failed))
    if failed == 1:
        return Operation("||", (opposite, held))
    return Operation("?:", (condition, held, failed))


_BOOLEAN = frozenset({"LT", "GT", "SLT", "SGT", "EQ", "ISZERO", "!"})


def boolean(value: Expression) -> bool:
    """Whether a value is surely 0 or 1."""
    if isinstance(value, int):
        return value in (0, 1)
    if not isinstance(value, Operation):
        return False
    if value.op in ("&&", "||"):
        return all(boolean(argument) for argument in value.args)
    return value.op in _BOOLEAN


def drop_empty_branches(draft: Draft) -> None:
    """A branch whose two ways do nothing before they meet is none; what its condition does besides stays."""
    changed = True
    while changed:
        changed = False
        for block in draft.blocks.values():
            end = block.end
            if end.op != "BRANCH":
                continue
            ways = {_through(draft, target) for target in end.targets}
            if len(ways) == 1:
                if end.effect.writes or "halt" in end.effect.reads:
                    block.lines.append(Line(Do(end.args[0]), (), end.effect, end.inlined))
                block.end = DraftEnd("JUMP", (), (ways.pop(),))
                changed = True
    kept = set(reverse_postorder(draft.successors()))
    draft.blocks = {name: block for name, block in draft.blocks.items() if name in kept}


def _through(draft: Draft, name: str) -> str:
    """The first block from here that does anything."""
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        block = draft.blocks[name]
        if block.lines or block.phis or block.end.op != "JUMP":
            break
        name = block.end.targets[0]
    return name
