"""What a training step is made of: its parts in the loop's order, and inside them products, attention, the rest.

`step` is `whet.train.loop.Loop._step` for one micro-batch, part by part. `anatomy` profiles some steps in one run
and gives every microsecond of them to one part and one kind, so that the shares add up to 1:

    weight products      products with weights, and Newton-Schulz's in the update
    attention products   scores and mixing
    attention, rest      softmax and mask, where they stand in a kernel of their own or a fused one
    element-wise         everything else that computes: norms, rotation, gates, the loss, casts, the update
    between kernels      Python, autograd, guards of compiled code, and the profiler's own cost

Of the products' time, what they would take at the matmul peak is told from what they take beyond it: the
first, over the whole step, is the share of the peak. The peak is measured in the same process, before and after.
Left out: logging, validation, checkpoints. Inductor names its kernels for the profiler on Linux only.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

import rounds
from job import Job
from quiet import wait_for_quiet
from whet.models import chunked
from whet.models.families.llama import Llama
from whet.train.loop import Loop
from whet.train.optim import clip, split_parameters
from whet_side import decoder_of, loop_of

PARTS = ("data", "body forward", "head and loss", "body backward", "clip", "update")
PRODUCTS, ATTENTION, SOFTMAX = "weight products", "attention products", "attention, rest"
ELEMENTS, BETWEEN = "element-wise", "between kernels"
KINDS = (PRODUCTS, ATTENTION, SOFTMAX, ELEMENTS, BETWEEN)
STEPS, WARM_UP = 6, 3
NEWTON_SCHULZ_ROUNDS = 5
Part = Callable[[str], AbstractContextManager[Any]]


class Clock:
    """Seconds per part of one step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what stands inside."""
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began


def ready_loop(job: Job) -> Loop:
    """A loop whose model is compiled if the job says so."""
    decoder = decoder_of(job)
    loop = loop_of(job, decoder, lambda record: None)
    if job.compile:
        decoder.compile()
    return loop


def step(loop: Loop, number: int, part: Part) -> int:
    """One optimiser step of one micro-batch, each part inside `part(name)`; its labels."""
    decoder = loop.decoder
    with part("data"):
        (batch,) = loop.training.step(number)
    with part("body forward"), decoder.autocast():
        hidden_ND, labels_N = decoder._labelled(batch)
    with part("head and loss"), decoder.autocast():
        loss = chunked.nll_sum(
            hidden_ND, labels_N, decoder.head, chunk=decoder.chunk, loss=decoder._chunk_loss
        )
    with part("body backward"):
        (loss / batch.label_count).backward()  # type: ignore[no-untyped-call]
    with part("clip"):
        clip(loop.optimizer, loop.stage.grad_clip)
    with part("update"):
        loop.optimizer.step(loop.stage.learning_rate)
    return batch.label_count


def kind_of(name: str) -> str:
    """The kind of one profiled event, by its name."""
    if name in ("aten::mm", "aten::addmm") or "linear_pointwise" in name:
        return PRODUCTS
    if name in ("aten::bmm", "aten::baddbmm"):
        return ATTENTION
    if "softmax" in name and "log_softmax" not in name:
        return SOFTMAX
    return ELEMENTS if name.startswith("aten::") or "cpp_fused" in name else BETWEEN


def anatomy(job: Job) -> dict[str, Any]:
    """Shares by part and kind of a profiled step, and of the matmul peak."""
    torch._inductor.config.cpp.enable_kernel_profile = True
    loop = ready_loop(job)
    for number in range(WARM_UP):
        step(loop, number, Clock().part)
    wait_for_quiet(20.0)
    clocks = [Clock() for _ in range(STEPS)]
    before = rounds.peak_gflops()
    for number, clock in enumerate(clocks, WARM_UP):
        step(loop, number, clock.part)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        labels = [
            step(loop, number, record_function) for number in range(WARM_UP + STEPS, WARM_UP + 2 * STEPS)
        ]
    peak = statistics.mean((before, rounds.peak_gflops()))
    seconds = _by_part_and_kind(profiler.events())
    return {
        "name": job.name,
        "vocab_size": job.vocab_size,
        "length": job.length,
        "step_s": statistics.median(sum(clock.seconds.values()) for clock in clocks),
        "profiled_step_s": sum(seconds.values()) / STEPS,
        "matmul_peak_gflops": peak,
        **_shares(
            seconds, {part: count * STEPS / peak / 1e9 for part, count in _flops(loop, job, labels).items()}
        ),
    }


def _by_part_and_kind(events: Any) -> dict[tuple[str, str], float]:
    """Seconds of (part, kind); what no event of a part accounts for is `between kernels`."""
    parts = sorted((e.time_range.start, e.time_range.end, e.name) for e in events if e.name in PARTS)
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for start, end, name in parts:
        seconds[name, BETWEEN] += (end - start) / 1e6
    at = 0
    for event in sorted(events, key=lambda e: e.time_range.start):
        while at < len(parts) and event.time_range.start >= parts[at][1]:
            at += 1
        if at == len(parts) or event.time_range.start < parts[at][0] or event.name in PARTS:
            continue
        kind, own_s = kind_of(event.name), event.self_cpu_time_total / 1e6
        if kind != BETWEEN:
            seconds[parts[at][2], kind] += own_s
            seconds[parts[at][2], BETWEEN] -= own_s
    return dict(seconds)


def _flops(loop: Loop, job: Job, labels: list[int]) -> dict[str, float]:
    """Floating-point operations of the products in each part of a step, mean over steps."""
    tokens, family = statistics.mean(labels), Llama()
    body = tokens * family.outline(family.settings(job.shape)).flops_per_token(job.length)
    head = 6.0 * tokens * job.vocab_size * job.shape.d_model
    newton_schulz = 0.0
    if job.optimizer == "muon":
        for _, weight in split_parameters(loop.decoder)[0]:
            short, long = sorted(weight.shape)
            newton_schulz += NEWTON_SCHULZ_ROUNDS * 2.0 * (2 * short * short * long + short**3)
    return {
        "body forward": (body - head) / 3,
        "head and loss": head,
        "body backward": (body - head) * 2 / 3,
        "update": newton_schulz,
    }


def _shares(seconds: dict[tuple[str, str], float], ideal: dict[str, float]) -> dict[str, Any]:
    """Of the profiled time: by part, by kind, and the products' time at the peak and beyond it, by part."""
    whole = sum(seconds.values())

    def of(part: str | None, kinds: tuple[str, ...]) -> float:
        chosen = (value for (at, kind), value in seconds.items() if part in (at, None) and kind in kinds)
        return sum(chosen) / whole

    at_peak = sum(value for part, value in ideal.items() if part != "update") / whole
    update_at_peak = ideal["update"] / whole
    products = (PRODUCTS, ATTENTION)
    return {
        "shares": {part: {kind: of(part, (kind,)) for kind in KINDS} for part in PARTS},
        "budget": {
            "products at the peak": at_peak,
            "products beyond it": of(None, products) - of("update", products) - at_peak,
            **{kind: of(None, (kind,)) - of("update", (kind,)) for kind in (SOFTMAX, ELEMENTS, BETWEEN)},
            "update, products at the peak": update_at_peak,
            "update, products beyond it": of("update", products) - update_at_peak,
            "update, rest": of("update", (SOFTMAX, ELEMENTS, BETWEEN)),
        },
        "products_of_peak": {
            part: value / whole / of(part, products) if of(part, products) else None
            for part, value in ideal.items()
        },
    }


