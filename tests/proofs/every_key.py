"""Every key of the schema by its dotted name, and a laboratory in which two recipes are compared by what they do.

A list item is `[]`. What is told apart by a word has it in the name: `stages[].data[].text.field`,
`evaluate.decoding[].beam.beams`, `evaluate.solidity.decoding.beam.beams`, `prepare.cleaning.size.min_bytes`. The word
itself is a key too: `source`, `kind`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

from tests.bases import make_base, write_chats
from tests.conftest import generated_module
from whet import store
from whet.cleaning.base import FILTERS
from whet.errors import WhetError
from whet.progress import Reporter
from whet.recipe.load import Loaded, load_recipe
from whet.recipe.schema import Recipe
from whet.sources.base import SOURCES, Source

WORDS = ("source", "kind")
TIMES = {"seconds", "tokens_per_s", "memory_peak_bytes", "peak_flops_per_s", "peak_share"}


def keys(section: type[BaseModel] = Recipe, at: str = "") -> Iterator[str]:
    """Every key a recipe can hold."""
    for name, about in section.model_fields.items():
        here = f"{at}{name}"
        parts = _sections(about.annotation)
        if here == "prepare.cleaning":
            for rule in FILTERS:
                yield f"{here}.{rule.NAME}"
                yield from keys(rule, f"{here}.{rule.NAME}.")
        elif here == "model":  # a new one or a tuned one: no key belongs to both
            for part in parts:
                yield from keys(part, "model.")
        elif not parts:
            yield here
        elif len(parts) == 1 and parts[0] is not Source:
            yield from keys(parts[0], f"{here}[]." if "list" in str(about.annotation) else f"{here}.")
        else:
            yield from _told_apart(parts, f"{here}[]." if "list" in str(about.annotation) else f"{here}.")


def _told_apart(parts: list[type[BaseModel]], at: str) -> Iterator[str]:
    """The keys of sections of which a word chooses one."""
    kinds = list(SOURCES) if parts == [Source] else parts
    word = next(word for word in WORDS if word in kinds[0].model_fields)
    yield f"{at}{word}"
    for kind in kinds:
        (name,) = get_args(kind.model_fields[word].annotation)
        yield from (key for key in keys(kind, f"{at}{name}.") if key != f"{at}{name}.{word}")


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if getattr(annotation, "__origin__", None) is Literal:
        return []
    return [section for part in get_args(annotation) for section in _sections(part)]


def changed(one: Any, other: Any, at: str = "") -> set[str]:
    """Names of the keys whose values differ in two resolved recipes."""
    if at.endswith(".columns.") and one != other:  # names to names: one key
        return {at.rstrip(".")}
    if isinstance(one, dict) and isinstance(other, dict):
        word = next((word for word in WORDS if word in one), "")
        if word and one[word] != other.get(word):
            return {f"{at}{word}"}
        below = f"{at}{one[word]}." if word and at.endswith(("[].", ".decoding.")) else at
        return set().union(*(
            changed(one.get(name), other.get(name), f"{below}{name}.") for name in one.keys() | other.keys()
        ))  # fmt: skip
    name = at.rstrip(".")
    items = [item for value in (one, other) if isinstance(value, list) for item in value]
    if items and all(isinstance(item, dict) for item in items):
        pairs = zip(one, other, strict=True)
        return set().union(*(changed(a, b, f"{name}[].") for a, b in pairs))
    if isinstance(one or other, dict) and (one is None or other is None):  # a section that is written or not
        return set().union(
            *(changed((one or {}).get(key), (other or {}).get(key), f"{at}{key}.") for key in one or other)
        )
    return {name} if one != other else set()


@dataclass(frozen=True)
class Probe:
    """Two recipes that differ in one key, and what is looked at to tell them apart.

    `see` is a function of a `Side`; `changes` and `given` are overrides of the second and of both. `refused`: words
    of the refusal that is the difference. `more`: other keys that follow from this one. `slow`: not in `make test`.
    """

    see: Callable[[Side], Any]
    changes: tuple[str, ...]
    given: tuple[str, ...] = ()
    refused: str = ""
    more: bool = False
    slow: bool = False


RECIPE = """
name: probe
seed: 7
device: cpu
precision: fp32
compile: "off"
prepare: {validation_share: 0.25, test_share: 0.25}
tokenizer: {vocab_size: 320}
model: {d_model: 16, layers: 1, heads: 2, d_ff: 32, context: 64}
stages:
  - name: first
    data: [{source: text, path: code}]
    sequence_length: 48
    batch_size: 2
    steps: 3
    learning_rate: 1e-2
    log_every: 1
    evaluate_every: 1
    validation_tokens: 96
    save_every: 1
