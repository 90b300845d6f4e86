"""LitGPT's own pretraining loop (`litgpt.pretrain.fit`), called as it is, on its `GPT` with the same shape.

The weights are whet's first ones, converted by LitGPT. Its data is what it packs itself: documents one after
another, cut every `length + 1` tokens, so that attention crosses documents and one label in 257 is lost; the
same material, other rows. Labels are counted where its loss is called, and the gate sits behind its optimiser's
step. Nothing is logged, saved or validated, but `fit` insists on two validation batches before it begins
(which compiles the model for inference, too): that happens before the gate opens.

As it comes it compiles the whole model, takes 4 rows per micro-batch and fuses AdamW on CUDA only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import lightning  # type: ignore[import-not-found]
import torch
from litgpt import pretrain  # type: ignore[import-not-found]
from litgpt.args import EvalArgs, TrainArgs  # type: ignore[import-not-found]
from litgpt.config import Config  # type: ignore[import-not-found]
from litgpt.model import GPT  # type: ignore[import-not-found]
from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama  # type: ignore[import-not-found]
from litgpt.utils import instantiate_torch_optimizer  # type: ignore[import-not-found]
from torch.utils.data import DataLoader, Dataset

from gate import Gate
from job import RATE, SEED, Job
from whet.packing import IGNORED
from whet_side import data_of, decoder_of

ENDLESS = 10**12


class Blocks(Dataset[torch.Tensor]):
    """The training tokens, end to end, in blocks of `length + 1`."""

    def __init__(self, job: Job) -> None:
        self.tokens, self.size = data_of(job).store.tokens, job.length + 1

    def __len__(self) -> int:
        return len(self.tokens) // self.size

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.tokens[index * self.size : (index + 1) * self.size].astype("int64"))


@dataclass
class Turns:
    """Counts labels and losses from the moment that `fit` asks for training data."""

    gate: Gate
    loader: Any
    parts: int
    facts: dict[str, Any]
    training: bool = False
    labels: int = 0
    steps: int = 0
    losses: list[float] = field(default_factory=list)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """The training data; asking for it the first time opens the gate."""
        if not self.training:
            self.gate.open(**self.facts)
            self.training = True
        return iter(self.loader)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, **named: Any) -> torch.Tensor:
        """LitGPT's loss, counted."""
        value: torch.Tensor = self.own_loss(logits, targets, **named)
        if self.training:
            self.labels += int((targets != IGNORED).sum())
            self.losses.append(float(value.detach()))
        return value

    own_loss = staticmethod(pretrain.chunked_cross_entropy)

    def stepped(self, *unused: Any) -> None:
        """After an optimiser step."""
        self.steps += 1
        self.gate.loss(self.steps, sum(self.losses) / self.parts)
        labels, self.labels, self.losses = self.labels, 0, []
        self.gate.step(labels)


def model_of(job: Job) -> GPT:
    """LitGPT's GPT with whet's shape and first weights; input and output embedding tied, as in `main`."""
    plain = decoder_of(job).model
    shape = job.shape
    config = Config(
        name="bench",
        block_size=job.length,
        vocab_size=job.vocab_size,
        padded_vocab_size=job.vocab_size,
        n_layer=shape.layers,
        n_head=shape.heads,
        n_embd=shape.d_model,
        intermediate_size=shape.d_ff,
        mlp_class_name="LLaMAMLP",
        norm_class_name="RMSNorm",
        norm_eps=plain.config.rms_norm_eps,
        rope_base=int(plain.config.rope_parameters["rope_theta"]),
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
    )
    model, weights = GPT(config), dict[str, torch.Tensor]()
    copy_weights_hf_llama(config, defaultdict(dict), weights, plain.state_dict())
    model.load_state_dict(weights)
    model.transformer.wte.weight = model.lm_head.weight
    return model


def arguments_of(job: Job) -> dict[str, Any]:
    """Settings of `fit`: a constant rate, nothing logged, saved or validated after the first look."""
    train = TrainArgs(
        save_interval=None,
        log_interval=ENDLESS,
        global_batch_size=job.rows,
        micro_batch_size=job.micro,
        lr_warmup_steps=0,
        max_tokens=ENDLESS,
        max_norm=1.0,
        min_lr=RATE,
        tie_embeddings=True,
    )
    return {"train": train, "eval": EvalArgs(interval=ENDLESS, final_validation=False)}


def train(job: Job, gate: Gate) -> None:
    """Until the gate ends the process: the steps of `litgpt.pretrain.main`, with `fit` at the end."""
    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision="bf16-mixed", loggers=[])
    fabric.launch()
    fabric.seed_everything(SEED)
    model = model_of(job)
    facts = {"parameters": sum(weight.numel() for weight in model.parameters()), "fused": job.fused}
    model = fabric.setup(torch.compile(model) if job.compile else model)
    rule = {
        "class_path": "torch.optim.AdamW",
        "init_args": {"lr": RATE, "betas": (0.9, 0.95), "weight_decay": 0.0},
    }
    optimizer = fabric.setup_optimizers(
        instantiate_torch_optimizer(rule, model.parameters(), fused=job.fused)
    )
    blocks = Blocks(job)
    loader = fabric.setup_dataloaders(
        DataLoader(blocks, batch_size=job.micro, shuffle=True, num_workers=job.workers, drop_last=True)
    )
    turns = Turns(gate, loader, job.rows // job.micro, facts)
    pretrain.chunked_cross_entropy = turns.loss
    optimizer.optimizer.register_step_post_hook(turns.stepped)
    pretrain.fit(
        fabric=fabric,
        devices=1,
        state={
            "model": model,
            "optimizer": optimizer,
            "train_dataloader": turns,
            "iter_num": 0,
            "step_count": 0,
        },
        train_dataloader=turns,
        val_dataloader=loader,
        out_dir=job.folder.parent / "litgpt",
        tokenizer_dir=None,
        **arguments_of(job),
    )
