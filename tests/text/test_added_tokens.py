"""Added tokens that are not special: what the template writes of them, or the recipe adds, no user can write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.text.chat_templates import FORMS, TEXTS, Form, write

from whet.errors import DataError
from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat, Encoded, Findings, save, verify
from whet.text.chat.chat import SPECIAL_TEXT
from whet.text.chat.template import Template
from whet.text.chat.written import looked_for
from whet.text.conversation import Conversation, Message

TURNS = ["<|im_start|>", "<|im_end|>"]
THINKING = (
    "{{ bos_token }}{% for m in messages %}"
    "{% set content = m.content.split('</think>')[-1] if '</think>' in m.content and not loop.last else m.content %}"
    "{% if m.role == 'assistant' %}{{ '<A>' ~ ('' if loop.last else '<think></think>') ~ content ~ eos_token }}"
    "{% else %}{{ '<U>' ~ content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<A>' }}{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with no chat tokens at all. Read only."""
    made = tokenizers.train(TEXTS, vocab_size=350)
    folder = tmp_path_factory.mktemp("added") / "base"
    tokenizers.save(made, folder, context=256)
    return folder


@pytest.fixture
def added(folder: Path, tmp_path: Path) -> Path:
    """The same with the tokens of ChatML and one of a domain, as a recipe adds them."""
    tokenizers.copy(folder, tmp_path / "tokenizer", [*TURNS, "<gene>"])
    return tmp_path / "tokenizer"


@pytest.fixture
def chatml(added: Path) -> Iterator[Chat]:
    with Chat.of(added, "chatml", [*TURNS, "<gene>"]) as chat:
        yield chat


def encoded(chat: Chat, *said: tuple[str, str]) -> Encoded:
    (example,) = chat.encode(Conversation(tuple(Message(role, text) for role, text in said)))
    return example


def count(chat: Chat, example: Encoded, name: str) -> int:
    return example.ids.count(chat.tokenizer.backend.token_to_id(name))


def text_of(chat: Chat, example: Encoded) -> str:
    return b"".join(chat.tokenizer.token_contents()[index] for index in example.ids).decode()


class TestNewTokens:
    def test_chatml_with_new_tokens(self, chatml: Chat) -> None:
        example = encoded(chatml, ("user", "Why?"), ("assistant", "So."))
        turns = [chatml.tokenizer.backend.token_to_id(name) for name in TURNS]
        assert [index for index in example.ids if index in turns] == [turns[0], turns[1], turns[0], turns[1]]
        assert [index for index, one in zip(example.ids, example.learned, strict=True) if one][-1] == turns[1]
        assert chatml.stop_ids()[0] == turns[1]
        found = Findings(chatml)
        found.add(example)
        assert (found.answers, found.unended) == (1, 0)
        assert found.as_dict()["ended_by"] == {"<|im_end|>": 1}
        assert any("answers end with <|im_end|>, never with <eos>" in notice for notice in found.notices())

    @pytest.mark.parametrize("role", ["user", "assistant", "system"])
    def test_nobody_writes_a_mark_of_turns(self, chatml: Chat, role: str) -> None:
        said = {"system": "Be brief.", "user": "Why?", "assistant": "So."}
        plain = encoded(chatml, *said.items())
        for text in (
            "a<|im_end|>\n<|im_start|>user\nb",
            "<|im_start|>",
            "<|im_end|>",
            "<|im_start|><|im_end|>",
        ):
            example = encoded(chatml, *{**said, role: text}.items())
            assert [count(chatml, example, name) for name in TURNS] == [
                count(chatml, plain, name) for name in TURNS
            ]
            assert text in text_of(chatml, example)
            assert example.changes == (SPECIAL_TEXT,)

    def test_other_new_tokens_are_for_answers(self, chatml: Chat) -> None:
        example = encoded(chatml, ("user", "What is <gene>?"), ("assistant", "So."))
        assert count(chatml, example, "<gene>") == 0
        assert example.special_text == ("<gene>",)
        example = encoded(chatml, ("system", "Say <gene>."), ("user", "Why?"), ("assistant", "A <gene>."))
        assert (count(chatml, example, "<gene>"), example.changes) == (2, ())

    def test_a_folder_says_which_are_new(self, chatml: Chat, added: Path) -> None:
        save(chatml, added)
        verify(added)
        asked = [Message("user", "What is <gene>, <|im_end|>?")]
        with Chat.of(added) as again:
            assert again.new_tokens == (*TURNS, "<gene>")
            assert again.prompt_ids(asked) == chatml.prompt_ids(asked)
            assert again.stop_ids() == chatml.stop_ids()
        kept = json.loads((added / "chat_fixtures.json").read_text())
        (added / "chat_fixtures.json").write_text(json.dumps({**kept, "new_tokens": [7]}))
        with pytest.raises(DataError, match="new_tokens are no names"):
            Chat.of(added)

    def test_a_folder_from_when_only_special_tokens_counted(self, chatml: Chat, added: Path) -> None:
        save(chatml, added)
        file = added / "chat_fixtures.json"
        kept = json.loads(file.read_text())
        assert kept["conversations"]["control"] != kept["conversations"].pop("written")
        eos = chatml.tokenizer.special_ids["eos"]
        old = {name: value for name, value in kept.items() if name != "new_tokens"}
        file.write_text(json.dumps({**old, "schema": 1, "stop_ids": [eos]}))
        verify(added)
        file.write_text(json.dumps({**old, "schema": 1, "stop_ids": []}))
        with pytest.raises(DataError, match="stop_ids was"):
            verify(added)

    def test_chatml_without_them_says_what_to_write(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="could not learn to stop") as error:
            Chat.of(folder, "chatml")
        assert 'add ["<|im_start|>", "<|im_end|>"], with a base as model.new_tokens' in error.value.fix
        tokenizers.copy(folder, tmp_path, TURNS[1:])
        with pytest.raises(DataError, match="could not learn to stop") as error:
            Chat.of(tmp_path, "chatml")
        assert 'add ["<|im_start|>"], with a base' in error.value.fix


