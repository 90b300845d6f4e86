"""Planned memory against measured: each setting trains two steps in a fresh process, and torch's allocator is watched.

    python bench/memory.py                 all settings on this machine's CPU (CUDA where there is a card: --device cuda)
    python bench/memory.py --only llama    those whose name has this in it; the results of the others stay

Models are random, wide and shallow, so that a peak of 1 GiB and more takes seconds; with large vocabularies the peak is
in the loss, with a small one in the forward or backward pass. Measured
is the second step (the optimiser's state is there): the bytes of weights, constants and state, and what the step adds
at most, by torch's allocation events (on CUDA `max_memory_allocated`). Planned is `whet.memory`'s figure for the same.
The bar: within 10 %, and never more than 5 % under. `process`: what the process takes beyond its tensors (Linux).

Left out: several devices, compiled models, dropout of models trained from nothing. Needs bitsandbytes for nf4, fp4,
int8 and the 8-bit optimisers; settings that need it are passed over, by name, where it is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MOST_OVER, MOST_UNDER = 0.10, 0.05
LEAST_BYTES = 2**30
MODELS: dict[str, dict[str, int]] = {
    "wide": {"d": 1024, "layers": 4, "heads": 16, "shared": 4, "d_ff": 2816, "vocab": 32_000},
    "deep": {"d": 640, "layers": 14, "heads": 10, "shared": 10, "d_ff": 1792, "vocab": 32_000},
    "many tokens": {"d": 1280, "layers": 3, "heads": 20, "shared": 4, "d_ff": 3456, "vocab": 128_256},
    "few tokens": {"d": 1024, "layers": 6, "heads": 16, "shared": 8, "d_ff": 4096, "vocab": 4096},
}
FAMILIES_OF_GPT = {"d": "n_embd", "layers": "n_layer", "heads": "n_head", "d_ff": "n_inner"}
FAMILIES_OF_LLAMA = {
    "d": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "shared": "num_key_value_heads",
    "d_ff": "intermediate_size",
}


@dataclass(frozen=True)
class Setting:
    """One training to measure."""

    family: str
    model: str
    batch: int
    length: int
    rank: int | None = None
    targets: str | tuple[str, ...] = "attention"
    dropout: float = 0.0
    quantization: str = "none"
    double: bool = True
    precision: str = "bf16"
    optimizer: str = "adamw"
    checkpointing: bool = False
    accumulation: int = 1
    tied: bool = False

    @property
    def name(self) -> str:
        """In a few words."""
        targets = self.targets if isinstance(self.targets, str) else "+".join(self.targets)
        how = (
            "full"
            if self.rank is None
            else f"rank {self.rank} {targets}" + (" dropout" if self.dropout else "")
        )
        single = "" if self.double or self.quantization not in ("nf4", "fp4") else " single"
        parts = [
            f"{self.family} {self.model}{' tied' if self.tied else ''}",
            how,
            f"{self.quantization}{single}" if self.quantization != "none" else "",
            self.precision,
            self.optimizer,
            f"{self.batch} x {self.length}" + (f" x {self.accumulation}" if self.accumulation > 1 else ""),
            "checkpointing" if self.checkpointing else "",
        ]
        return ", ".join(part for part in parts if part)

    @property
    def needs_bitsandbytes(self) -> bool:
        """Whether it cannot be measured without."""
        return self.quantization != "none" or self.optimizer not in ("adamw", "muon")


SETTINGS = (
    Setting("llama", "wide", 8, 512),
    Setting("llama", "wide", 4, 512, precision="fp32", tied=True),
    Setting("llama", "wide", 8, 512, optimizer="muon", checkpointing=True),
    Setting("llama", "deep", 4, 512, accumulation=2),
    Setting("llama", "wide", 4, 512, optimizer="adamw_8bit", accumulation=2),
    Setting("gpt2", "wide", 4, 1024, tied=True),
    Setting("gpt_neox", "wide", 8, 512, optimizer="muon"),
    Setting("qwen2", "wide", 2, 2048, tied=True),
    Setting("qwen3", "wide", 2, 2048, checkpointing=True),
    Setting("starcoder2", "wide", 4, 512, precision="fp32", checkpointing=True),
    Setting("phi3", "wide", 4, 512),
    Setting("llama", "wide", 8, 512, rank=16, dropout=0.05),
    Setting("llama", "wide", 8, 512, rank=64, targets="all-linear"),
    Setting("llama", "many tokens", 1, 4096, rank=16, dropout=0.05, quantization="nf4", checkpointing=True),
    Setting("llama", "wide", 4, 1024, rank=32, targets="all-linear", quantization="nf4"),
    Setting("llama", "wide", 8, 512, rank=16, quantization="int8"),
    Setting("llama", "deep", 8, 512, rank=8, targets=("q_proj", "v_proj"), precision="fp32"),
    Setting("qwen2", "many tokens", 2, 2048, rank=16, quantization="nf4", checkpointing=True),
    Setting(
        "qwen3",
        "many tokens",
        4,
        1024,
        rank=16,
        targets="all-linear",
        quantization="int8",
        checkpointing=True,
    ),
    Setting("gpt2", "wide", 4, 1024, rank=16, targets="all-linear", dropout=0.05),
    Setting("starcoder2", "wide", 4, 1024, rank=16, quantization="nf4"),
    Setting("phi3", "wide", 8, 512, rank=32, targets="all-linear", dropout=0.1, quantization="nf4"),
    Setting("gpt_neox", "wide", 4, 512, rank=16, precision="fp32"),
    Setting("mistral", "wide", 4, 2048, rank=16, quantization="fp4", double=False),
    Setting("llama", "few tokens", 4, 1024, checkpointing=True),
    Setting("gpt2", "few tokens", 4, 512, precision="fp32", tied=True),
    Setting("qwen3", "few tokens", 4, 2048, optimizer="muon", checkpointing=True),
    Setting(
        "llama",
        "few tokens",
        8,
        1024,
        rank=16,
        targets="all-linear",
        dropout=0.05,
        quantization="nf4",
        checkpointing=True,
    ),
    Setting("gpt_neox", "few tokens", 16, 1024, rank=16, checkpointing=True),
    Setting("starcoder2", "few tokens", 8, 2048, rank=16, quantization="int8", checkpointing=True),
    Setting(
        "mistral", "many tokens", 16, 256, rank=8, targets=("q_proj", "v_proj"), optimizer="paged_adamw_8bit"
    ),
)


def config_of(setting: Setting) -> dict[str, Any]:
    """The config.json of the setting's model."""
    sizes = MODELS[setting.model]
    names = FAMILIES_OF_GPT if setting.family == "gpt2" else FAMILIES_OF_LLAMA
    values: dict[str, Any] = {names[key]: size for key, size in sizes.items() if key in names}
    values |= {"vocab_size": sizes["vocab"], "tie_word_embeddings": setting.tied}
    values |= dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0)
    if setting.family == "gpt2":
        return {**values, "n_positions": 4096, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    values["max_position_embeddings"] = 4096
    if setting.family == "gpt_neox":
        values.pop("num_key_value_heads")
        rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
        values |= {"use_parallel_residual": False, "rope_parameters": rope}
        values |= {"attention_dropout": 0.0, "hidden_dropout": 0.0}
    if setting.family == "qwen3":
        values["head_dim"] = sizes["d"] // sizes["heads"]
    if setting.family in ("mistral", "starcoder2"):
        values["sliding_window"] = None
    if setting.family == "starcoder2":
        values |= {"embedding_dropout": 0.0, "residual_dropout": 0.0}
    return values


def planned(setting: Setting, device: str) -> dict[str, Any]:
    """The plan's figures."""
    from whet.memory.cards import cpu, parse
    from whet.memory.training import Training, estimate
    from whet.models.families.base import for_model_type

    outline = for_model_type(setting.family).outline(config_of(setting))
    found = estimate(
        outline,
        Training(
            cards=cpu(2**40) if device == "cpu" else parse("1x80GB"),
            length=setting.length,
            batch=setting.batch,
            accumulation=setting.accumulation,
            quantization=setting.quantization,  # type: ignore[arg-type]
            double_quantization=setting.double,
            rank=setting.rank,
            targets=setting.targets,
            adapter_dropout=setting.dropout,
            optimizer=setting.optimizer,
            precision=setting.precision,  # type: ignore[arg-type]
            checkpointing=setting.checkpointing,
            all_learned=True,
        ),
    )
    parts = {part.name: part.bytes.expected for part in found.parts}
    steady = sum(parts.get(name, 0) for name in ("weights", "quantization constants", "adapter", "optimizer"))
    return {
        "planned_bytes": found.allocated,
        "planned_held_bytes": steady,
        "moment": found.moment,
        "parts": parts,
    }


def measure(setting: Setting, device: str) -> dict[str, Any]:
    """Two steps of the training; bytes held between steps and at most in the second."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    import torch

    from whet import hardware
    from whet.train.optim import Optimizer, clip
    from whet.train.probe import held_bytes, peak_above

    torch.manual_seed(0)
    place = torch.device(device)
    hardware.keep_freed_memory(place)  # as training does: the process takes more so
    decoder = _decoder(setting, place)
    stage = SimpleNamespace(
        optimizer=setting.optimizer,
        learning_rate=1e-4,
        betas=[0.9, 0.95],
        eps=1e-8,
        weight_decay=0.1,
        momentum=0.95,
    )
    optimizer = Optimizer(decoder, stage)  # type: ignore[arg-type]
    batches = list(_batches(setting))

    def step() -> None:
        for batch in batches:
            (decoder.nll_sum(batch) / 1000).backward()
        clip(optimizer, 1.0)
        optimizer.step(1e-4)

    step()
    held = held_bytes(decoder, optimizer)
    peak = held + peak_above(step, place)
    whole = hardware.memory_peak_bytes(torch.device("cpu"))
    return {
        "measured_bytes": peak,
        "held_bytes": held,
        "process_bytes": whole - peak if device == "cpu" else None,
    }


def _decoder(setting: Setting, device: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from whet.models import adapters, attention, quantize, targets
    from whet.models.decoder import Decoder
    from whet.models.families.base import for_model_type

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[setting.precision]
    held = torch.float32 if setting.rank is None else dtype
    family = for_model_type(setting.family)
    config = AutoConfig.for_model(setting.family, **config_of(setting))
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention.register(), dtype=held)
    if setting.rank is not None:
        model.requires_grad_(False)
    decoder = Decoder(model.to(device), family, precision=setting.precision)
    names = quantize.linear_names(model, family)
    if setting.quantization != "none":
        how = quantize.Quantization(setting.quantization, setting.double)  # type: ignore[arg-type]
        for name in names:
            old = model.get_submodule(name)
            quantize.prepare(model, [name], how, dtype)
            layer = model.get_submodule(name)
            quantize.fill(layer, old.weight.data, device)
            if old.bias is not None:
                layer.bias = old.bias
    if setting.rank is not None:
        wanted = setting.targets if isinstance(setting.targets, str) else list(setting.targets)
        lora = SimpleNamespace(
            rank=setting.rank, alpha=2.0 * setting.rank, dropout=setting.dropout, rslora=False
        )
        adapters.attach(decoder, lora, targets.resolve(wanted, names, family), seed=0)
    model.train()
    if setting.checkpointing:
        decoder.use_gradient_checkpointing()
    return decoder


def _batches(setting: Setting) -> Iterator[Any]:
    """Rows of two documents each, every position with a label."""
    import numpy as np

    from whet.packing import Batch

    random = np.random.default_rng(0)
    shape = (setting.batch, setting.length)
    half = setting.length // 2
    for _ in range(setting.accumulation):
        ids = random.integers(5, MODELS[setting.model]["vocab"], shape)
        positions = np.tile(np.arange(half), (setting.batch, 2))
        segments = np.repeat(np.repeat([[1, 2]], half, axis=1), setting.batch, axis=0)
        yield Batch(ids, ids.copy(), positions, segments, ())


def in_a_fresh_process(number: int, device: str) -> dict[str, Any]:
    """Measured apart from everything before. Raises RuntimeError with what it said where it failed."""
    command = [sys.executable, __file__, "--one", str(number), "--device", device]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"{SETTINGS[number].name}: {ended.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ended.stdout.strip().rpartition("\n")[2])
    return found


def compared(setting: Setting, measured: dict[str, Any], device: str) -> dict[str, Any]:
    """Plan and measurement side by side; `error` is the share by which the plan is over (or under, negative)."""
    plan = planned(setting, device)
    error = plan["planned_bytes"] / measured["measured_bytes"] - 1
    within = -MOST_UNDER <= error <= MOST_OVER
    return {"name": setting.name, **measured, **plan, "error": error, "within": within}


def report(measured: list[dict[str, Any]], device: str, passed_over: list[str]) -> None:
    """The table on the screen, and bench/results/memory.json, where other settings' results stay."""
    import rounds

    name = "memory" if device == "cpu" else f"memory-{device}"
    results = _with_earlier(measured, rounds.RESULTS / f"{name}.json")
    rows = [
        [
            found["name"],
            f"{found['measured_bytes'] / 2**30:.2f}",
            f"{found['planned_bytes'] / 2**30:.2f}",
            f"{found['error']:+.1%}",
            found["moment"],
        ]
        for found in results
    ]
    print(rounds.table(["setting", "measured, GiB", "planned, GiB", "error", "peak in"], rows))
    errors = [found["error"] for found in results]
    small = [found["name"] for found in results if found["measured_bytes"] < LEAST_BYTES]
    print(
        f"\n{len(results)} settings, errors from {min(errors):+.1%} to {max(errors):+.1%}; below 1 GiB: {small or 'none'}"
    )
    print(f"outside of the bar: {[found['name'] for found in results if not found['within']] or 'none'}")
    print(f"passed over: {passed_over or 'none'}")
    rounds.write(
        name, {"machine": rounds.machine(), "device": device, "results": results, "passed_over": passed_over}
    )


def _with_earlier(measured: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """In the order of SETTINGS: what was measured now, else what the file holds of it."""
    earlier = json.loads(path.read_text("utf-8"))["results"] if path.exists() else []
    by_name = {found["name"]: found for found in [*earlier, *measured]}
    return [by_name[setting.name] for setting in SETTINGS if setting.name in by_name]


def main() -> None:
    """Every setting, or one of them for `in_a_fresh_process`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="")
    parser.add_argument("--one", type=int)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(SETTINGS[given.one], given.device)))
        return
    import importlib.util

    there = importlib.util.find_spec("bitsandbytes") is not None
    results, passed_over = [], []
    for number, setting in enumerate(SETTINGS):
        if given.only not in setting.name:
            continue
        if setting.needs_bitsandbytes and not there:
            passed_over.append(setting.name)
            continue
        try:
            results.append(compared(setting, in_a_fresh_process(number, given.device), given.device))
        except RuntimeError as error:  # the others are measured all the same
            print(error, file=sys.stderr, flush=True)
            passed_over.append(f"{setting.name} (failed)")
            continue
        print(f"{results[-1]['error']:+7.2%}  {setting.name}", file=sys.stderr, flush=True)
    report(results, given.device, passed_over)


if __name__ == "__main__":
    main()
