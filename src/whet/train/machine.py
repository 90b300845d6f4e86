"""Where a training runs: device, precision, compilation, measured peak. Decided once per command."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from whet import __version__, hardware, store
from whet.errors import WhetError
from whet.models import hub, tuned
from whet.models.build import load_model, new_model
from whet.models.decoder import Decoder
from whet.models.hub import Say, silent
from whet.models.shape import Shape
from whet.recipe.schema import Recipe
from whet.text.tokenizer import Tokenizer
from whet.train.world import ALONE, World

COMPILE_FROM_FLOPS = 3e13
"""Compiling takes about 20 s and saves about a quarter of the time: shorter training does not pay for it."""


class Machine:
    """The device and how it is used. Raises WhetError if the recipe asks for what is not there."""

    def __init__(self, recipe: Recipe, plan: dict[str, Any], world: World = ALONE) -> None:
        self.world, self.kind = world, recipe.sharding or "ddp"
        self.device = hardware.choose_device(recipe.device, world.launch.local_rank)
        self.precision, why = hardware.choose_precision(recipe.precision, self.device)
        shapes_vary = any(stage.counts_examples for stage in recipe.stages)
        self.compile, self.compile_reason = self._choose_compile(recipe.compile, plan, shapes_vary)
        self.summary = (
            f"on {self.device.type} in {self.precision} ({why}), "
            f"compile {'on' if self.compile else 'off'} ({self.compile_reason})"
            + (f", {world.size} processes ({self.kind})" if world.size > 1 else "")
        )
        if (
            not shapes_vary
        ):  # tensors of ever other sizes find no room in what was freed: kept memory would grow
            hardware.keep_freed_memory(self.device)
        self._recipe, self._plan = recipe, plan

    @cached_property
    def base(self) -> Path | None:
        """The folder of the base with its weights, downloaded if need be; None for a new model."""
        return hub.of(self._recipe.tuned) if self._recipe.tuned else None

    def _choose_compile(self, wanted: str, plan: dict[str, Any], shapes_vary: bool) -> tuple[bool, str]:
        able, why = hardware.has_compiler(self.device)
        if wanted == "off":
            return False, "as the recipe says"
        if wanted == "on":
            if not able:
                raise WhetError(
                    f"compile is on, but {why}", where="compile", fix="install g++, or set compile: auto"
                )
            if shapes_vary:
                raise WhetError(
                    "compile is on, but micro-batches that count conversations have no fixed shape",
                    where="compile",
                    fix="set compile: auto, or batch_tokens in the stage instead of batch_size",
                )
            return True, "as the recipe says"
        if shapes_vary:
            return False, "the shapes of micro-batches vary; batch_tokens would fix them"
        if not able:
            return False, why
        if sum(stage["flops"] for stage in plan["stages"]) < COMPILE_FROM_FLOPS:
            return False, "the training is too short to pay for it"
        return True, why

    @cached_property
    def peak_flops(self) -> float:
        """Measured matmul peak, in floating-point operations per second."""
        return hardware.matmul_peak(self.device, self.precision)

    def model(self, before: store.Artefact | None, tokenizer: Tokenizer, say: Say = silent) -> Decoder:
        """New weights or the base, or what the stage before made of them. `say` hears how a base is held."""
        seed = self._recipe.seed
        place: Any = {"device": self.device, "precision": self.precision}
        if self.base is not None:
            assert self._recipe.tuned is not None
            if before is not None:
                return tuned.again(self._recipe.tuned, self.base, before.folder, **place)
            return tuned.fresh(self._recipe.tuned, self.base, tokenizer, seed=seed, say=say, **place)
        if before is not None:
            return load_model(before.folder, **place)
        return new_model(Shape(**self._plan["model"]), tokenizer.special_ids, seed=seed, **place)

    def environment(self) -> dict[str, Any]:
        """What the bits depend on besides the settings."""
        return {
            "whet": __version__,
            "code": store.code_hash("train", "models", "objectives", "packing")[:16],
            **store.versions("torch", "transformers"),
            "device": self.device.type,
            "precision": self.precision,
            "compile": self.compile,
            "threads": torch.get_num_threads(),
            "processes": self.world.size,
            "sharding": self.kind if self.world.size > 1 else None,
        }