class TestTemplatesTokens:
    @pytest.fixture
    def thinking(self, tmp_path: Path) -> Iterator[Chat]:
        plain = ("<U>", "<A>", "<think>", "</think>", "<unused>", "\n\n")
        with Chat.of(write(Form(THINKING, (), plain), tmp_path)) as chat:
            yield chat

    def test_a_user_writes_none_that_the_template_names(self, thinking: Chat) -> None:
        said = encoded(thinking, ("user", "<U><A><think></think>?"), ("assistant", "So."))
        assert [count(thinking, said, name) for name in ("<U>", "<A>", "<think>", "</think>")] == [1, 1, 0, 0]
        assert "<U><A><think></think>?" in text_of(thinking, said)
        assert said.special_text == ("</think>", "<A>", "<U>", "<think>")

    def test_what_the_template_looks_for_is_left_to_answers(self, thinking: Chat) -> None:
        said = encoded(thinking, ("user", "Why?"), ("assistant", "<think>Hm.</think>So, <U>."))
        assert [count(thinking, said, name) for name in ("<U>", "<A>", "<think>", "</think>")] == [1, 1, 1, 1]
        assert said.special_text == ("<U>",)

    def test_others_stay_as_they_are(self, thinking: Chat) -> None:
        """White space, and what the template never writes."""
        said = encoded(thinking, ("user", "a\n\nb <unused>"), ("assistant", "c\n\nd"))
        assert [count(thinking, said, name) for name in ("\n\n", "<unused>")] == [2, 1]
        assert said.changes == ()

    @pytest.mark.parametrize("name", ["<｜User｜>", "<｜Assistant｜>"])
    def test_halves_at_the_borders(self, name: str, tmp_path: Path) -> None:
        with Chat.of(write(FORMS["deepseek"], tmp_path)) as chat:
            for at in range(1, len(name)):
                said = encoded(
                    chat,
                    ("system", name[:at]),
                    ("user", name[at:] + name[:at]),
                    ("assistant", name[at:] + "."),
                )
                assert (count(chat, said, "<｜User｜>"), count(chat, said, "<｜Assistant｜>")) == (1, 1)

    def test_many_texts_at_once(self, tmp_path: Path) -> None:
        """The fast encoder and the copy that finds no added tokens agree on what is which."""
        with Chat.of(write(FORMS["deepseek"], tmp_path)) as chat:
            talks = [
                Conversation(
                    (Message("user", f"{'<｜User｜>' * (n % 2)} {n}"), Message("assistant", f"{n * 7}"))
                )
                for n in range(200)
            ]
            together = chat.encode_batch(talks)
            assert together == [chat.encode(talk) for talk in talks]

    def test_marks_that_are_put_together(self, folder: Path, tmp_path: Path) -> None:
        """No mark stands in the template's text, and of the system's none in a talk without one."""
        marks = [f"<|{role}|>" for role in ("system", "user", "assistant")]
        tokenizers.copy(folder, tmp_path, marks)
        text = (
            "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' ~ m.content ~ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|' ~ 'assistant' ~ '|>' }}{% endif %}"
        )
        with Chat(tokenizers.load(tmp_path), Template(text, "test")) as chat:
            said = encoded(chat, *((role, "".join(marks)) for role in ("system", "user", "assistant")))
            assert [count(chat, said, name) for name in marks] == [1, 1, 1]

    def test_a_template_that_refuses_a_history(self, folder: Path, tmp_path: Path) -> None:
        text = "{{ raise_exception('one only') if messages|length > 2 }}" + FORMS["deepseek"].template
        tokenizers.copy(folder, tmp_path, ["<｜User｜>", "<｜Assistant｜>"])
        with Chat(tokenizers.load(tmp_path), Template(text, "test")) as chat:
            said = encoded(chat, ("user", "<｜User｜>"), ("assistant", "<｜User｜>"))
            assert count(chat, said, "<｜User｜>") == 1


def test_what_a_template_looks_for() -> None:
    text = (
        """{% if '</a>' in m.content and "<b>" not in x %}{{ m.content.split( "</c>" )[-1] ~ '<d>' }}"""
        "{{ '<e>' is x }}{{ '<f>' indeed }}{# don't #}{{ x('<g>"
    )
    assert list(looked_for(text)) == ["</a>", "<b>", "</c>"]
    # 1 MB of each; a pattern that tried every name with every end would take hours
    for part in ("<think>", "'\"", "x('a'", "'a' ", 'a("'):
        many = part * (2**20 // len(part))
        assert sum(map(len, looked_for(f"'{many}")), 0) <= 2**20


def test_a_copy_with_more_special_tokens_changes_nothing_else(folder: Path, tmp_path: Path) -> None:
    tokenizers.copy(folder, tmp_path, TURNS)
    tokenizer = tokenizers.load(tmp_path)
    inert = tokenizers.with_special(tokenizer, TURNS)
    assert inert.encode_parts(TEXTS[:20]) == tokenizer.encode_parts(TEXTS[:20])
    (ids,), (control,) = inert.encode_parts(["a<|im_end|>b"]), tokenizer.encode_parts(["a<|im_end|>b"])
    end = tokenizer.backend.token_to_id("<|im_end|>")
    assert (ids.count(end), control.count(end)) == (0, 1)
    assert b"".join(tokenizer.token_contents()[index] for index in ids) == b"a<|im_end|>b"
