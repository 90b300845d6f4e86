"""Tiny random base models as a hub keeps them: configuration, safetensors, tokenizer, chat template. And chats.

The loading code is the one that users run; only the weights mean nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tests.conftest import NOUNS, VERBS, generated_module
from whet.text import tokenizer as tokenizers

TURNS = ["<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""In the form of ChatML: each turn between markers, nothing else."""

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
GPT2_SIZES: dict[str, Any] = {"n_embd": 32, "n_inner": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}


def make_base(
    folder: Path,
    model_type: str = "llama",
    *,
    template: str | None = TEMPLATE,
    special: Sequence[str] = TURNS,
    seed: int = 1,
    **more: Any,
) -> Path:
    """Save a random model of this architecture with a tokenizer of 420 tokens into `folder`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    texts = [generated_module(number) for number in range(40)]
    tokenizer = tokenizers.train(texts, vocab_size=420, special_tokens=special)
    tokenizers.save(tokenizer, folder, context=256)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, "utf-8")
    special = {f"{role}_token_id": tokenizer.special_ids[role] for role in ("bos", "eos", "pad")}
    sizes = GPT2_SIZES if model_type == "gpt2" else SIZES
    config = AutoConfig.for_model(
        model_type, **{**sizes, "vocab_size": tokenizer.vocab_size, **special, **more}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    return folder


def chats(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Conversations of one to three turns in OpenAI's form, of uneven length."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        messages = [{"role": "system", "content": "Answer briefly."}] if draw.random() < 0.3 else []
        for _ in range(draw.randint(1, 3)):
            noun, verb = draw.choice(NOUNS), draw.choice(VERBS)
            answer = " ".join(
                f"{draw.choice(VERBS)} the {draw.choice(NOUNS)}" for _ in range(draw.randint(1, 9))
            )
            messages += [
                {"role": "user", "content": f"How do I {verb} a {noun} {draw.randint(0, 999)}?"},
                {"role": "assistant", "content": f"First {answer}."},
            ]
        found.append({"messages": messages})
    return found


def write_chats(path: Path, count: int = 60, seed: int = 0) -> Path:
    """The conversations as lines of JSON."""
    path.write_text("".join(json.dumps(chat) + "\n" for chat in chats(count, seed)), "utf-8")
    return path


TUNING = """
name: tuned
seed: 7
device: cpu
precision: fp32
compile: "off"
prepare: {validation_share: 0.1, test_share: 0.15}
model:
  base: base
  adapter: {rank: 4, alpha: 8, dropout: 0.0, targets: all-linear}
stages:
  - name: chat
    objective: sft
    data: [{source: conversations, path: chats.jsonl}]
    sequence_length: 192
    batch_size: 4
    accumulation: 2
    steps: 6
    learning_rate: 1e-2
    log_every: 1
    evaluate_every: 3
    save_every: 2
evaluate: {samples: 1, new_tokens: 8, resamples: 100, decoding: [{kind: greedy}]}
"""


def write_tuning(folder: Path, model_type: str = "llama", **more: Any) -> Path:
    """A base, conversations and a recipe that tunes it on them; returns the recipe's path."""
    make_base(folder / "base", model_type, **more)
    write_chats(folder / "chats.jsonl")
    path = folder / "tuned.yaml"
    path.write_text(TUNING, "utf-8")
    return path
