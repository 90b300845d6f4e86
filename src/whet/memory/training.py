"""What a training takes: memory of the device by component, at the moment when it is most; RAM of the host; disk.

    estimate(outline, family, training) -> Estimate        training = Training(length=4096, quantization="nf4", ...)

Exact are weights, constants, adapter, gradients and optimiser. Activations, logits and what comes and goes are read
off a tape (`whet.memory.sketch`) that follows the code of the models; on a CPU the tape is measured to be within a
few percent (bench/memory.py). On CUDA it has not been measured: the context, the allocator's gaps and the kernels'
own memory are assumptions, said so, and make the difference between low, expected and high.

Not here: compiled models, whose kernels are fused and which mostly take less; MPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

from whet.errors import WhetError
from whet.memory import weights
from whet.memory.cards import GIB, Cards
from whet.memory.operators import FP32, Base, How
from whet.memory.sketch import micro_batches
from whet.memory.tape import Peak
from whet.models import targets as adapter_targets
from whet.models.families.base import for_model_type
from whet.models.outline import Outline

Quantization = Literal["none", "nf4", "fp4", "int8"]
Precision = Literal["bf16", "fp16", "fp32"]
Sharding = Literal["ddp", "fsdp2"]
WIDTHS = {"bf16": 2, "fp16": 2, "fp32": 4}
MIB = 2**20
PHASES = ("forward", "loss", "backward", "update")


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes: at least, expected, at most."""

    low: int
    expected: int
    high: int

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)


def exactly(size_bytes: int) -> Range:
    """A figure without doubt."""
    return Range(size_bytes, size_bytes, size_bytes)


CONTEXT = Range(300 * MIB, 500 * MIB, 900 * MIB)
"""Of CUDA, its libraries and cuBLAS's workspace, on each card. Assumed."""
GAPS = (0.0, 0.04, 0.15)
"""Share of what comes and goes that CUDA's allocator and kernels take besides. Assumed."""
PROCESS = Range(600 * MIB, 900 * MIB, 3200 * MIB)
"""Python, torch and transformers in a process without CUDA, beyond the tensors; measured in bench/memory.py."""
KEPT = 0.5
"""Share of what comes and goes that stays beside it in a process without CUDA, as gaps between tensors. Measured there, too."""
CUDA_PROCESS = Range(2 * GIB, 3 * GIB, 5 * GIB)
"""A process with CUDA, in the host's RAM. Assumed."""


