"""Loss curves that a change of the code must reproduce bit for bit, and the command that writes them.

    python -m tests.proofs.golden_curves --reason "why the numbers may change"

The curves are only written again when a change is meant to alter the arithmetic (another order of sums, another
default), or the pinned torch or transformers changes it; the reason goes into the files. A refactor never is one.

Weights and data come from formulas, so that nothing but the arithmetic of whet, torch and transformers decides.
Its last bits depend on the processor and on versions: the files name those they were written with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.proofs.bench import SHAPE, Bench, settings, write_integers

FOLDER = Path(__file__).parent / "golden"
KINDS = {"llama": ("rmsnorm", "rope"), "gpt2": ("layernorm", "learned"), "gpt_neox": ("layernorm", "rope")}
CASES = [(family, optimizer) for family in KINDS for optimizer in ("muon", "adamw")]
STEPS = 20


def environment() -> dict[str, str]:
    """What the last bits depend on."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA", "unset"),
    }


def _processor() -> str:
    """Name, family and model, as Linux knows them."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    lines = path.read_text().split("\n\n")[0].splitlines()
    known = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return ", ".join(known.get(key, "?") for key in ("vendor_id", "model name", "cpu family", "model"))


def set_weights(model: torch.nn.Module) -> None:
    """Every parameter from PCG64's raw output, which numpy promises never to change."""
    with torch.no_grad():
        for index, (name, weight) in enumerate(model.named_parameters()):
            raw = np.random.PCG64([1, index]).random_raw(weight.numel())
            uniform = torch.from_numpy((raw >> 11).astype(np.float64) * 2.0**-52 - 1.0)
            centre = 1.0 if weight.ndim == 1 and name.endswith("weight") else 0.0
            weight.copy_((centre + 0.08 * uniform).reshape(weight.shape))


def curve(family: str, optimizer: str) -> dict[str, list[str]]:
    """Loss and gradient norm of each step, as hexadecimal floats. One thread."""
    norm, positions = KINDS[family]
    chosen = settings(
        optimizer=optimizer, schedule="cosine", warmup_steps=3, batch_size=2, accumulation=2, grad_clip=0.5,
        evaluate_every=1000, save_every=1000, learning_rate=4e-3,
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            data = write_integers(Path(folder) / "data")
            shape = replace(SHAPE, norm=norm, positions=positions)
            bench = Bench(data, Path(folder) / "run", chosen, steps=STEPS, shape=shape)
            set_weights(bench.decoder.model)
            bench.loop.validation = None
            bench.run()
    finally:
        torch.set_num_threads(threads)
    return {key: [float(line[key]).hex() for line in bench.lines] for key in ("loss", "grad_norm")}


def largest_difference(found: dict[str, list[str]], expected: dict[str, list[str]]) -> float:
    """Relative, over losses and gradient norms; infinite where a curve has another length."""
    if any(len(found[key]) != len(expected[key]) for key in ("loss", "grad_norm")):
        return math.inf
    pairs = [
        (float.fromhex(one), float.fromhex(other))
        for key in ("loss", "grad_norm")
        for one, other in zip(found[key], expected[key], strict=True)
    ]
    return float(np.max([abs(one - other) / abs(other) for one, other in pairs]))


def path_of(family: str, optimizer: str) -> Path:
    """The file of one curve."""
    return FOLDER / f"{family}-{optimizer}.json"


def write(reason: str) -> None:
    """Write all curves."""
    FOLDER.mkdir(exist_ok=True)
    for family, optimizer in CASES:
        content = {"reason": reason, "environment": environment(), **curve(family, optimizer)}
        path_of(family, optimizer).write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reason", required=True, help="why the numbers may change; goes into the files")
    write(parser.parse_args().reason)
