"""What is learned of a conversation, for templates in the form of well-known models, against masks written by hand.

In the expectations ⟦ ⟧ stand around what is learned. Ids are turned back into text token by token: a special token
is its name, the others are bytes; so a special token's name that is only text looks the same, and is told by `control`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.text.chat_templates import FORMS, TEXTS, write

from whet.errors import DataError, TemplateError
from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat, Encoded, Findings, fixtures, save, template_names, verify
from whet.text.chat.chat import (
    AFTER_LAST,
    AS_ASKED,
    CHANGES,
    MARKS_UNUSED,
    NO_TOOLS,
    NOT_FOUND,
    OPENING,
    PER_ANSWER,
    SPECIAL_TEXT,
)
from whet.text.conversation import Conversation, Message
from whet.text.refused import Refused

Open = Callable[..., Chat]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tokenizer and template of each form; read only."""
    return {name: write(form, tmp_path_factory.mktemp("chat") / name) for name, form in FORMS.items()}


@pytest.fixture(scope="session")
def chats(folders: dict[str, Path]) -> Iterator[dict[str, Chat]]:
    opened = {name: Chat.of(folder) for name, folder in folders.items()}
    base = tokenizers.train(TEXTS, vocab_size=350, special_tokens=["<|im_start|>", "<|im_end|>"])
    opened |= {name: Chat.of(base, name) for name in template_names()}
    yield opened
    for chat in opened.values():
        chat.close()


def user(text: str, **more: Any) -> Message:
    return Message("user", text, **more)


def bot(text: str, **more: Any) -> Message:
    return Message("assistant", text, **more)


def system(text: str) -> Message:
    return Message("system", text)


def shown(example: Encoded, chat: Chat) -> str:
    """The ids as text, with brackets around what is learned."""
    contents, special = chat.tokenizer.token_contents(), chat.tokenizer.special_tokens
    raw = b""
    for at, index in enumerate(example.ids):
        before = at > 0 and example.learned[at - 1]
        if example.learned[at] != before:
            raw += "⟦".encode() if example.learned[at] else "⟧".encode()
        raw += special[index].encode() if index in special else contents[index]
    return (raw + ("⟧".encode() if example.learned[-1] else b"")).decode()


def control(example: Encoded, chat: Chat) -> list[str]:
    """The special tokens among the ids."""
    return [chat.specials.names[index] for index in example.ids if index in chat.specials.ends]


ADD = {"type": "function", "function": {"name": "add", "arguments": {"b": 1, "a": "é"}}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}

ONE = [user("Why?"), bot("Because.")]
TWO = [*ONE, user("And?"), bot("So.")]
CALL = [user("1 + é?"), bot("", tool_calls=(ADD,)), Message("tool", "2"), bot("Two.")]

L3 = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nDate: 26 Jul 2024\n\n{system}<|eot_id|>"
L3_USER = "<|start_header_id|>user<|end_header_id|>\n\n{text}<|eot_id|>"
L3_BOT = "<|start_header_id|>assistant<|end_header_id|>\n\n"
L3_ASKED = L3.format(system="") + L3_USER.format(text="Why?") + L3_BOT
Q_ASKED = "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
Q_NEXT = "\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
Q3_ASKED = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
D_ONE = "<｜begin▁of▁sentence｜><｜User｜>Why?<｜Assistant｜>⟦Because.<｜end▁of▁sentence｜>⟧"
A_BLOCKS = "\n\n### Instruction:\n{}\n\n### Response:\n"
NO_THOUGHT = "<think>\n\n</think>\n\n"
TOOL_JSON = '{"type": "function", "function": {"name": "add", "parameters": {}}}'

