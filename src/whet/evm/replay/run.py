"""Differential replay of one contract: its TAC in the interpreter, its bytecode in revm, the same calls on both.

Every call starts from the same state (accounts, storage, mocks), carried on from earlier calls that succeeded. Compared
after each call: status, return or revert data, ordered logs (outgoing calls are among them, see `mocks`), storage,
transient storage, balances, nonces, destroyed accounts. Not compared: gas. A call that our budget of statements cuts,
or that differs where gas was nearly spent or is read, is inconclusive: counted apart, with its reason, never as agreeing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from whet.errors import WhetError
from whet.evm.interpret import Block, OutOfSteps, Result, Transaction, run
from whet.evm.keccak import keccak256
from whet.evm.program import Malformed, Unresolved
from whet.evm.replay.cases import BALANCE, MOST_WEI, Case, Tried
from whet.evm.replay.compare import Difference, compare
from whet.evm.replay.mocks import (
    INSIDE,
    MOCKS,
    TARGET,
    calling_code,
    people_and_mocks,
    self_calling_code,
)
from whet.evm.replay.reference import Outcome, precompile, run_reference
from whet.evm.replay.search import Search
from whet.evm.replay.vectors import Method, constants, well_formed
from whet.evm.tac import Contract
from whet.evm.world import Account, MissingCode, World

State = dict[int, Account]
STEPS = 200_000
"""Statements of one call; about a tenth of a second."""
ENOUGH_CALLS = 10
"""Calls of a function past the decoding of its arguments, below which its agreement says little."""
STATES_KEPT = 12
MOST_SLOTS = 200
"""Of a state that is kept: every call that starts from it copies them."""
GAS_NEARLY_SPENT = 500_000
GAS_USED_MUCH = 25_000_000
DEEP = 40
"""Private calls within one another: the EVM's 1,024 words may not hold them, if each has 25."""
DISAGREEMENTS_KEPT = 3
SHRINK_TRIES = 60


@dataclass(slots=True)
class Disagreement:
    """cause: what kind ("storage", "unresolved", ...); text: the values; case: the smallest call found that shows it.

    state: the accounts that it starts from; history: the calls that led there from the first state.
    """

    cause: str
    text: str
    case: Case
    state: State
    history: tuple[Case, ...]


@dataclass(slots=True)
class MethodReport:
    """Calls of one method: `compared` went through both sides; `passed` of them got past decoding of arguments."""

    method: Method
    calls: int = 0
    compared: int = 0
    passed: int = 0
    succeeded: int = 0
    differing: int = 0
    inconclusive: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """No call differed, some were compared, and none showed how much gas was left (of which ours is rough)."""
        return not self.differing and self.compared > 0 and not self.inconclusive["reads gas"]


@dataclass(slots=True)
class Report:
    """A contract's replay. blocks: how many (function, block) of its TAC were executed, of how many reachable ones."""

    methods: list[MethodReport]
    visited: set[tuple[str, str]]
    reachable: set[tuple[str, str]]


