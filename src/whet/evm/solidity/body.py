"""A function's body: the tree of its draft as Solidity's statements.

Solidity has no labels: a jump out of several scopes sets `jump`, and each scope on the way looks at it. What Solidity
cannot say of a line is assembly; what a whole function cannot say is `Unsayable`, and another level is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, islice

from whet.evm.draft import Readable
from whet.evm.draft.nouns import DraftEnd
from whet.evm.draft.nouns import Line as DraftLine
from whet.evm.keccak import keccak256
from whet.evm.solidity.abi import in_memory
from whet.evm.solidity.expressions import Context, Lowering, Piece, Unsayable, trimmed
from whet.evm.solidity.lines import Line, Nest, Node, every
from whet.evm.solidity.types import ATOM, WORD_TYPE, is_value, mask_of
from whet.evm.structure.tree import (
    Both,
    Break,
    Code,
    Condition,
    Continue,
    Exit,
    Goto,
    If,
    Label,
    Leave,
    Loop,
    Not,
    Scope,
    Switch,
    Test,
    walk,
)
from whet.evm.structure.tree import Node as TreeNode
from whet.evm.terms import (
    RETURNED,
    Assign,
    Call,
    Dispatch,
    Do,
    Emit,
    Expression,
    Form,
    Invoke,
    Member,
    Name,
    Operation,
    Return,
    Revert,
    Text,
    Value,
)
from whet.evm.text.expressions import simple_condition

MOST_WAYS = 256
"""Choices of indexed parameters that are looked at."""


@dataclass(slots=True)
class Target:
    """Something that `break` leaves. label: of the tree; loop: whether `continue` begins its next round."""

    label: str
    loop: bool
    arrivals: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Jumps through it that go further out: {number: (kind of jump, label)}."""


@dataclass(slots=True)
class Frame:
    """How the function ends. returns: types of what it gives back; None where only assembly gives back."""

    kind: str
    returns: tuple[str, ...] | None
    private: bool
    codes: Mapping[int, bytes] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    """Names of functions and variables, which events and errors must not have."""
    entered: Mapping[str, list[str]] = field(default_factory=dict)
    """Of the dispatcher: {function: the lines that go over to it}."""