CASES: list[tuple[str, str, list[Message], dict[str, Any], list[str]]] = [
    ("one", "llama3", ONE, {}, [L3_ASKED + "⟦Because.<|eot_id|>⟧"]),
    ("two", "llama3", TWO, {}, [
        L3_ASKED + "⟦Because.<|eot_id|>⟧" + L3_USER.format(text="And?") + L3_BOT + "⟦So.<|eot_id|>⟧"]),
    ("last", "llama3", TWO, {"loss_on": "last"}, [
        L3_ASKED + "Because.<|eot_id|>" + L3_USER.format(text="And?") + L3_BOT + "⟦So.<|eot_id|>⟧"]),
    ("system", "llama3", [system(" Be brief. "), *ONE], {}, [
        L3.format(system="Be brief.") + L3_USER.format(text="Why?") + L3_BOT + "⟦Because.<|eot_id|>⟧"]),
    ("empty system", "llama3", [system(""), *ONE], {}, [L3_ASKED + "⟦Because.<|eot_id|>⟧"]),
    ("unicode", "llama3", [user("Wie spät? 😀"), bot("Zwölf 🎉\n")], {}, [
        L3.format(system="") + L3_USER.format(text="Wie spät? 😀") + L3_BOT + "⟦Zwölf 🎉<|eot_id|>⟧"]),
    ("calls", "llama3", CALL, {"tools": [TOOL]}, [
        L3.format(system=json.dumps(TOOL, indent=4) + "\n\n") + L3_USER.format(text="1 + é?") + L3_BOT
        + '⟦{"name": "add", "parameters": {"b": 1, "a": "é"}}<|eot_id|>⟧'
        + '<|start_header_id|>ipython<|end_header_id|>\n\n"2"<|eot_id|>' + L3_BOT + "⟦Two.<|eot_id|>⟧"]),

    ("one", "qwen2.5", ONE, {}, [Q_ASKED + "⟦Because.<|im_end|>⟧\n"]),
    ("two", "qwen2.5", TWO, {}, [Q_ASKED + "⟦Because.<|im_end|>⟧" + Q_NEXT + "⟦So.<|im_end|>⟧\n"]),
    ("last", "qwen2.5", TWO, {"loss_on": "last"}, [Q_ASKED + "Because.<|im_end|>" + Q_NEXT + "⟦So.<|im_end|>⟧\n"]),
    ("marked to be learned", "qwen2.5", [user("Why?"), bot("Because.", learn=True), user("And?"), bot("So.")],
     {"loss_on": "marked"}, [Q_ASKED + "⟦Because.<|im_end|>⟧\n"]),
    ("marked not to be", "qwen2.5", [user("Why?"), bot("Because.", learn=False), user("And?"), bot("So.")],
     {"loss_on": "marked"}, [Q_ASKED + "Because.<|im_end|>" + Q_NEXT + "⟦So.<|im_end|>⟧\n"]),
    ("empty system", "qwen2.5", [system(""), *ONE], {}, [
        "<|im_start|>system\n<|im_end|>\n" + Q3_ASKED + "⟦Because.<|im_end|>⟧\n"]),
    ("begins with space", "qwen2.5", [user("Why?"), bot("\n\n  Because \n")], {}, [
        Q_ASKED + "⟦\n\n  Because \n<|im_end|>⟧\n"]),
    ("opening", "qwen2.5", [bot("Hello!"), *ONE], {}, [
        "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n" + Q3_ASKED
        + "⟦Because.<|im_end|>⟧\n"]),
    ("after the last answer", "qwen2.5", [*ONE, user("And?")], {}, [Q_ASKED + "⟦Because.<|im_end|>⟧\n"]),
    ("calls", "qwen2.5", CALL, {"tools": [TOOL]}, [
        "<|im_start|>system\nYou help.\n\n<tools>\n" + TOOL_JSON + "\n</tools><|im_end|>\n"
        "<|im_start|>user\n1 + é?<|im_end|>\n<|im_start|>assistant\n"
        '⟦<tool_call>\n{"name": "add", "arguments": {"b": 1, "a": "é"}}\n</tool_call><|im_end|>⟧\n'
        "<|im_start|>user\n<tool_response>\n2\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n⟦Two.<|im_end|>⟧\n"]),

    ("one", "qwen3", ONE, {}, [Q3_ASKED + "⟦" + NO_THOUGHT + "Because.<|im_end|>⟧\n"]),
    ("two", "qwen3", TWO, {}, [
        Q3_ASKED + "⟦" + NO_THOUGHT + "Because.<|im_end|>⟧\n",
        Q3_ASKED + "Because.<|im_end|>" + Q_NEXT + "⟦" + NO_THOUGHT + "So.<|im_end|>⟧\n"]),
    ("last", "qwen3", TWO, {"loss_on": "last"}, [
        Q3_ASKED + "Because.<|im_end|>" + Q_NEXT + "⟦" + NO_THOUGHT + "So.<|im_end|>⟧\n"]),
    ("thoughts", "qwen3", [user("Why?"), bot("<think>\nHm.\n</think>\n\nBecause."), user("And?"), bot("So.", reasoning="Ah.")],
     {}, [
        Q3_ASKED + "⟦<think>\nHm.\n</think>\n\nBecause.<|im_end|>⟧\n",
        Q3_ASKED + "Because.<|im_end|>" + Q_NEXT + "⟦<think>\nAh.\n</think>\n\nSo.<|im_end|>⟧\n"]),
    ("marked", "qwen3", [user("Why?"), bot("Because.", learn=True), user("And?"), bot("So.")], {"loss_on": "marked"}, [
        Q3_ASKED + "⟦" + NO_THOUGHT + "Because.<|im_end|>⟧\n"]),

    ("one", "mistral", ONE, {}, ["<s>[INST] Why?[/INST]⟦ Because.</s>⟧"]),
    ("two", "mistral", TWO, {}, ["<s>[INST] Why?[/INST]⟦ Because.</s>⟧[INST] And?[/INST]⟦ So.</s>⟧"]),
    ("system", "mistral", [system("Be brief."), *ONE], {}, ["<s>[INST] Be brief.\n\nWhy?[/INST]⟦ Because.</s>⟧"]),
    ("calls", "mistral", CALL, {"tools": [TOOL]}, [
        "<s>[AVAILABLE_TOOLS] [" + TOOL_JSON + "][/AVAILABLE_TOOLS][INST] 1 + é?[/INST]"
        '⟦[TOOL_CALLS] [{"name": "add", "arguments": {"b": 1, "a": "é"}}]</s>⟧'
        '[TOOL_RESULTS] {"content": 2}[/TOOL_RESULTS]⟦ Two.</s>⟧']),

    ("one", "phi3", ONE, {}, ["<|user|>Why?<|end|><|assistant|>⟦Because.<|end|>⟧<|endoftext|>"]),
    ("two", "phi3", TWO, {}, [
        "<|user|>Why?<|end|><|assistant|>⟦Because.<|end|>⟧<|user|>And?<|end|><|assistant|>⟦So.<|end|>⟧<|endoftext|>"]),
    ("system", "phi3", [system("Be brief."), *ONE], {}, [
        "<|system|>Be brief.<|end|><|user|>Why?<|end|><|assistant|>⟦Because.<|end|>⟧<|endoftext|>"]),
    ("empty system", "phi3", [system(""), *ONE], {"loss_on": "last"}, [
        "<|system|><|end|><|user|>Why?<|end|><|assistant|>⟦Because.<|end|>⟧<|endoftext|>"]),
    ("begins with space", "phi3", [user("Why?"), bot("\n Because.")], {}, [
        "<|user|>Why?<|end|><|assistant|>⟦\n Because.<|end|>⟧<|endoftext|>"]),

    ("two", "deepseek", TWO, {}, [
        D_ONE + "<｜User｜>And?<｜Assistant｜>⟦So.<｜end▁of▁sentence｜>⟧"]),

    ("one", "no end", ONE, {}, ["USER: Why?\nASSISTANT: ⟦Because.⟧\n"]),
    ("two", "no end", TWO, {}, ["USER: Why?\nASSISTANT: ⟦Because.⟧\nUSER: And?\nASSISTANT: ⟦So.⟧\n"]),

    ("one", "alpaca", ONE, {}, ["<bos>### Instruction:\nWhy?\n\n### Response:\n⟦Because.<eos>⟧"]),
    ("input", "alpaca", [user("Add.", input="1, 2"), bot("3")], {}, [
        "<bos>### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:\n⟦3<eos>⟧"]),
    ("two", "alpaca", [system("Be brief."), *TWO], {}, [
        "<bos>Be brief." + A_BLOCKS.format("Why?") + "⟦Because.<eos>⟧" + A_BLOCKS.format("And?") + "⟦So.<eos>⟧"]),
    ("empty system", "alpaca", [system(""), *ONE], {}, [
        "<bos>### Instruction:\nWhy?\n\n### Response:\n⟦Because.<eos>⟧"]),
    ("two", "chatml", TWO, {}, [
        "<bos>" + Q3_ASKED + "⟦Because.<|im_end|>⟧" + Q_NEXT + "⟦So.<|im_end|>⟧\n"]),
    ("input", "chatml", [user("Add.", input="1, 2"), bot("3")], {}, [
        "<bos><|im_start|>user\nAdd.\n\n1, 2<|im_end|>\n<|im_start|>assistant\n⟦3<|im_end|>⟧\n"]),
    ("two", "plain", TWO, {}, ["<bos>Why?⟦Because.<eos>⟧And?⟦So.<eos>⟧"]),
    ("system", "plain", [system("Be brief."), *ONE], {}, ["<bos>Be brief.\n\nWhy?⟦Because.<eos>⟧"]),
]  # fmt: skip


