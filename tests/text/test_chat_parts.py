"""What chats are made of: hidden special tokens, and the ids of parts with tokenizers that mark words."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text.chat_templates import TEXTS
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat
from whet.text.chat.parts import PartEncoder
from whet.text.chat.specials import Specials
from whet.text.conversation import Conversation, Message
from whet.text.tokenizer import Tokenizer

names = st.lists(st.text("ab<| ", min_size=2, max_size=5), min_size=1, max_size=4, unique=True).filter(
    lambda found: all(name.strip() == name for name in found)
)
texts = st.text("ab<| \n", max_size=8)


def with_specials(found: list[str]) -> Tokenizer:
    backend = Backend(models.BPE())
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in found])
    return Tokenizer(backend, {})


@settings(deadline=None, max_examples=300)
@given(names, st.lists(texts, min_size=1, max_size=3))
def test_no_special_token_is_left_or_arises(found: list[str], contents: list[str]) -> None:
    """However the texts follow one another, with or without the white space around them."""
    specials = Specials(with_specials(found), "")
    said = [{"role": "user", "content": text} for text in contents]
    broken, _, sign = specials.hidden(said, [])
    hidden = [message["content"] for message in broken]
    assert [text.replace(sign, "") if sign else text for text in hidden] == contents
    for order in permutations(hidden):
        for joined in (
            "".join(order),
            "".join(text.strip() for text in order),
            "".join(text.rstrip() for text in order),
        ):
            assert specials.pattern.search(joined) is None
    if not sign:
        assert hidden == contents


def test_the_sign_is_none_of_the_conversations_characters() -> None:
    specials = Specials(with_specials(["<a>"]), "\ue000")
    _, _, sign = specials.hidden([{"role": "user", "content": "<a> \ue001"}], [])
    assert sign == "\ue002"


def test_white_space_that_belongs_to_a_token() -> None:
    """Before it or behind it; a long run without the token takes no time that grows with its square."""
    backend = Backend(models.BPE())
    backend.add_special_tokens(
        [AddedToken("<m>", special=True, lstrip=True), AddedToken("<e>", special=True, rstrip=True)]
    )
    pattern = Specials(Tokenizer(backend, {}), "").pattern
    text = "a \n<m> <m><e>\t b" + " " * 2**20 + "c <m>"
    assert [match[0] for match in pattern.finditer(text)] == [" \n<m>", " <m>", "<e>\t ", " <m>"]


def test_keys_roles_and_values() -> None:
    specials = Specials(with_specials(["<a>", "user"]), "")
    messages = [{"role": "user", "content": "a user"}]
    tools = [{"<a>": {"b": ["<a>", 1, None], "role": {"role": "<a>"}}}]
    hidden, offered, sign = specials.hidden(messages, tools)
    assert hidden == [{"role": "user", "content": f"a u{sign}ser"}]
    inner = {"b": [f"<{sign}a>", 1, None], "role": {"role": f"<{sign}a>"}}
    assert offered == [{f"<{sign}a>": inner}]
    assert specials.within(messages, tools) == {"<a>", "user"}


def marking(kind: str) -> Backend:
    """A tokenizer that marks the beginning of words, in one of the ways there are."""
    backend = Backend(models.BPE(byte_fallback=True))
    if kind == "prepend":
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
    elif kind == "byte level":
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=kind, split=kind == "always")
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind == "byte level" else []
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    special = [
        AddedToken(name, special=True, normalized=False) for name in ("<s>", "</s>", "[INST]", "[/INST]")
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*special, *bytes_], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([text.replace("\n", " ") for text in TEXTS], trainer)
    return backend


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + '[/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("kind", ["prepend", "always", "first", "never", "byte level"])
def test_words_are_marked_as_in_the_whole_text(kind: str, tmp_path: Path) -> None:
    """Parts that begin behind a special token or at the beginning have the ids of the whole rendering."""
    backend = marking(kind)
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "unk_token": None, "chat_template": TEMPLATE})
    )
    said = (
        Message("user", "Why so?"),
        Message("assistant", "Because."),
        Message("user", "And?"),
        Message("assistant", "So."),
    )
    with Chat.of(tmp_path) as chat:
        (example,) = chat.encode(Conversation(said))
        assert (example.differs, example.changes) == (False, ())
        assert example.ids == backend.encode(example.rendered, add_special_tokens=False).ids
        learned = [index for index, one in zip(example.ids, example.learned, strict=True) if one]
        # by hand: each answer with its space and its end, nothing else
        expected = [*backend.encode("</s> Because.</s>", add_special_tokens=False).ids[1:]]
        expected += [*backend.encode("</s> So.</s>", add_special_tokens=False).ids[1:]]
        assert learned == expected


def test_a_part_that_goes_on_has_no_mark(tmp_path: Path) -> None:
    """What is cut within ordinary text is joined without a space that nobody wrote."""
    for kind in ("prepend", "always", "first", "byte level"):
        marking(kind).save(str(tmp_path / "tokenizer.json"))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
        tokenizer = tokenizers.load(tmp_path)
        parts = PartEncoder(tokenizer)
        assert parts.marks_words
        begins, goes_on = parts.encode([("answer", False), ("answer", True)])
        assert begins != goes_on
        contents = tokenizer.token_contents()
        assert b"".join(contents[index] for index in goes_on) == b"answer"
        assert parts.encode([("answer", True)] * 100) == [goes_on] * 100


def test_few_and_many_parts_have_the_same_ids() -> None:
    tokenizer = tokenizers.train(TEXTS, vocab_size=350)
    parts = [(text[at : at + 9], False) for text in TEXTS for at in range(0, 60, 7)]
    many = PartEncoder(tokenizer).encode(parts)
    few = PartEncoder(tokenizer)
    assert many == [few.encode([part])[0] for part in parts]


def test_what_a_normalizer_makes_of_a_text_is_no_mark_either() -> None:
    """A token that is found in normalized text is found in what is written otherwise."""
    backend = Backend(models.BPE(byte_fallback=True))
    backend.normalizer = normalizers.NFKC()
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["</s>", *bytes_], show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_tokens([AddedToken("<|user|>", special=False, normalized=True)])
    backend.encode_special_tokens = True
    mark = backend.token_to_id("<|user|>")
    tokenizer = Tokenizer(backend, {})
    texts = [("＜|user|＞ a", False), ("<|user|> b", False), ("plain", False)]
    assert [mark in row for row in PartEncoder(tokenizer).encode(texts)] == [True, True, False]
    for more in ([], [("c", False)] * 100):
        rows = PartEncoder(tokenizer, ["<|user|>"]).encode([*texts, *more])
        assert not any(mark in row for row in rows)
        assert all(rows)
