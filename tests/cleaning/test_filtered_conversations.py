"""Filters on conversations: each acts on what it says it is given, is counted once, and loses no record in silence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whet import store
from whet.cards.data import data_card
from whet.cards.gather import Facts
from whet.cleaning._conversations import EMPTIED, clean_conversations
from whet.cleaning.base import FILTERS, Filter
from whet.cleaning.control_characters import FULL_OF_THEM, HIDDEN, NEWLINES, ControlCharacters
from whet.cleaning.size import TOO_LONG, Size
from whet.errors import RecipeError
from whet.prepare.run import run
from whet.progress import Reporter
from whet.recipe.load import load_recipe
from whet.recipe.schema import Recipe
from whet.records import Document, Dropped
from whet.text.conversation import Conversation, Message, from_text, to_text

SAID = (Message("user", "Why?"), Message("assistant", "So."))


class Numbers(Filter):
    """Takes telephone numbers out, and drops what speaks of a password."""

    NAME = "numbers"
    SUMMARY = "removes personal data: telephone numbers"
    REASONS = ("numbers removed", "password")
    ON_CONVERSATIONS = "messages"

    def apply(self, document: Document) -> Document | Dropped:
        if "password" in document.text:
            return self.drop(document, "password", "named")
        without = document.text.replace("555-1234", "[number]")
        return document if without == document.text else self.change(document, without, "numbers removed")


class Unaware(Filter):
    """Says nothing of conversations."""

    NAME = "unaware"

    def apply(self, document: Document) -> Document | Dropped:
        raise AssertionError("was given a conversation")


def document(*messages: Message, tools: tuple[dict[str, Any], ...] = ()) -> Document:
    return Document(text=to_text(Conversation(messages, tools)), origin="here", group="here", language="de")


def cleaned(item: Document | Dropped, *rules: Filter) -> Document | Dropped:
    (done,) = clean_conversations([item], rules)
    return done


def test_every_text_that_was_said() -> None:
    number = "555-1234"
    call = {
        "id": "a",
        "type": "function",
        "function": {"name": "dial", "arguments": {"to": [number, 1], number: None}},
    }
    before = document(
        Message("system", f"s {number}"),
        Message("user", f"u {number}", input=f"i {number}"),
        Message("assistant", f"a {number}", reasoning=f"r {number}", tool_calls=(call,), learn=True),
        Message("tool", f"t {number}", name="dial", tool_call_id="a"),
    )
    after = cleaned(before, Numbers())
    assert isinstance(after, Document)
    assert after.changes == ("numbers removed",), "once, however many texts"
    expected = before.text.replace(number, "[number]").replace('"[number]":null', f'"{number}":null')
    assert after.text == expected
    assert (after.origin, after.group, after.language) == ("here", "here", "de")
    assert from_text(after.text).messages[2].learn is True


def test_a_change_without_a_name_is_a_change() -> None:
    class Quiet(Numbers):
        def apply(self, document: Document) -> Document | Dropped:
            return replace(document, text=document.text.upper())

    after = cleaned(document(*SAID), Quiet())
    assert isinstance(after, Document)
    assert [message.content for message in from_text(after.text).messages] == ["WHY?", "SO."]


def test_what_is_dropped_takes_the_conversation_along() -> None:
    said = (*SAID, Message("user", "the password"), Message("assistant", "No."))
    assert cleaned(document(*said), Numbers()) == Dropped(
        origin="here", reason="password", detail="message 3: named", size_bytes=document(*said).size_bytes
    )


def test_what_needs_no_change_stays_the_same_object() -> None:
    one = document(*SAID)
    assert cleaned(one, *(kind() for kind in FILTERS)) is one
    gone = Dropped(origin="there", reason="binary")
    assert cleaned(gone, Numbers(), Size()) is gone


def test_hidden_characters_and_newlines() -> None:
    after = cleaned(
        document(Message("user", "Why\u202e?\r\n"), Message("assistant", "So.\u200b\r\n")),
        ControlCharacters(),
    )
    assert isinstance(after, Document)
    assert [message.content for message in from_text(after.text).messages] == ["Why?\n", "So.\n"]
    assert after.changes == (NEWLINES, HIDDEN)
    bells = cleaned(document(SAID[0], Message("assistant", "\x07" * 9)), ControlCharacters())
    assert isinstance(bells, Dropped)
    assert (bells.reason, bells.detail) == (FULL_OF_THEM, "message 2: 9 of 9")


def test_a_message_of_which_nothing_is_left() -> None:
    hidden = Message("assistant", "\u200b\u200b")
    found = cleaned(document(SAID[0], hidden), ControlCharacters())
    assert isinstance(found, Dropped)
    assert (found.reason, found.detail) == (EMPTIED, "message 2")


def test_size_is_that_of_the_whole() -> None:
    """A short question is no short record; a long one leaves."""
    assert isinstance(cleaned(document(*SAID), Size()), Document)
    found = cleaned(document(*SAID, tools=({"a": "b" * 500},)), Size(max_bytes=400))
    assert isinstance(found, Dropped)
    assert found.reason == TOO_LONG


def test_others_are_not_asked() -> None:
    one = document(*SAID)
    assert cleaned(one, Unaware()) is one
    assert [kind.NAME for kind in FILTERS if kind.ON_CONVERSATIONS] == ["control_characters", "size"]


def recipe(folder: Path, cleaning: dict[str, Any], *, text: bool = False) -> Recipe:
    chats = [
        {"messages": [
            {"role": "user", "content": f"Why is {n} the number of them?\r\n"},
            {"role": "assistant", "content": f"Since {n * 7} is seven times as much. {'Really. ' * (n % 5)}"},
        ]}
        for n in range(40)
    ]  # fmt: skip
    (folder / "chats.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats))
    stages = [
        {"name": "chat", "objective": "sft", "data": [{"source": "conversations", "path": "chats.jsonl"}]}
    ]
    if text:
        (folder / "texts").mkdir()
        for n in range(40):
            (folder / "texts" / f"{n}.txt").write_text(
                f"Some text about the number {n * 7}, which is {n} times 7.\n"
            )
        stages.insert(0, {"name": "texts", "data": [{"source": "text", "path": "texts"}]})
    values = {
        "name": "t",
        "model": {"size": "tiny", "context": 64},
        "tokenizer": {"vocab_size": 300},
        "chat_template": "alpaca",
        "prepare": {"validation_share": 0.2, "test_share": 0.2, "cleaning": cleaning},
        "stages": stages,
    }
    (folder / "recipe.yaml").write_text(json.dumps(values))
    return load_recipe(str(folder / "recipe.yaml")).recipe


def prepared(folder: Path, made: Recipe) -> store.Artefact:
    return run(made, folder / "out", Reporter())


class TestPreparing:
    def test_the_filters_of_a_recipe_act(self, tmp_path: Path) -> None:
        artefact = prepared(tmp_path, recipe(tmp_path, {"size": {"max_bytes": 170}}))
        tally = artefact.record["stages"][0]["tally"]
        assert tally["changed"] == {NEWLINES: tally["documents_kept"]}
        assert {row["reason"]: row["documents"] for row in tally["dropped"]}[TOO_LONG] > 5
        assert tally["documents_kept"] > 5
        assert not any("is not asked" in notice for notice in artefact.record["notices"])

    def test_one_that_would_do_nothing_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match="minified") as error:
            recipe(tmp_path, {"minified": {"max_line": 500}})
        assert "it judges files, not conversations" in str(error.value)
        recipe(tmp_path, {"minified": False})

    def test_one_that_does_half_is_said(self, tmp_path: Path) -> None:
        artefact = prepared(tmp_path, recipe(tmp_path, {"minified": {"max_line": 500}}, text=True))
        said = [notice for notice in artefact.record["notices"] if "is not asked" in notice]
        assert said == [
            "stage chat: the filter minified is not asked about its records: it judges files, not conversations"
        ]

    def test_the_card_says_what_they_were_given(self, tmp_path: Path) -> None:
        facts = self.facts(tmp_path, {})
        card = data_card(facts)
        assert (
            "Of conversations (`chat`) the filters were given: each message: `control_characters`; the whole as JSON: "
            "`size`; nothing, since they judge files: `generated`, `minified`, `repetitive`." in card
        )
        assert "**not searched for**" in card

    @pytest.mark.parametrize(("given", "text", "says"), [
        ("messages", False, "`numbers` (removes personal data: telephone numbers)"),
        ("", True, "`numbers` (removes personal data: telephone numbers; **not** in `chat`)"),
        ("", False, "**not searched for**"),
    ])  # fmt: skip
    def test_the_card_claims_no_search_that_was_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, text: bool, says: str
    ) -> None:
        monkeypatch.setattr(Numbers, "ON_CONVERSATIONS", given)
        monkeypatch.setattr(Numbers, "__module__", "numbers_filter")
        FILTERS.register(Numbers)
        try:
            assert says in data_card(self.facts(tmp_path, {}, text=text))
        finally:
            FILTERS.unregister("numbers")

    def facts(self, folder: Path, cleaning: dict[str, Any], *, text: bool = False) -> Facts:
        made = recipe(folder, cleaning, text=text)
        return Facts(made, {"stages": [], "seed": 0, "tokenizer": TOKENIZER, "notices": []})


TOKENIZER = {"kind": "existing", "vocab_size": 300, "special_tokens": []}