def conversation(messages: list[Message], given: dict[str, Any]) -> Conversation:
    return Conversation(tuple(messages), tools=tuple(given.get("tools", ())))


@pytest.mark.parametrize(
    ("form", "messages", "given", "expected"), [case[1:] for case in CASES], ids=[f"{c[1]}-{c[0]}" for c in CASES]
)  # fmt: skip
def test_masks(
    chats: dict[str, Chat], form: str, messages: list[Message], given: dict[str, Any], expected: list[str]
) -> None:
    chat = chats[form]
    found = chat.encode(conversation(messages, given), given.get("loss_on", "all"))
    assert [shown(example, chat) for example in found] == expected
    for example in found:
        assert len(example.ids) == len(example.learned)
        assert set(example.changes) <= set(CHANGES)


def test_masks_token_by_token(chats: dict[str, Chat]) -> None:
    """One conversation with nothing left to the reader: every id by itself."""
    chat = chats["phi3"]
    (example,) = chat.encode(Conversation((user("I"), bot("a b"))))
    token = chat.tokenizer.backend.id_to_token
    assert [(token(index), learned) for index, learned in zip(example.ids, example.learned, strict=True)] == [
        ("<|user|>", False), ("I", False), ("<|end|>", False), ("<|assistant|>", False),
        ("a", True), ("Ġ", True), ("b", True), ("<|end|>", True), ("<|endoftext|>", False),
    ]  # fmt: skip
    assert (example.text_bytes, example.differs, example.changes) == (3, False, ())
    assert example.rendered == "<|user|>\nI<|end|>\n<|assistant|>\na b<|end|>\n<|endoftext|>"


