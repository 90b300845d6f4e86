"""The check of isolation: relative, without roundings, and small leaks are found in every family and type."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.random_models import KINDS, tiny
from tests.models.tiny import COMMON
from whet.errors import IsolationError
from whet.models import attention, selfcheck
from whet.models.decoder import Decoder
from whet.models.families.base import Family, for_model_type
from whet.packing import Batch

TYPES = [pytest.param(torch.float32, id="fp32"), pytest.param(torch.bfloat16, id="bf16")]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundredth_of_another_document_is_found(
    kind: type[Family], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either way: of the earlier in the later one, of the later in the earlier one. Without it nothing is found."""
    decoder = tiny(kind)
    decoder.model.to(dtype)
    selfcheck.check(decoder)
    assert selfcheck.isolation_difference(decoder) == 0
    hidden = Decoder.hidden
    for later in (False, True):

        def leaky(self: Decoder, batch: Batch, later: bool = later) -> torch.Tensor:
            found_BLD = hidden(self, batch)
            length = found_BLD.shape[1]
            here = (torch.arange(length) >= length // 2) == later
            return found_BLD + 0.01 * here[:, None].to(dtype) * found_BLD.roll(length // 2, dims=1)

        monkeypatch.setattr(Decoder, "hidden", leaky)
        assert 0.003 < selfcheck.isolation_difference(decoder) < 0.03
        with pytest.raises(IsolationError, match="crosses documents"):
            selfcheck.check(decoder)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("mixtral", {"sliding_window": None}),
        (
            "qwen3_moe",
            {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 16},
        ),
    ],
)
def test_experts_that_serve_several_documents_are_no_leak(
    name: str, more: dict[str, Any], dtype: torch.dtype
) -> None:
    """Another document brings an expert other rows, so sums are rounded otherwise; large hidden states show it."""
    decoder = mixture(name, more, dtype)
    assert selfcheck.isolation_difference(decoder) == 0
    selfcheck.check(decoder)


def mixture(name: str, more: dict[str, Any], dtype: torch.dtype) -> Decoder:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(name, **COMMON, **more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention.register(), dtype=torch.float32
        )
        for weight in model.parameters():
            weight.data = (
                torch.full_like(weight, 100.0) if weight.ndim == 1 else torch.randn_like(weight) * 0.15
            )
    return Decoder(model.to(dtype).eval(), for_model_type(name))
