"""What a template does, learned by asking it with a few plain conversations.

What ends an answer; what it writes only because a rendering ends; and in which of the four forms in use it takes a
message that calls tools, since there is no agreement: content null or "", arguments as values or as JSON text. The
first form is taken in which the call shows and no `None` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from whet.sandbox.templates import Failed, Job, TemplateProcess
from whet.text.chat.specials import Specials
from whet.text.chat.template import Template
from whet.text.chat.turns import Turn, ending_of, span, turn
from whet.text.conversation import Message

AS_TEXT = "the chat template takes the arguments of tool calls as JSON text; it is given them so"

_TALK = (
    Message("user", "Hello."),
    Message("assistant", "Hi."),
    Message("user", "Bye."),
    Message("assistant", "Bye."),
)
_NAME, _ARGUMENT = "look_up", "somewhere"
_CALL = {
    "id": "call00001",
    "type": "function",
    "function": {"name": _NAME, "arguments": {"place": _ARGUMENT}},
}
_CALLING = (
    Message("user", "Hello."),
    Message("assistant", "", tool_calls=(_CALL,)),
)
_PARAMETERS = {"type": "object", "properties": {"place": {"type": "string", "description": "Where."}}}
_TOOL = {
    "type": "function",
    "function": {"name": _NAME, "description": "Looks up.", "parameters": _PARAMETERS},
}


@dataclass(frozen=True, slots=True)
class Calls:
    """How a message that calls tools is given: what stands for no content, and arguments as values or as JSON text."""

    empty: str | None = ""
    as_text: bool = False


@dataclass(frozen=True, slots=True)
class Habits:
    """What a template writes only where a rendering ends, the ids that end answers, and how it takes calls of tools."""

    ending: str
    stops: tuple[int, ...]
    calls: Calls = Calls()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it."""
        return (AS_TEXT,) if self.calls.as_text else ()


def given(message: Message, template: Template, calls: Calls) -> dict[str, Any]:
    """A message as templates know it, by the names that transformers uses."""
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.input and template.takes_input:
        said["input"] = message.input
    elif message.input:
        said["content"] = f"{message.content}\n\n{message.input}"
    if message.tool_calls:
        said["content"] = said["content"] or calls.empty
        said["tool_calls"] = [_call(call, calls) for call in message.tool_calls]
    if message.name:
        said["name"] = message.name
    if message.tool_call_id:
        said["tool_call_id"] = message.tool_call_id
    if message.reasoning:
        said |= {"reasoning_content": message.reasoning, "thinking": message.reasoning}
    return said


def _call(call: dict[str, Any], calls: Calls) -> dict[str, Any]:
    function = call.get("function")
    if not calls.as_text or not isinstance(function, dict):
        return call
    arguments = json.dumps(function.get("arguments", {}), ensure_ascii=False)
    return {**call, "function": {**function, "arguments": arguments}}


def habits_of(process: TemplateProcess, specials: Specials, template: Template) -> Habits:
    """Ask a template. Raises TemplateError if it does not compile or cannot render a plain conversation."""
    said = [given(message, template, Calls()) for message in _TALK]
    prompt, answered = process.render_one(Job(said, [(1, True), (2, False)]))
    ending = ""
    for count in (3, 4):
        (more,) = process.render([Job(said, [(count, False)])])
        if not isinstance(more, Failed):
            ending = ending_of(answered, more[0], len(prompt), specials.borders)
            break
    stops = list(_stop(Turn(1, prompt, answered), specials, ending))
    calls = Calls()
    if "tool_calls" in template.text:
        for as_text, empty in product((False, True), (None, "")):
            found = _calling(process, specials, template, Calls(empty, as_text))
            if found is not None:
                calls = Calls(empty, as_text)
                stops += _stop(found, specials, ending)
                break
    return Habits(ending, tuple(dict.fromkeys(stops)), calls)


def _calling(process: TemplateProcess, specials: Specials, template: Template, calls: Calls) -> Turn | None:
    """A call of a tool in this form, if the template shows it."""
    said = [given(message, template, calls) for message in _CALLING]
    (done,) = process.render([Job(said, [(1, True), (2, False)], [_TOOL])])
    if isinstance(done, Failed):
        return None
    found = turn(1, done[0], done[1], (_NAME, _ARGUMENT), specials.borders)
    return None if found is None or "None" in found.full[len(found.prompt) :] else found


def _stop(found: Turn, specials: Specials, ending: str) -> Iterator[int]:
    """The id that ends an answer, if a special token does."""
    place = span(found, found.full, specials.borders, ending)
    if place:
        for mark in specials.borders.finditer(found.full, place[0]):
            if mark.end() == place[1]:
                yield specials.id_of(mark[0])