class TestChanges:
    def test_each_is_named(self, chats: dict[str, Chat]) -> None:
        def of(form: str, *messages: Message, **given: Any) -> tuple[str, ...]:
            return chats[form].encode(conversation(list(messages), given))[0].changes

        assert of("qwen2.5", *ONE) == ()
        assert of("qwen2.5", *ONE, user("And?")) == (AFTER_LAST,)
        assert of("qwen3", *TWO) == (PER_ANSWER,)
        assert of("phi3", *ONE, tools=[TOOL]) == (NO_TOOLS,)
        assert of("mistral", system("Be brief."), *ONE) == (AS_ASKED,)
        assert of("mistral", system("Be brief."), *TWO) == (AS_ASKED, PER_ANSWER)
        assert of("phi3", user("Why?"), Message("tool", "2"), bot("So.")) == (
            "the chat template leaves out a tool message",
        )
        assert of("qwen2.5", user("<|im_end|>"), bot("So.")) == (SPECIAL_TEXT,)
        assert of("qwen2.5", user("Why?"), bot("So.", learn=False)) == (MARKS_UNUSED,)
        assert of("qwen2.5", bot("Hello!"), *ONE) == (OPENING,)

    @pytest.mark.parametrize(
        ("form", "messages", "loss_on", "reason"),
        [
            ("qwen2.5", [user("Why?")], "all", "no assistant message"),
            ("qwen2.5", [bot("Hello!"), user("Why?")], "all", "nothing stands before"),
            ("qwen2.5", [user("Why?"), bot("So.", learn=False)], "marked", "no answer marked to be learned"),
            ("mistral", [user("Why?"), user("And?"), bot("So.")], "all", "refused by the chat template"),
            ("alpaca", CALL, "all", "refused by the chat template"),
            ("phi3", [user("Why?"), bot("", tool_calls=(ADD,))], "all", "answer not found"),
            ("llama3", [user("Why?"), bot("", tool_calls=(ADD, ADD))], "all", "one call at a time"),
            (
                "qwen2.5",
                [user("Why?"), bot("", tool_calls=({"name": "x"},))],
                "all",
                "the chat template fails on it",
            ),
        ],
    )
    def test_each_refusal_has_its_reason(
        self, chats: dict[str, Chat], form: str, messages: list[Message], loss_on: Any, reason: str
    ) -> None:
        chat = chats[form]
        with pytest.raises(Refused, match=reason):
            chat.encode(Conversation(tuple(messages)), loss_on)
        good, bad, again = chat.encode_batch(
            [Conversation(tuple(ONE)), Conversation(tuple(messages)), Conversation(tuple(ONE))],
            "all" if loss_on == "all" else "marked",
        )
        assert isinstance(bad, Refused)
        assert good == again
        assert isinstance(good, list)

    def test_an_answer_that_does_not_follow_its_prompt(self, folders: dict[str, Path]) -> None:
        """A template whose prompt ends with what its answers do not begin with."""
        text = FORMS["qwen3"].template.replace(
            "assistant\\n' }}\n{%- endif %}\n", "assistant\\n<think>\\nNow' }}\n{%- endif %}\n"
        )
        assert text != FORMS["qwen3"].template
        with other(folders["qwen3"], text) as chat, pytest.raises(Refused, match="answer not found"):
            chat.encode(Conversation(tuple(ONE)))


def other(folder: Path, text: str) -> Chat:
    """The same tokenizer with another template."""
    from whet.text.chat.template import Template

    return Chat(tokenizers.load(folder), Template(text, "test"))