def _process(passing: int) -> Range:
    """What a process on a CPU takes beside its tensors, of which `passing` bytes come and go in a step."""
    kept = exactly(round(KEPT * passing))
    return PROCESS + replace(kept, low=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Everything that decides what a training takes. `batch` rows of `length` positions per card and micro-batch.

    `rank` None trains every weight; else `targets` get an adapter of that rank on a frozen base.
    """

    cards: Cards
    length: int = 2048
    batch: int = 1
    accumulation: int = 1
    quantization: Quantization = "none"
    double_quantization: bool = True
    rank: int | None = 16
    targets: str | tuple[str, ...] = "attention"
    adapter_dropout: float = 0.05
    dropout: float = 0.0
    new_tokens: int = 0
    optimizer: str = "adamw"
    precision: Precision = "bf16"
    checkpointing: bool = False
    sharding: Sharding | None = None
    all_learned: bool = False
    """Every position has a label; with padding or unlearned prompts the labelled ones are copied out."""

    @property
    def base(self) -> Base:
        """How the model's own matrices are held."""
        if self.rank is None:
            return "fp32"
        return "compute" if self.quantization == "none" else self.quantization


@dataclass(frozen=True, slots=True)
class Part:
    """One component at the peak, and in a few words where the figure is from."""

    name: str
    bytes: Range
    source: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one card holds when it holds most, and what else is needed."""

    training: Training
    parts: tuple[Part, ...]
    moment: str
    """The phase of the peak: forward, loss, backward or update."""
    moments: dict[str, int]
    """Phase -> bytes held at most in it, expected."""
    trained: int
    """Parameters that are trained."""
    parameters: int
    ram: tuple[Part, ...]
    disk: tuple[Part, ...]

    @property
    def total(self) -> Range:
        """Bytes on each card."""
        return _sum(self.parts)

    @property
    def allocated(self) -> int:
        """Expected bytes of the tensors alone: what torch's allocator counts on a CPU."""
        return sum(
            part.bytes.expected for part in self.parts if part.name not in ("process", "context", "gaps")
        )

    @property
    def verdict(self) -> Literal["fits", "tight", "too large"]:
        """Of the card: even the high figure fits, the expected one does, or it does not."""
        memory = self.training.cards.card.memory_bytes
        if self.total.high <= memory:
            return "fits"
        return "tight" if self.total.expected <= memory else "too large"

    def as_dict(self) -> dict[str, Any]:
        """For plan.json and `--json`."""
        return {
            "moment": self.moment,
            "moments_bytes": self.moments,
            "total_bytes": _ranged(self.total),
            "allocated_bytes": self.allocated,
            "parts": [
                {"name": part.name, **_ranged(part.bytes), "source": part.source} for part in self.parts
            ],
            "memory_bytes": self.training.cards.card.memory_bytes,
            "verdict": self.verdict,
            "ram_bytes": {part.name: _ranged(part.bytes) for part in self.ram},
            "disk_bytes": {part.name: part.bytes.expected for part in self.disk},
        }


def _ranged(found: Range) -> dict[str, int]:
    return {"low": found.low, "expected": found.expected, "high": found.high}


def _sum(parts: tuple[Part, ...]) -> Range:
    total = exactly(0)
    for part in parts:
        total += part.bytes
    return total


def estimate(
    outline: Outline, training: Training, *, keep: int = 2, download_bytes: int | None = None
) -> Estimate:
    """What the training takes. `keep` checkpoints; `download_bytes` of the base, default: 16 bits a parameter.

    Raises WhetError for targets that mean no layer, for quantized weights that would be trained, and for several
    cards without a sharding.
    """
    return _Account(outline, training, keep, download_bytes).estimate()


@lru_cache(maxsize=512)
def _taped(
    outline: Outline, how: How, passes: int, shards: int, kept: bool
) -> tuple[tuple[tuple[str, Peak], ...], int]:
    """The peak of each phase, and the bytes of gradients at the end."""
    tape = micro_batches(outline, how, passes=passes, shards=shards, kept=kept)
    return tuple((phase, tape.peaks[phase]) for phase in PHASES), tape.held["gradients"]


class _Account:
    """One training, added up."""

    def __init__(self, outline: Outline, training: Training, keep: int, download_bytes: int | None) -> None:
        self.outline, self.training = outline, training
        self.keep, self.download_bytes = keep, download_bytes
        self.cards = training.cards.count
        _require_sense(training)
        self.shards = self.cards if training.sharding == "fsdp2" else 1

    @cached_property
    def targets(self) -> frozenset[str]:
        """Names within a block that have an adapter."""
        return target_names(self.outline, self.training)

    @cached_property
    def how(self) -> How:
        """What the tape needs to know."""
        training = self.training
        return How(
            rows=training.batch,
            length=training.length,
            compute=WIDTHS[training.precision],
            base=training.base,
            on_cuda=training.cards.card.on_cuda,
            rank=training.rank or 0,
            targets=self.targets,
            adapter_dropout=training.adapter_dropout > 0,
            dropout=training.dropout > 0,
            checkpointing=training.checkpointing,
            all_learned=training.all_learned,
        )

    @cached_property
    def held(self) -> weights.Held:
        """The model's own weights."""
        training = self.training
        return weights.held(
            self.outline, training.base, WIDTHS[training.precision], double=training.double_quantization
        )

    @cached_property
    def adapter_tensors(self) -> list[int]:
        """Numbers in each of the adapter's tensors, and in the rows of new tokens."""
        if self.training.rank is None:
            return []
        found = list(weights.adapter_tensors(self.outline, self.training.rank, self.targets))
        rows = self.training.new_tokens * self.outline.d_model
        return found + [rows] * (rows > 0) * (1 if self.outline.tied else 2)

    @cached_property
    def trained(self) -> int:
        """Parameters that are trained."""
        return self.outline.total if self.training.rank is None else sum(self.adapter_tensors)

    @cached_property
    def optimizer(self) -> int:
        """Bytes of the optimiser's state, all of it."""
        name = self.training.optimizer
        if self.training.rank is not None:
            return weights.optimizer_bytes(name, self.adapter_tensors)
        found = list(weights.matrices(self.outline))
        muon = sum(m.count * m.numbers for m in found if m.linear) if name == "muon" else 0
        tensors = [m.numbers for m in found if not (m.linear and muon) for _ in range(m.count)]
        return weights.optimizer_bytes(name, tensors, muon) + 2 * FP32 * weights.vectors(self.outline)

    def estimate(self) -> Estimate:
        training = self.training
        passes, kept = min(2, training.accumulation), self.cards > 1 and self.shards == 1
        same = replace(self.outline, context=1)  # how far it could read costs nothing
        found, gradients = _taped(same, self.how, passes, self.shards, kept)
        more = max(0, self.trained * FP32 // self.shards - gradients)
        update = self._update_bytes()
        peaks = dict(found)
        last = peaks["update"]
        peaks["update"] = Peak(
            last.total + update, {**last.by_kind, "dequantized": last.by_kind["dequantized"] + update}
        )
        steady = sum(part.bytes.expected for part in self._steady())
        moment = max(peaks, key=lambda phase: peaks[phase].total)
        parts = (*self._steady(), *self._passing(peaks[moment], more))
        return Estimate(
            training=training,
            parts=tuple(part for part in parts if part.bytes.high),
            moment=moment,
            moments={phase: steady + more + peak.total for phase, peak in peaks.items()},
            trained=self.trained,
            parameters=self.outline.total,
            ram=tuple(self._ram(steady + more, peaks[moment].total)),
            disk=tuple(self._disk()),
        )

    def _steady(self) -> tuple[Part, ...]:
        """What is there from step to step."""
        held, exact = self.held, "exact"
        plain = -(-held.plain // self.shards)
        return (
            Part("weights", exactly(held.quantized + plain), exact),
            Part("quantization constants", exactly(held.constants), exact),
            Part("adapter", exactly(sum(self.adapter_tensors) * FP32 // self.shards), exact),
            Part("optimizer", self._optimizer_range(), exact),
            Part("gathered weights", exactly(self._gathered()), "two blocks, embedding and head, in fp32"),
        )

    def _optimizer_range(self) -> Range:
        state = -(-self.optimizer // self.shards)
        paged = self.training.optimizer in weights.PAGED and self.training.cards.card.on_cuda
        return Range(0 if paged else state, state, state)

    def _gathered(self) -> int:
        """FSDP2: whole weights of two blocks (one at work, one on its way) and of what is in no block."""
        if self.shards == 1:
            return 0
        outside = [m for m in weights.matrices(self.outline) if not m.linear]
        quantized = self.training.base not in ("fp32", "compute")
        width = FP32 if self.training.base == "fp32" else WIDTHS[self.training.precision]
        largest = max(
            sum(
                linear.copies * linear.inputs * linear.outputs
                for linear in block.linears
                if not (quantized and linear.module)
            )
            for _, block in self.outline.blocks
        )
        return (2 * largest + sum(m.numbers for m in outside)) * width

    def _passing(self, peak: Peak, more: int) -> tuple[Part, ...]:
        """What comes and goes, as it is at the peak."""
        kinds = peak.by_kind
        on_cuda = self.training.cards.card.on_cuda
        found = [
            Part("gradients", exactly(kinds["gradients"] + more), "exact"),
            Part("activations", exactly(kinds["activations"]), "tape"),
            Part("logits", exactly(kinds["logits"]), "tape"),
            Part("weight copies", exactly(kinds["casts"] + kinds["dequantized"]), "tape"),
        ]
        if on_cuda:
            low, expected, high = (round(share * peak.total) for share in GAPS)
            found.append(Part("gaps", Range(low, expected, high), "assumed"))
            found.append(Part("context", CONTEXT, "assumed"))
        else:
            found.append(Part("process", _process(peak.total), "measured on one machine"))
        return tuple(found)

    def _update_bytes(self) -> int:
        """What Muon needs to orthogonalise the largest matrix: a copy in fp32, two in bf16, two squares."""
        if self.training.optimizer != "muon":
            return 0
        largest = max((m for m in weights.matrices(self.outline) if m.linear), key=lambda m: m.numbers)
        return 4 * largest.numbers + 2 * 2 * largest.numbers + 2 * 2 * min(largest.rows, largest.columns) ** 2

    def _ram(self, steady: int, passing: int) -> Iterator[Part]:
        """RAM of one machine with all the cards."""
        state = max(self.trained * FP32, self.optimizer)
        if not self.training.cards.card.on_cuda:
            yield Part("training", exactly(steady + passing), "as above")
            yield Part("process", _process(passing), "measured on one machine")
            return
        yield Part("processes", Range(*(self.cards * x for x in _numbers(CUDA_PROCESS))), "assumed")
        yield Part(
            "one tensor while loading", exactly(self.outline.vocab_size * self.outline.d_model * 2), "exact"
        )
        yield Part("copy while saving", exactly(state), "exact")

    def _disk(self) -> Iterator[Part]:
        trained = self.trained * FP32
        if self.download_bytes != 0:
            size = self.download_bytes if self.download_bytes is not None else 2 * self.outline.total
            known = "exact" if self.download_bytes else "assumed: 16 bits a parameter"
            yield Part("base", exactly(size), known)
        yield Part("checkpoints", exactly((self.keep + 1) * (trained + self.optimizer)), "exact")
        yield Part("best and result", exactly(2 * trained), "exact")


def _numbers(found: Range) -> tuple[int, int, int]:
    return found.low, found.expected, found.high


def _require_sense(training: Training) -> None:
    if training.rank is None and training.quantization != "none":
        raise WhetError(
            "quantized weights cannot be trained", where="quantization", fix="give it an adapter (rank)"
        )
    if training.cards.count > 1 and training.sharding is None:
        raise WhetError(
            f"{training.cards.count} cards, and no word on how they share the model",
            where="sharding",
            fix="ddp (each holds all of it) or fsdp2 (each holds a part)",
        )
    if training.rank is not None and training.optimizer == "muon":
        raise WhetError(
            "Muon is for whole weight matrices", where="optimizer", fix="adamw, or train every weight"
        )


def target_names(outline: Outline, training: Training) -> frozenset[str]:
    """Names within a block of the layers that get an adapter. Raises WhetError for what means none."""
    if training.rank is None:
        return frozenset()
    wanted = training.targets if isinstance(training.targets, str) else list(training.targets)
    chosen = set(
        adapter_targets.resolve(wanted, outline.linears, for_model_type(outline.family), where="targets")
    )
    return frozenset(linear.name for name, linear in outline.named() if name in chosen)


def with_cards(training: Training, cards: Cards) -> Training:
    """The same on other cards, in the precision that they can do; several share it by DDP unless it says otherwise."""
    precision = training.precision
    if precision == "bf16" and not cards.card.bf16:
        precision = "fp16" if cards.card.on_cuda else "fp32"
    sharding = (training.sharding or "ddp") if cards.count > 1 else None
    return replace(training, cards=cards, precision=precision, sharding=sharding)
