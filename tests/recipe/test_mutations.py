"""Hundreds of broken recipes: each refused with file, line and key, within a moment, with nothing written.

The base is a valid recipe with every key on its own line, so that the line and the dotted key which the
message must name follow from the text alone. Some mutations are made for every line, the others by hand.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import full_recipe
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whet import limits
from whet.errors import RecipeError
from whet.recipe.load import load_recipe

JARGON = (
    "extra_forbidden", "tagged", "union", "Input should", "dictionary", "valid integer", "instance", "pydantic",
    "ruamel", "Section", "Source", "Traceback", "NoneType", "discriminator", "ctx", "function-", "dict[", "list[",
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """A broken text, and what its refusal must name."""

    text: str
    line: int
    key: str
    says: str = ""
    problems: int = 1


def keys_by_line(text: str) -> dict[int, str]:
    """Line -> dotted key of every `key:` in block style, list items by their `name` (or number)."""
    found: dict[int, str] = {}
    stack: list[tuple[int, str]] = []
    items: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        indent, dash, key, value = re.fullmatch(r"( *)(- )?(?:(\w+):)? ?(.*)", line).groups()
        column = len(indent)
        while stack and stack[-1][0] >= column + (1 if dash is None and stack[-1][1].startswith("\0") else 0):
            stack.pop()
        if dash:
            parent = ".".join(part.lstrip("\0") for _, part in stack)
            index = items.get(parent, -1) + 1
            items[parent] = index
            named = parent == "stages"
            stack.append((column, "\0" + (value if named else str(index))))
            column += 2
        if key:
            found[number] = ".".join([*(part.lstrip("\0") for _, part in stack), key])
            stack.append((column, key))
    return found


BASE = full_recipe.TEXT
LINES = BASE.splitlines()
KEYS = keys_by_line(BASE)
NULLABLE = {
    "near_duplicate_similarity", "path", "validation", "group_field", "sequence_length", "epochs", "steps", "grad_clip",
    "evaluate_every", "save_every", "stride", "max_tokens", "top_k", "sharding", "spike_factor", "weight", "curriculum",
    "fill_in_the_middle", "chat_template", "batch_tokens", "no_repeat_ngram", "tokenizer", "solidity",
}  # fmt: skip
STAGES = ["words", "rows", "pairs"]
OPEN_TEXT = {"description", "output", "field", "group_field", "licence"}
"""Keys that take any text."""


def with_line(number: int, new: str) -> str:
    return "\n".join([*LINES[: number - 1], new, *LINES[number:], ""])


def line_of(key: str) -> int:
    (number,) = (number for number, dotted in KEYS.items() if dotted == key)
    return number


def with_value(key: str, value: str) -> str:
    """The base with another value; what was nested under the key goes."""
    number = line_of(key)
    new = re.sub(r"(\w+):.*", lambda found: f"{found[1]}: {value}", LINES[number - 1])
    indent = len(LINES[number - 1]) - len(LINES[number - 1].lstrip())
    end = number
    while end < len(LINES) and len(LINES[end]) - len(LINES[end].lstrip()) > indent:
        end += 1
    return "\n".join([*LINES[: number - 1], new, *LINES[end:], ""])


def typos() -> Iterator[tuple[str, Mutation]]:
    """Every key of every section with its last-but-one letter lost, or doubled in short ones."""
    for number, dotted in KEYS.items():
        parent, _, key = dotted.rpartition(".")
        typo = key[:-2] + key[-1] if len(key) > 4 else key + key[-1]
        text = with_line(number, LINES[number - 1].replace(f"{key}:", f"{typo}:", 1))
        at = f"{parent}.{typo}".lstrip(".")
        if key == "name" and parent:
            at = f"stages.{STAGES.index(parent.partition('.')[2])}.{typo}"
        yield f"typo-{dotted}", Mutation(text, number, at, f"did you mean {key!r}?")


def wrong_types() -> Iterator[tuple[str, Mutation]]:
    """Every key with a single value: null, a list, and what is close to its type but not it."""
    for number, dotted in KEYS.items():
        key = dotted.rpartition(".")[2]
        value = re.sub(r"^ *(- )?\w+: ?", "", LINES[number - 1])
        wrong: dict[str, str] = {"keys": "{a: 1}"}
        if key not in NULLABLE:
            wrong["null"] = "null" if len(key) % 2 else ""
        if key not in (
            "betas",
            "special_tokens",
            "exclude",
            "metrics",
            "stages",
            "data",
            "decoding",
            "path",
            "stop",
        ):
            wrong["list"] = f"[{value or 1}]"
        if re.fullmatch(r"\d+", value):
            wrong |= {"quoted": f"'{value}'", "bool": "true", "fraction": f"{value}.5"}
        elif re.fullmatch(r"[\d.e-]+", value):
            wrong |= {"quoted": f'"{value}"', "bool": "false", "word": "small"}
        elif value in ("true", "false"):
            wrong |= {"word": "yes", "number": "0"}
        elif value:
            wrong |= {"number": "12", "bool": "true"} if key in OPEN_TEXT else {"unknown": "zzz"}
        skip = {"keys"} if not value else set()
        if key in ("source", "kind") or dotted == "prepare.cleaning.minified":
            skip |= {"keys", "list", "null", "word"}
        if dotted in ("name", *(f"stages.{stage}.name" for stage in STAGES)):
            skip |= {"unknown", "keys", "list", "null"}
        for kind, new in wrong.items():
            if kind not in skip and (value or kind == "null"):
                yield f"type-{kind}-{dotted}", Mutation(with_value(dotted, new), number, dotted)


OUT_OF_RANGE = {
    "seed": ("-1", str(2**63)),
    "prepare.near_duplicate_similarity": ("0.29", "1.01"),
    "prepare.validation_share": ("-0.1", "1.5"),
    "prepare.test_share": ("-1e-9", "2"),
    "prepare.cleaning.size.min_bytes": ("-1",),
    "prepare.cleaning.size.max_bytes": ("0",),
    "prepare.cleaning.control_characters.max_share": ("-0.01", "1.01"),
    "tokenizer.vocab_size": ("299", "1000001"),
    "tokenizer.sample_bytes": ("999",),
    "model.d_model": ("7", "65537"),
    "model.layers": ("0", "1001"),
    "model.heads": ("0", "1025"),
    "model.d_ff": ("7", "1000001"),
    "model.context": ("7", "1048577"),
    "model.dropout": ("-0.1", "0.51"),
    "stages.words.sequence_length": ("7",),
    "stages.words.batch_size": ("0", "1000001"),
    "stages.words.accumulation": ("0", "100001"),
    "stages.words.epochs": ("0", "10001"),
    "stages.words.curriculum.bands": ("1", "101"),
    "stages.words.curriculum.epochs": ("0", "10001"),
    "stages.words.data.0.weight": ("0", "-1", ".inf", ".nan", "1000001"),
    "stages.rows.steps": ("0",),
    "stages.words.learning_rate": ("0", "10.5", ".inf", ".nan", "1e999"),
    "stages.words.betas": ("[0.9]", "[0.1, 0.2, 0.3]"),
    "stages.words.eps": ("0", "0.02"),
    "stages.words.momentum": ("-0.1", "1"),
    "stages.words.weight_decay": ("-0.1", "1.1"),
    "stages.words.grad_clip": ("0", ".inf"),
    "stages.words.warmup_steps": ("-1",),
    "stages.words.decay_share": ("0", "1.1"),
    "stages.words.final_learning_rate_share": ("-0.1", "1.1"),
    "stages.words.evaluate_every": ("0",),
    "stages.words.keep": ("0",),
    "stages.words.data": ("[]",),
    "evaluate.metrics": ("[]",),
    "evaluate.stride": ("0",),
    "evaluate.floors": ("-1", "6"),
    "evaluate.resamples": ("99", "1000001"),
    "evaluate.samples": ("-1", "1001"),
    "evaluate.decoding": ("[]",),
    "evaluate.decoding.1.temperature": ("0", "10.1"),
    "evaluate.decoding.1.top_p": ("0", "1.1"),
    "evaluate.decoding.1.top_k": ("0",),
    "evaluate.decoding.2.beams": ("1", "65"),
    "evaluate.decoding.0.repetition_penalty": ("0", "11"),
    "evaluate.decoding.2.length_penalty": (".nan", "-.inf"),
}


def out_of_range() -> Iterator[tuple[str, Mutation]]:
    for key, values in OUT_OF_RANGE.items():
        for value in values:
            yield f"range-{key}={value}", Mutation(with_value(key, value), line_of(key), key)


WRONG_NAMES = {
    "device": ("gpu", "cpu, cuda, mps"),
    "precision": ("bf61", "'bf16'"),
    "compile": ("true", "auto, on, off"),
    "prepare.exact_duplicates": ("dorp", "'drop'"),
    "model.size": ("huge", "tiny, medium, large, xlarge"),
    "model.norm": ("rms_norm", "'rmsnorm'"),
    "model.positions": ("learnt", "'learned'"),
    "stages.words.objective": ("pretraining", "'pretrain'"),
    "stages.words.curriculum.by": ("lenght", "'length'"),
    "stages.words.overflow": ("truncate", "error, drop, split"),
    "stages.words.optimizer": ("adam", "'adamw'"),
    "stages.words.schedule": ("cosin", "'cosine'"),
    "stages.words.result": ("latest", "'last'"),
    "stages.words.data.0.source": ("texts", "'text'"),
    "stages.words.data.0.group_by": ("files", "'file'"),
    "stages.rows.data.0.source": ("token", "'tokens'"),
    "evaluate.decoding.0.kind": ("gready", "'greedy'"),
    "evaluate.decoding.1.kind": ("sampling", "'sample'"),
    "evaluate.decoding.2.kind": ("null", "must be one of greedy, sample, beam, not null"),
    "name": ("../up", "letters, digits"),
}


def wrong_names() -> Iterator[tuple[str, Mutation]]:
    for key, (value, says) in WRONG_NAMES.items():
        yield f"name-{key}", Mutation(with_value(key, value), line_of(key), key, says)
    number = line_of("stages.words.name")
    yield (
        "name-stage",
        Mutation(with_line(number, "  - name: a/b"), number, "stages.a/b.name", "letters, digits"),
    )


MOVED = [
    ("seed: 7", "dropout: 0.1", "dropout", "belongs under model"),
    ("seed: 7", "learning_rate: 1e-3", "learning_rate", "belongs under stages[]"),
    ("seed: 7", "data: []", "data", "belongs under stages[]"),
    ("seed: 7", "vocab_size: 500", "vocab_size", "belongs under tokenizer"),
    ("  dropout: 0.1", "  batch_size: 3", "model.batch_size", "belongs under stages[]"),
    ("  dropout: 0.1", "  seed: 7", "model.seed", "belongs under the top of the recipe"),
    ("  dropout: 0.1", "  test_share: 0.1", "model.test_share", "belongs under prepare"),
    ("  sample_bytes: 20000", "  stride: 5", "tokenizer.stride", "belongs under evaluate"),
    ("  sample_bytes: 20000", "  samples: 5", "tokenizer.samples", "belongs under evaluate"),
    ("  test_share: 0.2", "  min_bytes: 5", "prepare.min_bytes", "belongs under prepare.cleaning.size"),
    ("    keep: 14", "    device: cpu", "stages.words.device", "belongs under the top of the recipe"),
    ("    keep: 14", "    d_model: 64", "stages.words.d_model", "belongs under model"),
    ("    keep: 14", "    path: words.txt", "stages.words.path", "stages[].data[] with source: text"),
    ("  floors: 4", "  temperature: 1.0", "evaluate.temperature", "evaluate.decoding[] with kind: sample"),
    ("  floors: 4", "  precision: fp32", "evaluate.precision", "belongs under the top of the recipe"),
    ("      repetition_penalty: 1.1", "      top_p: 0.9", "evaluate.decoding.0.top_p", "kind: sample"),
    ("      early_stopping: false", "      top_k: 3", "evaluate.decoding.2.top_k", "kind: sample"),
    ("        validation: held_out.npy", "        field: x", "stages.rows.data.0.field", "source: text"),
    ("        licence: MIT", "        tests: true", "stages.words.data.0.tests", "source: stdlib"),
    ("    save_every: 13", "    lr: 1e-3", "stages.words.lr", "did you mean 'learning_rate'"),
    ("    save_every: 13", "    gradient_accumulation_steps: 2", "stages.words.gradient_accumulation_steps", "'accumulation'"),
    ("    save_every: 13", "    bands: 5", "stages.words.bands", "belongs under stages[].curriculum"),
    ("    save_every: 13", "    weight: 5", "stages.words.weight", "belongs under stages[].data[] with source"),
    ("      bands: 5", "      decay_share: 0.5", "stages.words.curriculum.decay_share", "belongs under stages[]"),
    ("      bands: 5", "      band: 5", "stages.words.curriculum.band", "did you mean 'bands'"),
    ("    save_every: 13", "    Momentum: 0.1", "stages.words.Momentum", "did you mean 'momentum'"),
    ("  layers: 2", "  n_head: 2", "model.n_head", "did you mean 'heads'"),
    ("  layers: 2", "  hidden-size: 2", "model.hidden-size", "did you mean 'd_model'"),
    ("  layers: 2", "  qqq: 2", "model.qqq", "known here: size, norm"),
    ("  layers: 2", "  <<: {layers: 2}", "model.<<", "unknown key"),
]  # fmt: skip


def moved() -> Iterator[tuple[str, Mutation]]:
    """Keys put, in place of another, where they do not belong."""
    for old, new, key, says in MOVED:
        text = BASE.replace(f"{old}\n", f"{new}\n", 1)
        yield f"moved-{key}", Mutation(text, LINES.index(old) + 1, key, says)


CONTRADICTIONS = [
    ("    epochs: 1.5", "    epochs: 1.5\n    steps: 9", "    steps: 9", "stages.words.steps", "keep one"),
    ("    steps: 40", "    steps: 40\n    epochs: 2", "    steps: 40", "stages.rows.steps", "keep one"),
    ("  heads: 8", "  heads: 7", "  heads: 7", "model.heads", "do not divide d_model 64"),
    ("  positions: learned\n  d_model: 64", "  positions: rope\n  d_model: 24", "  heads: 8", "model.heads", "even head width"),
    ("  norm: layernorm", "  norm: rmsnorm", "  positions: learned", "model.positions", "rmsnorm"),
    ("    sequence_length: 128", "    sequence_length: 257", "    sequence_length: 257", "stages.words.sequence_length", "256"),
    ("  context: 256", "  context: 127", "    sequence_length: 128", "stages.words.sequence_length", "context of 127"),
    ("  - name: rows", "  - name: words", "  - name: words\n    data:\n      - source: tok", "stages.words.name", "two stages"),
    ("    steps: 40", "    steps: 40\n    warmup_steps: 41", "    warmup_steps: 41", "stages.rows.warmup_steps", "40"),
    ("  validation_share: 0.1", "  validation_share: 0.71", "  test_share: 0.2", "prepare.test_share", "tenth"),
    ("  validation_share: 0.1\n  test_share: 0.2", "  test_share: 0.95", "  test_share: 0.95", "prepare.test_share", "tenth"),
    ("  validation_share: 0.1\n  test_share: 0.2", "  validation_share: 0.9", "  validation_share: 0.9",
     "prepare.validation_share", "tenth"),
    ("  d_model: 64\n  layers: 2\n  heads: 8\n", "  d_model: 66\n", "  d_model: 66", "model.d_model", "4 heads do not divide"),
    ("  stride: 33", "  stride: 65", "  stride: 65", "evaluate.stride", "sequence_length (64)"),
    ("  path: tokenizer\n", "", "    data:\n      - source: tokens", "stages.rows.data", "tokenizer.path"),
    ("      - source: text\n        path:\n",
     "      - source: tokens\n        path: train.npy\n        weight: 1.5\n      - source: text\n        path:\n",
     "    data:\n      - source: text", "stages.words.data", "not both"),
    ("        weight: 2.5\n", "", "      - source: text", "stages.words.data.0", "has no weight, but data.1 has"),
    ("        weight: 3.5\n", "", "      - source: text\n        path:\n          - letters", "stages.words.data.1",
     "every source of the stage one, or none"),
    ("      min_bytes: 16", "      min_bytes: 2001", "    size:", "prepare.cleaning.size", "above max_bytes"),
]  # fmt: skip


def contradictions() -> Iterator[tuple[str, Mutation]]:
    for old, new, at, key, says in CONTRADICTIONS:
        assert BASE.count(old) == 1, old
        text = BASE.replace(old, new)
        yield f"contradiction-{key}-{says}", Mutation(text, text[: text.index(at)].count("\n") + 1, key, says)


MISSING = [
    ("path: words.txt", "path: no.txt", "stages.words.data.0.path", "there is nothing at"),
    ("path: words.txt", "path: nowhere/", "stages.words.data.0.path", "there is nothing at"),
    ("path: words.txt", "path: '*.rst'", "stages.words.data.0.path", "there are no files at"),
    ("path: words.txt", "path: empty", "stages.words.data.0.path", "there are no files at"),
    ("path: words.txt", "path: []", "stages.words.data.0.path", "names nothing"),
    ("path: words.txt", r'path: "a\0b"', "stages.words.data.0.path", "NUL"),
    ("path: words.txt", "path: 5", "stages.words.data.0.path", "text or a list"),
    ("path: words.txt", "path: [words.txt, 5]", "stages.words.data.0.path.1", "must be text"),
    ("path: train.npy", "path: gone.npy", "stages.rows.data.0.path", "gone.npy"),
    ("path: train.npy", "path: words.txt", "stages.rows.data.0.path", "words.txt"),
    ("validation: held_out.npy", "validation: gone.npy", "stages.rows.data.0.validation", "gone.npy"),
    ("path: tokenizer", "path: letters", "tokenizer.path", "no tokenizer.json"),
    ("path: tokenizer", "path: gone/", "tokenizer.path", "no tokenizer.json"),
    ("    - perplexity", "    - perplexty", "evaluate.metrics.0", "did you mean 'perplexity'?"),
    ("    - bits_per_byte", "    - 5", "evaluate.metrics.1", "must be text"),
    ("      - 0.9\n    eps", "      - 1.5\n    eps", "stages.words.betas.1", "below 1"),
    ("    minified: false", "    minified: true", "prepare.cleaning.minified", "false to switch it off"),
    ("    minified: false", "    minified: 0", "prepare.cleaning.minified", "false to switch it off"),
    ("    minified: false", "    minfied: false", "prepare.cleaning.minfied", "did you mean 'minified'?"),
    ("    minified: false", "    spelling: {}", "prepare.cleaning.spelling", "there is no filter 'spelling'"),
    ("    minified: false", "    minified: {max_lin: 3}", "prepare.cleaning.minified.max_lin", "'max_line'"),
]


def missing() -> Iterator[tuple[str, Mutation]]:
    """Files, folders, items and filters that are not there."""
    for old, new, key, says in MISSING:
        assert BASE.count(old) == 1, old
        line = BASE[: BASE.index(old)].count("\n") + 1
        yield f"missing-{key}-{new}", Mutation(BASE.replace(old, new), line, key, says)


def removed() -> Iterator[tuple[str, Mutation]]:
    """Required keys left out: the line is that of the section."""
    yield "no-name", Mutation(BASE.replace("name: full\n", ""), 1, "name", "required")
    yield "no-stages", Mutation(BASE[: BASE.index("stages:")], 1, "stages", "required")
    text = BASE.replace("  - name: rows\n    data", "  - data")
    yield "no-stage-name", Mutation(text, line_of("stages.rows.name"), "stages.1.name", "required")
    number = line_of("stages.words.data.0.path")
    yield (
        "no-path",
        Mutation(with_line(number, "        # none"), number - 1, "stages.words.data.0.path", "required"),
    )
    number = line_of("evaluate.decoding.1.kind")
    text = BASE.replace("    - kind: sample\n      temperature", "    - temperature")
    yield "no-kind", Mutation(text, number, "evaluate.decoding.1.kind", "one of: greedy, sample, beam")
    text = with_value("stages.rows.data", "[{path: train.npy}]")
    yield "no-source", Mutation(text, line_of("stages.rows.data"), "stages.rows.data.0.source", "one of: ")
    for value, key, says in (
        ("[stdlib]", "stages.rows.data.0", "write {source: stdlib}"),
        ("stdlib", "stages.rows.data", "must be a list"),
        ("{source: stdlib}", "stages.rows.data", "put `- ` before"),
    ):
        yield (
            f"data-{value}",
            Mutation(with_value("stages.rows.data", value), line_of("stages.rows.data"), key, says),
        )
    text = with_value("evaluate.decoding", "[greedy]")
    yield (
        "decoding-word",
        Mutation(text, line_of("evaluate.decoding"), "evaluate.decoding.0", "{kind: greedy}"),
    )
    text = with_value("evaluate.metrics", "perplexity")
    yield "metric-word", Mutation(text, line_of("evaluate.metrics"), "evaluate.metrics", "write [perplexity]")
    yield "number-1e3", Mutation(with_value("seed", "1e3"), 4, "seed", "must be a whole number")
    yield "number-1_000", Mutation(with_value("seed", "1_000"), 4, "seed", "write 1000 without quotes")
    yield "number-long", Mutation(with_value("seed", "9" * 5000), 4, "seed", "must be a whole number")
    yield "number-hex", Mutation(with_value("seed", "0x" + "f" * 5000), 4, "seed", "must be a whole number")
    yield "number-hex-300", Mutation(with_value("seed", "0x" + "f" * 300), 4, "seed", "must be below")
    yield "name-as-number", Mutation(with_value("name", "12"), 1, "name", "put it in quotes")
    yield "empty-section", Mutation(with_value("evaluate", ""), line_of("evaluate"), "evaluate", "section")
    yield "list-section", Mutation(with_value("model", "[tiny]"), line_of("model"), "model", "section")
    yield "word-section", Mutation(with_value("model", "tiny"), line_of("model"), "model", "section")
    yield "long-key", Mutation(with_line(4, "k" * 900 + ": 1"), 4, "...", "unknown key")
    yield "odd-key", Mutation(with_line(4, r'"a\nb": 1'), 4, r"'a\nb'", "unknown key")


def repeated() -> Iterator[tuple[str, Mutation]]:
    """A key twice in one section, at each level."""
    again = ("seed", "model", "model.layers", "stages.words.keep", "stages.words.data.0.licence", "stages",
             "evaluate.decoding.1.top_p", "prepare.cleaning.size", "prepare.cleaning.size.min_bytes")  # fmt: skip
    for key in again:
        number, name = line_of(key), key.rpartition(".")[2]
        indent = " " * LINES[number - 1].index(name)
        text = with_line(number, f"{indent}{name}: 1\n{LINES[number - 1]}")
        problems = 1 if LINES[number - 1][-1].isdigit() else 2
        yield f"repeated-{key}", Mutation(text, number + 1, key, f"twice (first on line {number})", problems)


def broken() -> Iterator[tuple[str, Mutation]]:
    """What is not YAML, or YAML that a recipe does not use. These name no key."""
    at = line_of("model.layers")

    def line(new: str, says: str, offset: int = 0) -> Mutation:
        return Mutation(with_line(at, new), at + offset, "", says)

    yield "tab", line("\tlayers: 2", "a tab cannot indent")
    yield "tab-after-spaces", line("  \tlayers: 2", "tab")
    yield "second-colon", line("  layers: 2: 3", "colon")
    yield "no-colon", line("  layers 2", "without a colon")
    yield "deeper", line("      layers: 2", "indentation")
    yield "shallower", line(" layers: 2", "indentation")
    yield "open-bracket", line("  layers: [2", "bracket")
    yield "open-brace", line("  layers: {a: 2", "bracket")
    yield "open-quote", line("  layers: '2", "quote")
    late = line_of("evaluate.floors")
    yield "open-double-quote", Mutation(with_line(late, '  floors: "4'), late, "", "quote")
    yield "closing", line("  layers: ]", "bracket")
    yield "at-sign", line("  layers: @2", "cannot begin with")
    yield "backtick", line("  layers: `2`", "cannot begin with")
    yield "items-in-line", line("  layers: - 2", "begins a line")
    yield "escape", line(r'  layers: "\q"', "escape")
    yield "anchor", line("  layers: &two 2", "anchors")
    yield "alias", line("  layers: *two", "aliases")
    yield (
        "anchored-section",
        Mutation(with_line(line_of("model"), "model: &m"), line_of("model.size") - 1, "", "anchors"),
    )
    yield "anchored-key", line("  &a layers: 2", "anchors")
    yield "alias-bomb", Mutation("a: &a [1]\nb: [*a, *a]\n", 1, "", "anchors")
    yield "tag", line("  layers: !!int 2", "tags are not part of a recipe (!!int)")
    yield "python-tag", line("  layers: !!python/object/apply:os.system ['true']", "tags")
    yield "own-tag", line("  layers: !mine 2", "tags")
    yield "bang", line("  layers: ! 2", "tags")
    yield "complex-key", line("  ? [layers]\n  : 2", "a key is a plain word")
    yield "two-documents", Mutation(BASE + "---\nname: other\n", len(LINES) + 1, "", "second document")
    yield "directive", Mutation("# old\n%YAML 1.1\n---\n" + BASE, 2, "", "directives")
    yield "tag-directive", Mutation("%TAG !e! tag:e,2000:\n---\n" + BASE, 1, "", "directives")
    yield "list-on-top", Mutation("- name: full\n", 1, "", "mapping")
    yield "word-on-top", Mutation("# hello\nscratch\n", 2, "", "mapping")
    yield "null-on-top", Mutation("null\n", 1, "", "mapping")
    yield "empty", Mutation("", 1, "", "empty")
    yield "comments-only", Mutation("# nothing\n\n# here\n", 1, "", "empty")
    yield "deep", line("  layers: " + "[" * 50 + "]" * 50, "nested deeper than 20 levels")
    yield "very-deep", line("  layers: " + "{a: " * 100_000, "nested deeper")
    yield "bell", line("  layers: 2 # \x07", "U+0007")
    yield "separator", line("  layers: 2 # \u2028", "U+2028")
    yield "many-values", Mutation("a: [" + "1," * 20_000 + "]\n", 1, "", "10,000 values")
    yield "too-large", Mutation("# " + "x" * limits.RECIPE_BYTES + "\n" + BASE, 1, "", "1,000,000 bytes")


GENERATORS = (
    typos, wrong_types, out_of_range, wrong_names, moved, contradictions, missing, removed, repeated, broken,
)  # fmt: skip
MUTATIONS = {name: mutation for generator in GENERATORS for name, mutation in generator()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    full_recipe.write(folder)
    (folder / "empty").mkdir()
    return folder


def refusal(recipe: Path, overrides: tuple[str, ...] = ()) -> str:
    """The message; nothing is written and little time is spent."""
    before = contents(recipe.parent)
    start = time.process_time()
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(recipe), overrides)
    assert time.process_time() - start < 2
    assert contents(recipe.parent) == before
    message = str(caught.value)
    assert not [word for word in JARGON if word in message], message
    assert len(message) < 3000
    return message


def contents(folder: Path) -> list[tuple[str, int, int]]:
    paths = sorted(folder.rglob("*"))
    return [(str(path), os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in paths]


def test_the_base_is_valid_and_has_every_key(folder: Path) -> None:
    from whet.recipe.decoding import Beam, Greedy, Sample
    from whet.recipe.schema import Evaluate, Model, Prepare, Recipe, Stage, Tokenizer

    load_recipe(str(folder / "recipe.yaml"))
    assert KEYS[line_of("stages.words.data.1.path")] == "stages.words.data.1.path"
    written = {dotted.rpartition(".")[2] for dotted in KEYS.values()}
    for section in (Recipe, Prepare, Tokenizer, Model, Stage, Evaluate, Greedy, Sample, Beam):
        assert set(section.model_fields) <= written


def test_there_are_hundreds_of_distinct_mutations() -> None:
    texts = {mutation.text for mutation in MUTATIONS.values()}
    assert BASE not in texts
    assert len(texts) >= 400
    kinds = {name.partition("-")[0] for name in MUTATIONS}
    assert len(kinds) > 10


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated_recipe_is_refused(name: str, folder: Path) -> None:
    mutation = MUTATIONS[name]
    recipe = folder / "recipe.yaml"
    recipe.write_text(mutation.text, "utf-8")
    message = refusal(recipe)
    key = f" {mutation.key}:" if mutation.key and mutation.key != "..." else ""
    lines = [line for line in message.splitlines() if line.startswith(f"{recipe}:{mutation.line}:{key}")]
    assert lines, f"line {mutation.line} and key {mutation.key} in\n{message}"
    assert mutation.says in message
    if mutation.key:
        assert mutation.says in lines[0]
        counted = re.match(r"(\d+) problems? in ", message)
        assert counted
        assert int(counted[1]) == mutation.problems == len(message.splitlines()) - 1, message


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    changes = {
        "seed: 7": "sed: 7",
        "d_model: 64": "d_model: 64.5",
        "keep: 14": "keep: 0",
        "kind: beam": "kind: beem",
    }
    changes |= {
        "- perplexity": "- perplex",
        "path: words.txt": "path: gone",
        "floors: 4": "floors: 4\n  floors: 4",
    }
    text = BASE
    for old, new in changes.items():
        text = text.replace(old, new, 1)
    recipe.write_text(text)
    head, *lines = refusal(recipe).splitlines()
    assert head == f"{len(changes)} problems in {recipe}"
    numbers = [int(line.removeprefix(f"{recipe}:").partition(":")[0]) for line in lines]
    assert numbers == sorted(numbers)
    assert len(set(lines)) == len(lines) == len(changes)


def test_several_contradictions_of_one_section_are_reported_at_once(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(BASE.replace("    steps: 40", "    steps: 40\n    epochs: 1\n    warmup_steps: 50"))
    assert "2 problems" in refusal(recipe)
    recipe.write_text(
        BASE.replace("  context: 256", "  context: 32").replace("- name: rows", "- name: words")
    )
    message = refusal(recipe)
    assert "4 problems" in message, "two stages of a name, and three rows that are too long"
    assert "two stages are named 'words'" in message


def test_thousands_of_problems_do_not_take_long(folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(BASE + "".join(f"key_{number}: 1\n" for number in range(4500)))
    start = time.process_time()
    with pytest.raises(RecipeError, match="at least 100 problems") as caught:
        load_recipe(str(recipe))
    assert time.process_time() - start < 2
    assert len(str(caught.value).splitlines()) == 101


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (BASE.replace("every key", "every k\xe9y").encode("latin-1"), ":2: not UTF-8 (byte 0xe9)"),
        (b"\xff\xfe" + BASE.encode("utf-16-le"), ":1: not UTF-8 (byte 0xff)"),
        (BASE.encode() + b"\x80", f":{len(LINES) + 1}: not UTF-8"),
        (b"\0" * 50, ":1: a character that cannot stand in a recipe: U+0000"),
    ],
    ids=["latin-1", "utf-16", "stray byte", "zeros"],
)
def test_other_bytes_are_refused(raw: bytes, says: str, folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_bytes(raw)
    assert says in refusal(recipe)


def test_a_missing_recipe_is_refused_with_the_nearest_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "recipe.yaml").write_text(BASE)
    assert "this is a folder" in refusal(folder / "letters")
    assert "no built-in recipe" in refusal(folder / "gone.yaml")
    monkeypatch.chdir(folder)
    with pytest.raises(RecipeError, match=r"did you mean 'recipe\.yaml'"):
        load_recipe("recipes.yaml")
    with pytest.raises(RecipeError, match="did you mean 'scratch-quickstart'"):
        load_recipe("scratch-quickstrat")


OVERRIDES = {
    "seed": "KEY=VALUE",
    "=3": "KEY=VALUE",
    "": "KEY=VALUE",
    "stages..steps=3": "KEY=VALUE",
    ".seed=3": "KEY=VALUE",
    "sed=3": "sed: unknown key; did you mean 'seed'?",
    "modle.size=tiny": "modle: unknown key; did you mean 'model'?",
    "model.layer=3": "model.layer: unknown key; did you mean 'layers'?",
    "model.batch_size=3": "model.batch_size: unknown key; a key of this name belongs under stages[]",
    "stages.row.steps=3": "did you mean 'rows'? there are: words, rows",
    "stages.zzz.steps=3": "there are: words, rows",
    "stages.3.steps=3": "there are: words, rows, pairs",
    "stages.-1.steps=3": "there are: words, rows",
    "stages.rows.step=3": "stages.rows.step: unknown key; did you mean 'steps'?",
    "stages.1.epochs=3": "stages.rows.epochs: epochs and steps",
    "stages.rows.steps=3.5": "stages.rows.steps: must be a whole number, not 3.5",
    "stages.rows.steps='3'": "write 3 without quotes",
    "stages.rows.steps=0": "must be at least 1",
    "seed.deeper=1": "seed holds a value, not a section",
    "model=tiny": "model: must be a section",
    "model={size: tiny, siez: 1}": "model.siez: unknown key; did you mean 'size'?",
    "model={size: tiny, size: tiny}": "stands twice",
    "name=[": "not valid YAML",
    "name=a: b: c": "not valid YAML",
    "name=&a b": "anchors",
    "name=!!str b": "tags",
    "name=": "name: must be text, not null",
    "evaluate.decoding.0.kind=beem": "did you mean 'beam'?",
    "evaluate.decoding.5.kind=beam": "there are: 0, 1, 2",
    "prepare.cleaning.sise=false": "did you mean 'size'?",
    "stages.words.data.0.path=gone/": "there is nothing at",
    "tokenizer.path=null": "set tokenizer.path",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_mutated_override_is_refused(override: str, folder: Path) -> None:
    recipe = folder / "recipe.yaml"
    recipe.write_text(BASE)
    message = refusal(recipe, ("stages.words.keep=3", override))
    line = next(
        line for line in message.splitlines() if OVERRIDES[override] in line or line.startswith("--set")
    )
    assert line.startswith(f"--set {override}"), message
    assert OVERRIDES[override] in message


VALUES = (
    "",
    "null",
    "true",
    "-1",
    "0.5",
    "1e400",
    "'8'",
    "[]",
    "{}",
    "[1, [2]]",
    "{a: {b: 1}}",
    "text",
    "- x",
    "&a",
    "|",
    '"',
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.sampled_from(VALUES) | st.text(max_size=8)), max_size=4
    ),
    doubled=st.lists(st.integers(0, len(LINES) - 1), max_size=3),
)
def test_whatever_is_changed_it_loads_or_is_refused(
    changes: list[tuple[int, str]], doubled: list[int], folder: Path
) -> None:
    lines = LINES.copy()
    for at, value in changes:
        lines[at] = re.match(r" *(- )?(\w+:)?", lines[at])[0] + f" {value}"
    for at in doubled:
        lines.insert(at, lines[at])
    recipe = folder / "recipe.yaml"
    recipe.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    with suppress(RecipeError):
        load_recipe(str(recipe))
