"""What many tests share: generated code as material, a small recipe over it, and a folder prepared from it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from whet import store
from whet.progress import Reporter
from whet.recipe.load import Loaded, load_recipe

NOUNS = [
    "row",
    "column",
    "index",
    "value",
    "token",
    "total",
    "record",
    "field",
    "offset",
    "buffer",
    "header",
    "length",
]
VERBS = ["read", "write", "parse", "count", "merge", "split", "load", "store", "find", "check"]


def generated_module(seed: int) -> str:
    """A few dozen lines of plausible Python, a function of the seed alone."""
    draw = random.Random(seed)
    lines = [f'"""Module {seed}: {draw.choice(VERBS)} every {draw.choice(NOUNS)}."""', ""]
    for _ in range(draw.randint(4, 12)):
        noun, other = draw.sample(NOUNS, 2)
        name = f"{draw.choice(VERBS)}_{noun}_{draw.randint(0, 999)}"
        lines += [
            f"def {name}({noun}, {other}={draw.randint(0, 99)}):",
            f'    """{draw.choice(VERBS).capitalize()} the {noun} by its {other}."""',
            f"    for {other} in range({draw.randint(2, 500)}):",
            f"        {noun} = {noun} + {other} * {draw.randint(2, 99)}",
            f"    return {draw.choice(NOUNS)!r}, {noun}",
            "",
        ]
    return "\n".join(lines)


RECIPE = """
name: small
seed: 7
precision: fp32
compile: "off"
device: cpu
prepare:
  validation_share: 0.1
  test_share: 0.15
tokenizer:
  vocab_size: 420
model:
  d_model: 32
  layers: 2
  heads: 2
  d_ff: 64
  context: 64
stages:
  - name: first
    data: [{source: text, path: material/a}]
    sequence_length: 48
    batch_size: 4
    steps: 6
    warmup_steps: 2
    learning_rate: 5e-3
    log_every: 1
    evaluate_every: 3
    save_every: 2
  - name: second
    data: [{source: text, path: material/b}]
    sequence_length: 64
    batch_size: 2
    accumulation: 2
    steps: 8
    learning_rate: 5e-3
    log_every: 1
    evaluate_every: 4
    save_every: 2
evaluate:
  samples: 1
  prompt_tokens: 16
  new_tokens: 8
  resamples: 100
"""


def write_material(folder: Path) -> Path:
    """A recipe and its material in `folder`; returns the recipe's path."""
    for part, seeds in (("a", range(24)), ("b", range(100, 130))):
        (folder / "material" / part).mkdir(parents=True)
        for seed in seeds:
            (folder / "material" / part / f"m{seed}.py").write_text(generated_module(seed), "utf-8")
    path = folder / "small.yaml"
    path.write_text(RECIPE, "utf-8")
    return path


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small recipe with its material. Read only."""
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="session")
def small(recipe_file: Path) -> Loaded:
    """The small recipe, loaded."""
    return load_recipe(str(recipe_file))


@pytest.fixture(scope="session")
def prepared(small: Loaded, tmp_path_factory: pytest.TempPathFactory) -> store.Artefact:
    """The small recipe's prepared folder. Read only."""
    from whet.prepare.run import run

    return run(small.recipe, tmp_path_factory.mktemp("run"), Reporter())
