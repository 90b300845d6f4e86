"""Original and candidate under the same calls: both in revm, from the same state, at the same address.

The three-address code of both runs beside them in the interpreter: the original's says which branches a call takes and
carries the state on, the candidate's gives the search its constants and comparisons, so that what only the candidate
asks for is found too. What the interpreter says decides nothing: a verdict compares revm with revm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from whet.errors import WhetError
from whet.evm.interpret import Block, OutOfSteps, Result, Transaction, run
from whet.evm.lifting import lift_code
from whet.evm.replay.cases import Case, Tried
from whet.evm.replay.compare import Difference, compare, compare_outcomes
from whet.evm.replay.mocks import CODED, INSIDE, MOCKS, PEOPLE, TARGET, forwarding_code, proxy_code
from whet.evm.replay.reference import Outcome, run_reference
from whet.evm.replay.run import Replay, home, transaction, unread
from whet.evm.replay.trace import trace
from whet.evm.replay.vectors import Method, cleaned, constants, well_formed
from whet.evm.tac import Contract
from whet.evm.verify.branches import split_branches
from whet.evm.verify.needless import Variable, given_sizes
from whet.evm.verify.nouns import Budget
from whet.evm.verify.strings import PANIC, is_string, refused, string_of
from whet.evm.world import Account, World

CANDIDATE = -1
"""Stands for the candidate's address in `Result.visited`: both sides live at the same one."""
NAMES = ("original", "candidate")
MALFORMED = "differs on calldata that no encoder makes"
NARROW = "the original uses bits that its arguments' types do not have"
"""Types that were read out of code may be too narrow; then calldata that is none by them may be good calldata."""
NO_STRING = "differs on storage that is no string"
PADDED = "differs in the padding behind an error's text"
"""Solidity before 0.8 leaves there what was in memory; no decoder looks at it."""
DEARER = "one side needs more gas"
"""With `MORE_GAS` times as much both do the same: gas is not compared."""
MORE_GAS = 4
NO_ROOM = "needs more memory than there can be, which one side says"
"""With Panic(0x41), where the other runs out of gas."""
REFUSED = "refuses a size past 2^64 in another way"
"""With Panic(0x41), where the other fails with something else: a word of storage or of an answer that was put there is so
large, and with small ones in their place both sides do the same."""
DEEPER = "one side recurses deeper than its stack"
UNDECIDED = (MALFORMED, NO_STRING, PADDED, DEARER, NO_ROOM, REFUSED)
"""What decides no verdict."""
TOO_LARGE = (0x4E487B71 << 256 | 0x41).to_bytes(36, "big")
"""Panic(0x41), for lengths past 2^64, which storage seeded by chance has: compilers do not agree on where they look."""
ERROR = (0x08C379A0 << 256 | 0x20).to_bytes(36, "big")
"""How Error(string) begins."""
SMALL = 1000
"""Words past 2^64 are made smaller than it, to see whether the sides differ for them alone."""
STRINGS = 4
"""Words that are no string, repaired in one call."""
STEPS = 20_000
"""Statements of one call in the interpreter; longer ones are compared all the same."""
GAS_OF_STATEMENT = 1_000
CALLED = dict.fromkeys(("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"), 1) | {"EXTCODESIZE": 0}
"""{instruction: which of its arguments is an address at which it needs code}."""
ANSWERING, PRECOMPILES, KNOWN = 8, frozenset({*range(18), 0x100}), frozenset({*CODED, *PEOPLE})
PADDING = b"\xfe" * 7
"""Behind the code nothing jumps to it; a contract that then does something else reads its code."""
READING = frozenset({"EXTCODECOPY", "EXTCODEHASH", "EXTCODESIZE"})
"""Instructions that read the code of an address, which may be the contract's own."""


@dataclass(slots=True)
class Ran:
    """One side in the interpreter: what it did and the world after it; `result` None where it was cut off."""

    result: Result | None
    world: World


