"""A bare loop as one writes it for oneself: a Llama in plain torch, memory-mapped tokens, the whole logits at once.

Random stretches of the token file as rows (attention crosses documents, as is usual there), torch.compile of
the whole model, bf16 autocast, fused AdamW. No framework and no checks: what torch gives without any. The
weights are whet's first ones, so names and rotation are those of transformers' Llama.

Shape suffixes: B rows, L positions, D width, H heads, W head width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gate import Gate
from job import RATE, SEED, Job
from whet.models.shape import Shape
from whet.tokenstore import Ids
from whet_side import data_of, decoder_of


def rotated(x_BHLW: torch.Tensor, cos_LW: torch.Tensor, sin_LW: torch.Tensor) -> torch.Tensor:
    """Rotary positions: the first half of a head's width pairs with the second."""
    first, second = x_BHLW.chunk(2, -1)
    return x_BHLW * cos_LW + torch.cat((-second, first), -1) * sin_LW


class Attention(nn.Module):
    """Causal attention over the whole row."""

    def __init__(self, shape: Shape, written_out: bool) -> None:
        super().__init__()
        self.heads, self.written_out = shape.heads, written_out
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(shape.d_model, shape.d_model, bias=False))

    def forward(self, x_BLD: torch.Tensor, cos_LW: torch.Tensor, sin_LW: torch.Tensor) -> torch.Tensor:
        B, L, D = x_BLD.shape

        def split(y_BLD: torch.Tensor) -> torch.Tensor:
            return y_BLD.view(B, L, self.heads, -1).transpose(1, 2)

        query = rotated(split(self.q_proj(x_BLD)), cos_LW, sin_LW)
        key = rotated(split(self.k_proj(x_BLD)), cos_LW, sin_LW)
        value = split(self.v_proj(x_BLD))
        if self.written_out:
            scores = query.to(value.dtype) @ key.to(value.dtype).transpose(2, 3) * query.shape[-1] ** -0.5
            later = torch.ones(L, L, dtype=torch.bool, device=x_BLD.device).triu(1)
            mixed = scores.masked_fill(later, float("-inf")).softmax(-1).to(value.dtype) @ value
        else:
            mixed = functional.scaled_dot_product_attention(
                query.to(value.dtype), key.to(value.dtype), value, is_causal=True
            )
        out: torch.Tensor = self.o_proj(mixed.transpose(1, 2).reshape(B, L, D))
        return out


class FeedForward(nn.Module):
    """Gated by SiLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.up_proj = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.down_proj = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(self, x_BLD: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(functional.silu(self.gate_proj(x_BLD)) * self.up_proj(x_BLD))
        return out


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to what came in."""

    def __init__(self, shape: Shape, eps: float, written_out: bool) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.d_model, eps)
        self.self_attn = Attention(shape, written_out)
        self.post_attention_layernorm = nn.RMSNorm(shape.d_model, eps)
        self.mlp = FeedForward(shape)

    def forward(self, x_BLD: torch.Tensor, cos_LW: torch.Tensor, sin_LW: torch.Tensor) -> torch.Tensor:
        x_BLD = x_BLD + self.self_attn(self.input_layernorm(x_BLD), cos_LW, sin_LW)
        out: torch.Tensor = x_BLD + self.mlp(self.post_attention_layernorm(x_BLD))
        return out


class PlainLlama(nn.Module):
    """Token ids (B, L) and labels (B, L) in, mean loss out."""

    def __init__(self, shape: Shape, length: int, eps: float, theta: float, *, written_out: bool) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.d_model)
        self.layers = nn.ModuleList(Block(shape, eps, written_out) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.d_model, eps)
        W = shape.head_width
        angles = torch.outer(torch.arange(length).float(), theta ** -(torch.arange(0, W, 2).float() / W))
        self.register_buffer("cos_LW", angles.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sin_LW", angles.sin().repeat(1, 2), persistent=False)

    def forward(self, ids_BL: torch.Tensor, labels_BL: torch.Tensor) -> torch.Tensor:
        x_BLD = self.embed_tokens(ids_BL)
        for layer in self.layers:
            x_BLD = layer(x_BLD, self.cos_LW, self.sin_LW)
        logits_BLV = functional.linear(self.norm(x_BLD), self.embed_tokens.weight)
        return functional.cross_entropy(logits_BLV.flatten(0, 1).float(), labels_BL.flatten())


def model_of(job: Job) -> PlainLlama:
    """The same shape, tied embeddings and first weights as whet's."""
    plain = decoder_of(job).model
    theta = plain.config.rope_parameters["rope_theta"]
    written_out = job.attention == "eager"
    model = PlainLlama(job.shape, job.length, plain.config.rms_norm_eps, theta, written_out=written_out)
    model.load_state_dict(plain.model.state_dict())
    return model


def rows_of(job: Job, tokens: Ids, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """`micro` random stretches of the token file: ids and labels, (B, L) each."""
    starts = random.integers(0, len(tokens) - job.length, job.micro)
    rows = np.stack([tokens[start : start + job.length + 1] for start in starts]).astype(np.int64)
    return torch.from_numpy(rows[:, :-1].copy()), torch.from_numpy(rows[:, 1:].copy())


def train(job: Job, gate: Gate) -> None:
    """Until the gate ends the process."""
    model, tokens, random = model_of(job), data_of(job).store.tokens, np.random.default_rng(SEED)
    parameters = sum(weight.numel() for weight in model.parameters())
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=job.fused
    )
    loss_of: Any = torch.compile(model) if job.compile else model
    parts = job.rows // job.micro
    gate.open(parameters=parameters)
    for step in range(1, 10**9):
        total = 0.0
        for _ in range(parts):
            ids_BL, labels_BL = rows_of(job, tokens, random)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = loss_of(ids_BL, labels_BL) / parts
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        gate.loss(step, total)
        gate.step(job.rows * job.length)
