"""LoRA tuning speed on conversations of uneven length: whet against TRL's `SFTTrainer` in three settings.

    python bench/tuning.py                 # about twenty-five minutes on two quiet cores
    python bench/tuning.py --steps 6 --rounds 1 --layers 2   # does it run

One random Llama, saved once; one set of prompt and answer pairs, 30 to 500 tokens long; rank 16 on attention, sixteen
examples an optimiser step (4 x 4), AdamW. Each side trains in a process of its own, in turns. Counted are real tokens:
positions that hold one, padding not. The first steps are left out.

    whet           its defaults: frozen weights in bf16, examples packed, logits where there is a label
    TRL            its defaults (gradient checkpointing, padded to the longest of a micro-batch)
    TRL, packed    packing=True, without gradient checkpointing; rows of 1,024 (its default), one a micro-batch, so
                   that a step has about as many tokens as elsewhere
    TRL, to 512    every example padded to 512, without gradient checkpointing

Left out: GPUs, quality (the same examples teach the same), time to prepare.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import rounds
from quiet import Bystanders, wait_for_quiet

SIDES = ("whet", "TRL", "TRL, packed", "TRL, to 512")
LIBRARIES = ("trl", "accelerate", "datasets", "peft")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SKIPPED_STEPS = 2


def main() -> None:
    """Measure every side in turns, write bench/results/tuning.json, print the table."""
    options = _options()
    if options.side:
        print(json.dumps(_side(options.side, Path(options.folder), options)))
        return
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as folder:
        material(Path(folder), options)
        for number in range(options.rounds):
            for turn in range(len(SIDES)):
                side = SIDES[(turn + number) % len(SIDES)]
                found[side].append(_apart(side, folder, options))
                print(f"{side}: {found[side][-1]}", file=sys.stderr, flush=True)
    record = {"machine": rounds.machine(*LIBRARIES), "settings": vars(options), "sides": found}
    print(_table(found))
    print(f"\n{rounds.write('tuning', record)}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--d-model", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--examples", type=int, default=640)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--patience", type=float, default=20.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def _apart(side: str, folder: str, options: argparse.Namespace) -> dict[str, Any]:
    wait_for_quiet(options.patience)
    sizes = ("steps", "d_model", "layers", "threads", "examples")
    more = [part for name in sizes for part in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]
    watch, before = Bystanders(), os.times()
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, "--folder", folder, *more],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    after = os.times()
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    own = after.children_user + after.children_system - before.children_user - before.children_system
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**result, "others_share": round(watch.share(own), 3)}


def material(folder: Path, options: argparse.Namespace) -> None:
    """The base with its tokenizer, and the pairs."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    from whet.text import tokenizer as tokenizers

    draw = random.Random(1)
    words = [
        f"{first}{second}" for first in "bcdfgklmnprst" for second in ("a", "e", "ino", "u", "ort", "elda")
    ]
    texts = [" ".join(draw.choices(words, k=200)) for _ in range(200)]
    tokenizer = tokenizers.train(texts, vocab_size=420, special_tokens=["<|im_start|>", "<|im_end|>"])
    base = folder / "base"
    tokenizers.save(tokenizer, base, context=2048)
    (base / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    torch.manual_seed(1)
    special = {f"{role}_token_id": tokenizer.special_ids[role] for role in ("bos", "eos", "pad")}
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=options.d_model,
        intermediate_size=4 * options.d_model,
        num_hidden_layers=options.layers,
        num_attention_heads=options.d_model // 64,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        **special,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(base)
    lines = []
    for _ in range(options.examples):
        size = draw.randint(8, 200)
        lines.append(
            {
                "prompt": " ".join(draw.choices(words, k=size // 3 + 1)),
                "completion": " ".join(draw.choices(words, k=size)),
            }
        )
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def _side(side: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(options.threads)
    return _whet(folder, options) if side == "whet" else _trl(side, folder, options)


def _result(tokens: list[int], seconds: list[float]) -> dict[str, Any]:
    from whet import hardware

    tokens, seconds = tokens[SKIPPED_STEPS:], seconds[SKIPPED_STEPS:]
    return {
        "tokens_per_s": round(sum(tokens) / sum(seconds), 1),
        "step_s": round(statistics.median(seconds), 3),
        "tokens_per_step": round(statistics.mean(tokens)),
        "memory_peak_bytes": hardware.memory_peak_bytes(torch.device("cpu")),
    }


RECIPE = """
name: tuned
device: cpu
prepare: {{near_duplicate_similarity: null, validation_share: 0.0, test_share: 0.0}}
model: {{base: base, adapter: {{rank: 16, alpha: 32, dropout: 0.0, targets: attention}}}}
stages:
  - name: chat
    objective: sft
    data: [{{source: conversations, path: pairs.jsonl}}]
    sequence_length: 1024
    batch_size: 4
    accumulation: 4
    steps: {steps}
    log_every: 1
    save_every: 1000
    result: last
"""


def _whet(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    from whet import pipeline, store
    from whet.progress import Silent

    (folder / "recipe.yaml").write_text(RECIPE.format(steps=options.steps), "utf-8")
    with tempfile.TemporaryDirectory() as output:
        run = pipeline.open_run(str(folder / "recipe.yaml"), [f"output={output}"], Silent())
        pipeline.train(run)
        lines = store.read_json_lines(run.folder / "stages" / "chat" / "log.jsonl", print)
    steps = [(line["tokens"], line["seconds"]) for line in lines if "loss" in line]
    before = [(0, 0.0), *steps]
    return _result(
        [after[0] - old[0] for old, after in zip(before, steps, strict=False)],
        [after[1] - old[1] for old, after in zip(before, steps, strict=False)],
    )


def _trl(side: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    import datasets
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    lines = [json.loads(line) for line in (folder / "pairs.jsonl").read_text("utf-8").splitlines()]
    rows = [
        {
            "prompt": [{"role": "user", "content": line["prompt"]}],
            "completion": [{"role": "assistant", "content": line["completion"]}],
        }
        for line in lines
    ]
    settings: dict[str, Any] = {
        "TRL": {},
        "TRL, packed": {
            "packing": True,
            "gradient_checkpointing": False,
            "per_device_train_batch_size": 1,
        },
        "TRL, to 512": {"pad_to_multiple_of": 512, "gradient_checkpointing": False},
    }[side]
    tokens: list[int] = []
    seconds: list[float] = []

    class Timed(TrainerCallback):  # type: ignore[misc]
        """Notes when steps begin and end."""

        def on_step_begin(self, *given: Any, **named: Any) -> None:
            self.began = time.perf_counter()
            tokens.append(0)

        def on_step_end(self, *given: Any, **named: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    class Counted(SFTTrainer):  # type: ignore[misc]
        """Counts positions that hold a token."""

        def training_step(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
            mask = inputs.get("attention_mask")
            tokens[-1] += int(mask.sum()) if mask is not None else inputs["input_ids"].numel()
            return super().training_step(model, inputs, *given, **named)

    config = SFTConfig(
        output_dir=str(folder / "trl"),
        gradient_accumulation_steps=4,
        max_steps=options.steps,
        learning_rate=2e-4,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        **{"per_device_train_batch_size": 4, **settings},
    )
    trainer = Counted(
        model=AutoModelForCausalLM.from_pretrained(
            folder / "base", use_safetensors=True, trust_remote_code=False
        ),
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder / "base", trust_remote_code=False),
        peft_config=LoraConfig(
            r=16,
            lora_alpha=32,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            task_type="CAUSAL_LM",
        ),
        callbacks=[Timed()],
    )
    trainer.train()
    return _result(tokens, seconds)


def _table(found: dict[str, list[dict[str, Any]]]) -> str:
    rows = []
    for side, results in found.items():
        ratios = [
            ours["tokens_per_s"] / theirs["tokens_per_s"]
            for ours, theirs in zip(found["whet"], results, strict=True)
        ]
        rows.append(
            (
                side,
                f"{statistics.median(r['tokens_per_s'] for r in results):,.0f}",
                rounds.spread(ratios),
                f"{statistics.median(r['step_s'] for r in results):.2f}",
                f"{statistics.median(r['memory_peak_bytes'] for r in results) / 1e9:.2f}",
            )
        )
    return rounds.table(("", "real tokens/s", "whet is faster by", "s/step", "peak GB"), rows)


if __name__ == "__main__":
    main()