class TestSpecialText:
    """Strings of special tokens in what people wrote."""

    @pytest.mark.parametrize("form", [*FORMS, *["alpaca", "chatml", "plain"]])
    def test_they_stay_text(self, chats: dict[str, Chat], form: str) -> None:
        chat = chats[form]
        names = sorted(chat.specials.names[index] for index in chat.specials.ends)
        plain = chat.encode(Conversation((user("Why?"), bot("Because."))))[0]
        for text in (" ".join(names), "".join(names), names[0][:3] + names[0], f"a {names[-1]} b"):
            (example,) = chat.encode(Conversation((user(f"q{text}"), bot(f"a{text}"))))
            assert control(example, chat) == control(plain, chat)
            assert example.changes == (SPECIAL_TEXT,)
            assert set(example.special_text) <= set(names)
            assert example.differs
            assert example.rendered.count(text) == 2
            assert shown(example, chat).count(text) == 2

    def test_nor_do_two_halves_become_one(self, chats: dict[str, Chat]) -> None:
        chat = chats["plain"]
        for name in chat.specials.ids:
            for at in range(1, len(name)):
                first, second = name[:at], name[at:]
                (example,) = chat.encode(
                    Conversation((system(f"s {first}"), user(f"{second} u {first}"), bot(f"{second} a")))
                )
                assert control(example, chat) == ["<bos>", "<eos>"], (first, second)
                assert example.special_text == ()

    def test_in_tools_and_their_names(self, chats: dict[str, Chat]) -> None:
        chat = chats["qwen2.5"]
        call = {
            "type": "function",
            "function": {
                "name": "<|im_end|>",
                "arguments": {"<|im_start|>": ["<|im_end|>"], "role": "<|im_end|>"},
            },
        }
        tool = {"<|im_end|>": {"description": "<|im_start|>"}, "role": {"description": "<|im_end|>"}}
        messages = (user("Why?"), bot("", tool_calls=(call,)), Message("tool", "<|im_end|>"), bot("So."))
        (example,) = chat.encode(Conversation(messages, tools=(tool,)))
        turns = [name for name in control(example, chat) if name.startswith("<|")]
        assert turns == ["<|im_start|>", "<|im_end|>"] * 5

    def test_a_template_that_writes_json_in_ascii(self, chats: dict[str, Chat]) -> None:
        text = "{% for m in messages %}{{ '<|im_start|>' + m.content | tojson(ensure_ascii=True) + '<|im_end|>' }}{% endfor %}"
        with other_template(chats["qwen2.5"], text) as chat:
            asked = r"<|im_end|> \ue000 ä"
            (example,) = chat.encode(Conversation((user(asked), bot("So."))))
        assert json.loads(example.rendered.split("<|im_start|>")[1].removesuffix("<|im_end|>")) == asked
        ids = [index for index in example.ids if index not in chat.specials.names]
        said = b"".join(chat.tokenizer.token_contents()[index] for index in ids).decode()
        assert said == json.dumps(asked) + json.dumps("So.")

    def test_a_conversation_with_every_private_character(self, chats: dict[str, Chat]) -> None:
        from whet.text.chat.specials import _PRIVATE

        every = "".join(chr(code) for codes in _PRIVATE for code in codes)
        with pytest.raises(Refused, match="private"):
            chats["llama3"].encode(Conversation((user("<|eot_id|>" + every), bot("So."))))
        chats["llama3"].encode(Conversation((user("<|eot_id|>" + every[1:]), bot("So."))))

    def test_a_special_token_of_one_character(self) -> None:
        made = tokenizers.train(TEXTS, vocab_size=350, special_tokens=["🦉"])
        with pytest.raises(DataError, match="one character"):
            Chat.of(made, "plain")


contents = st.lists(
    st.sampled_from(
        ["Why", "?", " ", "\n", "Ä", "😀", "<|im_end|>", "<|eot_id|>", "</s>", "<eos>", "<|", "|>", "[INST]", "<think>",
         "</think>", "<|end|>", "### Response:\n", "\ue000", "USER: ", "{{ 1 }}"]
    ),
    min_size=1,
    max_size=5,
).map("".join)  # fmt: skip


def begun(text: str) -> bool:
    return bool(text.strip())


@pytest.mark.parametrize("form", [*FORMS, "alpaca", "chatml", "plain"])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    turns=st.lists(st.tuples(contents.filter(begun), contents.filter(begun)), min_size=1, max_size=3),
    begins=st.none() | contents,
)
def test_a_prompt_is_what_stood_before_the_answer_in_training(
    chats: dict[str, Chat], form: str, turns: list[tuple[str, str]], begins: str | None
) -> None:
    chat = chats[form]
    messages = [] if begins is None else [system(begins)]
    for question, answer in turns:
        messages += [user(question), bot(answer)]
    (examples,) = chat.encode_batch([Conversation(tuple(messages))])
    if isinstance(examples, Refused):  # a thought without an answer
        assert (form, examples.reason) == ("qwen3", NOT_FOUND)
        return
    asked = [
        chat.prompt_ids(messages[:at]) for at, message in enumerate(messages) if message.role == "assistant"
    ]
    trained = [
        example.ids[:at]
        for example in examples
        for at in range(len(example.ids))
        if example.learned[at] and not (at and example.learned[at - 1])
    ]
    assert asked == trained
    for example in examples:
        assert sum(example.learned) > 0


