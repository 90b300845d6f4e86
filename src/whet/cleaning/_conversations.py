"""Filters on conversations: those for messages see each text that was said, those for the whole its JSON.

A filter says which by `ON_CONVERSATIONS`; one that judges files is not asked. What is said are contents, Alpaca's
inputs, thoughts, and the texts in the arguments of calls. A message that leaves takes its conversation along: without
it the others would mean something else. Left out: names, and the descriptions of tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from whet.cleaning.base import Filter
from whet.records import Document, Dropped
from whet.text.conversation import Conversation, Message, from_text, to_text

EMPTIED = "nothing left of a message"
"""Why a conversation leaves of which a filter removed all that somebody said."""


class _Left(Exception):
    """A text that a filter dropped."""

    def __init__(self, why: Dropped) -> None:
        super().__init__(why.reason)
        self.why = why


def clean_conversations(
    stream: Iterable[Document | Dropped], filters: Iterable[Filter]
) -> Iterator[Document | Dropped]:
    """Each conversation through the filters in their ORDER, up to the first that drops it; as many go out as come in."""
    ordered = sorted(filters, key=lambda rule: (rule.ORDER, rule.NAME))
    for item in stream:
        for rule in ordered:
            if isinstance(item, Dropped):
                break
            if rule.ON_CONVERSATIONS == "messages":
                item = _by_messages(item, rule)
            elif rule.ON_CONVERSATIONS == "whole":
                item = rule.apply(item)
        yield item


def _by_messages(document: Document, rule: Filter) -> Document | Dropped:
    conversation = from_text(document.text)
    texts = _Texts(document, rule)
    messages = []
    for number, message in enumerate(conversation.messages, 1):
        try:
            cleaned = texts.message(message)
        except _Left as left:
            return replace(
                left.why, detail=f"message {number}: {left.why.detail}", size_bytes=document.size_bytes
            )
        if _says(message) and not _says(cleaned):
            return Dropped(
                origin=document.origin,
                reason=EMPTIED,
                detail=f"message {number}",
                size_bytes=document.size_bytes,
            )
        messages.append(cleaned)
    if not texts.changes and tuple(messages) == conversation.messages:
        return document
    text = to_text(Conversation(tuple(messages), conversation.tools))
    return replace(document, text=text, changes=(*document.changes, *texts.changes))


def _says(message: Message) -> bool:
    return bool(message.content.strip() or message.input.strip() or message.tool_calls)


class _Texts:
    """Gives texts of one conversation to one filter. `changes`: what it did to them, each named once."""

    def __init__(self, document: Document, rule: Filter) -> None:
        self.about = {
            name: getattr(document, name) for name in ("origin", "group", "language", "licence", "source")
        }
        self.rule = rule
        self.changes: dict[str, None] = {}

    def message(self, message: Message) -> Message:
        """The message with its texts as the filter leaves them. Raises _Left."""
        before = (message.content, message.input, message.reasoning)
        content, given, reasoning = map(self.text, before)
        calls = tuple(self.call(call) for call in message.tool_calls)
        if not calls and (content, given, reasoning) == before:
            return message
        return replace(message, content=content, input=given, reasoning=reasoning, tool_calls=calls)

    def call(self, call: dict[str, Any]) -> dict[str, Any]:
        """A call with the texts in its arguments as the filter leaves them."""
        function = call.get("function", {})
        return {**call, "function": {**function, "arguments": self.values(function.get("arguments"))}}

    def values(self, values: Any) -> Any:
        """Plain values with their texts as the filter leaves them."""
        if isinstance(values, str):
            return self.text(values)
        if isinstance(values, dict):
            return {name: self.values(value) for name, value in values.items()}
        return [self.values(value) for value in values] if isinstance(values, list) else values

    def text(self, text: str) -> str:
        """A text as the filter leaves it. Raises _Left if it drops it."""
        if not text:
            return text
        done = self.rule.apply(Document(text=text, **self.about))
        if isinstance(done, Dropped):
            raise _Left(done)
        self.changes.update(dict.fromkeys(done.changes))
        return done.text
