"""`transformers.Trainer` on the same model, the same rows in the same order, at its fastest settings.

Rows lie ready in memory as tensors, labels are given already shifted (so that the last position of a row
is learned, as in whet), nothing is logged or saved. Only `training_step` is wrapped, to count labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from gate import Gate
from job import RATE, SEED, Job
from whet import packing
from whet.models.decoder import packed_mask
from whet.models.families.llama import Llama
from whet.packing import IGNORED
from whet.text import tokenizer as tokenizers
from whet_side import data_of

ROWS = 1024
Row = dict[str, torch.Tensor]


class Rows(Dataset[Row]):
    """The first rows of whet's seeded order, as tensors."""

    def __init__(self, job: Job) -> None:
        data = data_of(job)
        chosen = packing.epoch_order(len(data.rows), SEED, 0)[:ROWS]
        batch = packing.batch_of(data.store, data.rows, chosen, data.pad_id)
        fields = ("inputs", "labels", "positions", "segments")
        self.fields = {name: torch.from_numpy(getattr(batch, name)) for name in fields}

    def __len__(self) -> int:
        return len(self.fields["inputs"])

    def __getitem__(self, index: int) -> Row:
        return {name: tensor[index] for name, tensor in self.fields.items()}


class Collate:
    """Rows to the arguments of a transformers model."""

    def __init__(self, feed: str) -> None:
        self.feed = feed

    def __call__(self, rows: list[Row]) -> dict[str, torch.Tensor]:
        stacked = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        batch = {
            "input_ids": stacked["inputs"],
            "labels": stacked["labels"],
            "shift_labels": stacked["labels"],
        }
        if self.feed == "mask":
            batch["attention_mask"] = packed_mask(stacked["segments"])
        if self.feed != "open":
            batch["position_ids"] = stacked["positions"]
        return batch


def model_of(job: Job) -> PreTrainedModel:
    """The same random weights as whet's, as plain transformers makes them."""
    config = Llama().config(job.shape, tokenizers.load(job.folder / "tokenizer").special_ids)
    config.use_cache = False
    torch.manual_seed(SEED)
    return AutoModelForCausalLM.from_config(config, attn_implementation=job.attention, dtype=torch.float32)


def settings_of(job: Job, folder: str) -> dict[str, Any]:
    """Training arguments shared by both peers."""
    return {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": True,
        "optim": "adamw_torch_fused",
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": job.micro,
        "gradient_accumulation_steps": job.rows // job.micro,
        "gradient_checkpointing": False,
        "torch_compile": job.compile,
        "max_steps": 10**6,
        "train_sampling_strategy": "sequential",
        "dataloader_num_workers": job.workers,
        "dataloader_persistent_workers": job.workers > 0,
        "remove_unused_columns": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": SEED,
    }


class Turns(TrainerCallback):  # type: ignore[misc]
    """Counts what `training_step` saw and opens the gate after every optimiser step."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self.labels, self.loss, self.steps = gate, 0, 0.0, 0
        self.facts: dict[str, Any] = {}

    def saw(self, labels: int, loss: float) -> None:
        """One micro-batch."""
        self.labels += labels
        self.loss += loss

    def on_train_begin(self, *unused: Any, **also_unused: Any) -> None:
        """Ready."""
        self.gate.open(**self.facts)

    def on_step_end(self, *unused: Any, **also_unused: Any) -> None:
        """One optimiser step."""
        self.steps += 1
        self.gate.loss(self.steps, self.loss)
        labels, self.labels, self.loss = self.labels, 0, 0.0
        self.gate.step(labels)


def label_count(inputs: dict[str, Any]) -> int:
    """Labels that the loss learns from: those given shifted, or those left after the model's own shift."""
    labels = inputs["shift_labels"] if "shift_labels" in inputs else inputs["labels"][:, 1:]
    return int((labels != IGNORED).sum())


class Counted:
    """Mixed into a trainer: tells `turns` what each micro-batch held."""

    turns: Turns

    def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> torch.Tensor:
        """As the trainer's own, counted."""
        labels = label_count(inputs)
        loss: torch.Tensor = super().training_step(model, inputs, *rest, **named)  # type: ignore[misc]
        self.turns.saw(labels, float(loss))
        return loss


class CountedTrainer(Counted, Trainer):  # type: ignore[misc]
    """transformers' Trainer, counted."""


def train(job: Job, gate: Gate) -> None:
    """Until the gate ends the process."""
    turns = Turns(gate)
    model = model_of(job)
    arguments = TrainingArguments(**settings_of(job, str(job.folder.parent / "hf")))
    trainer = CountedTrainer(
        model=model,
        args=arguments,
        train_dataset=Rows(job),
        data_collator=Collate(job.feed),
        callbacks=[turns],
    )
    trainer.turns = turns
    turns.facts = {"parameters": sum(weight.numel() for weight in model.parameters())}
    trainer.train()
