"""Branches that no input takes: three-address code walked with intervals for its variables, private calls by what they
are given.

A private function that is shared between callers has branches that only some of them can take, and compilers check again
what was checked before; such branches are no fault of the calls that do not take them. Pure values that are computed
twice are known to be equal, and so are what a private function gives back unchanged, arguments that are the same word,
and what is read twice from storage or memory (`whet.evm.verify.shapes`); conditions on the way hold
(`whet.evm.verify.intervals`), also of which of two words is less (`whet.evm.verify.orders`). Left out: other relations
between two words, what storage and memory hold to begin with. Cost: `STEPS` statements at most; behind that every branch
counts as possible.

Of code as it stands on a chain, constants are what its immutables are, too. Then it is known what calls of address 0 give, and
whether a function can succeed at all.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from whet.evm.replay.run import reachable
from whet.evm.tac import WORD, Block, Contract, End, Function, Operand, Statement
from whet.evm.verify.branches import FORKS, Place, branches
from whet.evm.verify.intervals import (
    ANY,
    ENVIRONMENT,
    SIZE,
    Interval,
    compared,
    hull,
    is_of_nobody,
    meet,
    result_of,
    without,
)
from whet.evm.verify.orders import Env, joined
from whet.evm.verify.reads import CALLS, held_at
from whet.evm.verify.shapes import WHO, Shapes
from whet.evm.words import ADDRESS

STEPS = 60_000
"""Statements, of one public function with all it calls."""
DEPTH = 30
"""Private calls within one another."""
VISITS = 3
"""Of a block in one walk, after which what still changes is any word."""
OF_ITSELF: dict[str, Interval] = {"EQ": (1, 1)} | dict.fromkeys(
    ("LT", "GT", "SLT", "SGT", "SUB", "XOR"), (0, 0)
)
"""What an instruction gives of two equal words."""
GOOD_ENDS = ("RETURN", "STOP", "SELFDESTRUCT")
"""Of a block: those that are no revert."""
ANSWERED = CALLS | {"STATICCALL"}
"""What sets `RETURNED` anew."""
RETURNED = "RETURNDATASIZE"
FIXED = ("CALLDATASIZE", "CALLVALUE", RETURNED)
"""What a call is checked for before, and again in its functions."""

Names = tuple[str | int, ...]
"""Of each argument: the instruction that gives it, or the index of the first one that is the same word."""


class OutOfWork(Exception):
    """The budget is spent."""


def entries(contract: Contract, shapes: Shapes | None = None) -> dict[str, Env]:
    """{function: what the dispatcher has found out before it goes over to it}. shapes: of the contract, if at hand."""
    walker = _Walker(contract, shapes)
    walker.entered = {}
    with suppress(OutOfWork):
        walker.call(contract.entry, (), (), Env(), 0)
        return walker.entered
    return {}


class Ways(NamedTuple):
    """Of a public function. branches: of `branches(contract, function)` those that the walk does not show to be impossible;
    ends: whether some way comes to an end that is no revert."""

    branches: set[Place]
    ends: bool


def possible(
    contract: Contract,
    function: str | None,
    known: Env | None = None,
    shapes: Shapes | None = None,
    *,
    deployed: bool = False,
) -> Ways:
    """known: of `entries`; shapes: of the contract, if at hand; deployed: the code is as it stands on a chain."""
    everything = branches(contract, function)
    if function is None:
        return Ways(everything, ends=False)
    walker = _Walker(contract, shapes, deployed=deployed)
    start = contract.functions[function]
    try:
        walker.call(
            start, tuple(ANY for _ in start.params), tuple(range(len(start.params))), known or Env(), 0
        )
    except OutOfWork:
        walker.visited = walker.left = reachable(contract, function)
    left = walker.left if deployed else reachable(contract, function)
    return Ways(everything & walker.visited, has_good_end(contract, left))


def has_good_end(contract: Contract, places: set[Place]) -> bool:
    """Whether one of the blocks ends in what is no revert."""
    return any(contract.functions[name].blocks[block].end.op in GOOD_ENDS for name, block in places)


class _Walker:
    """A walk of one function with all it calls."""

    def __init__(self, contract: Contract, shapes: Shapes | None, *, deployed: bool = False) -> None:
        self.contract, self.deployed = contract, deployed
        self.visited: set[Place] = set()
        self.left: set[Place] = set()
        """Of them those to whose end control comes."""
        self.steps = STEPS
        self.shapes = shapes or Shapes(contract)
        self.known: dict[object, list[Interval] | None] = {}
        self.entered: dict[str, Env] | None = None
        """Where it is not None: what is known where the dispatcher goes over to a function, which is not walked then."""
        self.under_way: set[str] = set()

    def call(
        self,
        function: Function,
        args: tuple[Interval, ...],
        names: Names,
        around: Env,
        depth: int,
        held: tuple[Interval, ...] = (),
    ) -> list[Interval] | None:
        """What it gives back, behind that what its parameters are known to be where it does, and behind that the words that
        memory holds where what it gives points to; None where it never does.
        around: what is known of the call (`FIXED`); held: of each argument the word that memory holds there."""
        key = (function.name, args, names, held, *around.items())
        if key in self.known:
            return self.known[key]
        if function.name in self.under_way or depth > DEPTH:
            self.visited |= (inside := reachable(self.contract, function.name))
            self.left |= inside
            return [ANY] * (function.returns or 0) + list(args)
        self.under_way.add(function.name)
        self.known[key] = _Walk(self, function, names, depth).run(args, around, held)
        self.under_way.remove(function.name)
        return self.known[key]


def _around(env: Env) -> Env:
    return Env({name: env[name] for name in FIXED if name in env})


class _Walk:
    """One function, given intervals for its parameters, and which of them are the same word."""

    def __init__(self, walker: _Walker, function: Function, names: Names, depth: int) -> None:
        self.walker, self.function, self.depth = walker, function, depth
        self.shape = walker.shapes.of(function)
        self.names = {
            param: name if isinstance(name, str) else function.params[name]
            for param, name in zip(function.params, names, strict=False)
        }
        for made in self.shape.made.values():
            if made.op == "AND" and ADDRESS in made.args:
                self.names |= {
                    self._name(made.results[0]): who for who in map(self._of, made.args) if who in WHO
                }
        self.before: dict[str, Env] = {}
        self.visits: dict[str, int] = {}
        self.returned: list[Interval] | None = None
        """As `_Walker.call` gives it."""

    def run(
        self, args: tuple[Interval, ...], around: Env, held: tuple[Interval, ...]
    ) -> list[Interval] | None:
        self.before["b0"] = around.fork()
        self.before["b0"] |= {
            held_at(param): found for param, found in zip(self.function.params, held, strict=False)
        }
        self.before["b0"] |= {
            self._name(param): found for param, found in zip(self.function.params, args, strict=False)
        }
        order = {id_: i for i, id_ in enumerate(self.function.blocks)}
        todo = {"b0"}
        while todo:
            id_ = min(todo, key=order.__getitem__)
            todo.remove(id_)
            todo |= self._block(self.function.blocks[id_])
        return self.returned

    def _block(self, block: Block) -> set[str]:
        """Blocks that have to be looked at, again or for the first time."""
        walker = self.walker
        walker.visited.add((self.function.name, block.id))
        walker.steps -= 1 + len(block.statements)
        if walker.steps < 0:
            raise OutOfWork
        env = self.before[block.id].fork()
        for statement in block.statements:
            if not self._statement(statement, env):
                return set()
        return {target for target in self._leave(block, env) if target}

    def _statement(self, statement: Statement, env: Env) -> bool:
        """False where control does not come back."""
        args = tuple(self.value(arg, env) for arg in statement.args)
        if statement.op == "CALLPRIVATE":
            callee = self.walker.contract.functions[statement.function]
            names = self._passed(statement.args)
            held = self._held(statement, env)
            given = self.walker.call(callee, args, names, _around(env), self.depth + 1, held)
            if given is None:
                return False
            for word, found in zip((*statement.results, *statement.args), given, strict=False):
                if isinstance(word, str):
                    env.forget([word] if word in statement.results else ())
                    env[self._name(word)] = meet(self.value(word, env), found) or found
            env |= {held_at(result): ANY for result in statement.results}
            behind = given[len(statement.results) + len(args) :]
            env |= {held_at(result): found for result, found in zip(statement.results, behind, strict=False)}
            env[RETURNED] = SIZE
        elif statement.results:
            name = self._name(statement.results[0])
            found = self._told(statement.op, list(args), env) or result_of(statement.op, list(args))
            if statement.op in OF_ITSELF and len({self._of(arg) for arg in statement.args}) == 1:
                found = OF_ITSELF[statement.op]
            if self._never_wraps(statement, env):
                found = (0, 0)
            found = self._ordered(statement, env) or found
            env[name] = meet(env.get(name, ANY), found) or found
            self._order(statement, env)
        return True

    def _told(self, op: str, args: list[Interval], env: Env) -> Interval | None:
        """What a call of address 0 gives, and is known behind it."""
        if not self.walker.deployed:
            return None
        nobody = op in ANSWERED and is_of_nobody(op, args)
        if op in ANSWERED:
            env[RETURNED] = (0, 0) if nobody else SIZE
        if op == RETURNED:
            return env.get(RETURNED, SIZE)
        return (1, 1) if nobody else (0, 0) if op == "EXTCODESIZE" and args == [(0, 0)] else None

    def _held(self, at: Statement | End, env: Env) -> tuple[Interval, ...]:
        """Of each argument the word that memory holds where it points to."""
        known = self.shape.held.get(id(at), ())
        return tuple(ANY if word is None else self.value(word, env) for word in known)

    def _ordered(self, statement: Statement, env: Env) -> Interval | None:
        """What a comparison gives by what is known of the order of its operands."""
        if statement.op not in ("LT", "GT"):
            return None
        small, large = statement.args if statement.op == "LT" else statement.args[::-1]
        known = env.less(self._of(small), self._of(large))
        return None if known is None else (int(known), int(known))

    def _order(self, statement: Statement, env: Env) -> None:
        """What follows of the order of a word and one that differs by a constant."""
        name, made = self._name(statement.results[0]), self.shape.stepped(statement)
        env.forget([name])
        if made is None:
            return
        word, step = self._of(made[0]), made[1]
        if step < 0 and self.value(made[0], env)[0] >= -step:
            env.note(name, word, strict=True)
        elif step == 1:
            for bound in env.above(word):
                env.note(word, name, strict=True)
                env.note(name, bound, strict=False)

    def _never_wraps(self, statement: Statement, env: Env) -> bool:
        """Whether it asks if a sum is less than one of its parts, and the sum is too small to wrap."""
        if statement.op not in ("LT", "GT"):
            return False
        total, part = statement.args if statement.op == "LT" else statement.args[::-1]
        made = self.shape.made.get(str(total))
        if made is None or made.op != "ADD" or self._of(part) not in map(self._of, made.args):
            return False
        return sum(self.value(arg, env)[1] for arg in made.args) <= WORD

    def _name(self, variable: str) -> str:
        name = self.shape.same.get(variable, variable)
        return self.names.get(name, name)

    def _of(self, operand: Operand) -> Operand:
        return self._name(operand) if isinstance(operand, str) else operand

    def _passed(self, args: tuple[Operand, ...]) -> Names:
        """Which arguments of a private call are the same word."""
        named = [self._of(arg) for arg in args]
        return tuple(name if name in ENVIRONMENT else named.index(name) for name in named)

    def value(self, operand: Operand, env: Env) -> Interval:
        operand = self.shape.numbers.get(operand, operand) if isinstance(operand, str) else operand
        if isinstance(operand, int):
            return operand, operand
        return env.get(self._name(operand), ANY)

    def _leave(self, block: Block, env: Env) -> list[str]:
        end = block.end
        self.walker.left.add((self.function.name, block.id))
        if end.op == "RETURNPRIVATE":
            given = [self.value(arg, env) for arg in (*end.args, *self.function.params)]
            given += self._held(end, env)
            old = self.returned
            self.returned = given if old is None else [hull(a, b) for a, b in zip(old, given, strict=True)]
        if end.op == "BRANCH":
            ways = zip(end.targets, (True, False), strict=True)
            return [self._enter(block, to, self._given(end.args[0], holds, env.fork())) for to, holds in ways]
        if end.op in FORKS:
            low, high = self.value(end.args[0], env)
            pairs = zip(end.cases, end.targets, strict=True)
            return [self._enter(block, to, env.fork()) for case, to in pairs if low <= case <= high]
        if end.op == "ENTER":
            callee = self.walker.contract.functions[end.function]
            args = tuple(self.value(arg, env) for arg in end.args)
            entered = self.walker.entered
            if entered is None:
                self.walker.call(callee, args, self._passed(end.args), _around(env), self.depth + 1)
            elif end.function in entered:
                entered[end.function] = joined(entered[end.function], _around(env))
            else:
                entered[end.function] = _around(env)
        return [self._enter(block, target, env.fork()) for target in end.targets]

    def _enter(self, source: Block, target: str, env: Env | None) -> str:
        """Over to that block; "" where this way is impossible or brings nothing new."""
        if env is None:
            return ""
        phis = self.function.blocks[target].phis
        env |= {phi.result: self.value(phi.incoming[source.id], env) for phi in phis}
        env.forget(phi.result for phi in phis)
        old = self.before.get(target)
        if old is None:
            self.before[target] = env
            return target
        both = joined(old, env)
        if both == old and both.orders == old.orders:
            return ""
        self.visits[target] = self.visits.get(target, 0) + 1
        if self.visits[target] > VISITS:
            both = Env({name: found for name, found in both.items() if found == old.get(name)}, both.orders)
        self.before[target] = both
        return target

    # What holds on one way out of a condition.

    def _given(self, operand: Operand, holds: bool, env: Env) -> Env | None:
        """The environment where the operand is not 0 (or is 0); None where it cannot be."""
        todo: list[tuple[Operand, bool]] = [(operand, holds)]
        while todo:
            operand, holds = todo.pop()
            found = self.value(operand, env)
            now = without(found, 0) if holds else meet(found, (0, 0))
            if now is None:
                return None
            if isinstance(operand, int):
                continue
            env[self._name(operand)] = now
            made = self.shape.made.get(operand)
            if made is None:
                continue
            more = self._implied(made, holds, env)
            if more is None:
                return None
            todo += more
        return env

    def _implied(self, made: Statement, holds: bool, env: Env) -> list[tuple[Operand, bool]] | None:
        """Further operands that are (not) 0, as the statement's result is; operands of comparisons are narrowed at once.
        None where that is impossible."""
        op, args = made.op, made.args
        if op == "ISZERO":
            return [(args[0], not holds)]
        if op == "AND":
            return self._masked(args, holds, env)
        if op in ("OR", "ADD") and not holds:
            return [(arg, False) for arg in args] if op == "OR" else []
        if op in ("SUB", "XOR"):
            op, holds = "EQ", not holds
        if op in ("GT", "SGT"):
            op, args = {"GT": "LT", "SGT": "SLT"}[op], args[::-1]
        a, b = (self.value(arg, env) for arg in args[:2]) if len(args) >= 2 else (ANY, ANY)
        if op == "SLT" and max(a[1], b[1]) < 1 << 255:
            op = "LT"
        if op not in ("EQ", "LT"):
            return []
        if op == "LT":
            pair = [self._of(arg) for arg in args]
            env.note(*(pair if holds else pair[::-1]), strict=holds)
        for arg, found in zip(args, compared(op, holds, a, b), strict=True):
            if found is None:
                return None
            if isinstance(arg, str):
                env[self._name(arg)] = found
        return []

    def _masked(self, args: tuple[Operand, ...], holds: bool, env: Env) -> list[tuple[Operand, bool]]:
        """Both parts of an AND that is not 0 are not 0; one that is 0 is so itself where the other masks nothing off."""
        if holds:
            return [(arg, True) for arg in args]
        for arg, mask in (args, args[::-1]):
            if isinstance(mask, int) and mask & (mask + 1) == 0 and self.value(arg, env)[1] <= mask:
                return [(arg, False)]
        return []
