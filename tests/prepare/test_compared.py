"""Conversations are near copies only where what was asked and what was answered are, whatever they were told before."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from whet import store
from whet.prepare import compared
from whet.prepare.duplicates import DuplicateIndex
from whet.prepare.run import COPIES_SHARE, run
from whet.progress import Reporter
from whet.recipe.load import load_recipe
from whet.records import Document
from whet.text.conversation import Conversation, Message, to_text

Judged = list[tuple[float, bool]]


def words(seed: int, count: int) -> str:
    draw = random.Random(seed)
    sounds = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    return " ".join("".join(draw.choices(sounds, k=4)) for _ in range(count))


RULES = words(1, 2000)
TOOLS = tuple(
    {"type": "function", "function": {"name": f"tool_{n}", "description": words(n, 40)}} for n in range(20)
)


def document(
    *said: tuple[str, str], tools: tuple[dict[str, Any], ...] = (), name: str = "d", **more: Any
) -> Document:
    messages = tuple(Message(role, text, **(more if role == "assistant" else {})) for role, text in said)
    return Document(text=to_text(Conversation(messages, tools)), origin=name, group=name)


def judged(folder: Path, first: Document, second: Document) -> Judged:
    """How similar the second is to the first, and whether it was said under the same setting."""
    index = DuplicateIndex(folder / "index.sqlite", 0.8)
    for at in (first, second):
        parts = compared.of_conversation(at)
        twins, entries = index.twins(at, "s", parts)
        index.add(at, "s", entries, parts.setting)
    index.close()
    return [(twin.similarity, twin.same_setting) for twin in twins]


def test_the_setting_is_no_likeness(tmp_path: Path) -> None:
    """200 short conversations under one long system prompt, all with the same tools: each is its own."""
    index = DuplicateIndex(tmp_path / "index.sqlite", 0.8)
    for n in range(200):
        one = document(
            ("system", RULES), ("user", f"What is {n}?"), ("assistant", f"It is {n * 7}."), tools=TOOLS
        )
        parts = compared.of_conversation(one)
        twins, entries = index.twins(one, "s", parts)
        assert twins == [], n
        index.add(one, "s", entries, parts.setting)
    index.close()


CONTEXT, LONG = words(2, 300), words(3, 100)
PAIRS: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]], Judged]] = {
    "another question about a long text": (
        [("user", f"{CONTEXT} Who?"), ("assistant", "Ada.")], [("user", f"{CONTEXT} When?"), ("assistant", "1843.")], []),
    "a long question answered otherwise": (
        [("user", CONTEXT), ("assistant", words(4, 50))], [("user", CONTEXT), ("assistant", words(5, 50))], []),
    "another question, a long answer in common": (
        [("user", "Once?"), ("assistant", LONG)], [("user", "Again?"), ("assistant", LONG)], []),
    "other spacing": (
        [("user", "Who was\nit?"), ("assistant", "Ada.")], [("user", "Who was it?"), ("assistant", "Ada. ")], [(1.0, True)]),
    "other words of the system": (
        [("system", RULES), ("user", CONTEXT), ("assistant", LONG)],
        [("system", f"{RULES} Be brief."), ("user", CONTEXT), ("assistant", LONG)], [(1.0, False)]),
    "no system": (
        [("system", RULES), ("user", "Who?"), ("assistant", "Ada.")], [("user", "Who?"), ("assistant", "Ada.")], [(1.0, False)]),
    "another answer of a tool": (
        [("user", "Who?"), ("tool", LONG), ("assistant", "Ada.")],
        [("user", "Who?"), ("tool", CONTEXT), ("assistant", "Ada.")], []),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(tmp_path: Path, name: str) -> None:
    first, second, expected = PAIRS[name]
    assert judged(tmp_path, document(*first), document(*second)) == expected


def test_edited_copies_are_near(tmp_path: Path) -> None:
    found = 0
    for seed in range(20):
        asked, answered = words(seed, 200), words(seed + 100, 200)
        folder = tmp_path / str(seed)
        folder.mkdir()
        first = document(("user", asked), ("assistant", answered))
        second = document(("user", f"{asked} please"), ("assistant", f"{answered} Indeed."))
        found += [near >= 0.8 for near, _ in judged(folder, first, second)] == [True]
    assert found == 20


def test_calls_and_thoughts_are_words_of_the_assistant(tmp_path: Path) -> None:
    def calling(place: str) -> Document:
        call = {"type": "function", "function": {"name": "look_up", "arguments": {"place": place}}}
        return document(("user", "Look."), ("assistant", ""), tool_calls=(call,))

    said = (("user", "Why?"), ("assistant", "So."))
    for at, (first, second) in enumerate([
        (calling("here"), calling("there")),
        (document(*said, reasoning="One."), document(*said, reasoning="Two.")),
    ]):  # fmt: skip
        (tmp_path / str(at)).mkdir()
        assert judged(tmp_path / str(at), first, second) == []


def test_a_conversation_is_never_near_a_text(tmp_path: Path) -> None:
    index = DuplicateIndex(tmp_path / "index.sqlite", 0.3)
    text = Document(text=LONG, origin="text", group="text")
    chat = document(("user", LONG), ("assistant", LONG))
    index.add(text, "s", index.twins(text, "s")[1])
    assert index.twins(chat, "s", compared.of_conversation(chat))[0] == []
    index.close()


def prepared(folder: Path, chats: list[dict[str, Any]], **settings: Any) -> store.Artefact:
    (folder / "chats.jsonl").write_text("".join(json.dumps(one) + "\n" for one in chats))
    recipe = {
        "name": "t",
        "model": {"size": "tiny", "context": 64},
        "tokenizer": {"vocab_size": 300},
        "chat_template": "alpaca",
        "prepare": {"validation_share": 0.2, "test_share": 0.2, **settings},
        "stages": [
            {"name": "s", "objective": "sft", "data": [{"source": "conversations", "path": "chats.jsonl"}]}
        ],
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return run(load_recipe(str(folder / "recipe.yaml")).recipe, folder / "out", Reporter())


def left(artefact: store.Artefact) -> Counter[str]:
    return Counter(
        {row["reason"]: row["documents"] for row in artefact.record["stages"][0]["tally"]["dropped"]}
    )


def chat(system: str, user: str, assistant: str) -> dict[str, Any]:
    texts = {"system": system, "user": user, "assistant": assistant}
    return {"messages": [{"role": role, "content": text} for role, text in texts.items()]}


class TestPreparing:
    def test_a_common_system_prompt_loses_none(self, tmp_path: Path) -> None:
        chats = [chat(RULES, f"What is {n}?", f"It is {n * 7}.") for n in range(200)]
        assert left(prepared(tmp_path, chats)) == {}

    def test_the_same_words_under_another_system_prompt(self, tmp_path: Path) -> None:
        """Another example on the same side of the split; on the other side it would be training on the test."""
        chats = [
            chat(told, f"What is {n}? {words(n, 20)}", f"It is {n * 7}. {words(n, 30)}")
            for told in ("Be brief.", "Be kind.")
            for n in range(60)
        ]
        artefact = prepared(tmp_path, chats)
        found = left(artefact)
        assert found.keys() == {"near duplicate across the split"}
        assert 5 < found["near duplicate across the split"] < 55

    def test_mostly_copies_are_said(self, tmp_path: Path) -> None:
        draw = [chat("", f"{CONTEXT} Who {n}?", "Ada.") for n in range(40)]
        alone = [chat("", f"{words(n, 12)}?", f"{words(n, 20)}.") for n in range(20)]
        artefact = prepared(tmp_path, [*draw, *alone])
        assert left(artefact)["near duplicate"] / 60 > COPIES_SHARE
        assert any("of its records left as near copies" in notice for notice in artefact.record["notices"])
        (tmp_path / "all").mkdir()
        kept = prepared(tmp_path / "all", [*draw, *alone], near_duplicate_similarity=None)
        assert left(kept) == {}
        assert not any("near copies" in notice for notice in kept.record["notices"])