class Pair(Replay):
    """Two codes under the same calls."""

    def __init__(
        self,
        original: bytes,
        candidate: bytes,
        seed: int,
        libraries: dict[int, bytes],
        budget: Budget | None = None,
    ) -> None:
        budget = budget or Budget()
        lift = lru_cache(maxsize=64)(lift_code)
        self.lifted = lift_code(original), lift_code(candidate)
        self.answering = {at: code for at, code in answering(self.lifted[0]).items() if at not in libraries}
        """{address: code} where mocks answer because the code names these addresses; in a second state nothing is there."""
        others = {**self.answering, **libraries}
        super().__init__(split_branches(self.lifted[0]), original, lift, seed, STEPS, others)
        if self.answering:
            self.states.append({a: one for a, one in self.states[0].items() if a not in self.answering})
            self.histories.append(())
        self.candidate = candidate
        self.other = split_branches(self.lifted[1])
        self.mined = list(dict.fromkeys([*constants(self.other), *self.mined]))
        self.statements_left = self.gas_left = 0
        """Of the work that is done now; `give` it first."""
        self.whole_statements, self.whole_gas = budget.contract_statements, budget.contract_gas
        self.method: Method | None = None
        """What is called now."""
        self.malformed: dict[int | None, Case] = {}
        """{selector: a call that differs and that no encoder makes}."""
        self.strings: set[tuple[int, int]] = set()
        """(address, slot) of words that were refused because they are no string."""
        self.misread = 0
        """Calls in which the interpreter, executing the original, did not do what revm did."""

    @cached_property
    def sizes(self) -> set[Variable]:
        """Of the candidate: `given_sizes`."""
        return given_sizes(self.other)

    def give(self, statements: int, gas: int) -> None:
        """The budget of what comes."""
        self.statements_left, self.gas_left = statements, gas

    def charge(self, statements: int, gas: int = 0) -> None:
        """What was executed in the interpreter, and in the EVM."""
        self.statements_left -= statements
        self.gas_left -= gas
        self.whole_statements -= statements
        self.whole_gas -= gas

    def start(self, case: Case) -> tuple[World, Transaction, Block]:
        """What a call begins with, for the search."""
        return self.world(case), *transaction(case)

    @property
    def spent(self) -> bool:
        return self.statements_left <= 0 or self.gas_left <= 0 or self.exhausted

    @property
    def exhausted(self) -> bool:
        """The budget for the contract is spent."""
        return self.whole_statements <= 0 or self.whole_gas <= 0

    def outcomes(self, case: Case, before: World) -> tuple[Outcome, Outcome]:
        """The case in revm, on both sides."""
        tx, block = transaction(case)
        ours, theirs = (self._reference(code, before, tx, block) for code in (self.code, self.candidate))
        return ours, theirs

    def _reference(self, code: bytes, before: World, tx: Transaction, block: Block) -> Outcome:
        outcome = run_reference(before, {home(before): code}, tx, block)
        self.charge(0, outcome.gas_used)
        return outcome

    def proposed(self, case: Case) -> Case:
        """With strings where words are known to be read as strings."""
        wrong = [key for key in self.strings & case.slots.keys() if not is_string(case.slots[key])]
        return replace(case, slots=case.slots | {key: string_of(case.slots[key]) for key in sorted(wrong)})

    def attempt(self, case: Case, keep: bool = True) -> tuple[Tried | None, list[Difference], str]:
        before = self.world(case)
        ours, theirs = self.outcomes(case, before)
        differences = compare_outcomes(ours, theirs, before, NAMES)
        tried = None
        if keep:
            original, candidate = self._interpret(case, self.contract), self._interpret(case, self.other)
            tried = self._tried(case, before, ours, original.result, candidate.result)
            self._learn(case, original, candidate, ours, differences)
            self._refund(original, ours)
            self._refund(candidate, theirs)
        if differences and (reason := self._excuse(case, before, ours, theirs)):
            return tried, [], reason
        return tried, differences, ""

    def _refund(self, ran: Ran, outcome: Outcome) -> None:
        """Gas that was lost with a failing call is no work: of a side that came to its end, so much a statement counts."""
        if ran.result:
            self.charge(0, min(GAS_OF_STATEMENT * ran.result.statements - outcome.gas_used, 0))

    def _interpret(self, case: Case, contract: Contract) -> Ran:
        world = self.world(case)
        where = home(world)
        world.accounts[where] = replace(world.accounts[where], contract=contract)
        try:
            result = run(None, world, *transaction(case), self.steps)
        except WhetError as error:
            self.charge(self.steps if isinstance(error, OutOfSteps) else 0)
            return Ran(None, world)
        self.charge(result.statements)
        if where != TARGET:
            result.visited = {(TARGET if at == where else at, f, b) for at, f, b in result.visited}
        return Ran(result, world)

    def _tried(
        self, case: Case, before: World, ours: Outcome, result: Result | None, shadow: Result | None
    ) -> Tried | None:
        """What the search learns of: the original's run, with what only the candidate executed and compared."""
        base = result or shadow
        if base is None:
            return None
        visited = set(result.visited) if result else set()
        pairs = list(result.compared) if result else []
        if shadow:
            visited |= {(CANDIDATE if at == TARGET else at, name, b) for at, name, b in shadow.visited}
            pairs = [pair for pair in shadow.compared if pair not in set(pairs)] + pairs
        reads = unread(ours, base, before) | base.reads
        return Tried(case, replace(base, visited=visited, compared=pairs, reads=reads, status=ours.status))

    def _learn(
        self, case: Case, original: Ran, candidate: Ran, ours: Outcome, differences: list[Difference]
    ) -> None:
        """Where both sides agree, the call is kept for the mutants, and the state after it for later calls."""
        right = original.result is not None and not compare(original.result, original.world, ours)
        self.misread += not right
        if differences:
            return
        if candidate.result and not compare(candidate.result, candidate.world, ours):
            self.agreed.append((case, self.states[case.state], candidate.result.visited, ours))
        if right and original.result and ours.status == "success" and original.result.storage:
            self._keep(case, original.world)

    def _excuse(self, case: Case, before: World, ours: Outcome, theirs: Outcome) -> str:
        """Why the difference is none of the ABI's calls, or may be one of gas or of code, which are not compared; or ""."""
        tx, block = transaction(case)
        less = replace(tx, gas=tx.gas // 2)

        def changes(code: bytes, tx: Transaction, was: Outcome) -> bool:
            now = self._reference(code, before, tx, block)
            return bool(compare_outcomes(now, was, before, NAMES))

        if self.method and not well_formed(self.method, case.data):
            self.malformed.setdefault(self.method.selector, case)
            return NARROW if self._uses_dirt(self.method, case, before, ours) else MALFORMED
        if self._agree_with_more_gas(before, tx, block):
            return DEARER
        halts = self._halt(self.code, case, before, ours), self._halt(self.candidate, case, before, theirs)
        if "OutOfGas" in "".join(halts):
            if halts[0] == halts[1]:
                return "depends on gas"
            return NO_ROOM if TOO_LARGE in (ours.data, theirs.data) else "one side runs out of gas"
        if ours.status == theirs.status == "revert" and _same_text(ours.data, theirs.data):
            return PADDED
        if "StackOverflow" in halts:
            return DEEPER
        if (TOO_LARGE in (ours.data, theirs.data)) and ours.data != theirs.data:
            both_fail = "success" not in (ours.status, theirs.status)
            agree = both_fail and self._agree_with_small_words(case)
            return REFUSED if agree else "a size that only one side refuses"
        if (PANIC in (ours.data, theirs.data)) and ours.data != theirs.data and self._no_string(case, ours):
            return NO_STRING
        if changes(self.code, less, ours) or self._lives_on_a_stipend(case):
            return "depends on gas"
        if changes(self.candidate, less, theirs):
            return "the candidate depends on gas"
        if self._reads_itself(before, tx, block, ours):
            return "reads its own code"
        made, others = (_created(side, before) for side in (ours, theirs))
        return "creates contracts of other code" if made != others and len(made) == len(others) else ""

    def _halt(self, code: bytes, case: Case, before: World, outcome: Outcome) -> str:
        """Why the call came to no end of its own, or "". A contract that called hands on no more than that it failed: then
        the same call is made by an account without code at its address."""
        by_contract = case.begun_by != case.caller and case.caller != TARGET
        if not by_contract or outcome.status != "revert" or outcome.data:
            return outcome.why
        tx, block = transaction(case)
        plain = World(before.accounts | {case.caller: Account(balance=tx.value)})
        direct = replace(tx, caller=case.caller, to=TARGET, gas=tx.gas - tx.gas // 64)
        return self._reference(code, plain, direct, block).why

    def _uses_dirt(self, method: Method, case: Case, before: World, ours: Outcome) -> bool:
        """Whether the original succeeds, and does something else with the same arguments as their types have them."""
        data = cleaned(method, case.data)
        if ours.status != "success" or not well_formed(method, data):
            return False
        now = self._reference(self.code, before, *transaction(replace(case, data=data)))
        return bool(compare_outcomes(now, ours, before, NAMES))

    def _agree_with_more_gas(self, before: World, tx: Transaction, block: Block) -> bool:
        more, wide = replace(tx, gas=MORE_GAS * tx.gas), replace(block, gas_limit=MORE_GAS * block.gas_limit)
        one, other = (self._reference(code, before, more, wide) for code in (self.code, self.candidate))
        return not compare_outcomes(one, other, before, NAMES)

    def _reads_itself(self, before: World, tx: Transaction, block: Block, ours: Outcome) -> bool:
        """Whether the difference may be one of the code that one side reads: as that of an address, then both do the same
        once a proxy's stands there; or as its own, then what stands behind it changes what the original does."""

        def ran(code: bytes) -> Outcome:
            return self._reference(code, before, tx, block)

        if self._reads_code and home(before) == TARGET:
            proxy = replace(before.account(TARGET), code=proxy_code())
            before = World(before.accounts | {TARGET: proxy, INSIDE: Account(nonce=1)})
            ours = ran(self.code)
            if not compare_outcomes(ours, ran(self.candidate), before, NAMES):
                return True
        return bool(compare_outcomes(ran(self.code + PADDING), ours, before, NAMES))

    @cached_property
    def _reads_code(self) -> bool:
        contracts = (self.contract, self.other)
        functions = (function for contract in contracts for function in contract.functions.values())
        return any(s.op in READING for function in functions for s in function.statements())

    def _lives_on_a_stipend(self, case: Case) -> bool:
        """Whether one side, called by itself, had to do with what `transfer` and `send` give."""
        return any(
            trace(contract, *self.start(case), self.steps, {}).stipend
            for contract in (self.contract, self.other)
        )

    def _agree_with_small_words(self, case: Case) -> bool:
        """Whether there are words past 2^64 in the state that the call begins with, and without them the sides agree."""
        small = {key: word % SMALL if word >> 64 else word for key, word in case.slots.items()}
        if small == case.slots:
            return False
        case = replace(case, slots=small)
        before = self.world(case)
        return not compare_outcomes(*self.outcomes(case, before), before, NAMES)

    def _no_string(self, case: Case, ours: Outcome) -> bool:
        """Whether the sides agree once the words are strings that one side refused for being none."""
        for _ in range(STRINGS):
            contract = self.contract if ours.data == PANIC else self.other
            world, tx, block = self.start(case)
            found = refused(trace(contract, world, tx, block, self.steps, {}))
            word = self.world(case).account(TARGET).storage.get(found[1], 0) if found else 0
            if found is None or is_string(word):
                return False
            self.strings.add(found)
            case = replace(case, slots=case.slots | {found: string_of(word)})
            before = self.world(case)
            ours, theirs = self.outcomes(case, before)
            if not compare_outcomes(ours, theirs, before, NAMES):
                return True
            if PANIC not in (ours.data, theirs.data):
                return False
        return False


def answering(contract: Contract) -> dict[int, bytes]:
    """{address: code} for addresses that the code itself says and calls: each hands its calls on to a mock."""
    called = {
        address
        for function in contract.functions.values()
        for s in function.statements()
        if s.op in CALLED and isinstance(address := s.args[CALLED[s.op]], int)
    }
    chosen = sorted(a for a in called - PRECOMPILES - KNOWN if a < 1 << 160)[:ANSWERING]
    return {address: forwarding_code(MOCKS[number % len(MOCKS)]) for number, address in enumerate(chosen)}


def _same_text(one: bytes, other: bytes) -> bool:
    """Two encodings of Error(string), as long as each other, of the same text: only the padding differs."""
    if len(one) != len(other) or one[:36] != ERROR or one[:68] != other[:68]:
        return False
    end = 68 + int.from_bytes(one[36:68], "big")
    return end <= len(one) < end + 32 and one[:end] == other[:end]


def _created(outcome: Outcome, before: World) -> set[int]:
    """Addresses of contracts that the call created (EIP-161: they begin with nonce 1)."""
    return {at for at, (_, nonce) in outcome.accounts.items() if nonce and at not in before.accounts}
