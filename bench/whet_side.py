"""whet's own loop with its real parts: packing from the memory map, Decoder, Optimizer, Loop."""

from __future__ import annotations

from typing import Any

import torch

from gate import Gate
from job import SEED, STAGE, Job, stage_of
from whet import hardware
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.models.selfcheck import check
from whet.objectives.base import OBJECTIVES
from whet.progress import Task
from whet.text import tokenizer as tokenizers
from whet.train.data import TrainingData
from whet.train.guards import StopRequest
from whet.train.loop import Loop
from whet.train.optim import Optimizer
from whet.train.sharding import Sharding
from whet.train.state import Progress
from whet.train.world import ALONE

ENDLESS = 10**6


def decoder_of(job: Job) -> Decoder:
    """The model as whet's train room builds it."""
    special_ids = tokenizers.load(job.folder / "tokenizer").special_ids
    return new_model(job.shape, special_ids, seed=SEED, device=torch.device("cpu"), precision="bf16")


def data_of(job: Job) -> TrainingData:
    """The packed rows of the training split in their seeded order."""
    folder = job.folder / STAGE / "train"
    return TrainingData(folder, stage_of(job), vocab_size=job.vocab_size, pad_id=0, seed=SEED)


def loop_of(job: Job, decoder: Decoder, log: Any) -> Loop:
    """The loop of one stage, without validation and checkpoints."""
    stage = stage_of(job)
    return Loop(
        stage=stage,
        steps=ENDLESS,
        decoder=decoder,
        objective=OBJECTIVES.get(stage.objective)(),
        optimizer=Optimizer(decoder, stage),
        training=data_of(job),
        validation=None,
        progress=Progress(),
        sharding=Sharding(decoder, ALONE, "ddp"),
        log=log,
        notice=print,
        save=lambda: None,
        save_best=lambda: None,
    )


class _GatedTask(Task):
    """The loop's progress display, which here opens and shuts the gate."""

    def __init__(self, gate: Gate, progress: Progress) -> None:
        super().__init__("bench", None)
        self.gate, self.progress, self.tokens = gate, progress, 0

    def advance(self, amount: float = 1.0, **figures: str) -> None:
        if amount:
            before, self.tokens = self.tokens, self.progress.tokens
            self.gate.step(self.tokens - before)


def train(job: Job, gate: Gate) -> None:
    """Until the gate ends the process."""
    hardware.keep_freed_memory(torch.device("cpu"))
    decoder = decoder_of(job)
    check(decoder)
    loop = loop_of(job, decoder, lambda record: gate.loss(record["step"], record["loss"]))
    if job.compile:
        decoder.compile()
    parameters = sum(weight.numel() for weight in decoder.model.parameters())
    gate.open(parameters=parameters, filled_share=loop.training.rows.filled_share)
    loop.run(_GatedTask(gate, loop.progress), StopRequest())
