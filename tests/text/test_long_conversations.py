"""Conversations of very many turns: what is rendered and held of them is bounded, and what is beyond it is named."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.text.chat_templates import FORMS, write

from whet import limits
from whet.sandbox import templates
from whet.sandbox.templates import Job, TemplateProcess
from whet.sandbox.worker import shared_characters
from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat
from whet.text.chat.chat import TOO_MUCH
from whet.text.chat.template import Template
from whet.text.conversation import Conversation, Message
from whet.text.refused import Refused


def talk(turns: int, size: int) -> Conversation:
    said = [(f"{n} why is it so? " * size)[:size] for n in range(turns)]
    return Conversation(tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(said)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(FORMS[name], tmp_path_factory.mktemp("long") / name) for name in ("qwen2.5", "qwen3")}


@contextmanager
def peak_below(most_bytes: int) -> Iterator[None]:
    """Python's memory beyond what was there."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most_bytes, f"{peak / 1e6:.0f} MB"


def test_two_thousand_turns_are_dropped_by_name(folders: dict[str, Path]) -> None:
    """In full they would take some 600 MB; and three of them do not make the template guilty."""
    with Chat.of(folders["qwen2.5"]) as chat:
        chat.encode(talk(2, 10))
        child = chat._process._child
        with peak_below(20_000_000):
            *refused, good = chat.encode_batch([*[talk(2000, 150)] * 4, talk(4, 50)])
        assert chat._process._child is child
    for found in refused:
        assert isinstance(found, Refused)
        assert found.reason == TOO_MUCH
        assert found.detail == "its 2,000 renderings have more than 67,108,864 characters"
    assert isinstance(good, list)


def test_many_conversations_are_held_a_few_at_a_time(folders: dict[str, Path]) -> None:
    """Together their renderings have some 30 million characters."""
    with Chat.of(folders["qwen2.5"]) as chat:
        chat.encode(talk(2, 10))
        with peak_below(16_000_000):
            found = chat.encode_batch([talk(120, 40)] * 60)
    assert all(isinstance(one, list) for one in found)


def test_portions_change_nothing(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    talks = [talk(2 + 2 * (n % 3), 20 + n) for n in range(12)] + [Conversation((Message("user", "Why?"),))]
    with Chat.of(folders["qwen3"]) as chat:
        whole = chat.encode_batch(talks)
        monkeypatch.setattr("whet.text.chat.chat.AT_ONCE_CHARACTERS", 500)
        parts = chat.encode_batch(talks)
    assert [one if isinstance(one, list) else str(one) for one in whole] == [
        one if isinstance(one, list) else str(one) for one in parts
    ]
    assert isinstance(parts[-1], Refused)


def test_what_renderings_share_counts_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a template rewrites the last turn; one that begins otherwise each time writes all anew."""
    monkeypatch.setattr(limits, "TEMPLATE_OUTPUT_CHARACTERS", 30_000)
    with Chat.of(folders["qwen3"]) as chat:
        assert len(chat.encode(talk(60, 50))) == 30
    counting = Template("{{ messages | length }}" + FORMS["qwen3"].template, "test")
    with Chat(tokenizers.load(folders["qwen3"]), counting) as chat, pytest.raises(Refused) as refusal:
        chat.encode(talk(60, 50))
    assert refusal.value.detail == "writes more than 30,000 characters"


def test_a_conversation_beyond_it_is_not_even_asked_for(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Chat.of(folders["qwen2.5"]) as chat:
        monkeypatch.setattr(limits, "TEMPLATE_OUTPUT_CHARACTERS", 1_000)
        monkeypatch.setattr(TemplateProcess, "_asked", None)
        (found,) = chat.encode_batch([talk(2, 600)])
    assert isinstance(found, Refused)
    assert str(found) == f"{TOO_MUCH}: more than 1,000 characters"


def test_a_child_cannot_make_more_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes that stand for many copies of a long text, from a child that is not to be believed."""
    monkeypatch.setattr(limits, "CONVERSATION_RENDERED_CHARACTERS", 1_000)
    assert templates._texts([[0, "a" * 300], [300, ""], [300, ""]], 3) == ["a" * 300] * 3
    with pytest.raises(templates._Killed, match="output"):
        templates._texts([[0, "a" * 300], *[[300, ""]] * 5], 6)


@given(st.text("ab😀", max_size=12), st.text("ab😀", max_size=12))
def test_shared_characters(one: str, other: str) -> None:
    assert shared_characters(one, other) == next(
        size for size in range(len(one), -1, -1) if other.startswith(one[:size])
    )


def test_any_text_comes_back(folders: dict[str, Path]) -> None:
    said = [
        {"role": "user", "content": "a\ud800 😀 é \x00 \u2028"},
        {"role": "assistant", "content": "中\udfff"},
    ]
    with TemplateProcess("{% for m in messages %}{{ m.content }}{% endfor %}!", {}) as process:
        first, both = (said[0]["content"], said[0]["content"] + said[1]["content"])
        assert process.render_one(Job(said, [(1, False), (2, False)])) == [f"{first}!", f"{both}!"]
