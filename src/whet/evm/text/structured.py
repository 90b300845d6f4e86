"""A function as short text for people and language models: conditions, loops, expressions."""

from __future__ import annotations

from whet.evm import tac
from whet.evm.draft import Readable, readable
from whet.evm.draft.nouns import DraftEnd, Line
from whet.evm.meaning.base import Meaning, Variable
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
    Node,
    Not,
    Scope,
    Switch,
    Test,
    negated,
    walk,
)
from whet.evm.terms import (
    Assign,
    Dispatch,
    Do,
    Emit,
    Expression,
    Form,
    Invoke,
    Name,
    Operation,
    Revert,
    Value,
    variables,
)
from whet.evm.text.called import reached
from whet.evm.text.expressions import Writer, simple_condition

INDENT = "  "


CHECKED = "// checked(x), checked_T(x): reverts where the result does not fit into uint256 or T, and for division by 0"
_UNCALLED = "as calls of them are shown as what they do"


def structured(contract: tac.Contract, meaning: Meaning | None = None) -> str:
    """All functions in the contract's order, the dispatcher first; before them what is known of the storage.

    Private functions of which every call is shown as something else (an operator, an argument) are named at the end.
    `noreturn` stands where a private function never comes back: nothing is written behind a call of it.
    """
    meaning = meaning or Meaning()
    head = [f"// {note}" for note in contract.notes]
    head += [*meaning.declarations, *(f"{_type(v.type)}{v.name}; // slot {v.slot}" for v in meaning.storage)]
    parts = ["\n".join(head)] if head else []
    bodies = {f.name: readable(f, meaning.of(f.name)) for f in contract.functions.values()}
    called = reached(contract, meaning, {name: body.draft for name, body in bodies.items()})
    functions = [contract.functions[name] for name in bodies if name in called]
    texts = [Printer(f, bodies[f.name], meaning, contract).text() for f in functions]
    if any("checked" in text for text in texts):
        parts.append(CHECKED)
    parts += texts
    if len(functions) < len(bodies):
        parts.append(f"// left out, {_UNCALLED}: {', '.join(name for name in bodies if name not in called)}")
    return "\n\n".join(parts) + "\n"


def structured_function(
    contract: tac.Contract, function: tac.Function, meaning: Meaning | None = None
) -> str:
    """One function, below what its words mean."""
    meaning = meaning or Meaning()
    text = Printer(function, readable(function, meaning.of(function.name)), meaning, contract).text()
    return f"{CHECKED}\n{text}" if "checked" in text else text


