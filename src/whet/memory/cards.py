"""What a card can hold and do: memory, the number formats it multiplies, its peak. And what `4x48GB` means.

Peaks are the makers' figures for dense products of 16-bit numbers summed in fp32, without sparsity; GeForce cards
sum in fp32 at half their advertised rate. Sources: NVIDIA's architecture papers (Volta, Turing, GA102, Ada, RTX
Blackwell) and data sheets (A100 1758950, A10, A30, A40, L4, L40, L40S, H100/H200 tensor core, B200, Quadro RTX 8000,
RTX A6000, RTX 6000 Ada, T4 951643, V100 1165301), AMD's for the MI300X. What a training reaches is a share of them:
`whet.memory.duration`.

Compared with tables elsewhere (Lightning's throughput.py and verl's, which name data sheets, and others): all but the
RTX 2080 and 5080 were found again, and the RTX 3060 corrected; where tables differ, theirs are with sparsity or summed in
fp16. Not settled is the A10G, which many give the A10's 125 and those who compare both 70.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from whet.errors import WhetError

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Card:
    """One device. `memory_bytes` as the maker counts it; what the driver keeps is part of the overhead."""

    name: str
    memory_bytes: int
    peak_flops: float | None = None
    """Of 16-bit products, per second; None where nothing is known of it."""
    bf16: bool = True
    flash_attention_2: bool = True
    on_cuda: bool = True

    @property
    def precision(self) -> str:
        """What `precision: auto` becomes on it."""
        return "bf16" if self.bf16 else "fp16"


def _card(name: str, gib: int, tflops: float, *, turing: bool = False) -> Card:
    return Card(name, gib * GIB, tflops * 1e12, bf16=not turing, flash_attention_2=not turing)


KNOWN: dict[str, Card] = {
    card.name.lower().replace(" ", ""): card
    for card in (
        _card("V100", 32, 125, turing=True),
        _card("T4", 16, 65, turing=True),
        _card("RTX 2080", 8, 40.3, turing=True),
        _card("RTX 2080 Ti", 11, 53.8, turing=True),
        _card("Quadro RTX 8000", 48, 130.5, turing=True),
        _card("RTX 3060", 12, 25.5),
        _card("RTX 3070", 8, 40.6),
        _card("RTX 3080", 10, 59.5),
        _card("RTX 3090", 24, 71),
        _card("RTX 4070", 12, 58.3),
        _card("RTX 4080", 16, 97.5),
        _card("RTX 4090", 24, 165.2),
        _card("RTX 5080", 16, 112.6),
        _card("RTX 5090", 32, 209.5),
        _card("RTX A5000", 24, 111.1),
        _card("RTX A6000", 48, 154.8),
        _card("RTX 6000 Ada", 48, 364.2),
        _card("A10", 24, 125),
        _card("A10G", 24, 70),
        _card("A30", 24, 165),
        _card("A40", 48, 149.7),
        _card("L4", 24, 121),
        _card("L40", 48, 181),
        _card("L40S", 48, 362),
        _card("A100", 80, 312),
        _card("A100 40GB", 40, 312),
        _card("H100", 80, 989),
        _card("H100 PCIe", 80, 756),
        _card("H200", 141, 989),
        _card("B200", 180, 2250),
        _card("MI300X", 192, 1307),
    )
}
"""By name in lower case without spaces."""
ALIASES = {"rtx8000": "quadrortx8000", "a6000": "rtxa6000", "a5000": "rtxa5000", "6000ada": "rtx6000ada"}


@dataclass(frozen=True, slots=True)
class Cards:
    """Some equal cards."""

    count: int
    card: Card

    def __str__(self) -> str:
        name = self.card.name
        return f"{self.count} x {name}" if self.count > 1 else name

    @property
    def peak_flops(self) -> float | None:
        """Of all of them."""
        return None if self.card.peak_flops is None else self.count * self.card.peak_flops


def cpu(memory_bytes: int, *, bf16: bool = True) -> Cards:
    """The processor as the device, with the machine's memory."""
    return Cards(1, Card("CPU", memory_bytes, None, bf16=bf16, flash_attention_2=False, on_cuda=False))


_COUNT = re.compile(r"^\s*(?:(\d{1,5})\s*[x×*]\s*)?(.+?)\s*$", re.IGNORECASE)
_SIZE = re.compile(r"^(\d{1,6}(?:\.\d{1,3})?)\s*(?:g|gb|gib)$", re.IGNORECASE)


def parse(text: str) -> Cards:
    """`4x48GB`, `rtx4090`, `2 x A100 40GB`, `cpu 16GB`. Raises WhetError that says what it could be.

    Of a size alone nothing but the memory is known: bf16 is taken for granted, and there is no peak.
    """
    found = _COUNT.match(text)
    if not found:
        raise _unknown(text)
    count, what = int(found[1] or 1), found[2]
    size = _SIZE.match(what)
    if count and size:
        return Cards(
            count, Card(f"{what.upper().removesuffix('IB').rstrip('GB ')} GB", round(float(size[1]) * GIB))
        )
    if what.lower().startswith("cpu"):
        size = _SIZE.match(what[3:].strip())
        if size:
            return cpu(round(float(size[1]) * GIB))
    key = re.sub(r"nvidia|geforce|amd|[\s_-]", "", what.lower())
    card = KNOWN.get(ALIASES.get(key, key))
    if not count or card is None:
        raise _unknown(text)
    return Cards(count, card)


def _unknown(text: str) -> WhetError:
    near = get_close_matches(text.lower().replace(" ", ""), KNOWN, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return WhetError(
        f"{text[:60]!r} is no card that whet knows",
        where="cards",
        fix=f"{hint}give the memory (24GB, 4x48GB, cpu 16GB) or one of: {', '.join(sorted(KNOWN))}",
    )
