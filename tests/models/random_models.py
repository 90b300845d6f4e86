"""Tiny random models of every family in the registry, and the settings of adapters for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.tiny import TINY
from whet.models import attention
from whet.models.build import save_model
from whet.models.decoder import Decoder
from whet.models.families.base import FAMILIES, Family
from whet.models.quantize import linear_names
from whet.packing import Batch

CPU = torch.device("cpu")
VOCAB = 101
LLAMA_NAMES = {
    "d_model": "hidden_size", "d_ff": "intermediate_size", "layers": "num_hidden_layers",
}  # fmt: skip
NAMES = {"gpt2": {"d_model": "n_embd", "d_ff": "n_inner", "layers": "n_layer"}}
NO_DROPOUT = {"gpt2": {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}}
KINDS = [pytest.param(kind, id=kind.NAME) for kind in FAMILIES if not kind.PLAN_ONLY]
LLAMA = FAMILIES.get("llama")
TIED = [pytest.param(True, id="tied"), pytest.param(False, id="untied")]


@dataclass(frozen=True)
class Settings:
    """What `attach` wants to know."""

    rank: int = 4
    alpha: float = 8.0
    dropout: float = 0.0
    rslora: bool = False


def tiny(kind: type[Family], *, tied: bool = True, seed: int = 3, **shape: int) -> Decoder:
    """Random weights, wide enough that logits are of the size of a trained model's."""
    from transformers import AutoConfig, AutoModelForCausalLM

    names = NAMES.get(kind.NAME, LLAMA_NAMES)
    sizes = {names[key]: value for key, value in {"d_model": 64, "d_ff": 128, **shape}.items()}
    config = AutoConfig.for_model(
        kind.NAME,
        **{**TINY[kind.NAME], **NO_DROPOUT.get(kind.NAME, {}), **sizes, "tie_word_embeddings": tied},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention.register(), dtype=torch.float32
        )
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.ndim == 2:
                    weight.normal_(std=0.15)
                elif name.endswith("bias"):
                    weight.normal_(std=0.05)
    return Decoder(model.eval(), kind())


def saved(folder: Path, kind: type[Family], *, tied: bool = True, seed: int = 3, **shape: int) -> Path:
    """Such a model's folder."""
    save_model(tiny(kind, tied=tied, seed=seed, **shape), folder)
    return folder


def targets(decoder: Decoder) -> list[str]:
    """Every linear layer of the blocks."""
    return linear_names(decoder.model, decoder.family)


def stir(decoder: Decoder, seed: int = 9) -> None:
    """Give an adapter's B (zero at first) and rows some numbers, so that it matters."""
    from whet.models.adapters import parameters

    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in parameters(decoder).items():
            if ".lora_A." not in name:
                weight.add_(torch.randn(weight.shape, generator=draw) * 0.1)


def packed(lengths: list[int], seed: int = 0, vocabulary: int = VOCAB) -> Batch:
    """One row of several documents."""
    draw = np.random.default_rng(seed)
    inputs, labels = (draw.integers(0, vocabulary, (1, sum(lengths))) for _ in range(2))
    positions = np.concatenate([np.arange(n) for n in lengths])[None]
    segments = np.concatenate([np.full(n, at) for at, n in enumerate(lengths, 1)])[None]
    return Batch(inputs, labels, positions, segments, tuple(range(len(lengths))))


def logits(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    """(1, L, V) through body and head."""
    array = ids.numpy()
    batch = Batch(array, array, np.arange(array.shape[1])[None], np.ones_like(array), (0,))
    with torch.no_grad():
        found: torch.Tensor = decoder.head(decoder.hidden(batch))
    return found


def some_ids(length: int = 40, seed: int = 1, vocabulary: int = VOCAB) -> torch.Tensor:
    return torch.randint(0, vocabulary, (1, length), generator=torch.Generator().manual_seed(seed))


def gradients(decoder: Decoder, batch: Batch) -> dict[str, torch.Tensor]:
    """Of everything that trains, by name; the decoder's own are cleared."""
    decoder.model.zero_grad()
    decoder.nll_sum(batch).backward()  # type: ignore[no-untyped-call]
    found = {
        name: weight.grad.clone()
        for name, weight in decoder.model.named_parameters()
        if weight.grad is not None
    }
    decoder.model.zero_grad()
    return found


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    """Norm of the difference over the norm of `other`."""
    return float((one - other).norm() / other.norm().clamp_min(1e-12))
