"""A new model from a shape, and saving and loading one as plain transformers does. Safetensors only."""

from __future__ import annotations

from pathlib import Path

import torch

from whet.errors import ArtefactError
from whet.models import attention
from whet.models.decoder import Decoder
from whet.models.families.base import FAMILIES, Family, family_for
from whet.models.shape import Shape


def new_model(
    shape: Shape, special_ids: dict[str, int], *, seed: int, device: torch.device, precision: str
) -> Decoder:
    """A model with random weights, drawn on the CPU from `seed` so that they are equal on every device."""
    from transformers import AutoModelForCausalLM

    family = family_for(shape.norm, shape.positions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            family.config(shape, special_ids), attn_implementation=attention.register(), dtype=torch.float32
        )
    counted, expected = (
        sum(weight.numel() for weight in model.parameters()),
        sum(family.parameters(shape).values()),
    )
    assert counted == expected, f"{family.NAME} counts {expected} parameters, the model has {counted}"
    return Decoder(model.to(device), family, precision=precision)


def save_model(decoder: Decoder, folder: Path) -> None:
    """Configuration, generation configuration and weights, as `AutoModelForCausalLM.from_pretrained` reads them."""
    _quiet()
    decoder.model.save_pretrained(folder)


def _quiet() -> None:
    """transformers draws progress bars of its own for every save and load; ours are enough."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def load_model(folder: Path, *, device: torch.device, precision: str) -> Decoder:
    """A saved model of a known family. Raises ArtefactError if the folder holds none, or only pickled weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    if not list(folder.glob("*.safetensors")) or not (folder / "config.json").is_file():
        raise ArtefactError(
            "no config.json with safetensors weights here",
            where=str(folder),
            fix="give the folder of a saved model",
        )
    _quiet()
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        attn_implementation=attention.register(),
        dtype=torch.float32,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return Decoder(model.to(device), _family_of(config.model_type, folder), precision=precision)


def _family_of(model_type: str, folder: Path) -> Family:
    for kind in FAMILIES:
        if model_type == kind.NAME:
            return kind()
    raise ArtefactError(f"a model of type {model_type!r}, which whet has no family for", where=str(folder))
