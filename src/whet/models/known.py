"""Sizes of well-known models of the hub, so that they can be planned before anything is downloaded. No torch.

What their config.json says that decides parameters, linear layers, context and windows; the rest (constants of
norms, rotation, ids) is left out, so this is nothing to load a model with. The counts that follow are compared with
those that the models' publishers state (tests/models/test_known.py), which proves sizes, not contexts and windows. Those
of Qwen2.5-72B, LLaMA and Phi-3-medium-128k agree with what LitGPT, ML.NET and others copied from the files.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from whet.errors import WhetError

Facts = dict[str, Any]


def _llama(
    vocab: int, d: int, layers: int, heads: int, shared: int, d_ff: int, context: int, **more: Any
) -> Facts:
    """Also the keys of Qwen2, StarCoder2 and Phi-3: `shared` is the number of key-value heads."""
    return {
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": d,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "intermediate_size": d_ff,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
        **more,
    }


def _qwen2(vocab: int, d: int, layers: int, heads: int, shared: int, d_ff: int, context: int) -> Facts:
    return _llama(
        vocab, d, layers, heads, shared, d_ff, context, model_type="qwen2", use_sliding_window=False
    )


def _starcoder2(d: int, layers: int, heads: int, shared: int, d_ff: int, *, tied: bool) -> Facts:
    return _llama(
        49_152, d, layers, heads, shared, d_ff, 16_384,
        model_type="starcoder2", use_bias=True, sliding_window=4096, tie_word_embeddings=tied,
    )  # fmt: skip


def _deepseek(vocab: int, d: int, layers: int, heads: int, d_ff: int, **more: Any) -> Facts:
    return _llama(
        vocab, d, layers, heads, heads, d_ff, 163_840,
        kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, **more,
    )  # fmt: skip


_LLAMA_31_8B = _llama(128_256, 4096, 32, 32, 8, 14_336, 131_072)

#                     vocabulary, d_model, layers, heads, key-value heads, d_ff, context
KNOWN: dict[str, Facts] = {
    "huggyllama/llama-7b": _llama(32_000, 4096, 32, 32, 32, 11_008, 2048),
    "huggyllama/llama-13b": _llama(32_000, 5120, 40, 40, 40, 13_824, 2048),
    "meta-llama/Llama-2-7b-hf": _llama(32_000, 4096, 32, 32, 32, 11_008, 4096),
    "meta-llama/Llama-2-13b-hf": _llama(32_000, 5120, 40, 40, 40, 13_824, 4096),
    "meta-llama/Llama-3.1-8B": _LLAMA_31_8B,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA_31_8B,
    "meta-llama/Llama-3.1-70B": _llama(128_256, 8192, 80, 64, 8, 28_672, 131_072),
    "meta-llama/Llama-3.1-405B": _llama(128_256, 16_384, 126, 128, 8, 53_248, 131_072),
    "meta-llama/Llama-3.2-1B": _llama(
        128_256, 2048, 16, 32, 8, 8192, 131_072, head_dim=64, tie_word_embeddings=True
    ),
    "meta-llama/Llama-3.2-3B": _llama(
        128_256, 3072, 28, 24, 8, 8192, 131_072, head_dim=128, tie_word_embeddings=True
    ),
    "codellama/CodeLlama-7b-hf": _llama(32_016, 4096, 32, 32, 32, 11_008, 16_384),
    "codellama/CodeLlama-34b-hf": _llama(32_000, 8192, 48, 64, 8, 22_016, 16_384),
    "bigcode/starcoder2-3b": _starcoder2(3072, 30, 24, 2, 12_288, tied=True),
    "bigcode/starcoder2-15b": _starcoder2(6144, 40, 48, 4, 24_576, tied=False),
    "microsoft/Phi-3-medium-4k-instruct": _llama(
        32_064, 5120, 40, 40, 10, 17_920, 4096, model_type="phi3", sliding_window=2047
    ),
    "microsoft/Phi-3-medium-128k-instruct": _llama(
        32_064, 5120, 40, 40, 10, 17_920, 131_072, model_type="phi3", sliding_window=131_072
    ),
    "Qwen/Qwen2.5-Coder-7B": _qwen2(152_064, 3584, 28, 28, 4, 18_944, 32_768),
    "Qwen/Qwen2.5-Coder-14B": _qwen2(152_064, 5120, 48, 40, 8, 13_824, 32_768),
    "Qwen/Qwen2.5-Coder-32B": _qwen2(152_064, 5120, 64, 40, 8, 27_648, 32_768),
    "Qwen/Qwen2.5-72B": _qwen2(152_064, 8192, 80, 64, 8, 29_568, 131_072),
    "deepseek-ai/DeepSeek-Coder-V2-Base": _deepseek(
        102_400, 5120, 60, 128, 12_288, model_type="deepseek_v2", q_lora_rank=1536, first_k_dense_replace=1,
        n_routed_experts=160, n_shared_experts=2, num_experts_per_tok=6, moe_intermediate_size=1536,
    ),
    "deepseek-ai/DeepSeek-Coder-V2-Lite-Base": _deepseek(
        102_400, 2048, 27, 16, 10_944, model_type="deepseek_v2", q_lora_rank=None, first_k_dense_replace=1,
        n_routed_experts=64, n_shared_experts=2, num_experts_per_tok=6, moe_intermediate_size=1408,
    ),
    "deepseek-ai/DeepSeek-V3": _deepseek(
        129_280, 7168, 61, 128, 18_432, model_type="deepseek_v3", q_lora_rank=1536, first_k_dense_replace=3,
        n_routed_experts=256, n_shared_experts=1, num_experts_per_tok=8, moe_intermediate_size=2048,
    ),
}  # fmt: skip
"""Name on the hub -> values of its config.json."""


def facts(name: str) -> Facts:
    """The values for the model of this name on the hub, in upper or lower case; a copy.

    Raises WhetError that lists the known names and the nearest one.
    """
    by_lower = {known.lower(): known for known in KNOWN}
    if name.lower() in by_lower:
        return dict(KNOWN[by_lower[name.lower()]])
    near = get_close_matches(name.lower(), by_lower, n=1)
    hint = f"did you mean {by_lower[near[0]]}? " if near else ""
    raise WhetError(
        f"the sizes of {name!r} do not come with whet",
        fix=f"{hint}known are: {', '.join(sorted(KNOWN, key=str.lower))}",
    )
