"""256-bit arithmetic against plain statements of what each instruction means."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whet.evm.tac import WORD
from whet.evm.words import MODULUS, ONE, THREE, TWO, signed

EDGES = [0, 1, 2, 31, 32, 255, 256, (1 << 255) - 1, 1 << 255, (1 << 255) + 1, WORD - 1, WORD]
words = st.one_of(st.sampled_from(EDGES), st.integers(0, WORD), st.integers(0, 300))


@given(words, words, words)
def test_every_result_is_a_word(a: int, b: int, c: int) -> None:
    results = [f(a) for f in ONE.values()] + [f(a, b) for f in TWO.values()]
    results += [f(a, b, c) for f in THREE.values()]
    assert all(0 <= result <= WORD for result in results)


@given(words, words)
def test_signed_division_rounds_towards_zero_and_its_rest_has_the_dividends_sign(a: int, b: int) -> None:
    quotient, rest = signed(TWO["SDIV"](a, b)), signed(TWO["SMOD"](a, b))
    if b == 0:
        assert quotient == rest == 0
        return
    assert (quotient * signed(b) + rest - signed(a)) % MODULUS == 0
    assert abs(rest) < abs(signed(b))
    assert rest == 0 or (rest < 0) == (signed(a) < 0)


@given(st.integers(0, 300), words)
def test_shifts(shift: int, word: int) -> None:
    assert TWO["SHL"](shift, word) == word * 2**shift % MODULUS
    assert TWO["SHR"](shift, word) == word // 2**shift
    assert signed(TWO["SAR"](shift, word)) == signed(word) // 2**shift


@given(st.integers(0, 40), words)
def test_signextend_keeps_the_low_bytes_and_repeats_their_sign(size: int, word: int) -> None:
    bits = min(8 * (size + 1), 256)
    low = word % 2**bits
    expected = low - 2**bits if low >= 2 ** (bits - 1) else low
    assert signed(TWO["SIGNEXTEND"](size, word)) == expected


@given(words)
def test_bytes_of_a_word_from_the_left(word: int) -> None:
    parts = [TWO["BYTE"](index, word) for index in range(34)]
    assert bytes(parts[:32]) == word.to_bytes(32, "big")
    assert parts[32:] == [0, 0]


@given(words)
def test_clz_counts_zeros_before_the_first_one(word: int) -> None:
    assert ONE["CLZ"](word) == len(f"{word:0256b}") - len(f"{word:0256b}".lstrip("0"))


@given(words, words, words)
def test_addmod_and_mulmod_do_not_wrap_before_the_modulus(a: int, b: int, n: int) -> None:
    assert THREE["ADDMOD"](a, b, n) == ((a + b) % n if n else 0)
    assert THREE["MULMOD"](a, b, n) == ((a * b) % n if n else 0)
    assert TWO["EXP"](a, b % 64) == a ** (b % 64) % MODULUS
