"""Numbers and hostile text, written for a person.

Three significant digits and a unit where a person would round, every digit where they would count.
Escaping is not done here: the template engine does that to everything.
"""

from __future__ import annotations

from datetime import datetime

from whet.evaluate.report.fields import Estimate
from whet.visible import visible as visible

ABSENT = "–"
MINUS = "−"
SPACE = "\N{NO-BREAK SPACE}"


def count(value: float | None) -> str:
    """1,234 in full, then 12.3 k, 12.4 M, 1.24 B."""
    if value is None:
        return ABSENT
    if abs(value) < 10_000:
        return whole(value)
    return _scaled(value, 1000, ["", "k", "M", "B", "T"])


def round_count(value: float) -> str:
    """A tick of an axis, which is a round number: 0.5, 2.5 M."""
    figure, space, unit = (count(value) if abs(value) >= 10_000 else _signed(f"{value:,g}")).partition(SPACE)
    return f"{figure.rstrip('0').rstrip('.') if '.' in figure else figure}{space}{unit}"


def whole(value: float | None) -> str:
    """Every digit of a count."""
    return ABSENT if value is None else _signed(f"{value:,.0f}")


def size(value: float | None) -> str:
    """Bytes of material, decimal: 45.2 MB."""
    return ABSENT if value is None else _scaled(value, 1000, ["B", "kB", "MB", "GB", "TB"])


def memory(value: float | None) -> str:
    """Bytes of memory, binary: 1.52 GiB."""
    return ABSENT if value is None else _scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"])


def flops(value: float | None) -> str:
    """Floating-point operations per second: 1.21 TFLOP/s."""
    units = ["FLOP/s", "kFLOP/s", "MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"]
    return ABSENT if value is None else _scaled(value, 1000, units)


def _scaled(value: float, base: int, units: list[str]) -> str:
    step = 0
    while abs(value) >= base * 0.9995 and step < len(units) - 1:
        value, step = value / base, step + 1
    figure = f"{value:,.0f}" if step == 0 else significant(value)
    return _signed(f"{figure}{SPACE}{units[step]}".rstrip(SPACE))


def significant(value: float | None, digits: int = 3) -> str:
    """A number of any magnitude to three significant digits, without an exponent where one can do without."""
    if value is None:
        return ABSENT
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return tidy_exponent(f"{value:.{digits - 1}e}")
    if 0 < abs(value) < 1:
        return _signed(f"{value:.{digits}g}")
    places = max(digits - len(str(int(abs(value)))), 0)
    return _signed(f"{value:,.{places}f}")


def tidy_exponent(written: str) -> str:
    """3.00e-04 as 3e-4."""
    mantissa, _, exponent = written.partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return _signed(f"{mantissa}e{int(exponent)}")


def rate(value: float | None) -> str:
    """A learning rate, as recipes write it: 0 or 3e-4."""
    if value is None:
        return ABSENT
    return "0" if value == 0 else tidy_exponent(f"{value:.2e}")


def duration(seconds: float | None) -> str:
    """0.45 s, 12.3 s, 1 min 32 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return ABSENT
    if seconds < 59.95:
        return f"{significant(seconds, 2 if seconds < 1 else 3)}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return _two(minutes, "min", rest, "s")
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return _two(hours, "h", minutes, "min")
    days, hours = divmod(hours, 24)
    return _two(days, "d", hours, "h")


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{SPACE}{unit}" + (f" {small}{SPACE}{small_unit}" if small else "")


def share(value: float | None) -> str:
    """A fraction as a percentage; a small one keeps a digit, so that nothing that happened reads as 0 %."""
    if value is None:
        return ABSENT
    percent = value * 100
    if 0 < percent < 0.1:
        return f"<{SPACE}0.1{SPACE}%"
    return f"{percent:.1f}{SPACE}%" if percent < 10 and percent else f"{percent:.0f}{SPACE}%"


def decimal(value: float | None, places: int = 2) -> str:
    """A fixed number of decimals, so that columns line up."""
    return ABSENT if value is None else _signed(f"{value:.{places}f}")


def difference(value: float | None, places: int = 3) -> str:
    """A signed figure; what rounds to nothing has no sign."""
    if value is None:
        return ABSENT
    written = f"{value:+.{places}f}"
    return written[1:] if float(written) == 0 else _signed(written)


def interval(figure: Estimate | None, places: int = 2, *, signed: bool = False) -> str:
    """`[1.46, 1.52]`, or nothing when no interval was measured."""
    if figure is None or figure.low is None or figure.high is None:
        return ""
    write = difference if signed else decimal
    return f"[{write(figure.low, places)}, {write(figure.high, places)}]"


def apart(one: float, other: float, places: int = 2, most: int = 4) -> tuple[str, str]:
    """Two figures with as many decimals as it takes to tell them apart."""
    while places < most and decimal(one, places) == decimal(other, places):
        places += 1
    return decimal(one, places), decimal(other, places)


def moment(iso: str) -> str:
    """2025-03-01T12:30:00+00:00 as `1 March 2025, 12:30 UTC`; what is no date stays as written."""
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{when.day} {when:%B %Y, %H:%M %Z}".strip()


def listed(items: list[str]) -> str:
    """a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def plural(number: float | None, noun: str) -> str:
    """`1 document`, `12.3 k documents`."""
    return f"{count(number)}{SPACE}{noun}{'' if number == 1 else 's'}"


def _signed(written: str) -> str:
    return written.replace("-", MINUS, 1) if written.startswith("-") else written