class TestLikeTransformers:
    """The rendered text is that of transformers' own apply_chat_template."""

    @pytest.mark.parametrize("form", FORMS)
    def test_rendered(self, chats: dict[str, Chat], folders: dict[str, Path], form: str) -> None:
        from transformers import AutoTokenizer

        theirs = AutoTokenizer.from_pretrained(folders[form], trust_remote_code=False)
        for name, kind, messages, more, _ in CASES:
            if kind != form:
                continue
            tools = more.get("tools")
            said = [chats[form]._said(message) for message in messages]
            for count, prompt in [(len(said), False), (1, True)]:
                expected = theirs.apply_chat_template(
                    said[:count], tools=tools, tokenize=False, add_generation_prompt=prompt
                )
                expected = expected if form != "llama3" else without_date(expected)
                own = chats[form].render(messages[:count], tools or (), add_generation_prompt=prompt)
                assert own == expected, name

    @pytest.mark.parametrize("form", ["qwen2.5", "mistral", "llama3", "phi3"])
    def test_ids_where_they_can_be_the_same(
        self, chats: dict[str, Chat], folders: dict[str, Path], form: str
    ) -> None:
        """`differs` is true exactly where the whole rendering has other ids in transformers."""
        from transformers import AutoTokenizer

        theirs = AutoTokenizer.from_pretrained(folders[form], trust_remote_code=False)
        for answer in (
            "Because.",
            "\nBecause.",
            "\n\n",
            " ",
            "So\n",
            "<|im_end|>",
            "</s>",
            "<|end|>",
            "<|eot_id|>",
        ):
            (example,) = chats[form].encode(Conversation((user("Why?"), bot(f"{answer}x"))))
            whole = theirs(example.rendered, add_special_tokens=False)["input_ids"]
            assert example.differs == (whole != example.ids), answer

    @pytest.mark.parametrize("name", ["alpaca", "chatml", "plain"])
    def test_whets_own_templates_saved(self, chats: dict[str, Chat], tmp_path: Path, name: str) -> None:
        """A folder with one of them is used alike by transformers and, once loaded, by whet."""
        from transformers import AutoTokenizer

        tokenizers.save(chats[name].tokenizer, tmp_path, context=64)
        save(chats[name], tmp_path)
        verify(tmp_path)
        theirs = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=False)
        said = [system("Be brief."), user("Add.", input="1, 2"), bot("3"), user("And?")]
        plain = [chats[name]._said(message) for message in said]
        for prompt in (True, False):
            expected = theirs.apply_chat_template(plain, tokenize=False, add_generation_prompt=prompt)
            assert chats[name].render(said, add_generation_prompt=prompt) == expected
        with Chat.of(tmp_path) as again:
            assert again.prompt_ids(said) == chats[name].prompt_ids(said)


def without_date(text: str) -> str:
    """The day of the test for the fixed one."""
    import re

    return re.sub(r"Date: \d+ \w+ \d+", "Date: 26 Jul 2024", text)


class TestChoosing:
    def test_a_file_counts_more_than_settings(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(folders["qwen2.5"], tmp_path / "a"))
        config = folder / "tokenizer_config.json"
        values = json.loads(config.read_text())
        config.write_text(json.dumps({**values, "chat_template": FORMS["phi3"].template}))
        with Chat.of(folder) as chat:
            assert chat.template.text == FORMS["qwen2.5"].template
            assert "holds another" in chat.notes[0]
        (folder / "chat_template.jinja").unlink()
        with Chat.of(folder) as chat:
            assert (chat.template.text, chat.notes) == (FORMS["phi3"].template, ())
        named = [{"name": "default", "template": "{{ messages[-1].content }}"},
                 {"name": "tool_use", "template": "b"}]  # fmt: skip
        config.write_text(json.dumps({**values, "chat_template": named}))
        with Chat.of(folder, "chatml") as chat:
            assert chat.template.text == named[0]["template"]
            assert "tool_use" in chat.notes[0]
            assert "own chat template is used" in chat.notes[1]
        config.write_text(json.dumps({**values, "chat_template": 7}))
        with pytest.raises(DataError, match="neither a text nor a list"):
            Chat.of(folder)

    def test_none(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(folders["qwen2.5"], tmp_path / "a"))
        (folder / "chat_template.jinja").unlink()
        with pytest.raises(DataError, match="no chat template") as refusal:
            Chat.of(folder)
        assert "alpaca, chatml, plain" in refusal.value.fix
        with pytest.raises(DataError, match="no chat template 'llama'"):
            Chat.of(folder, "llama")
        with Chat.of(folder, "chatml") as chat:
            assert chat.tokenizer.special_tokens[chat.stop_ids()[0]] == "<|im_end|>"

    def test_chatml_without_its_tokens(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(folders["mistral"], tmp_path / "a"))
        (folder / "chat_template.jinja").unlink()
        with pytest.raises(DataError, match="could not learn to stop"):
            Chat.of(folder, "chatml")

    @pytest.mark.parametrize(
        ("text", "says"),
        [("{% if %}", "is none"), ("{{ 1 / 0 }}", "fails"), ("{{ messages[9].content }}", "fails")],
    )
    def test_one_that_does_not_work(self, folders: dict[str, Path], text: str, says: str) -> None:
        with pytest.raises(TemplateError, match=says):
            other(folders["qwen2.5"], text)

    @pytest.mark.parametrize(
        ("form", "stops"),
        [("llama3", ["<|eot_id|>"]), ("qwen2.5", ["<|im_end|>"]), ("qwen3", ["<|im_end|>"]), ("mistral", ["</s>"]),
         ("phi3", ["<|end|>", "<|endoftext|>"]), ("deepseek", ["<｜end▁of▁sentence｜>"]),
         ("no end", ["<eos>"]), ("alpaca", ["<eos>"]),
         ("chatml", ["<|im_end|>", "<eos>"]), ("plain", ["<eos>"])],
    )  # fmt: skip
    def test_what_stops(self, chats: dict[str, Chat], form: str, stops: list[str]) -> None:
        chat = chats[form]
        assert [chat.tokenizer.special_tokens[index] for index in chat.stop_ids()] == stops
        assert chat.ends_answers == (form != "no end")

    def test_the_clock_is_said(self, chats: dict[str, Chat]) -> None:
        assert "today's date" in chats["llama3"].notes[0]

    def test_a_conversation_nested_for_ever(self, chats: dict[str, Chat]) -> None:
        deep: dict[str, Any] = {}
        for _ in range(5_000):
            deep = {"a": deep}
        with pytest.raises(Refused, match="nested too deeply"):
            chats["qwen2.5"].encode(Conversation(tuple(ONE), tools=(deep,)))

    def test_a_prompt_that_is_refused(self, chats: dict[str, Chat]) -> None:
        with pytest.raises(DataError, match="take turns"):
            chats["mistral"].prompt_ids([user("a"), user("b")])


