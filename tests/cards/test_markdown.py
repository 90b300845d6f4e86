"""Hostile names and sentences, judged by a CommonMark parser with raw HTML and tables switched on."""

from __future__ import annotations

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from whet.cards.markdown import MOST_CHARACTERS, bullets, code, document, plural, prose, table

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = [
    "`", "``x``", "a`b``c", "|", "a|b", "\\|", "\\", "`|\\`", "<script>alert(1)</script>", "<!-- x", "]]>", "</code>",
    "[text](https://example.org)", "![x](y.png)", "**bold** _it_ ~~no~~", "# head", "- item", "1. one", "> quote",
    "---", "===", "| --- |", "a\nb\n\n# c", "\r\nx", "\x00\x1b[31m", "\u202egpj.exe", "\ud800", "&lt;b&gt; &#124;",
    "$x$", "{% x %}", " ", "  x  ", "", "https://example.org www.example.org a@b.org", "```\ncode\n```", "+", "=",
]  # fmt: skip
ALLOWED = {"p", "code", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "h1"}


def tags(html: str) -> set[str]:
    return set(re.findall(r"<([a-z][a-z0-9]*)", html))


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html)).strip("\n")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("write", [code, prose])
def test_a_hostile_name_is_only_text(write: object, name: str) -> None:
    shown = write(name)  # type: ignore[operator]
    assert "\n" not in shown
    assert "\r" not in shown
    html = PARSER.render(
        "\n".join([*bullets([shown, "after"]), *table(["a", "b"], [[shown, "1"]]), f"# {shown}"])
    )
    assert tags(html) <= ALLOWED, html
    assert " style=" not in html.replace(' style="text-align:right"', "")
    assert "href" not in html
    assert html.count("<li>") == 2
    assert html.count("<td") == 2
    assert '<td style="text-align:right">1</td>' in html, "no cell was cut in two"
    assert html.count("<h1>") == 1


@pytest.mark.parametrize(
    "name", [name for name in HOSTILE if name.isprintable() and name.strip() == name != ""]
)
@pytest.mark.parametrize("write", [code, prose])
def test_what_is_read_is_the_name(write: object, name: str) -> None:
    assert text_of(PARSER.render(write(name))) == name  # type: ignore[operator]


def test_ordinary_names_stay_readable_in_the_source() -> None:
    assert code("src/a-b_c (1).py") == "`src/a-b_c (1).py`"
    assert (
        prose("stage my_stage: 6.7% of 13-token runs (test), 0.1.0")
        == "stage my_stage: 6.7% of 13-token runs (test), 0.1.0"
    )


def test_addresses_do_not_become_links() -> None:
    """GitHub links bare addresses outside code, also where CommonMark does not."""
    shown = prose("see https://example.org, www.example.org, a@b.org")
    assert not re.search(r"://|www\.|@", shown)


def test_a_long_name_is_cut_and_that_is_said() -> None:
    assert code("x" * (MOST_CHARACTERS + 1234)) == f"`{'x' * MOST_CHARACTERS}… (1,234 characters more)`"


def test_small_pieces() -> None:
    assert plural(1, "document") == "1 document"
    assert plural(2000, "document") == "2,000 documents"
    assert document([["a", "", ""], ["", "", "b"]]) == "a\n\nb\n"
