"""Run by two processes (see test_sharded_adapters): an adapter's gradients, against those of one process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.tensor import DTensor

from tests.models.random_models import CPU, LLAMA, Settings, gradients, packed, relative, stir, targets, tiny
from tests.train.test_optim import stage
from whet.errors import WhetError
from whet.launch import Launch
from whet.models.adapters import attach, save_adapter
from whet.models.build import load_base, save_model
from whet.models.decoder import Decoder
from whet.models.quantize import Quantization
from whet.train.optim import Optimizer
from whet.train.sharding import Sharding, put_whole, whole
from whet.train.state import weights_of
from whet.train.world import World

BASES: dict[str, tuple[Any, str]] = {
    "nf4": (Quantization("nf4"), "fp32"), "int8": (Quantization("int8"), "fp32"),
    "nf4, bf16": (Quantization("nf4"), "bf16"), "bf16": ("compute", "bf16"),
}  # fmt: skip


RESULTS = ("adapter", "tied", "untied")


def both() -> World:
    """The two processes."""
    return World(Launch(rank=distributed.get_rank(), size=2))


def adapted(folder: Path, base: str) -> Decoder:
    weights, precision = BASES[base]
    decoder = load_base(folder, device=CPU, precision=precision, weights=weights)
    attach(decoder, Settings(), targets(tiny(LLAMA)), [7, 99], seed=5)
    stir(decoder)
    decoder.model.train()
    return decoder


def difference(folder: Path, base: str, kind: Any) -> dict[str, Any]:
    """The largest relative difference from the mean of two processes' gradients made in one, and how parameters lie."""
    decoder, plain = adapted(folder, base), adapted(folder, base)
    sharding = Sharding(decoder, both(), kind)
    rank = distributed.get_rank()
    sharding.call(lambda: decoder.nll_sum(packed([17, 20], seed=rank))).backward()  # type: ignore[no-untyped-call]
    found = {
        name: whole(weight.grad)
        for name, weight in decoder.model.named_parameters()
        if weight.grad is not None
    }
    one, other = (gradients(plain, packed([17, 20], seed=number)) for number in range(2))
    assert found.keys() == one.keys()
    return {
        "difference": max(relative(found[name], (one[name] + other[name]) / 2) for name in one),
        "sharded": all(isinstance(weight, DTensor) for weight in decoder.model.parameters()),
        "refused": refusal(decoder),
    }


def same_result(folder: Path, how: str, kind: Any) -> bool:
    """Whether the first process saves, from what is shared out, the very files that a whole model is saved as."""
    shared, plain = made(folder, how), made(folder, how)
    sharding = Sharding(shared, both(), kind)
    sharding.call(lambda: shared.nll_sum(packed([17, 20]))).backward()  # type: ignore[no-untyped-call]
    weights = weights_of(shared, both())
    if not both().leads:
        return True
    put_whole(weights, shared)
    files = []
    for name, decoder in (("shared", shared), ("plain", plain)):
        place = folder / f"{how}-{kind}-{name}"
        if how == "adapter":
            save_adapter(decoder, place, "base")
        else:
            save_model(decoder, place)
        files.append({file.name: file.read_bytes() for file in place.iterdir()})
    return files[0] == files[1] and "safetensors" in " ".join(files[0])


def made(folder: Path, how: str) -> Decoder:
    if how == "adapter":
        return adapted(folder, "nf4")
    return tiny(LLAMA, tied=how == "tied")


def refusal(decoder: Decoder) -> str:
    try:
        Optimizer(decoder, stage(optimizer="paged_adamw"))
    except WhetError as error:
        return str(error)
    return ""


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    answers = {
        f"{base}/{kind}": difference(folder, base, kind) for base in BASES for kind in ("ddp", "fsdp2")
    }
    saved = {f"{how}/{kind}": same_result(folder, how, kind) for how in RESULTS for kind in ("ddp", "fsdp2")}
    if distributed.get_rank() == 0:
        (folder / "answers.json").write_text(json.dumps({**answers, "saved": saved}))
    distributed.barrier()
    os._exit(0)  # gloo's threads may abort the interpreter's own end


if __name__ == "__main__":
    main()
