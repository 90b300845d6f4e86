"""The likely intended key for an unknown one: a typo, another tool's word, or a key of another section."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from whet.cleaning.base import FILTERS
from whet.recipe.decoding import Beam, Greedy, Sample
from whet.recipe.schema import Curriculum, Lora, Recipe, WrittenSolidity
from whet.sources.base import SOURCES

SYNONYMS = {
    "lr": "learning_rate",
    "max_lr": "learning_rate",
    "min_lr": "final_learning_rate_share",
    "wd": "weight_decay",
    "max_grad_norm": "grad_clip",
    "clip": "grad_clip",
    "lr_scheduler_type": "schedule",
    "scheduler": "schedule",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "num_train_epochs": "epochs",
    "max_steps": "steps",
    "max_iters": "steps",
    "iterations": "steps",
    "micro_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulation",
    "grad_accum": "accumulation",
    "max_seq_length": "sequence_length",
    "max_length": "sequence_length",
    "seq_len": "sequence_length",
    "block_size": "context",
    "n_positions": "context",
    "max_position_embeddings": "context",
    "hidden_size": "d_model",
    "n_embd": "d_model",
    "dim": "d_model",
    "n_layer": "layers",
    "num_hidden_layers": "layers",
    "depth": "layers",
    "n_head": "heads",
    "num_attention_heads": "heads",
    "intermediate_size": "d_ff",
    "tie_word_embeddings": "tie_embeddings",
    "dtype": "precision",
    "bf16": "precision",
    "fp16": "precision",
    "world_size": "processes",
    "num_processes": "processes",
    "nproc_per_node": "processes",
    "fsdp": "sharding",
    "ddp": "sharding",
    "max_skipped": "skip_steps",
    "torch_compile": "compile",
    "num_beams": "beams",
    "max_new_tokens": "new_tokens",
    "output_dir": "output",
    "loss": "objective",
    "save_total_limit": "keep",
    "eval_steps": "evaluate_every",
    "save_steps": "save_every",
    "logging_steps": "log_every",
    "license": "licence",
}
"""What other programs and habits call our keys, where the spelling is too far for a typo."""

_TYPO, _FAR_TYPO = 0.6, 0.85
"""Similarity (difflib) from which a key of the same section, and one of another, is taken for the one meant."""


def for_key(key: str, here: type[BaseModel]) -> str:
    """What to say after "unknown key": the key meant, or where it belongs, or the keys there are."""
    meant = meant_here(key, here)
    if meant:
        return f"; did you mean {meant!r}?"
    name = _plain(key)
    places = (
        _places(lambda names: name in names)
        or _places(lambda names: SYNONYMS.get(name) in names)
        or _places(lambda names: bool(get_close_matches(name, names, n=1, cutoff=_FAR_TYPO)))
    )
    if places:
        return f"; a key of this name belongs under {' or '.join(places[:4])}"
    return f" (known here: {', '.join(here.model_fields)})"


def meant_here(key: str, here: type[BaseModel]) -> str | None:
    """The key of this section that was likely meant. A key that another section has was meant for that one."""
    name, known = _plain(key), list(here.model_fields)
    for candidate in (name, SYNONYMS.get(name)):
        if candidate in known:
            return candidate
    if _places(lambda names: name in names):
        return None
    near = get_close_matches(name, known, n=1, cutoff=_TYPO)
    return near[0] if near else None


def _plain(key: str) -> str:
    return key.lower().strip().replace("-", "_").replace(" ", "_")


def _places(matches: typing.Callable[[list[str]], bool]) -> list[str]:
    return [place for place, names in _sections() if matches(names)]


def _sections() -> Iterator[tuple[str, list[str]]]:
    """Dotted place of each section, and its keys."""
    yield "the top of the recipe", list(Recipe.model_fields)
    for name, field in Recipe.model_fields.items():
        for model in models_in(field.annotation):
            yield f"{name}[]" if name == "stages" else name, list(model.model_fields)
    yield "stages[].curriculum", list(Curriculum.model_fields)
    yield "model.adapter", list(Lora.model_fields)
    yield "evaluate.solidity", list(WrittenSolidity.model_fields)
    for source in SOURCES:
        yield f"stages[].data[] with source: {source.NAME}", _own(source, "source")
    for rule in FILTERS:
        yield f"prepare.cleaning.{rule.NAME}", list(rule.model_fields)
    for kind in (Greedy, Sample, Beam):
        yield f"evaluate.decoding[] with kind: {kind.__name__.lower()}", list(kind.model_fields)


def _own(model: type[BaseModel], tag: str) -> list[str]:
    return [name for name in model.model_fields if name != tag]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections inside an annotation such as `list[Stage]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)
