"""Who trains against whom in trainers.py, and what must be installed for it."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import product
from typing import Any

from job import Job

FIRST, BASE = "whet, compiled", "HF Trainer"
NEEDS = {
    "hf": ("accelerate", "pip install -e '.[bench]'"),
    "trl": ("trl", "pip install -e '.[bench]'"),
    "litgpt": ("litgpt", "pip install -e '.[bench]' && pip install --no-deps litgpt==0.5.13"),
}
"""System: (module, how it gets there)."""


def missing(job: Job) -> str | None:
    """What must be installed before this contender can run, if anything."""
    module, command = NEEDS.get(job.system, ("torch", ""))
    return None if find_spec(module) else f"{module} is not installed: {command}"


def contenders(vocab_size: int) -> list[Job]:
    """Everybody; the peers' settings are the fastest that `--tune` found."""
    micro = 4 if vocab_size < 16_000 else 8
    compiled: dict[str, Any] = {"system": "hf", "attention": "eager", "micro": micro, "compile": True}
    litgpt: dict[str, Any] = {"system": "litgpt", "micro": 8, "compile": True}
    bare: dict[str, Any] = {"system": "bare", "compile": True}
    tuned: dict[str, Any] = {**bare, "attention": "eager", "micro": 8 if vocab_size < 16_000 else 16}
    return [
        Job(name=FIRST, system="whet", compile=True),
        Job(name="whet", system="whet"),
        Job(name="whet, Muon, compiled", system="whet", optimizer="muon", compile=True),
        Job(name=BASE, system="hf"),
        Job(name="HF Trainer, tuned", system="hf", attention="eager", micro=4),
        Job(name="HF Trainer, tuned, compiled", **compiled),
        Job(name="HF Trainer, tuned, compiled, memory kept", **compiled, keep_memory=True),
        Job(name="TRL, own packing, tuned", system="trl", feed="bfd_split", attention="eager", micro=2),
        Job(name="TRL, whet's rows, tuned", system="trl", attention="eager", micro=4),
        Job(name="LitGPT", system="litgpt", micro=4, compile=True, fused=False),
        Job(name="LitGPT, tuned", **litgpt),
        Job(name="LitGPT, tuned, memory kept", **litgpt, keep_memory=True),
        Job(name="bare loop", **bare),
        Job(name="bare loop, tuned", **tuned),
        Job(name="bare loop, tuned, memory kept", **tuned, keep_memory=True),
    ]


def grid() -> list[Job]:
    """Settings of the peers worth trying, for `--tune`; `whet, compiled` for comparison."""
    jobs = contenders(0)[:1]
    jobs += [Job(name=f"whet {micro} compiled", system="whet", micro=micro, compile=True) for micro in (8, 4)]
    kinds = [(system, attention) for system in ("hf", "trl", "bare") for attention in ("sdpa", "eager")]
    for (system, attention), micro, compiled in product(
        [*kinds, ("litgpt", "sdpa")], (16, 8, 4, 2), (False, True)
    ):
        name = f"{system} {attention} {micro}{' compiled' if compiled else ''}"
        settings: dict[str, Any] = {"system": system, "attention": attention}
        jobs.append(Job(name=name, micro=micro, compile=compiled, **settings))
    jobs.append(Job(name="litgpt not fused", system="litgpt", micro=4, compile=True, fused=False))
    jobs.append(Job(name="hf one worker", system="hf", workers=1))
    jobs.append(Job(name="hf documents leak", system="hf", feed="open"))
    for micro in (16, 4, 1):
        jobs.append(
            Job(name=f"trl bfd_split {micro}", system="trl", feed="bfd_split", attention="eager", micro=micro)
        )
        jobs.append(
            Job(name=f"trl wrapped {micro}", system="trl", feed="wrapped", attention="eager", micro=micro)
        )
    return jobs
