"""Squeezed code and data are dropped; prose on long lines and ordinary code are kept."""

from __future__ import annotations

import base64
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet.cleaning import minified
from whet.cleaning.minified import Minified
from whet.records import Document, Dropped

RANDOM = random.Random(0)
NOISE = RANDOM.randbytes(3000)
PROSE = "The quick brown fox jumps over the lazy dog, and then it sleeps in the sun for an hour. "

DATA = {
    "minified javascript": "function a(b){var c=b.d;return c?e(c):f(g,h)};" * 200,
    "one endless line": PROSE * 2000,
    "base64 in lines": base64.encodebytes(NOISE).decode(),
    "hex escapes": "data = b'" + "".join(f"\\x{byte:02x}" for byte in NOISE) + "'",
    "hex table": "".join(f"0x{byte:02x},{' ' if at % 12 else chr(10)}" for at, byte in enumerate(NOISE)),
    "csv": "\n".join(f"{row},{row * 1.5},{row**2}e-3" for row in range(200)),
}

TEXT = {
    "prose, a paragraph a line": "\n".join([PROSE * 20] * 5),
    "chinese, a paragraph a line": "\n".join(["学而时习之不亦说乎有朋自远方来不亦乐乎" * 40] * 5),
    "code": "def area(width, height):\n    return width * height + 0x10\n" * 30,
    "a table in prose": PROSE * 5 + "\n1 2 3\n4 5 6\n" + PROSE,
    "empty": "",
}


def outcome(text: str) -> str:
    result = Minified().apply(Document(text=text, origin="a", group="a"))
    return result.reason if isinstance(result, Dropped) else "kept"


@pytest.mark.parametrize("name", DATA)
def test_data(name: str) -> None:
    assert outcome(DATA[name]) == "minified or data"


@pytest.mark.parametrize("name", TEXT)
def test_text(name: str) -> None:
    assert outcome(TEXT[name]) == "kept"


@pytest.mark.parametrize(
    "unit", ["1" * 90_000 + "x\n", "1e" * 45_000 + "\n", "a" * 59 + " ", "1.1." * 20_000 + "\n"]
)
def test_hostile_numbers_take_linear_time(unit: str) -> None:
    start = time.perf_counter()
    outcome(unit * (1_000_000 // len(unit)))
    assert time.perf_counter() - start < 5


TEXTS = st.text("0123456789abcdefxXuLE_.+-,; \n\t\x1c\u2003é٣/=\\\\", max_size=80).map(lambda part: part * 3)


@given(TEXTS, st.sampled_from([0.0, 0.3, 0.6, 1.0]))
@settings(deadline=None)
def test_the_cheap_look_decides_as_the_close_one(text: str, threshold: float) -> None:
    numbers, encoded = (minified._share(pattern, text) for pattern in (minified._NUMBER, minified._ENCODED))
    assert (minified._number_share(text, threshold) > threshold) == (numbers > threshold)
    assert (minified._encoded_share(text, threshold) > threshold) == (encoded > threshold)