def anatomy_tables(results: list[dict[str, Any]]) -> str:
    """For each set-up, parts by kinds; then the budget of all of them."""
    blocks = []
    for one in results:
        rows = [
            [part, f"{sum(kinds.values()):.1%}", *(f"{kinds[kind]:.1%}" for kind in KINDS), _rate(one, part)]
            for part, kinds in one["shares"].items()
        ]
        sums = [sum(kinds[kind] for kinds in one["shares"].values()) for kind in KINDS]
        rows.append(["whole step", f"{sum(sums):.1%}", *(f"{value:.1%}" for value in sums), ""])
        title = (
            f"Vocabulary {one['vocab_size']:,}, {one['name']}: {1e3 * one['step_s']:.0f} ms a step, "
            f"{1e3 * one['profiled_step_s']:.0f} ms profiled; matmul peak {one['matmul_peak_gflops']:.0f} GFLOP/s"
        )
        blocks.append(f"\n{title}\n\n{rounds.table(['', 'all', *KINDS, 'products, of the peak'], rows)}")
    names = list(results[0]["budget"])
    rows = [
        [f"{one['vocab_size']:,}, {one['name']}", *(f"{one['budget'][name]:.1%}" for name in names)]
        for one in results
    ]
    return "\n".join([*blocks, f"\nA step's time, adding up to 100 %:\n\n{rounds.table(['', *names], rows)}"])


def _rate(one: dict[str, Any], part: str) -> str:
    rate = one["products_of_peak"].get(part)
    return f"{rate:.0%}" if rate else ""