class Replay:
    """A contract under test, and the states it has been brought into.

    code: its runtime bytecode, for revm only. lift: for the mocks and whatever else has code. others: {address: code}
    of accounts that it needs, its libraries.
    """

    def __init__(
        self,
        contract: Contract,
        code: bytes,
        lift: Callable[[bytes], Contract],
        seed: int = 0,
        steps: int = STEPS,
        others: dict[int, bytes] | None = None,
    ) -> None:
        self.contract, self.code, self.lift, self.steps = contract, code, lift, steps
        self.rng = Random(seed)
        target = Account(10**20, 1, b"", {}, contract, int.from_bytes(keccak256(code), "big"))
        more = {address: Account(nonce=1, code=text) for address, text in (others or {}).items()}
        self.states: list[State] = [{**more, **people_and_mocks(), TARGET: target}]
        self.histories: list[tuple[Case, ...]] = [()]
        """Of each state: the calls that led to it."""
        self.mined = constants(contract)
        self.gas_readers = frozenset(reads_gas(contract))
        self.visited: set[tuple[str, str]] = set()
        self.programs: dict[bytes | int, object] = {}
        """Decoded code (see `World.programs`), for all calls."""
        self.agreed: list[tuple[Case, State, set[tuple[int, str, str]], Outcome]] = []
        """Calls without a difference: where each started, what of the TAC it executed, what revm did."""

    def run(self, methods: list[Method], calls: int, rounds: int = 2) -> Report:
        """`calls` calls of each method, up to twice as many where most revert.

        In rounds, so that later calls find states that others left.
        """
        reports = [MethodReport(method) for method in methods]
        searches = [Search(method, self.rng, self.mined, 1) for method in methods]
        for _ in range(rounds):
            for report, search in zip(reports, searches, strict=True):
                search.states = len(self.states)
                for _ in range(calls // rounds):
                    self.one(report, search)
        for report, search in zip(reports, searches, strict=True):
            self._top_up(report, search, calls)
        return Report(reports, self.visited, reachable(self.contract))

    def _top_up(self, report: MethodReport, search: Search, calls: int) -> None:
        """Up to as many calls again where fewer than half succeeded (those that revert early show little), or too few
        got past decoding."""
        for _ in range(calls if report.method.selector is not None else 0):
            if 2 * report.succeeded >= report.compared and report.passed >= ENOUGH_CALLS:
                return
            self.one(report, search)

    def one(self, report: MethodReport, search: Search) -> None:
        """The next call of the search, counted in the report."""
        case = self.proposed(search.next())
        report.calls += 1
        tried, differences, reason = self.attempt(case)
        if tried:
            search.learn(tried)
        if reason:
            report.inconclusive[reason] += 1
            return
        report.compared += 1
        report.passed += self._passed(report.method, case, tried)
        report.succeeded += tried is not None and tried.result.status == "success"
        if differences:
            report.differing += 1
            if len(report.disagreements) < DISAGREEMENTS_KEPT:
                report.disagreements.append(self._smallest(case, differences))

    def proposed(self, case: Case) -> Case:
        """The case as it is going to be run."""
        return case

    def _passed(self, method: Method, case: Case, tried: Tried | None) -> bool:
        if tried and tried.result.status == "success":
            return True
        if case.value and not method.payable:
            return False
        return case.plain or well_formed(method, case.data)

    def world(self, case: Case, state: State | None = None) -> World:
        """The accounts as they are before the call; a copy."""
        state = self.states[case.state] if state is None else state
        accounts = {
            address: replace(account, storage=dict(account.storage)) for address, account in state.items()
        }
        for (address, slot), value in case.slots.items():
            if address in accounts and slot == BALANCE:
                accounts[address].balance = value
            elif address in accounts:
                accounts[address].storage[slot] = value
        if case.caller in MOCKS:
            accounts[case.caller].code = calling_code(case.caller)
        if case.caller == TARGET:
            target = accounts[TARGET]
            accounts[INSIDE] = replace(target, balance=0, storage={})
            accounts[TARGET] = replace(target, code=self_calling_code(), contract=None)
        payer = transaction(case)[0].caller
        paying = accounts.get(payer, Account())
        if paying.has_code or paying.balance < case.value:  # whoever calls is a person, and has the wei
            accounts[payer] = replace(paying, code=b"", contract=None, balance=MOST_WEI)
        world = World(accounts, self.lift, precompile)
        world.programs = self.programs
        return world

    def attempt(self, case: Case, keep: bool = True) -> tuple[Tried | None, list[Difference], str]:
        """One call on both sides: what the interpreter did, the differences, or why there is no verdict."""
        world = self.world(case)
        tx, block = transaction(case)
        before = self.world(case)
        try:
            result = run(None, world, tx, block, self.steps)
        except OutOfSteps:
            return None, [], "steps"
        except (Unresolved, Malformed, MissingCode, WhetError) as error:
            return None, [Difference(_cause(error), str(error))], ""
        outcome = run_reference(before, {TARGET: self.code}, tx, block)
        result.reads = unread(outcome, result, before) | result.reads
        differences = compare(result, world, outcome)
        self.visited |= {(function, name) for where, function, name in result.visited if where == TARGET}
        if differences and (reason := self._undecided(result, outcome)):
            return Tried(case, result), [], reason
        if keep and not differences:
            self.agreed.append((case, self.states[case.state], result.visited, outcome))
            if result.status == "success" and result.storage:
                self._keep(case, world)
        return Tried(case, result), differences, ""

    def notices(self, wrong: Contract, place: tuple[str, str]) -> bool:
        """Whether the calls that agreed so far show that `wrong`, changed in that (function, block), is not the same."""
        for case, state, visited, outcome in self.agreed:
            if (TARGET, *place) not in visited:
                continue
            world = self.world(case, state)
            world.accounts[TARGET].contract, world.programs = wrong, dict(self.programs)
            try:
                result = run(None, world, *transaction(case), 4 * self.steps)
            except WhetError:
                return True
            if compare(result, world, outcome):
                return True
        return False

    def _undecided(self, result: Result, outcome: Outcome) -> str:
        """Why gas or the depth of the stack, ours being rough, may have made the difference; "" if they did not."""
        if any(where == TARGET and function in self.gas_readers for where, function, _ in result.visited):
            return "reads gas"
        if outcome.why == "StackOverflow" and result.private_depth > DEEP:
            return "stack"
        spent = outcome.gas_used > GAS_USED_MUCH and outcome.status != "halt"
        short = spent or "OutOfGas" in outcome.why or result.lowest_gas < GAS_NEARLY_SPENT
        return "gas" if short else ""

    def _keep(self, case: Case, world: World) -> None:
        """The state after the case becomes one that later calls start from."""
        if len(world.account(TARGET).storage) > MOST_SLOTS or INSIDE in world.accounts:
            return
        history = (*self.histories[case.state], case)
        if len(self.states) < STATES_KEPT:
            self.states.append(world.accounts)
            self.histories.append(history)
        elif self.rng.random() < 0.2:
            at = self.rng.randrange(1, STATES_KEPT)
            self.states[at], self.histories[at] = world.accounts, history

    def _smallest(self, case: Case, differences: list[Difference]) -> Disagreement:
        """Greedily: from the first state, fewer seeded slots, no wei, zeros for words, as long as it still differs."""
        cause = differences[0].what
        best, found = self._pinned(case), differences
        for _, candidate in zip(range(SHRINK_TRIES), _smaller(best), strict=False):
            smaller = candidate(best)
            _, now, _ = self.attempt(smaller, keep=False)
            if now and now[0].what == cause:
                best, found = smaller, now
        text = "; ".join(d.text for d in found[:4])
        return Disagreement(cause, text, best, self.states[best.state], self.histories[best.state])

    def _pinned(self, case: Case) -> Case:
        """The same case from the first state, where that is the same: its target's storage becomes seeded slots."""
        storage = self.states[case.state][TARGET].storage
        slots = {(TARGET, slot): value for slot, value in storage.items()} | case.slots
        pinned = replace(case, state=0, slots=slots)
        return pinned if self.attempt(pinned, keep=False)[1] else replace(case, slots=dict(case.slots))


def unread(outcome: Outcome, result: Result, before: World) -> dict[tuple[int, int], int]:
    """Slots that revm alone looked at, all of them empty: what was put into its state is in its journal anyway."""
    keys = set(outcome.storage) - set(result.reads)  # in no order that is the same twice
    return {(who, slot): 0 for who, slot in sorted(keys) if slot not in before.account(who).storage}


def home(world: World) -> int:
    """Where the target's code stands."""
    return INSIDE if INSIDE in world.accounts else TARGET


def transaction(case: Case) -> tuple[Transaction, Block]:
    """The transaction of a case, and the block it stands in."""
    to = TARGET if case.begun_by == case.caller else case.caller
    tx = Transaction(case.begun_by, to, case.data, case.value)
    return tx, Block(case.number, case.timestamp, prevrandao=case.timestamp * 7, chain_id=case.chain)


def _cause(error: WhetError) -> str:
    names = {Unresolved: "unresolved", Malformed: "malformed", MissingCode: "missing code"}
    return names.get(type(error), "not executable")


def _smaller(case: Case) -> list[Callable[[Case], Case]]:
    def without(key: tuple[int, int]) -> Callable[[Case], Case]:
        return lambda c: replace(c, slots={k: v for k, v in c.slots.items() if k != key})

    def zero(at: int) -> Callable[[Case], Case]:
        return lambda c: replace(c, data=c.data[:at] + bytes(len(c.data[at : at + 32])) + c.data[at + 32 :])

    tries: list[Callable[[Case], Case]] = [lambda c: replace(c, value=0)]
    tries += [without(key) for key in case.slots]
    return tries + [zero(at) for at in range(4, len(case.data), 32)]


def reachable(contract: Contract, function: str = "") -> set[tuple[str, str]]:
    """(function, block) of every block that some way from the entry, or from that function's, leads to."""
    found: set[tuple[str, str]] = set()
    todo = [(function or contract.entry.name, "b0")]
    while todo:
        name, block_id = todo.pop()
        if (name, block_id) in found or name not in contract.functions:
            continue
        found.add((name, block_id))
        block = contract.functions[name].blocks[block_id]
        todo += [(name, target) for target in block.end.targets]
        todo += [(s.function, "b0") for s in block.statements if s.op == "CALLPRIVATE"]
        todo += [(block.end.function, "b0")] if block.end.op == "ENTER" else []
    return found


def reads_gas(contract: Contract) -> list[str]:
    """Functions where GAS is more than the gas that a call is given: they may differ, as our gas is rough."""
    found = []
    for function in contract.functions.values():
        gas = {s.results[0] for s in function.statements() if s.op == "GAS"}
        uses = [
            arg for s in function.statements() for arg in (s.args[1:] if s.op.endswith("CALL") else s.args)
        ]
        if gas & {arg for arg in uses if isinstance(arg, str)}:
            found.append(function.name)
    return found
