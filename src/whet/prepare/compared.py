"""What near copies are judged by: of a document its text; of a conversation what was asked, and what was answered.

A conversation travels as JSON, most of which may be one system prompt and one list of tools that stand in every
record; they say nothing about whether two conversations are alike. So they are left out, and what was asked and what
was answered are compared each by itself: a long text with another question about it, or the same question answered
otherwise, is no copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from whet.records import Document
from whet.text.conversation import Conversation, Message, from_text


@dataclass(frozen=True, slots=True)
class Compared:
    """A near copy is near in each of `parts`. `setting`: a hash of what they were said under, "" where there is none."""

    parts: tuple[str, ...]
    setting: str = ""


def of_document(document: Document) -> Compared:
    """A text is judged by itself."""
    return Compared((document.text,))


def of_conversation(document: Document) -> Compared:
    """What users and tools said, what the assistant said; system texts and the tools on offer are the setting."""
    conversation = from_text(document.text)
    asked = (message for message in conversation.messages if message.role in ("user", "tool"))
    answered = (message for message in conversation.messages if message.role == "assistant")
    parts = tuple(
        "\n".join(text for message in those for text in _said(message)) for those in (asked, answered)
    )
    return Compared(parts, _setting(conversation))


def _said(message: Message) -> Iterator[str]:
    """A message's words; a call of a tool is its name and arguments."""
    yield from filter(None, (message.reasoning, message.content, message.input))
    for call in message.tool_calls:
        function = call.get("function", call)
        yield json.dumps([function.get("name"), function.get("arguments")], ensure_ascii=False)


def _setting(conversation: Conversation) -> str:
    told = [message.content for message in conversation.messages if message.role == "system"]
    return hashlib.sha256(json.dumps([told, conversation.tools]).encode()).hexdigest()[:32]