class Printer:
    """Writes one function; variables get their numbers in the order in which they are read."""

    def __init__(
        self, function: tac.Function, body: Readable, meaning: Meaning, contract: tac.Contract
    ) -> None:
        self.function, self.all, self.contract = function, meaning, contract
        self.meaning = meaning.of(function.name)
        self.blocks, self.tree = body.draft.blocks, body.tree.body
        self.draft = body.draft
        self.names: dict[str, str] = {}
        self.declared: set[str] = set()
        self.writer = Writer(self.names)
        self.lines: list[str] = []
        self.loops: list[str] = []

    def text(self) -> str:
        for number, param in enumerate(self.draft.params):
            self.names[param] = self._given(param) or f"x{number}"
        self.declared |= set(self.draft.params)
        self._number_names()
        self.lines = [*(f"// {note}" for note in [*self.function.notes, *self.meaning.notes]), self._header()]
        if self.meaning.body is not None:
            return "\n".join([*self.lines, f"{INDENT}{self._form(self.meaning.body)}", "}"])
        self._drop_last_returns(self.tree)
        self._sequence(self.tree, 1)
        return "\n".join([*self.lines, "}"])

    def _returns_nothing(self, node: Node) -> bool:
        end = self.blocks[node.block].end if isinstance(node, Exit) else None
        if end is None or end.form is not None:
            return False
        return end.op == self._way_out() and not end.args

    def _way_out(self) -> str:
        """How this kind of function ends without a value."""
        return "RETURNPRIVATE" if self.function.kind in ("private", "entry") else "STOP"

    def _drop_last_returns(self, nodes: list[Node]) -> None:
        """Where a function ends anyway, nothing says so."""
        if nodes and self._returns_nothing(nodes[-1]):
            nodes.pop()
            while nodes and isinstance(nodes[-1], Code) and not self.blocks[nodes[-1].block].lines:
                nodes.pop()
        last = nodes[-1] if nodes else None
        if isinstance(last, If) and len(last.then) + len(last.otherwise) > 1:
            self._drop_last_returns(last.then)
            self._drop_last_returns(last.otherwise)
            if not last.then:
                last.condition, last.then, last.otherwise = negated(last.condition), last.otherwise, []
            if not last.then:
                nodes.pop()

    def _never_reached(self, node: Node) -> bool:
        """An end behind the call of a function that never returns."""
        block = self.blocks[node.block] if isinstance(node, Exit) else None
        if block is None or block.end.op != "INVALID" or not block.lines:
            return False
        form = block.lines[-1].form
        called = form.expression if isinstance(form, Do | Value) else None
        callee = called.callee if isinstance(called, Invoke) else None
        function = self.contract.functions.get(callee.name) if isinstance(callee, Name) else None
        return function is not None and function.returns is None

    def _given(self, variable: str) -> str:
        return self.meaning.variables.get(variable, Variable()).name

    def _header(self) -> str:
        meaning, function = self.meaning, self.function
        if meaning.parameters is not None:
            params = ", ".join(f"{_type(p.type)}{p.name}" for p in meaning.parameters)
        else:
            params = ", ".join(f"{_type(self._likely(p))}{self.names[p]}" for p in self.draft.params)
        kind = meaning.visibility or function.kind
        changes = (
            "" if function.kind == "private" and meaning.mutability == "nonpayable" else meaning.mutability
        )
        words = [f"function {meaning.name or function.name}({params})", kind, changes]
        if meaning.returns and (set(meaning.returns) != {"uint256"} or function.kind != "private"):
            words.append(f"returns ({', '.join(meaning.returns)})")
        elif function.returns and function.kind == "private":
            words.append(f"returns {function.returns}")
        elif function.returns is None and function.kind == "private":
            words.append("noreturn")
        return " ".join(word for word in words if word) + " {"

    def _type_of(self, variable: str) -> str:
        """The type of a variable that is no parameter; a plain word has none."""
        kind = self.meaning.variables.get(variable, Variable()).type
        return "" if kind == "uint256" else kind

    def _likely(self, param: str) -> str:
        known = self.meaning.variables.get(param, Variable())
        return known.type or known.likely

    def _number_names(self) -> None:
        for node in walk(self.tree):
            for name in self._named_in(node):
                if name not in self.names:
                    self.names[name] = self._given(name) or f"v{len(self.names) - len(self.draft.params)}"

    def _named_in(self, node: Node) -> list[str]:
        found: list[str] = []
        if isinstance(node, Code):
            for line in self.blocks[node.block].lines:
                found += [*line.results, *variables(line.form)]
        elif isinstance(node, Exit | Switch):
            end = self.blocks[node.block].end
            terms: list[Expression | Form] = [end.form] if end.form is not None else list(end.args)
            found += [name for term in terms for name in variables(term)]
        elif isinstance(node, If | Loop) and node.condition is not None:
            found += variables(self._expression(node.condition))
        return found

    def _put(self, depth: int, text: str) -> None:
        self.lines.append(INDENT * depth + text)

    def _sequence(self, nodes: list[Node], depth: int) -> None:
        for node in nodes:
            self._node(node, depth)

    def _node(self, node: Node, depth: int) -> None:
        if isinstance(node, Code):
            for line in self.blocks[node.block].lines:
                for number, text in enumerate(self._line(line).split("\n")):
                    self._put(depth + (number > 0 and text != "}"), text)
        elif isinstance(node, Exit):
            if not self._never_reached(node):
                self._put(depth, self._exit(self.blocks[node.block].end))
        elif isinstance(node, If):
            self._if(node, depth)
        elif isinstance(node, Loop):
            self._loop(node, depth)
        elif isinstance(node, Switch):
            self._switch(node, depth)
        elif isinstance(node, Scope):
            self._put(depth, f"{_label(node.label)}: {{")
            self._sequence(node.body, depth + 1)
            self._put(depth, "}")
        elif isinstance(node, Label):
            self._put(depth - 1, f"{_label(node.label)}:")
        else:
            self._put(depth, self._jump(node))

    def _jump(self, node: Break | Continue | Leave | Goto) -> str:
        if isinstance(node, Goto):
            return f"goto {_label(node.label)}"
        if isinstance(node, Leave):
            return f"break {_label(node.label)}"
        word = "break" if isinstance(node, Break) else "continue"
        return word if self.loops[-1] == node.label else f"{word} loop_{_label(node.label)}"

    def _if(self, node: If, depth: int) -> None:
        head = f"if ({self._condition(node.condition)})"
        short = self._short(node.then)
        if short and not node.otherwise:
            self._put(depth, f"{head} {short}")
            return
        self._put(depth, f"{head} {{")
        self._sequence(node.then, depth + 1)
        while node.otherwise:
            following = node.otherwise[0]
            if len(node.otherwise) > 1 or not isinstance(following, If):
                self._put(depth, "} else {")
                self._sequence(node.otherwise, depth + 1)
                break
            node = following
            self._put(depth, f"}} else if ({self._condition(node.condition)}) {{")
            self._sequence(node.then, depth + 1)
        self._put(depth, "}")

    def _short(self, nodes: list[Node]) -> str:
        """The text of a part that is one line, "" for others."""
        nodes = [n for n in nodes if not (isinstance(n, Code) and not self.blocks[n.block].lines)]
        nodes = [n for n in nodes if not self._never_reached(n)]
        if len(nodes) != 1:
            return ""
        (node,) = nodes
        if isinstance(node, Exit):
            return self._exit(self.blocks[node.block].end)
        if isinstance(node, Code) and len(self.blocks[node.block].lines) == 1:
            return self._line(self.blocks[node.block].lines[0])
        return self._jump(node) if isinstance(node, Break | Continue | Leave | Goto) else ""

    def _loop(self, loop: Loop, depth: int) -> None:
        self.loops.append(loop.label)
        named = any(isinstance(n, Break | Continue) and n.label == loop.label for n in _nested(loop.body))
        name = f"loop_{_label(loop.label)}: " if named else ""
        condition = "true" if loop.condition is None else self._condition(loop.condition)
        update = "; ".join(
            self._line(line)
            for n in loop.update
            if isinstance(n, Code)
            for line in self.blocks[n.block].lines
        )
        if loop.last:
            head = "do {"
        else:
            head = f"for (; {condition}; {update}) {{" if update else f"while ({condition}) {{"
        self._put(depth, name + head)
        self._sequence(loop.body, depth + 1)
        self._put(depth, f"}} while ({condition})" if loop.last else "}")
        self.loops.pop()

    def _switch(self, node: Switch, depth: int) -> None:
        self._put(depth, f"switch ({self.writer.text(self.blocks[node.block].end.args[0])}) {{")
        for case, part in node.cases:
            self._put(depth, f"case {case:#x}:")
            self._sequence(part, depth + 1)
        self._put(depth, "}")

    def _condition(self, condition: Condition) -> str:
        return self.writer.text(self._expression(condition))

    def _expression(self, condition: Condition, holds: bool = True) -> Expression:
        if isinstance(condition, Test):
            return simple_condition(self.blocks[condition.block].end.args[0], holds)
        if isinstance(condition, Not):
            return self._expression(condition.condition, not holds)
        sign = "&&" if isinstance(condition, Both) == holds else "||"
        return Operation(
            sign, (self._expression(condition.left, holds), self._expression(condition.right, holds))
        )

    def _line(self, line: Line) -> str:
        text = self._form(line.form)
        if not line.results:
            return text
        names = [self._declaration(result) for result in line.results]
        return f"{names[0] if len(names) == 1 else '(' + ', '.join(names) + ')'} = {text}"

    def _declaration(self, variable: str) -> str:
        first = variable not in self.declared
        self.declared.add(variable)
        return f"{_type(self._type_of(variable)) if first else ''}{self.names[variable]}"

    def _form(self, form: Form) -> str:
        text = self.writer.text
        if isinstance(form, Value):
            return text(form.expression)
        if isinstance(form, Do):
            return self._do(form.expression)
        if isinstance(form, Assign):
            return f"{text(form.target)} {form.operator}= {text(form.value)}"
        if isinstance(form, Emit):
            return f"emit {form.event}({self.writer.several(form.args)})"
        if isinstance(form, Revert):
            error = "raw" if form.selector is None and form.types == ("bytes",) else form.error
            return f"revert {error}({self.writer.several(form.args)})".replace("revert (", "revert(")
        if isinstance(form, Dispatch):
            rows = [f"\n{case:#010x}: {self._title(name)}" for case, name in form.cases]
            return f"switch ({text(form.subject)}) {{{''.join(rows)}\n}}"
        values = self.writer.several(form.values)
        if form.raw:
            return f"return raw({values})"
        return f"return {values if len(form.values) == 1 else f'({values})'}" if form.values else "return"

    def _title(self, function: str) -> str:
        """A function as its header names it."""
        return self.all.of(function).name or function

    def _do(self, term: Expression) -> str:
        if isinstance(term, Operation) and term.op in _STORES:
            place, value = term.args
            return f"{_STORES[term.op]}[{self.writer.text(place)}] = {self.writer.text(value)}"
        return self.writer.text(term)

    def _exit(self, end: DraftEnd) -> str:
        if end.form is not None:
            return self._form(end.form)
        values = self.writer.several(end.args)
        if end.op in ("RETURNPRIVATE", self._way_out()):
            return f"return {values}" if end.args else "return"
        if end.op == "ENTER":
            callee = self.contract.functions.get(end.function)
            return f"goto function {callee.name if callee else end.function}({values})"
        why = f" // {end.why}" if end.why else ""
        return f"{end.op.lower()}({values}){why}"


_STORES = {"MSTORE": "mem", "MSTORE8": "mem8", "SSTORE": "stor", "TSTORE": "transient"}


def _nested(body: list[Node]) -> list[Node]:
    """What stands in loops inside of a loop's body."""
    return [n for inner in walk(body) if isinstance(inner, Loop) for n in walk(inner.body)]


def _label(block: str) -> str:
    return block.replace(">", "_").replace(".", "_")


def _type(type_: str) -> str:
    return f"{type_} " if type_ else ""
