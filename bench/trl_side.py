"""TRL's `SFTTrainer`, with its own packing or on whet's rows through a collator, at its fastest settings.

Its loss is the fused chunked one (the default `nll` since TRL 1.15), gradient checkpointing is off.
"""

from __future__ import annotations

from typing import Any

import datasets  # type: ignore[import-not-found]
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer  # type: ignore[import-not-found]

from gate import Gate
from hf_side import Collate, Counted, Rows, Turns, model_of, settings_of
from job import Job
from whet_side import data_of

OWN_PACKING = ("bfd_split", "wrapped")
DOCUMENT_TOKENS = 400_000


class CountedSFTTrainer(Counted, SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer, counted."""


def documents_of(job: Job) -> datasets.Dataset:
    """The leading documents of the training split, tokenized, for TRL's own packing."""
    store = data_of(job).store.first(DOCUMENT_TOKENS)
    return datasets.Dataset.from_dict({"input_ids": [store.document(i).tolist() for i in range(len(store))]})


def _data(job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    """(settings, trainer arguments) that feed it."""
    if job.feed in OWN_PACKING:
        settings: dict[str, Any] = {"packing": True, "packing_strategy": job.feed, "max_length": job.length}
        return {**settings, "remove_unused_columns": True}, {"train_dataset": documents_of(job)}
    rows = Rows(job)
    ready = datasets.Dataset.from_dict({name: tensor.tolist() for name, tensor in rows.fields.items()})
    settings = {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
    return settings, {"train_dataset": ready.with_format("torch"), "data_collator": Collate(job.feed)}


def train(job: Job, gate: Gate) -> None:
    """Until the gate ends the process."""
    turns = Turns(gate)
    model = model_of(job)
    settings, data = _data(job)
    config = SFTConfig(**{**settings_of(job, str(job.folder.parent / "trl")), **settings})
    tokenizer = AutoTokenizer.from_pretrained(job.folder / "tokenizer", trust_remote_code=False)
    trainer = CountedSFTTrainer(
        model=model, args=config, processing_class=tokenizer, callbacks=[turns], **data
    )
    trainer.turns = turns
    turns.facts = {"parameters": sum(weight.numel() for weight in model.parameters())}
    trainer.train()
