"""A valid recipe in which every key of every section stands on a line of its own, and the files it names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

TEXT = """\
name: full
description: every key there is
output: runs
seed: 7
device: cpu
precision: fp32
compile: "off"
processes: 2
sharding: fsdp2
prepare:
  cleaning:
    control_characters:
      max_share: 0.02
    size:
      min_bytes: 16
      max_bytes: 2000
    minified: false
  exact_duplicates: keep
  near_duplicate_similarity: 0.9
  validation_share: 0.1
  test_share: 0.2
tokenizer:
  path: tokenizer
  vocab_size: 500
  sample_bytes: 20000
  special_tokens:
    - <custom>
model:
  size: tiny
  norm: layernorm
  positions: learned
  d_model: 64
  layers: 2
  heads: 8
  d_ff: 128
  context: 256
  dropout: 0.1
  tie_embeddings: false
chat_template: null
stages:
  - name: words
    objective: pretrain
    data:
      - source: text
        path: words.txt
        field: body
        group_by: folder
        group_field: repository
        exclude:
          - excluded.md
        licence: MIT
        weight: 2.5
      - source: text
        path:
          - letters
          - "*.txt"
        weight: 3.5
    sequence_length: 128
    overflow: drop
    fill_in_the_middle:
      share: 0.4
      spm_share: 0.75
    batch_size: 3
    accumulation: 2
    epochs: 1.5
    curriculum:
      by: difficulty
      bands: 5
      epochs: 2
    optimizer: adamw
    learning_rate: 4e-4
    betas:
      - 0.8
      - 0.9
    eps: 1e-6
    momentum: 0.7
    weight_decay: 0.05
    grad_clip: 2.5
    schedule: wsd
    warmup_steps: 5
    warmup_share: 0.05
    decay_share: 0.6
    final_learning_rate_share: 0.3
    loss_on: all
    prompt_loss_weight: 0.0
    batch_tokens: null
    skip_steps: 2
    spike_factor: 9.5
    gradient_checkpointing: true
    evaluate_every: 11
    validation_tokens: 12
    save_every: 13
    keep: 14
    log_every: 15
    result: last
  - name: rows
    data:
      - source: tokens
        path: train.npy
        validation: held_out.npy
    sequence_length: 64
    steps: 40
  - name: pairs
    objective: sft
    data:
      - source: solidity
        npm:
          - solmate@6.8.0
    sequence_length: 64
    steps: 41
evaluate:
  metrics:
    - perplexity
    - bits_per_byte
  stride: 33
  max_tokens: 9000
  floors: 4
  resamples: 150
  samples: 6
  prompt_tokens: 17
  new_tokens: 18
  middles: 19
  decoding:
    - kind: greedy
      repetition_penalty: 1.1
      no_repeat_ngram: 3
      min_new_tokens: 2
      stop:
        - END
    - kind: sample
      temperature: 0.55
      top_p: 0.65
      top_k: 19
      repetition_penalty: 1.2
    - kind: beam
      beams: 21
      length_penalty: 0.75
      early_stopping: false
  solidity:
    functions: 21
    new_tokens: 22
    judge: false
    decoding:
      kind: beam
      beams: 3
"""


def write(folder: Path, text: str = TEXT) -> Path:
    """The recipe file in a folder with everything that it names."""
    (folder / "letters").mkdir()
    (folder / "letters" / "a.md").write_text("a letter\n")
    (folder / "words.txt").write_text("some words\n")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    for name in ("train.npy", "held_out.npy"):
        np.save(folder / name, np.ones((2, 64), np.int32))
    recipe = folder / "recipe.yaml"
    recipe.write_text(text)
    return recipe