class TestEnds:
    """Templates that end answers otherwise."""

    def test_several_special_tokens_in_a_row(self, folders: dict[str, Path]) -> None:
        text = (
            "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content + '<|endoftext|><|im_end|>\n' }}{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
        )
        with other(folders["qwen2.5"], text) as chat:
            (example,) = chat.encode(Conversation(tuple(TWO)))
            assert shown(example, chat) == (
                "<|im_start|>userWhy?<|endoftext|><|im_end|>\n<|im_start|>assistant⟦Because.<|endoftext|><|im_end|>⟧\n"
                "<|im_start|>userAnd?<|endoftext|><|im_end|>\n<|im_start|>assistant⟦So.<|endoftext|><|im_end|>⟧\n"
            )
            assert chat.tokenizer.special_tokens[chat.stop_ids()[0]] == "<|im_end|>"

    def test_an_end_only_at_the_end(self, folders: dict[str, Path]) -> None:
        text = (
            "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant: ' }}{% else %}{{ eos_token }}{% endif %}"
        )
        with other(folders["no end"], text) as chat:
            assert [shown(example, chat) for example in chat.encode(Conversation(tuple(TWO)))] == [
                "user: Why?\nassistant: ⟦Because.\n<eos>⟧",
                "user: Why?\nassistant: Because.\nuser: And?\nassistant: ⟦So.\n<eos>⟧",
            ]
            assert chat.stop_ids() == [chat.tokenizer.special_ids["eos"]]

    def test_another_end_in_the_middle(self, folders: dict[str, Path]) -> None:
        """As gpt-oss does it: the answer ended with one token and stands in history with another."""
        text = (
            "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content }}"
            "{{ '<|endoftext|>' if loop.last and m.role == 'assistant' else '<|im_end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
        )
        with other(folders["qwen2.5"], text) as chat:
            first, second = chat.encode(Conversation(tuple(TWO)))
            asked = "<|im_start|>userWhy?<|im_end|><|im_start|>assistant"
            assert shown(first, chat) == asked + "⟦Because.<|endoftext|>⟧"
            assert shown(second, chat) == (
                f"{asked}Because.<|im_end|><|im_start|>userAnd?<|im_end|><|im_start|>assistant⟦So.<|endoftext|>⟧"
            )

    def test_a_generation_tag_is_plain(self, folders: dict[str, Path]) -> None:
        text = (
            "{% for m in messages %}{{ '<|im_start|>' + m.role }}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
            "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
        )
        with other(folders["qwen2.5"], text) as chat:
            (example,) = chat.encode(Conversation(tuple(ONE)))
            assert (
                shown(example, chat)
                == "<|im_start|>userWhy?<|im_end|><|im_start|>assistant⟦Because.<|im_end|>⟧"
            )


class TestCalls:
    """Templates that disagree on how a message that calls tools looks."""

    def of(self, folder: Path, call: str) -> tuple[str, tuple[str, ...]]:
        text = (
            "{% for m in messages %}{{ '<|im_start|>' + m.role }}"
            f"{{% if m.tool_calls %}}{call}{{% else %}}{{{{ m.content }}}}{{% endif %}}"
            "{{ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
        )
        messages = (user("Why?"), bot("", tool_calls=(ADD,)))
        with other(folder, text) as chat:
            (example,) = chat.encode(Conversation(messages, tools=(TOOL,)))
            assert chat.prompt_ids(messages[:1], (TOOL,)) == example.ids[: example.learned.index(True)]
            return shown(example, chat).rpartition("⟦")[2], chat.notes

    @pytest.mark.parametrize(
        ("call", "expected", "notes"),
        [
            ("{{ m.tool_calls[0].function | tojson }}", '{"name": "add", "arguments": {"b": 1, "a": "é"}}', 0),
            ("{{ m.tool_calls[0].function.name + m.tool_calls[0].function.arguments }}", 'add{"b": 1, "a": "é"}', 1),
            ("{{ m.content + m.tool_calls[0].function.name + m.tool_calls[0].function.arguments }}", 'add{"b": 1, "a": "é"}', 1),
            ("{{ m.content }}{{ m.tool_calls[0].function | tojson }}", '{"name": "add", "arguments": {"b": 1, "a": "é"}}', 0),
            ("{{ 'empty' if m.content is none else 'text' }}{{ m.tool_calls[0].function | tojson }}",
             'empty{"name": "add", "arguments": {"b": 1, "a": "é"}}', 0),
        ],
    )  # fmt: skip
    def test_the_form_that_it_takes(
        self, folders: dict[str, Path], call: str, expected: str, notes: int
    ) -> None:
        assert self.of(folders["qwen2.5"], call)[0] == f"{expected}<|im_end|>⟧"
        assert len(self.of(folders["qwen2.5"], call)[1]) == notes


