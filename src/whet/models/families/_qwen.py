"""What the settings of Qwen2 and Qwen3 have in common: their defaults, their names, and when a window is in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
STOP = ("<|im_end|>", "<|endoftext|>")
DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 151_936,
    "hidden_size": 4096,
    "intermediate_size": 22_016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}


def window(given: Mapping[str, Any], settings: Mapping[str, Any]) -> int | None:
    """The window of the blocks from `max_window_layers` on, or of those that `layer_types` in the file names, where
    `use_sliding_window` switches it on."""
    kinds = settings.get("layer_types")
    some = given["max_window_layers"] < given["num_hidden_layers"]
    if isinstance(kinds, list):
        some = "sliding_attention" in kinds
    return given["sliding_window"] if given["use_sliding_window"] and some else None