evaluate: {floors: 0, samples: 1, prompt_tokens: 8, new_tokens: 8, resamples: 100, decoding: [{kind: greedy}]}
"""


def write_material(folder: Path) -> None:
    """A recipe and what it and the probes read."""
    (folder / "probe.yaml").write_text(RECIPE, "utf-8")
    for part, seeds in (("code", range(14)), ("other", range(50, 64))):
        for seed in seeds:
            file = folder / part / f"f{seed % 4}" / f"m{seed}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(generated_module(seed), "utf-8")
    for name, text in _zoo().items():
        (folder / "code" / "f0" / name).write_text(text, "utf-8")
    rows = [
        {"text": generated_module(seed), "body": generated_module(seed + 500), "repository": str(seed % 5)}
        for seed in range(100, 116)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for name, seeds in (("chats", range(300, 330)), ("more_chats", range(400, 430))):
        chats = [
            {
                "prompt": f"Number {n}?",
                "question": f"What of {n}?",
                "completion": generated_module(n),
                "who": str(n % 5),
            }
            for n in seeds
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in chats), "utf-8")
    for place in ("a.sol", "b.sol", "test/c.sol"):
        file = folder / "contracts" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"contract C {{ string constant name = '{place}'; }}\n", "utf-8")
    write_chats(folder / "talks.jsonl", 40, seed=1)
    write_chats(folder / "more_talks.jsonl", 40, seed=2)
    for seed, name in enumerate(("base", "other_base")):
        make_base(folder / name, hidden_size=64, intermediate_size=128, num_hidden_layers=1, seed=seed)
    (folder / "large.txt").write_text(
        "\n\n".join(generated_module(seed) for seed in range(200, 212)), "utf-8"
    )


def _zoo() -> dict[str, str]:
    """Documents that one filter or another drops or changes."""
    module = generated_module(3)
    return {
        "twin.py": module,
        "near.py": module.replace("return", "yield ", 1) + "\nprint('one line more than the other')\n",
        "control.py": generated_module(30) + "\x01\x02\n",
        "full.py": generated_module(31) + "\x01" * 60,
        "short.py": "x = 1  # hardly anything\n",
        "generated.py": "# @generated\n" + generated_module(32),
        "squeezed.js": ";".join(f"a{n}=f({n},b{n})" for n in range(400)),
        "table.txt": "\n".join(" ".join(str(n * m) for m in range(12)) for n in range(60)),
        "encoded.txt": "data\n"
        + "\n".join("QUJD" * 25 for _ in range(10))
        + "\n"
        + generated_module(34)[:600],
        "log.txt": "".join("a line that is there again and again\n" for _ in range(60)),
    }


@dataclass
class Laboratory:
    """One folder of material; what was made of it is kept, so that each thing is made once."""

    folder: Path
    made: dict[Any, Any] = field(default_factory=dict)
    begun: int = 0

    def side(self, overrides: tuple[str, ...]) -> Side:
        """One recipe of a pair. `{here}` in an override is the folder."""
        written = tuple(item.replace("{here}", str(self.folder)) for item in overrides)
        return Side(self, load_recipe(str(self.folder / "probe.yaml"), written), written)

    def once(self, key: Any, make: Callable[[Path], Any]) -> Any:
        """What `make` gives for a fresh folder, or what it gave before."""
        if key not in self.made:
            self.begun += 1
            self.made[key] = make(self.folder / f"made{self.begun}")
        return self.made[key]


@dataclass
class Side:
    """One recipe, and what the rooms make of it."""

    laboratory: Laboratory
    loaded: Loaded
    overrides: tuple[str, ...]

    @property
    def recipe(self) -> Recipe:
        return self.loaded.recipe

    @cached_property
    def prepared(self) -> store.Artefact:
        from whet.prepare.run import prepared_key, run

        key = prepared_key(self.recipe)
        made: store.Artefact = self.laboratory.once(key, lambda folder: run(self.recipe, folder, Reporter()))
        return made

    @cached_property
    def plan(self) -> dict[str, Any]:
        from whet.plan.run import run

        return run(self.recipe, self.laboratory.folder / "plan", self.prepared, Reporter())

    @cached_property
    def run(self) -> Path:
        """The folder of the trained run."""
        return Path(self.laboratory.once(("train", self.overrides), self._train))

    def _train(self, folder: Path) -> Path:
        from whet.train.run import run

        run(self.recipe, folder, self.prepared, self.plan, Reporter())
        return folder

    def train_again(self) -> None:
        """Train, whatever was made before."""
        self.laboratory.once(("again", len(self.laboratory.made)), self._train)

    @property
    def models(self) -> list[store.Artefact]:
        return [
            store.open_artefact(self.run / "stages" / stage.name / "model", "model")
            for stage in self.recipe.stages
        ]

    def base(self) -> Side:
        """The recipe without overrides."""
        return self.laboratory.side(())


def seen(probe: Probe, side: Side) -> Any:
    """What a probe sees of one side, as JSON text; a refusal only where the probe is about one."""
    if not probe.refused:
        return json.dumps(probe.see(side), sort_keys=True, default=str)
    try:
        return json.dumps(probe.see(side), sort_keys=True, default=str)
    except WhetError as error:
        return f"refused: {error}"


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(inner) for name, inner in value.items() if name not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value
