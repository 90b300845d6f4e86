"""Random programs in the shapes that compilers write: private functions with arguments and results on the stack.

They call one another, plainly, as arguments of calls, by returning straight into the next function, as tail calls,
through offsets kept in storage, in memory or chosen by a condition, and themselves and one another in a circle; with
loops (and break, continue), branches, early returns, tails that functions share, calls out in the form of try and catch,
helpers that only sort the stack, memory, storage and events. Dispatchers compare selectors at once, or (`odd`) do other
things before. All end: loops count down from a few, and recursion has a budget in storage.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

BINARY = ["ADD", "SUB", "MUL", "AND", "OR", "XOR", "LT", "GT", "EQ", "DIV", "MOD", "SHR", "SLT"]
POINTER_SLOT = 0x100
BUDGET_SLOT = 0x200
POINTER_MEMORY = 0x400
CALLEE = 0x0111
CALLEE_CODE = (
    "CALLDATASIZE PUSH 1 AND @ok JUMPI PUSH 0 PUSH 0 REVERT :ok PUSH 7 PUSH 0 MSTORE PUSH 32 PUSH 0 RETURN"
)
"""Stands at CALLEE: refuses calls with data of even length."""


@dataclass
class Shape:
    """A function: how many words it takes and gives back."""

    name: str
    takes: int
    gives: int


@dataclass
class Writer:
    """Assembles one function. stack: what lies on its own stack, deepest first; names are the readable ones."""

    rng: random.Random
    shapes: list[Shape]
    index: int
    labels: list[int]
    stack: list[str] = field(default_factory=list)
    loops: list[tuple[int, str, str]] = field(default_factory=list)
    """Those around: words on the stack, label behind, label of the next round."""
    out: list[str] = field(default_factory=list)
    depth: int = 0

    def label(self) -> str:
        self.labels[0] += 1
        return f"l{self.labels[0]}"

    def emit(self, text: str, pops: int = 0, pushes: int = 0) -> None:
        self.out.append(text)
        if pops:
            del self.stack[-pops:]
        self.stack += ["_"] * pushes

    def function(self) -> str:
        shape = self.shapes[self.index]
        self.stack = ["ret", *(f"x{i}" for i in range(shape.takes))]
        self.out.append(f":{shape.name}")
        for i in range(self.rng.randint(0, 2)):
            self.expression()
            self.stack[-1] = f"y{i}"
        for _ in range(self.rng.randint(1, 4)):
            self.statement()
        self.leave(shape.gives)
        return "\n".join(self.out)

    def names(self) -> list[str]:
        return [name for name in self.stack if name[0] in "xy"]

    def leave(self, gives: int) -> None:
        if gives <= 1 and self.rng.random() < 0.25:
            return self.leave_oddly(gives)
        same = [s for s in self.later() if s.gives == gives and s.takes <= 2]
        if same and self.rng.random() < 0.3:
            target = self.rng.choice(same)
            for i in range(target.takes):
                self.expression()
                self.stack[-1] = f"r{i}"
            self.shuffle(["ret", *(f"r{i}" for i in range(target.takes))])
            self.out.append(f"@{target.name} JUMP")
            return None
        for i in range(gives):
            self.expression()
            self.stack[-1] = f"r{i}"
        self.shuffle([*(f"r{i}" for i in range(gives)), "ret"])
        self.out.append("JUMP")
        return None

    def leave_oddly(self, gives: int) -> None:
        """By a tail that others share, or by a JUMPI to the return offset."""
        for name in ("r0", "r1")[: gives + 1]:
            self.expression()
            self.stack[-1] = name
        if self.rng.random() < 0.5:
            self.shuffle(["ret", *(["r0"] if gives else [])])
            self.out.append(f"@tail{gives} JUMP")
        else:
            self.shuffle([*(["r0"] if gives else []), f"r{gives}", "ret"])
            self.out.append("JUMPI @fail JUMP")

    def shuffle(self, wanted: list[str]) -> None:
        while self.stack != wanted:
            top = self.stack[-1]
            if top not in wanted:
                self.emit("POP", 1)
                continue
            place = wanted.index(top)
            if place == len(self.stack) - 1:
                place = next(i for i, name in enumerate(self.stack) if i >= len(wanted) or name != wanted[i])
            self.out.append(f"SWAP{len(self.stack) - 1 - place}")
            self.stack[place], self.stack[-1] = self.stack[-1], self.stack[place]

    def later(self) -> list[Shape]:
        return self.shapes[self.index + 1 :]

    def read(self, name: str) -> None:
        self.emit(f"DUP{len(self.stack) - self.stack.index(name)}", 0, 1)

    def expression(self) -> None:
        """Leaves one word more."""
        rng = self.rng
        self.depth += 1
        kind = rng.random() if self.depth < 4 and len(self.stack) < 11 else 0.1
        if kind < 0.35:
            names = self.names()
            if names and rng.random() < 0.7:
                self.read(rng.choice(names))
            elif rng.random() < 0.5:
                self.emit(
                    f"PUSH {rng.choice([0, 1, 2, 3, 0x20, 0x44, 0x99, 1000, (1 << 160) - 1, (1 << 256) - 1])}",
                    0,
                    1,
                )
            else:
                self.emit(f"PUSH {rng.choice([0, 4, 36, 68])} CALLDATALOAD", 0, 1)
        elif kind < 0.6:
            self.expression()
            self.expression()
            self.emit(rng.choice(BINARY), 2, 1)
        elif kind < 0.68:
            self.emit(f"PUSH {rng.randint(0, 3)} SLOAD", 0, 1)
        elif kind < 0.76:
            self.emit(f"PUSH {0x20 * rng.randint(0, 3)} MLOAD", 0, 1)
        elif kind < 0.8:
            self.emit(rng.choice(["CALLER", "CALLVALUE", "TIMESTAMP", "CALLDATASIZE"]), 0, 1)
        elif kind < 0.84:
            self.choice()
        else:
            self.call([s for s in self.later() if s.gives == 1])
        self.depth -= 1

    def choice(self) -> None:
        """condition ? a : b"""
        other, done = self.label(), self.label()
        self.expression()
        self.emit(f"@{other} JUMPI", 1)
        self.expression()
        self.emit(f"@{done} JUMP :{other}", 1)
        self.expression()
        self.out.append(f":{done}")

    def call(self, targets: list[Shape]) -> None:
        if not targets:
            self.emit("PUSH 7", 0, 1)
            return
        target = self.rng.choice(targets)
        back = self.label()
        inner = [s for s in targets if s.takes <= 2 and s.gives == 1 and self.shapes.index(s) > self.index]
        self.emit(f"@{back}", 0, 1)
        if target.takes == 1 and inner and self.rng.random() < 0.4:
            first = self.rng.choice(inner)
            self.emit(f"@{target.name}", 0, 1)
            self.arguments(first)
            self.emit(f"@{first.name} JUMP", first.takes + 2)
        elif self.rng.random() < 0.25 and target.takes == 1:
            self.arguments(target)
            self.pointer(target)
            self.emit("JUMP", target.takes + 2)
        else:
            self.arguments(target)
            self.emit(f"@{target.name} JUMP", target.takes + 1)
        self.emit(f":{back}", 0, target.gives)

    def pointer(self, target: Shape) -> None:
        """Leaves the place of a function of this shape: of this one, or of one of two."""
        kind = self.rng.randrange(3)
        if kind == 0:
            slot = POINTER_SLOT + self.shapes.index(target)
            self.emit(f"PUSH {slot} SLOAD PUSH 0xffffffff AND", 0, 1)
        elif kind == 1:
            self.emit(f"@{target.name} PUSH {POINTER_MEMORY} MSTORE PUSH {POINTER_MEMORY} MLOAD", 0, 1)
        else:
            same = [s for s in self.later() if (s.takes, s.gives) == (target.takes, target.gives)]
            other, done = self.label(), self.label()
            self.expression()
            self.emit(f"@{other} JUMPI @{target.name} @{done} JUMP", 1)
            self.emit(f":{other} @{self.rng.choice(same).name} :{done}", 0, 1)

    def arguments(self, target: Shape) -> None:
        for _ in range(target.takes):
            self.expression()

    def statement(self) -> None:
        rng = self.rng
        self.depth += 1
        kind = rng.random() if self.depth < 4 else 0.1
        names = self.names()
        if kind < 0.3 and names:
            self.expression()
            place = len(self.stack) - 1 - self.stack.index(rng.choice(names))
            self.emit(f"SWAP{place} POP", 1)
        elif kind < 0.45:
            self.expression()
            self.emit(f"PUSH {rng.randint(0, 3)} SSTORE", 1)
        elif kind < 0.55:
            self.expression()
            self.emit(f"PUSH {0x20 * rng.randint(0, 3)} MSTORE", 1)
        elif kind < 0.62:
            self.expression()
            self.emit("PUSH 0x20 PUSH 0 LOG1", 1)
        elif kind < 0.7:
            self.expression()
            self.emit("PUSH 99 EQ @fail JUMPI", 1)
        elif kind < 0.82:
            self.branch()
        elif kind < 0.88:
            self.loop()
        elif kind < 0.95:
            self.odd_statement()
        else:
            some = [s for s in self.later() if s.gives != 1]
            if some:
                target = rng.choice(some)
                back = self.label()
                self.emit(f"@{back}", 0, 1)
                self.arguments(target)
                self.emit(f"@{target.name} JUMP :{back}", target.takes + 1, target.gives)
                self.emit(" ".join(["POP"] * target.gives), target.gives)
        self.depth -= 1

    def branch(self) -> None:
        other, done = self.label(), self.label()
        self.expression()
        self.emit(f"@{other} JUMPI", 1)
        self.statement()
        self.out.append(f"@{done} JUMP :{other}")
        if self.rng.random() < 0.6:
            self.statement()
        self.out.append(f":{done}")

    def loop(self) -> None:
        again, done = self.label(), self.label()
        self.expression()
        self.emit("PUSH 3 AND")
        counter = self.stack[-1] = f"i{self.label()}"
        self.out.append(f":{again} DUP1 ISZERO @{done} JUMPI")
        following = self.label()
        self.loops.append((len(self.stack), done, following))
        self.statement()
        self.loops.pop()
        assert self.stack[-1] == counter
        self.out.append(f":{following} PUSH 1 SWAP1 SUB @{again} JUMP :{done}")
        self.emit("POP", 1)

    def odd_statement(self) -> None:
        kinds = [self.early_return, self.try_catch, self.recursion, self.sorting]
        if self.loops and self.loops[-1][0] == len(self.stack):
            kinds += [self.break_or_continue] * 3
        self.rng.choice(kinds)()

    def early_return(self) -> None:
        skip, before = self.label(), list(self.stack)
        self.expression()
        self.emit(f"@{skip} JUMPI", 1)
        self.leave(self.shapes[self.index].gives)
        self.stack = before
        self.out.append(f":{skip}")

    def break_or_continue(self) -> None:
        self.expression()
        self.emit(f"@{self.rng.choice(self.loops[-1][1:])} JUMPI", 1)

    def try_catch(self) -> None:
        """As solc writes it: where the call succeeds a word is left and 1, else 0, and that is asked again."""
        asked, catch, done = self.label(), self.label(), self.label()
        size = self.rng.choice(["PUSH 1", "PUSH 2", "CALLVALUE", "PUSH 3 SLOAD PUSH 3 AND"])
        call = self.rng.choice(["PUSH 0 PUSH 0x111 PUSH 50000 CALL", "PUSH 0x111 PUSH 50000 STATICCALL"])
        self.emit(f"PUSH 0 PUSH 0 {size} PUSH 0 {call} DUP1 ISZERO @{asked} JUMPI POP", 0, 0)
        self.expression()
        self.emit(f"PUSH 1 :{asked} ISZERO @{catch} JUMPI")
        self.emit("PUSH 2 SSTORE", 1)
        self.statement()
        self.out.append(f"@{done} JUMP :{catch}")
        self.statement()
        self.out.append(f":{done}")

    def recursion(self) -> None:
        """A call of an earlier function, or of this one, as long as the budget lasts."""
        skip, back = self.label(), self.label()
        target = self.rng.choice(self.shapes[: self.index + 1])
        self.emit(f"PUSH {BUDGET_SLOT} SLOAD DUP1 ISZERO @{skip} JUMPI", 0, 1)
        self.emit(f"PUSH 1 DUP2 SUB PUSH {BUDGET_SLOT} SSTORE @{back}", 0, 1)
        self.arguments(target)
        self.emit(f"@{target.name} JUMP :{back}", target.takes + 1, target.gives)
        self.emit(f"{'POP ' * target.gives}:{skip} POP", target.gives + 1)

    def sorting(self) -> None:
        """A helper whose return offset lies above what it works on; and one that does nothing."""
        one, two = self.label(), self.label()
        self.expression()
        self.expression()
        self.emit(f"@{one} @turn JUMP :{one} @{two} @tail0 JUMP :{two} PUSH 1 SSTORE PUSH 0 SSTORE", 2)


TAILS = ":tail0 JUMP :tail1 PUSH 1 ADD SWAP1 JUMP :turn SWAP2 SWAP1 SWAP2 JUMP"


def program(seed: int, *, odd: bool = False) -> tuple[str, list[int]]:
    """(assembly, selectors) of a random contract; the same for the same seed. odd: so is its dispatcher."""
    rng = random.Random(seed)
    shapes = [
        Shape(f"f{i}", rng.randint(0, 3), rng.choice([0, 1, 1, 1, 2, 3])) for i in range(rng.randint(2, 7))
    ]
    selectors = sorted(rng.sample(range(1, 1 << 32), min(3, len(shapes))))
    lines = ["PUSH 0x80 PUSH 0x40 MSTORE"]
    pointers = [
        f"@{s.name} PUSH {POINTER_SLOT + i} SSTORE"
        for i, s in enumerate(shapes)
        if (s.takes, s.gives) == (1, 1)
    ]
    lines += [*pointers, before(rng, shapes)] if odd else []
    lines.append("PUSH 0 CALLDATALOAD PUSH 224 SHR")
    lines += [f"DUP1 PUSH {selector} EQ @public{i} JUMPI" for i, selector in enumerate(selectors)]
    lines.append(
        "PUSH 0x20 PUSH 0 MSTORE PUSH 0x40 PUSH 0 RETURN"
        if rng.random() < 0.5
        else ":fail0 PUSH 0 PUSH 0 REVERT"
    )
    labels = [0]
    for i, _ in enumerate(selectors):
        shape = shapes[i]
        arguments = " ".join(f"PUSH {4 + 32 * k} CALLDATALOAD" for k in range(shape.takes))
        lines.append(
            f":public{i} PUSH 4 PUSH {BUDGET_SLOT} SSTORE {' '.join(pointers)} @out{i} {arguments} @{shape.name} JUMP :out{i}"
        )
        lines.append(
            " ".join(f"PUSH {0x20 * k} MSTORE" for k in range(shape.gives))
            + f" PUSH {0x20 * shape.gives} PUSH 0 RETURN"
        )
    lines.append(":fail PUSH 0xbad PUSH 0 MSTORE PUSH 0x20 PUSH 0 REVERT")
    order = list(range(len(shapes)))
    rng.shuffle(order)
    lines += [Writer(rng, shapes, i, labels).function() for i in order]
    lines.append(TAILS)
    return "\n".join(lines), selectors


def before(rng: random.Random, shapes: list[Shape]) -> str:
    """What a dispatcher does before it compares; what it leaves on the stack stays there."""
    target = rng.choice(shapes)
    arguments = "CALLDATASIZE " * target.takes
    kinds = [
        "PUSH 7",
        "CALLVALUE",
        "CALLVALUE @paid JUMPI PUSH 7 @go JUMP :paid PUSH 9 :go",
        "CALLVALUE @paid JUMPI @go JUMP :paid PUSH 9 PUSH 0 SSTORE :go",
        "PUSH 3 @go CALLVALUE @paid JUMPI JUMP :paid PUSH 5 PUSH 4 SSTORE SWAP1 POP PUSH 8 SWAP1 JUMP :go",
        f"@go {arguments} @{target.name} JUMP :go",
        ":again PUSH 2 SLOAD ISZERO @go JUMPI PUSH 0 PUSH 2 SSTORE @again JUMP :go",
    ]
    return rng.choice(kinds)
