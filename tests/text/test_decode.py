"""Bytes become exactly the text they name, or are refused; nothing is guessed."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whet.text.decode import REASONS, Undecodable, decode, looks_binary

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200)


def refusal(raw: bytes, *, python: bool = False) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(raw, python=python)
    assert caught.value.reason in REASONS
    assert isinstance(caught.value, ValueError)
    return caught.value.reason


@given(TEXT)
def test_utf_8_is_taken_as_it_is(text: str) -> None:
    changes = ("byte-order mark removed",) if text.startswith("\ufeff") else ()
    assert decode(text.encode()) == (text.removeprefix("\ufeff"), changes)


@given(TEXT, st.sampled_from(["utf-16", "utf-32"]), st.sampled_from(["le", "be"]))
def test_wide_encodings_are_known_by_their_mark(text: str, encoding: str, order: str) -> None:
    raw = ("\ufeff" + text).encode(f"{encoding}-{order}")
    assert decode(raw) == (text, (f"decoded as {encoding}",))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_give_clean_text_or_a_reason(raw: bytes, python: bool) -> None:
    try:
        text, _ = decode(raw, python=python)
    except Undecodable as why:
        reason, text = why.reason, ""
    else:
        reason = REASONS[0]
    assert reason in REASONS
    assert "\0" not in text
    text.encode("utf-8")


@given(st.binary(max_size=40), st.sampled_from(["utf-7", "latin-1", "gbk", "hz", "cp037", "unicode_escape"]))
def test_a_cookie_never_yields_a_lone_surrogate(body: bytes, coding: str) -> None:
    raw = b"# coding: " + coding.encode() + b"\n" + body
    try:
        text, _ = decode(raw, python=True)
    except Undecodable:
        return
    text.encode("utf-8")


def test_a_byte_order_mark_is_removed_and_named() -> None:
    assert decode(codecs.BOM_UTF8 + b"x = 1\n") == ("x = 1\n", ("byte-order mark removed",))


@pytest.mark.parametrize(
    "raw",
    [b"abc\0def", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\x01\x02\x03\x04abcdef", "a\0b".encode("utf-16")],
    ids=["stray NUL", "png", "control bytes", "NUL in UTF-16"],
)
def test_binary(raw: bytes) -> None:
    assert refusal(raw) == "binary"


def test_utf_16_without_a_mark_is_not_guessed() -> None:
    assert refusal("some text".encode("utf-16-le")) == "binary"


@pytest.mark.parametrize(
    "raw", [b"caf\xe9", b"\xed\xa0\x80", b"\xff\xfe\x00\xd8x"], ids=["latin-1", "surrogate", "odd utf-16"]
)
def test_undecodable(raw: bytes) -> None:
    assert refusal(raw) in {"undecodable", "binary"}


def test_escape_sequences_of_a_terminal_are_text() -> None:
    assert not looks_binary(b"\x1b[31mred\x1b[0m " * 20)


class TestCookie:
    def test_latin_1(self) -> None:
        raw = "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1")
        assert decode(raw, python=True) == (raw.decode("latin-1"), ("decoded as iso-8859-1",))

    def test_is_obeyed_on_the_second_line_below_a_comment(self) -> None:
        raw = "#!/usr/bin/python\r\n# vim: set fileencoding=koi8-r :\r\n'я'".encode("koi8-r")
        assert decode(raw, python=True)[1] == ("decoded as koi8-r",)

    @pytest.mark.parametrize("start", [b"x = 1\n# coding: latin-1\n", b"#\n#\n# coding: latin-1\n"])
    def test_does_not_count_elsewhere(self, start: bytes) -> None:
        assert refusal(start + b"'\xe9'", python=True) == "undecodable"

    def test_does_not_count_outside_python(self) -> None:
        assert refusal(b"# coding: latin-1\n\xe9") == "undecodable"

    def test_that_changes_nothing_is_no_change(self) -> None:
        assert decode(b"# coding: latin-1\nx = 1\n", python=True)[1] == ()
        assert decode("# coding: UTF-8\n'é'".encode(), python=True)[1] == ()

    @pytest.mark.parametrize(
        "name",
        ["rot13", "zlib", "hex", "base64", "bogus", "idna", "punycode", "unicode_escape"],
    )
    def test_of_no_text_encoding_is_refused(self, name: str) -> None:
        assert refusal(f"# coding: {name}\nx = 1\n".encode(), python=True) == "undecodable"

    @pytest.mark.parametrize("name", ["utf-7", "undefined", "utf-16", "utf-32-le", "..", "x" * 500])
    def test_names_only_plain_character_tables(self, name: str) -> None:
        assert refusal(f"# coding: {name}\nx = 1\n".encode(), python=True) == "undecodable"

    def test_that_contradicts_the_mark_is_refused(self) -> None:
        assert refusal(codecs.BOM_UTF8 + b"# coding: latin-1\n", python=True) == "undecodable"

    def test_with_bytes_outside_its_table_is_refused(self) -> None:
        assert refusal(b"# coding: ascii\n'\xe9'", python=True) == "undecodable"