class TestFindings:
    def of(self, chat: Chat, *conversations: Conversation, **given: Any) -> Findings:
        findings = Findings(chat, **given)
        for one in chat.encode_batch(conversations):
            assert isinstance(one, list)
            for example in one:
                findings.add(example)
        return findings

    def test_nothing_to_say(self, chats: dict[str, Chat]) -> None:
        assert self.of(chats["alpaca"], Conversation(tuple(TWO)), sequence_length=99).notices() == []

    def test_ends(self, chats: dict[str, Chat]) -> None:
        found = self.of(chats["no end"], Conversation(tuple(TWO)))
        assert (found.answers, found.unended) == (2, 2)
        assert found.notices()[0].startswith("2 of 2 answers end with no special token")
        found = self.of(chats["phi3"], Conversation(tuple(ONE)))
        assert "answers end with <|end|>, never with <|endoftext|>" in found.notices()[0]
        assert found.as_dict()["ended_by"] == {"<|end|>": 1}

    def test_cut(self, chats: dict[str, Chat]) -> None:
        (example,) = chats["alpaca"].encode(Conversation(tuple(ONE)))
        for length, count in ((len(example.ids) - 1, 0), (len(example.ids) - 2, 1)):
            assert (
                self.of(chats["alpaca"], Conversation(tuple(ONE)), sequence_length=length).answers_cut
                == count
            )

    def test_double_bos(self, folders: dict[str, Path]) -> None:
        with other(
            folders["mistral"], "{{ bos_token }}" + FORMS["mistral"].template.replace("{{- bos", "{{ bos")
        ) as chat:
            found = self.of(chat, Conversation(tuple(ONE)))
        assert "begin with the begin-of-text token twice" in found.notices()[0]

    def test_pad_that_is_eos(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(folders["mistral"], tmp_path / "a"))
        config = folder / "tokenizer_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "pad_token": "</s>"}))
        with Chat.of(folder) as chat:
            assert (
                "the pad token is the end-of-text token"
                in self.of(chat, Conversation(tuple(ONE))).notices()[0]
            )

    def test_special_text_and_other_ids(self, chats: dict[str, Chat]) -> None:
        found = self.of(
            chats["qwen2.5"], Conversation((user("<|im_end|>"), bot("So."))), Conversation(tuple(ONE))
        )
        first, second = found.notices()
        assert "<|im_end|> (1)" in first
        assert second.startswith("1 of 2 examples have other ids")


class TestFixtures:
    @pytest.fixture
    def folder(self, folders: dict[str, Path], tmp_path: Path) -> Path:
        folder = Path(shutil.copytree(folders["qwen2.5"], tmp_path / "model"))
        with Chat.of(folder) as chat:
            save(chat, folder)
        return folder

    def test_saved_and_verified(self, folder: Path) -> None:
        verify(folder)
        kept = json.loads((folder / "chat_fixtures.json").read_text())
        with Chat.of(folder) as chat:
            assert kept == fixtures(chat)
        assert kept["template_sha256"] == chat.template.sha256

    def test_another_template(self, folder: Path) -> None:
        file = folder / "chat_template.jinja"
        file.write_text(file.read_text().replace("You help.", "You help!"))
        with pytest.raises(DataError, match=r"conversation 'single turn': example 0, position \d+: id was"):
            verify(folder)
        file.write_text(FORMS["qwen2.5"].template + "{# same #}")
        with pytest.raises(DataError, match="template_sha256 was"):
            verify(folder)

    def test_another_tokenizer(self, folder: Path, folders: dict[str, Path]) -> None:
        values = json.loads((folder / "tokenizer.json").read_text())
        values["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\s+|\S+"
        (folder / "tokenizer.json").write_text(json.dumps(values))
        with pytest.raises(DataError, match=r"position \d+: id was"):
            verify(folder)

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "conversations": {"system": [7]}}']
    )
    def test_damaged(self, folder: Path, text: str) -> None:
        (folder / "chat_fixtures.json").write_text(text)
        with pytest.raises(DataError):
            verify(folder)

    def test_a_template_that_refuses(self, chats: dict[str, Chat]) -> None:
        text = "{{ raise_exception('no system') if messages[0].role == 'system' }}" + FORMS["phi3"].template
        with other_template(chats["phi3"], text) as chat:
            assert fixtures(chat)["conversations"]["system"] == "refused by the chat template: no system"


def other_template(chat: Chat, text: str) -> Chat:
    from whet.text.chat.template import Template

    return Chat(chat.tokenizer, Template(text, "test"))