class Body(Lowering):
    """Writes one function's statements. `statements` of which `in_assembly` are assembly are counted."""

    def __init__(self, context: Context, body: Readable, frame: Frame) -> None:
        super().__init__(context)
        self.frame = frame
        self.blocks, self.tree = body.draft.blocks, body.tree
        self.targets: list[Target] = []
        self.jumps: dict[tuple[str, str], int] = {}
        self.renamed: dict[str, str] = {}
        """{label of a loop: of the scope around its body that `continue` leaves}."""
        self.statements = self.in_assembly = 0

    def write(self) -> list[Node]:
        if any(isinstance(node, Goto | Label) for node in walk(self.tree.body)):
            return self._machine()
        self._sequence(self.tree.body)
        self._drop_last_return(self.out)
        return self.out

    def whole_body(self, form: Form) -> list[Node]:
        """A function whose meaning is one form."""
        if not isinstance(form, Return):
            raise Unsayable(type(form).__name__)
        self.statements += 1
        self._return(form.values)
        return self.out

    def nothing(self, why: str) -> list[Node]:
        """For what cannot be said at all: calls of it halt."""
        return [Line(f"// {why}"), Line("invalid()", assembly=True)]

    def _drop_last_return(self, nodes: list[Node]) -> None:
        if nodes and isinstance(nodes[-1], Line) and nodes[-1].text == "return;":
            nodes.pop()

    # The tree.

    def _sequence(self, nodes: list[TreeNode]) -> None:
        for node in nodes:
            self._node(node)

    def _inside(self, nodes: list[TreeNode]) -> list[Node]:
        before, self.out = self.out, []
        self._sequence(nodes)
        inner, self.out = self.out, before
        return inner

    def _node(self, node: TreeNode) -> None:
        if isinstance(node, Code):
            for line in self.blocks[node.block].lines:
                self._counted(lambda line=line: self._line(line))
        elif isinstance(node, Exit):
            self._counted(lambda: self._exit(self.blocks[node.block].end))
        elif isinstance(node, If):
            self._if(node)
        elif isinstance(node, Loop):
            self._loop(node)
        elif isinstance(node, Switch):
            self._switch(node)
        elif isinstance(node, Scope):
            self._scope(node)
        elif isinstance(node, Break | Continue | Leave):
            self._jump("continue" if isinstance(node, Continue) else "break", node.label)

    def _counted(self, write: object) -> None:
        before, self.hidden_assembly = len(self.out), False
        write()  # type: ignore[operator]
        made = list(every(self.out[before:]))
        if made:
            self.statements += 1
            self.in_assembly += self.hidden_assembly or any(line.assembly for line in made)

    def _if(self, node: If) -> None:
        condition = self._head(node.condition)
        then = self._inside(node.then)
        otherwise = self._inside(node.otherwise)
        if not then and otherwise:
            condition, then, otherwise = self._opposite(condition), otherwise, []
        if not otherwise and (required := self._required(condition, then)):
            self.out.append(required)
            return
        parts = [(f"if ({condition.text})", then)]
        if len(otherwise) == 1 and isinstance(otherwise[0], Nest) and otherwise[0].parts[0][0][:3] == "if ":
            chained = otherwise[0]
            parts += [(f"else {chained.parts[0][0]}", chained.parts[0][1]), *chained.parts[1:]]
            self.out.append(Nest(parts, mentions=condition.mentions | chained.mentions))
            return
        if otherwise:
            parts.append(("else", otherwise))
        self.out.append(Nest(parts, mentions=condition.mentions))

    def _required(self, condition: Piece, then: list[Node]) -> Line | None:
        """`require(!condition, "text")` for `if (condition) revert("text")`."""
        if len(then) != 1 or not isinstance(then[0], Line) or then[0].assembly:
            return None
        if not then[0].text.startswith("revert("):
            return None
        said = then[0].text.removeprefix("revert(").removesuffix(");")
        holds = self._opposite(condition)
        text = f"require({holds.text}{', ' if said else ''}{said});"
        return Line(text, (), condition.mentions, raw=condition.raw, checked=condition.checked)

    def _opposite(self, piece: Piece) -> Piece:
        return self._negated(piece)

    def _head(self, condition: Condition) -> Piece:
        self.statements += 1
        before = len(self.out)
        piece = self.condition(self._expression(condition))
        self.in_assembly += any(line.assembly for line in every(self.out[before:]))
        return piece

    def _expression(self, condition: Condition, holds: bool = True) -> Expression:
        if isinstance(condition, Test):
            return simple_condition(self.blocks[condition.block].end.args[0], holds)
        if isinstance(condition, Not):
            return self._expression(condition.condition, not holds)
        sign = "&&" if isinstance(condition, Both) == holds else "||"
        return Operation(
            sign, (self._expression(condition.left, holds), self._expression(condition.right, holds))
        )

    def _loop(self, loop: Loop) -> None:
        before, self.out = self.out, []
        condition = None if loop.condition is None else self._head(loop.condition)
        first, self.out = self.out, before
        steps = self._inside_target(Target("", False), loop.update)
        continues = any(isinstance(n, Continue) and n.label == loop.label for n in walk(loop.body))
        apart = bool(continues and (steps or (loop.last and first)))
        target = Target(loop.label, not apart)
        if apart:
            body = self._in_two(target, loop)
        else:
            body = self._inside_target(target, loop.body)
        if loop.last:
            self._put_last(body, steps, first, condition, target)
            return
        if condition is not None and first:
            stop = Nest(
                [(f"if ({self._opposite(condition).text})", [Line("break;")])], "", condition.mentions
            )
            body = [*first, stop, *body, *steps]
            head, mentions = "while (true)", frozenset[str]()
        else:
            mentions = condition.mentions if condition is not None else frozenset()
            head, body = self._loop_head(condition, body, steps)
            mentions = mentions.union(*(n.mentions | set(n.sets) for n in steps if isinstance(n, Line)))
        self.out.append(Nest([(head, body)], mentions=mentions))
        self._arrive(target)

    def _loop_head(
        self, condition: Piece | None, body: list[Node], steps: list[Node]
    ) -> tuple[str, list[Node]]:
        text = "true" if condition is None else condition.text
        one = steps[0] if len(steps) == 1 else None
        if isinstance(one, Line) and not one.assembly and (not one.raw or one.checked):
            return f"for (; {text}; {one.text.removesuffix(';')})", body
        return f"while ({text})", [*body, *steps]

    def _put_last(
        self,
        body: list[Node],
        steps: list[Node],
        first: list[Node],
        condition: Piece | None,
        target: Target,
    ) -> None:
        text = "true" if condition is None else condition.text
        mentions = condition.mentions if condition is not None else frozenset()
        self.out.append(Nest([("do", [*body, *steps, *first])], f" while ({text});", mentions))
        self._arrive(target)

    def _in_two(self, target: Target, loop: Loop) -> list[Node]:
        """The body in a scope of its own, which `continue` leaves."""
        self.targets.append(target)
        inner = Target(f"{loop.label} continued", False)
        self.renamed[loop.label] = inner.label
        body = self._inside_target(inner, loop.body)
        before, self.out = self.out, [Nest([("do", body)], " while (false);")]
        self._arrive(inner)
        body, self.out = self.out, before
        self.targets.pop()
        return body

    def _inside_target(self, target: Target, nodes: list[TreeNode]) -> list[Node]:
        self.targets.append(target)
        body = self._inside(nodes)
        self.targets.pop()
        return body

    def _scope(self, node: Scope) -> None:
        target = Target(node.label, False)
        body = self._inside_target(target, node.body)
        self.out.append(Nest([("do", body)], " while (false);"))
        self._arrive(target)

    def _jump(self, kind: str, label: str) -> None:
        """`break` or `continue` of a scope that may not be the innermost one."""
        inside = self.renamed.get(label, "")
        if kind == "continue" and any(target.label == inside for target in self.targets):
            kind, label = "break", inside
        inner = self.targets[-1]
        if inner.label == label and (kind == "break" or inner.loop):
            self.out.append(Line(f"{kind};"))
            return
        number = self.jumps.setdefault((kind, label), len(self.jumps) + 1)
        inner.arrivals[number] = (kind, label)
        self.context.types["jump"] = WORD_TYPE
        self.out += [Line(f"jump = {number};", ("jump",)), Line("break;")]

    def _arrive(self, left: Target) -> None:
        """Behind what was left: jumps that go further."""
        for number, (kind, label) in left.arrivals.items():
            inner = self.targets[-1]
            test = f"if (jump == {number})"
            native = inner.label == label and (kind == "break" or inner.loop)
            if native:
                lines: list[Node] = [Line("jump = 0;", ("jump",)), Line(f"{kind};")]
            else:
                inner.arrivals[number] = (kind, label)
                lines = [Line("break;")]
            self.out.append(Nest([(test, lines)], mentions=frozenset({"jump"})))

    def _switch(self, node: Switch) -> None:
        self.statements += 1
        subject = self.whole(lambda: self.sol(self.blocks[node.block].end.args[0], WORD_TYPE))
        name = self.temporary()
        self.put(name, subject)
        parts: list[tuple[str, list[Node]]] = []
        for number, (case, body) in enumerate(node.cases):
            word = "else if" if number else "if"
            parts.append((f"{word} ({name} == {case:#x})", self._inside(body)))
        parts.append(("else", [Line("invalid()", assembly=True)]))
        self.out.append(Nest(parts, mentions=frozenset({name})))

    def _machine(self) -> list[Node]:
        """Blocks as rows of a machine: for control flow that no tree says."""
        numbers = {name: number for number, name in enumerate(self.blocks)}
        self.context.types["place"] = WORD_TYPE
        parts: list[tuple[str, list[Node]]] = []
        for name, block in self.blocks.items():
            before, self.out = self.out, []
            for line in block.lines:
                self._counted(lambda line=line: self._line(line))
            self._go_on(block.end, numbers)
            body, self.out = self.out, before
            word = "else if" if parts else "if"
            parts.append((f"{word} (place == {numbers[name]})", body))
        rows = Nest(parts, mentions=frozenset({"place"}))
        self.out += [
            Line("place = 0;", ("place",)),
            Nest([("while (true)", [rows])], mentions=frozenset({"place"})),
        ]
        return self.out

    def _go_on(self, end: DraftEnd, numbers: Mapping[str, int]) -> None:
        if not end.targets:
            self._counted(lambda: self._exit(end))
        elif end.op == "BRANCH":
            condition = self.condition(end.args[0])
            held, failed = (numbers[target] for target in end.targets)
            self.out.append(
                Line(f"place = {condition.text} ? {held} : {failed};", ("place",), condition.mentions)
            )
        elif end.op == "SWITCH":
            name, mentions = self._kept(self.sol(end.args[0], WORD_TYPE))
            parts: list[tuple[str, list[Node]]] = []
            for case, target in zip(end.cases, end.targets, strict=True):
                word = "else if" if parts else "if"
                jump: list[Node] = [Line(f"place = {numbers[target]};", ("place",))]
                parts.append((f"{word} ({name} == {case:#x})", jump))
            parts.append(("else", [Line("invalid()", assembly=True)]))
            self.out.append(Nest(parts, mentions=mentions))
        else:
            self.out.append(Line(f"place = {numbers[end.targets[0]]};", ("place",)))

    # Lines.

    def _line(self, line: DraftLine) -> None:
        form = line.form
        if isinstance(form, Value):
            self._value(form.expression, line.results)
        elif isinstance(form, Do):
            self._do(form.expression)
        elif isinstance(form, Assign):
            self._assign(form)
        elif isinstance(form, Emit):
            self._emit(form)
        elif isinstance(form, Dispatch):
            self._dispatch(form)
        else:
            raise Unsayable(type(form).__name__)

    def _dispatch(self, form: Dispatch) -> None:
        """Solidity itself goes over to the functions whose names are known."""
        for _, name in form.cases:
            self.out += [Line(text) for text in self.frame.entered.get(name, ()) if text]

    def _value(self, expression: Expression, results: tuple[str, ...]) -> None:
        names = tuple(self.spelled(result) for result in results)
        for result in results:
            self.type_of(result)
        if len(names) == 1 and not self._is_call(expression):
            (name,) = names
            if isinstance(expression, Operation) and self._by_assembly(expression):
                text, mentions = self._yul_operation(expression)
                self.assembly(f"{name} := {text}", (name,), mentions)
                return
            piece = self.whole(lambda: self.sol(expression, self.context.types[name]))
            self.put(name, piece)
            return
        self._call_into(expression, names)

    def _by_assembly(self, term: Operation) -> bool:
        """Whether assembly says the whole better than a temporary would."""
        if term.op in ("&&", "||", "?:", "CALLVALUE", "CODESIZE"):
            return False
        if self.context.literal:
            return True
        before, temporaries = len(self.out), self.context.temporaries
        spelled, types = dict(self.context.spelled), dict(self.context.types)
        piece = self._operation(term, "")
        made = self.out[before:]
        del self.out[before:]
        self.context.temporaries = temporaries
        self.context.spelled.clear()
        self.context.spelled.update(spelled)
        self.context.types.clear()
        self.context.types.update(types)
        last = made[-1] if made else None
        return isinstance(last, Line) and last.assembly and last.sets == (piece.text,)

    def _is_call(self, expression: Expression) -> bool:
        if isinstance(expression, Call):
            return expression.checked
        return (
            isinstance(expression, Invoke)
            and isinstance(expression.callee, Name)
            and expression.callee.name in self.context.called
        )

    def _call_into(self, expression: Expression, names: tuple[str, ...]) -> None:
        """`(a, b) = f(x)`."""
        if not self._is_call(expression):
            raise Unsayable(f"{len(names)} results of {type(expression).__name__}")
        gives = self._gives(expression)
        piece = self.whole(lambda: self._sol(expression, ""))
        if len(gives) != len(names):
            raise Unsayable("results of another number")
        kinds = tuple(self.context.types[name] for name in names)
        if kinds == gives:
            left = names[0] if len(names) == 1 else f"({', '.join(names)})"
            self.out.append(
                Line(f"{left} = {piece.text};", names, piece.mentions, False, piece.raw, piece.checked)
            )
            return
        held = tuple(self.temporary(kind) for kind in gives)
        left = held[0] if len(held) == 1 else f"({', '.join(held)})"
        self.out.append(
            Line(f"{left} = {piece.text};", held, piece.mentions, False, piece.raw, piece.checked)
        )
        for name, temporary, have, want in zip(names, held, gives, kinds, strict=True):
            self.put(name, self.convert(Piece(temporary, ATOM, have, frozenset({temporary})), want))

    def _gives(self, call: Expression) -> tuple[str, ...]:
        """The types of what a call gives."""
        if isinstance(call, Call):
            return tuple(in_memory(kind) for kind in call.returns)
        assert isinstance(call, Invoke)
        assert isinstance(call.callee, Name)
        return self.context.called[call.callee.name][2]

    def _do(self, expression: Expression) -> None:
        if self._is_call(expression):
            piece = self.whole(lambda: self._sol(expression, ""))
            self.out.append(Line(f"{piece.text};", (), piece.mentions, raw=piece.raw, checked=piece.checked))
            return
        if isinstance(expression, Operation):
            if expression.op == "CODECOPY":
                self._codecopy(expression.args)
                return
            if expression.op in _DOES or self.context.literal:
                text, mentions = self._yul_operation(expression)
                self.assembly(text if expression.op in _DOES - _GIVES else f"pop({text})", (), mentions)
                return
        piece = self.whole(lambda: self._sol(expression, ""))
        self.out.append(Line(f"{piece.text};", (), piece.mentions, raw=piece.raw, checked=piece.checked))

    def _codecopy(self, args: tuple[Expression, ...]) -> None:
        """Bytes of the original's code, which this text has as constants."""
        target, offset, length = args
        if not isinstance(offset, int) or not isinstance(length, int):
            raise Unsayable("code copied from a place known only when running")
        data = bytearray(length)
        for start, part in self.frame.codes.items():
            for at in range(max(start, offset), min(start + len(part), offset + length)):
                data[at - offset] = part[at - start]
        where, mentions = self.yul(target)
        if length <= 32 * 4:
            for at in range(0, length, 32):
                word = int.from_bytes(bytes(data[at : at + 32]).ljust(32, b"\0"), "big")
                place = where if not at else f"add({where}, {at:#x})"
                if length - at < 32:
                    keep = (1 << 8 * (32 - (length - at))) - 1
                    text = f"mstore({place}, or({word:#x}, and(mload({place}), {keep:#x})))"
                else:
                    text = f"mstore({place}, {word:#x})"
                self.assembly(text, (), mentions)
            return
        name = self.temporary("bytes memory")
        kept = self.temporary()
        self.assembly(f"{kept} := mload(0x40)", (kept,), frozenset())
        self.assembly(f"mstore(0x40, add({where}, {length:#x}))", (), mentions)
        self.out.append(Line(f'{name} = hex"{data.hex()}";', (name,)))
        self.assembly(f"mcopy({where}, add({name}, 0x20), {length:#x})", (), mentions | {name})
        self.assembly(f"mstore(0x40, {kept})", (), frozenset({kept}))

    def _assign(self, form: Assign) -> None:
        word = self._word_of_storage(form.target)
        if word is not None:
            slot, mentions = self.slot(word)
            text, more = self.yul(form.value)
            self.assembly(f"sstore({slot}, {text})", (), mentions | more)
            return

        def write() -> Piece:
            target = self._sol(form.target, "")
            known = is_value(target.type)
            value = trimmed(form.value, mask_of(target.type)) if known else form.value
            said = self.sol(value, target.type)
            return self._both(f"{target.text} {form.operator}= {said.text}", ATOM, target.type, target, said)

        piece = self.whole(write)
        self.out.append(Line(f"{piece.text};", (), piece.mentions, raw=piece.raw, checked=piece.checked))

    def _word_of_storage(self, target: Expression) -> Piece | None:
        """What lies in storage and is no value, if its first slot is assigned: the length of an array, a struct's."""
        if isinstance(target, Member) and target.name == "length":
            return self._sol(target.base, "")
        piece = self._sol(target, "")
        return None if is_value(piece.type) else piece

    def _emit(self, form: Emit) -> None:
        natural = [self._sol(arg, "").type for arg in form.args] if form.event else []
        positions = self._indexed(form, natural)
        if positions is None:
            self._emit_anonymous(form)
            return
        topics, data = list(form.args[: form.indexed]), list(form.args[form.indexed :])
        args = tuple((topics if place in positions else data).pop(0) for place in range(len(form.args)))
        declared = ", ".join(
            f"{kind}{' indexed' if place in positions else ''}" for place, kind in enumerate(form.types)
        )
        text = f"event {form.event}({declared});"
        if self.frame.events.setdefault(f"{form.event}({','.join(form.types)})", text) != text:
            self._emit_anonymous(form)
            return
        kinds = tuple(in_memory(kind) for kind in form.types)
        piece = self.whole(lambda: self.several(args, kinds))
        self._say(f"emit {form.event}({piece.text});", piece)

    def _indexed(self, form: Emit, natural: list[str]) -> tuple[int, ...] | None:
        """Which parameters are topics: the first ones, unless the arguments' own types fit others better. None where no
        event of that name can be declared."""
        signature = f"{form.event}({','.join(form.types)})"
        topic = int.from_bytes(keccak256(signature.encode()), "big")
        if not all(form.types) or topic != form.topic or form.event in self.frame.taken:
            return None

        def misfits(positions: tuple[int, ...]) -> int:
            first, rest = natural[: form.indexed], natural[form.indexed :]
            order = [(first if place in positions else rest).pop(0) for place in range(len(natural))]
            pairs = zip(order, form.types, strict=True)
            return sum(kind not in ("uint256", "int256", "bytes32") and kind != have for have, kind in pairs)

        every_way = combinations(range(len(form.types)), form.indexed)
        return min(islice(every_way, MOST_WAYS), key=misfits)

    def _emit_anonymous(self, form: Emit) -> None:
        """An event whose first topic stands in the text: nothing but the hash is known of its name."""
        name = f"Event_{form.topic >> 224:08x}"
        kinds = ["bytes32 indexed"] + ["uint256 indexed"] * form.indexed
        rest = [kind or WORD_TYPE for kind in form.types[form.indexed :]]
        text = f"event {name}({', '.join(kinds + rest)}) anonymous;"
        while self.frame.events.setdefault(name, text) != text:
            name += "_"
            text = f"event {name}({', '.join(kinds + rest)}) anonymous;"
        wanted = (WORD_TYPE,) * form.indexed + tuple(in_memory(kind) for kind in rest)
        piece = self.whole(lambda: self.several(form.args, wanted))
        comma = ", " if piece.text else ""
        self._say(f"emit {name}(bytes32({form.topic:#066x}){comma}{piece.text});", piece)

    def _say(self, text: str, piece: Piece) -> None:
        self.out.append(Line(text, (), piece.mentions, raw=piece.raw, checked=piece.checked))

    # Ends.

    def _exit(self, end: DraftEnd) -> None:
        form = end.form
        if isinstance(form, Revert):
            self._revert(form)
        elif isinstance(form, Return):
            self._return(form.values, form.raw)
        elif isinstance(form, Do):
            self._do(form.expression)
        elif form is not None:
            raise Unsayable(type(form).__name__)
        elif end.op == "RETURNPRIVATE":
            self._give_back(end.args)
        elif end.op == "STOP":
            if not self.frame.private and not self.frame.returns:
                self.out.append(Line("return;"))
            else:
                self.assembly("stop()", (), frozenset())
        elif end.op == "UNRESOLVED":
            raise Unsayable(f"code that was not followed: {end.why}")
        elif end.op == "ENTER":
            self.out += [Line(text) for text in self.frame.entered.get(end.function) or ["revert();"]]
        elif end.op == "REVERT" and end.args[1] == 0 and not self.context.literal:
            self.out.append(Line("revert();"))
        else:
            said = [self.yul(arg) for arg in end.args]
            text = f"{end.op.lower()}({', '.join(text for text, _ in said)})"
            self.assembly(text, (), frozenset().union(*(mentions for _, mentions in said)))

    def _give_back(self, values: tuple[Expression, ...]) -> None:
        if not values:
            self.out.append(Line("return;"))
            return
        assert self.frame.returns is not None
        kinds = tuple(in_memory(kind) for kind in self.frame.returns)
        piece = self.whole(lambda: self.several(values, kinds))
        text = piece.text if len(values) == 1 else f"({piece.text})"
        self.out.append(Line(f"return {text};", (), piece.mentions, raw=piece.raw, checked=piece.checked))

    def _return(self, values: tuple[Expression, ...], raw: bool = False) -> None:
        if raw:
            self._end_with("return", values[0])
            return
        if self.frame.private or self.frame.returns is None or len(values) != len(self.frame.returns):
            kinds = (WORD_TYPE,) * len(values)
            piece = self.whole(lambda: self.several(values, kinds))
            self._give_encoded("return", f"abi.encode({piece.text})", piece)
            return
        self._give_back(values)

    def _give_encoded(self, how: str, encoded: str, piece: Piece) -> None:
        """Ends the call with bytes that Solidity encodes."""
        name = self.temporary("bytes memory")
        self.out.append(
            Line(f"{name} = {encoded};", (name,), piece.mentions, raw=piece.raw, checked=piece.checked)
        )
        self.assembly(f"{how}(add({name}, 0x20), mload({name}))", (), frozenset({name}))

    def _end_with(self, how: str, value: Expression) -> None:
        """Ends the call with the bytes of a value and nothing else."""
        if value == RETURNED:
            self.assembly("returndatacopy(0, 0, returndatasize())", (), frozenset())
            self.assembly(f"{how}(0, returndatasize())", (), frozenset())
            return
        piece = self.whole(lambda: self.sol(value, "bytes memory"))
        name = piece.text
        if name not in self.context.types:
            name = self.temporary("bytes memory")
            self.put(name, piece)
        self.assembly(f"{how}(add({name}, 0x20), mload({name}))", (), frozenset({name}))

    def _panic(self, code: Expression) -> None:
        if code == 1:
            self.out.append(Line("assert(false);"))
            return
        self.context.needed.add("panic")
        piece = self.whole(lambda: self.sol(code, WORD_TYPE))
        self._say(f"panic({hex(code) if isinstance(code, int) else piece.text});", piece)

    def _revert(self, form: Revert) -> None:
        if not form.error and form.args and form.selector is None and not isinstance(form.args[0], Text):
            self._end_with("revert", form.args[0])
            return
        if not form.error:
            piece = self.whole(lambda: self.several(form.args, ("string memory",) * len(form.args)))
            self._say(f"revert({piece.text});", piece)
            return
        if form.error == "Panic" and len(form.args) == 1:
            self._panic(form.args[0])
            return
        signature = f"{form.error}({','.join(form.types)})"
        fits = int.from_bytes(keccak256(signature.encode())[:4], "big") == form.selector
        if all(form.types) and fits and form.error not in self.frame.taken | {"Error", "Panic"}:
            self.frame.errors.setdefault(signature, f"error {form.error}({', '.join(form.types)});")
            kinds = tuple(in_memory(kind) for kind in form.types)
            piece = self.whole(lambda: self.several(form.args, kinds))
            self._say(f"revert {form.error}({piece.text});", piece)
            return
        piece = self.whole(lambda: self.encoded(form.selector, "", form.types, form.args))
        self._give_encoded("revert", piece.text, piece)


_GIVES = frozenset({"CALL", "CALLCODE", "DELEGATECALL", "STATICCALL", "CREATE", "CREATE2"})
"""Instructions done for their effect that have a result, which assembly must take."""

_DOES = _GIVES | frozenset(
    {"MSTORE", "MSTORE8", "SSTORE", "TSTORE", "MCOPY", "CALLDATACOPY", "EXTCODECOPY", "RETURNDATACOPY"}
    | {f"LOG{count}" for count in range(5)}
)
