"""One probe per key of a recipe: what is looked at, the override that changes the key, and what both sides need for it.

A new key needs one line here: `"section.key": probe(see, "section.key=value", given=(...))`. What can be looked at
is below: `prepares`, `plans`, `trains`, `evaluates`, `samples`, and a few for single keys.
"""

from __future__ import annotations

import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.proofs.every_key import Laboratory, Probe, Side, without_times
from whet import launch, store
from whet.errors import WhetError
from whet.evm.judge import NOT_COMPARED, Verdict
from whet.evm.pairs.nouns import Pair, Project, View
from whet.evm.solc.npm import Package
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.models.generation import generate
from whet.models.shape import Shape
from whet.objectives.base import OBJECTIVES
from whet.objectives.pretrain import Pretrain
from whet.packing import Batch
from whet.progress import Reporter
from whet.records import Dropped

BOS, EOS = 2, 3
CONTENTS = [f" {index}".encode() for index in range(40)]
"""What the ids of a random model stand for."""


def prepares(side: Side) -> Any:
    """The prepared files, and what was counted on the way to them."""
    record = side.prepared.record
    stages = [{name: stage[name] for name in ("tally", "splits")} for stage in record["stages"]]
    return {name: entry["sha256"] for name, entry in side.prepared.files.items()}, stages, record["notices"]


def plans(side: Side) -> Any:
    """Counts of the plan: parameters, rows, steps, operations, bytes of disk."""
    return {name: side.plan[name] for name in ("family", "parameters", "stages", "disk_bytes", "notices")}


def trains(side: Side) -> Any:
    """The log, the weights, and which files a training leaves."""
    folder = side.run / "stages"
    logs = {
        str(log.relative_to(folder)): without_times(store.read_json_lines(log, print))
        for log in folder.rglob("log.jsonl")
    }
    files = [str(file.relative_to(folder)) for file in folder.rglob("*") if "tfevents" not in file.name]
    weights = {
        str(file.relative_to(folder)): store.file_hash(file) for file in folder.rglob("*model.safetensors")
    }
    return logs, sorted(files), weights


def evaluates(side: Side) -> Any:
    """The evaluation of the unchanged recipe's model, without the settings that it repeats."""
    return without_times({name: value for name, value in _evaluation(side).items() if name != "samples"})


def samples(side: Side) -> Any:
    """Prompts and their continuations, without the names of the decodings."""
    return [
        (one["prompt"], one["reference"], [output["text"] for output in one["outputs"]])
        for one in _evaluation(side)["samples"]
    ]


def _evaluation(side: Side) -> dict[str, Any]:
    from whet.evaluate.run import run

    def make(folder: Path) -> dict[str, Any]:
        base = side.base()
        return run(side.recipe, folder, base.prepared, base.plan, base.models, Reporter()).record

    found: dict[str, Any] = side.laboratory.once(("evaluate", side.overrides), make)
    return found


def chooses(side: Side) -> Any:
    """What a training would run on and how."""
    from whet.train.machine import Machine

    machine = Machine(side.recipe, side.base().plan)
    return machine.device.type, machine.precision, machine.compile, machine.summary


def starts(side: Side) -> Any:
    """What a training finds itself to be: one process of how many."""
    return launch.required(side.recipe.processes)


def shares(side: Side) -> Any:
    """How two processes would share the model."""
    from whet.train.machine import Machine
    from whet.train.world import World

    machine = Machine(side.recipe, side.base().plan, World(launch.Launch(size=2)))
    return machine.summary, machine.environment()["sharding"]


def compiles(side: Side) -> Any:
    """Whether a training would be compiled, or why it cannot be."""
    try:
        return chooses(side)[2]
    except WhetError as error:
        return error.what


def writes_to(side: Side) -> Any:
    """The folder of the run."""
    from whet.pipeline import open_run

    return str(open_run(str(side.laboratory.folder / "probe.yaml"), side.overrides).folder)


def reports(side: Side) -> Any:
    """The words of the report, without the recipe that it quotes."""
    from whet.evaluate.report import render
    from whet.evaluate.report.gather import gather

    folder = side.laboratory.folder / "nothing"
    html = render({**gather(side.recipe, "", folder, []), "created": "", "machine": None})
    return re.sub(r"<[^>]*>", " ", html).split()


def recomputes(side: Side) -> Any:
    """How often a block's feed-forward layer begins to run in a training."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    calls: list[str] = []
    with register_module_forward_pre_hook(lambda module, given: calls.append(type(module).__name__)):
        side.train_again()
    return calls.count("LlamaMLP")


def continues(side: Side) -> Any:
    """What random models that often end a text make of a few prompts: of different lengths, so that beams differ."""
    return _continued(side.recipe.evaluate.decoding[0])


def continues_solidity(side: Side) -> Any:
    """The same with the decoding of written Solidity."""
    assert side.recipe.evaluate.solidity
    return _continued(side.recipe.evaluate.solidity.decoding)


def _continued(decoding: Any) -> list[list[int]]:
    return [
        generate(model, [BOS, first], decoding, new_tokens=10, seed=1, contents=CONTENTS)
        for model in map(_restless, (0, 6, 7))
        for first in range(4, 8)
    ]


def _restless(seed: int) -> Decoder:
    shape = Shape(
        norm="rmsnorm", positions="rope", d_model=16, layers=1, heads=2, d_ff=32, context=64, vocab_size=40,
        tie_embeddings=False,
    )  # fmt: skip
    special = {"pad": 0, "bos": BOS, "eos": EOS}
    model = new_model(shape, special, seed=seed, device=torch.device("cpu"), precision="fp32")
    with torch.no_grad():
        model.head.weight.mul_(10)
        model.head.weight[EOS].mul_(2)
    return model


def first_test(side: Side) -> Any:
    """Whether the first test of the standard library is a document."""
    for item in side.recipe.stages[0].data[0].documents():
        if (isinstance(item, Dropped) and item.reason == "test module") or "/test" in item.origin:
            return type(item).__name__, item.origin
    return None


def reads(side: Side) -> Any:
    """The first record of the source."""
    return next(side.recipe.stages[0].data[0].documents()).origin


def gives(side: Side) -> Any:
    """What comes out of the source."""
    return [
        item.reason if isinstance(item, Dropped) else (item.text, item.group, item.licence)
        for item in side.recipe.stages[0].data[0].documents()
    ]


def asks_the_hub(side: Side) -> Any:
    """What a stand-in for the datasets library is asked for."""
    asked: list[Any] = []
    library = types.ModuleType("datasets")
    library.load_dataset = lambda *given, **named: asked.append((given, named)) or iter(())  # type: ignore[attr-defined, func-returns-value]
    before = sys.modules.get("datasets")
    sys.modules["datasets"] = library
    try:
        list(side.recipe.stages[0].data[0].documents())
    finally:
        del sys.modules["datasets"]
        if before is not None:
            sys.modules["datasets"] = before
    return asked


def makes_pairs(side: Side) -> Any:
    """What a stand-in for compiling and lifting is asked for, and what comes out of the source: a pair a file."""
    with without_compiler(side) as asked:
        return asked, gives(side)


def plans_pairs(side: Side) -> Any:
    """The plan, with that stand-in."""
    with without_compiler(side):
        return plans(side)


def writes(side: Side) -> Any:
    """What is written for held-out functions, with that stand-in, and one for the judge that cannot compile it again."""
    from whet.evaluate.run import run

    with without_compiler(side), pytest.MonkeyPatch.context() as patch:
        patch.setattr("whet.evaluate.written.score.Judge", Refuses)
        folder = side.laboratory.folder / f"written-{len(side.laboratory.made)}-{side.overrides[-1]}"
        record = run(side.recipe, folder, side.prepared, side.plan, side.models, Reporter()).record
    return [
        (one["origin"], {writer: text["text"] for writer, text in one["texts"].items()})
        for one in record["solidity"]["first"]["functions"]
    ]


class Refuses:
    """A judge for whom nothing compiles."""

    def __init__(self, projects: object, pool: object, *, solc: str) -> None:
        pass

    def judged(self, written: list[Any]) -> list[Verdict]:
        return [Verdict(False, False, False, NOT_COMPARED) for _ in written]

    def emitted(self, pairs: list[Pair]) -> list[tuple[str, Verdict]]:
        return [("", Verdict(False, False, False, NOT_COMPARED)) for _ in pairs]


@contextmanager
def without_compiler(side: Side) -> Iterator[list[Any]]:
    """A stand-in for compiling and lifting, and for npm; what it was asked for."""
    asked: list[Any] = []

    def made(project: Project, build: str, pool: object, solc: str, emitted: bool) -> Any:
        asked.append((project.name, sorted(project.texts), project.own, build, solc, emitted))
        pairs = [_pair(project, file, build) for file in project.own]
        return types.SimpleNamespace(lost=[], pairs=lambda: iter(pairs))

    def package(name: str, version: str) -> Package:
        return Package(name, version, Path(side.recipe.stages[0].data[0].path).parent / "contracts", "", True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whet.evm.pairs.kept.made", made)
        patch.setattr("whet.evm.pairs.projects.package", package)
        yield asked


def _pair(project: Project, file: str, build: str) -> Pair:
    texts = {
        name: f"{name} of {project.name}/{file}"
        for name in (field.name for field in fields(Pair))
        if name not in ("called", "storage", "hidden", "line", "names", "mentions")
    }
    told = {
        "called": {},
        "storage": [],
        "tac": f"tac of {project.name}/{file} with stor_3",
        "names": {"stor_3": "source"},
        "hidden": View(f"hidden of {file}", {}, []),
        "mentions": {"source": [0]},
        "line": 1,
        "lineage": project.lineage,
        "file": file,
    }
    same = {"solc": "0.8.30", "build": build, "tac_hash": f"{project.name}/{file}/{build}"}
    return Pair(**{**texts, **told, **same})


def looks_for(side: Side) -> Any:
    """Where a base would be looked for, and what for, without a network."""
    from huggingface_hub import constants

    from whet.models import hub

    online, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        return str(hub.of(side.recipe.tuned))
    except WhetError as error:
        return error.what
    finally:
        constants.HF_HUB_OFFLINE = online


SEES: list[Callable[[Side], Any]] = [
    prepares,
    plans,
    trains,
    evaluates,
    samples,
    writes_to,
    reports,
    continues,
]


class Half(Pretrain):
    """Another objective than the one there is: half the loss."""

    NAME = "half"
    SUMMARY = "half the loss"

    def loss_sum(self, model: Any, batch: Batch) -> Any:
        return 0.5 * super().loss_sum(model, batch)


class Stumbling(Pretrain):
    """Not a number at its second batch, a spike at its twenty-fifth."""

    NAME = "stumbling"
    SUMMARY = "stumbles twice"

    def __init__(self) -> None:
        self.batches = 0

    def loss_sum(self, model: Any, batch: Batch) -> Any:
        self.batches += model.model.training
        factor = {2: float("nan"), 25: 1e4}.get(self.batches, 1.0) if model.model.training else 1.0
        return factor * super().loss_sum(model, batch)


@contextmanager
def other_objective() -> Iterator[None]:
    for kind in (Half, Stumbling):
        OBJECTIVES.register(kind)
    try:
        yield
    finally:
        for kind in (Half, Stumbling):
            OBJECTIVES.unregister(kind.NAME)


def probe(see: Callable[[Side], Any], *changes: str, **more: Any) -> Probe:
    return Probe(see, changes, **more)


def write_arrays(laboratory: Laboratory) -> None:
    """Token arrays and a tokenizer for them."""
    draw = np.random.default_rng(1)
    for name in ("rows", "others"):
        np.save(laboratory.folder / f"{name}.npy", draw.integers(5, 300, (12, 48), dtype=np.int32))
    shutil.copytree(laboratory.side(()).prepared.folder / "tokenizer", laboratory.folder / "tokenizer")


FIRST, STAGE, DATA = "stages.first.", "stages[].", "stages[].data[]."
ROWS = f"{FIRST}data=[{{source: text, path: '{{here}}/rows.jsonl'}}]"
LARGE = f"{FIRST}data=[{{source: text, path: '{{here}}/large.txt'}}]"
SFT = f"{FIRST}objective=sft"
CHATS = (SFT, f"{FIRST}data=[{{source: conversations, path: '{{here}}/chats.jsonl'}}]")
PAIRS = (SFT, f"{FIRST}data=[{{source: solidity, path: '{{here}}/contracts'}}]")
PAIRS_WEIGHED = (
    "{source: solidity, path: '{here}/contracts', families: file, tests: true, metadata: hidden, weight: 1.0}"
)
TALKS_WEIGHED = "{source: conversations, path: '{here}/talks.jsonl', weight: 1.0}"
HUB = (SFT, f"{FIRST}data=[{{source: conversations, hub: a/b}}]")
TALKS = (
    SFT,
    f"{FIRST}data=[{{source: conversations, path: '{{here}}/talks.jsonl'}}]",
    "model.context=256",
    f"{FIRST}sequence_length=256",
    "chat_template=alpaca",
)
ADAPTER = "adapter: {rank: 2, alpha: 4, dropout: 0.1, targets: [q_proj]}"
BASE = (f"model={{base: '{{here}}/base', {ADAPTER}}}", "tokenizer=null", f"{FIRST}optimizer=adamw")
QUANTIZED = (
    f"model={{base: '{{here}}/base', quantization: nf4, {ADAPTER}}}",
    "tokenizer=null",
    f"{FIRST}optimizer=adamw",
)
ELSEWHERE = ("model={base: a/b}", "tokenizer=null", f"{FIRST}optimizer=adamw")
STDLIB = f"{FIRST}data=[{{source: stdlib}}]"
ARRAYS = (f"{FIRST}data=[{{source: tokens, path: '{{here}}/rows.npy'}}]", "tokenizer.path={here}/tokenizer")
AT = f"{FIRST}data.0."
NO_NEAR = "prepare.near_duplicate_similarity=null"
DECODE = "evaluate.decoding[]."
DECODINGS = {
    "greedy.no_repeat_ngram": "1",
    "greedy.min_new_tokens": "10",
    "greedy.stop": "['5', '6', '7', '8', '9']",
    "greedy.repetition_penalty": "9.0",
    "sample.temperature": "5.0",
    "sample.top_p": "0.01",
    "sample.top_k": "1",
    "sample.no_repeat_ngram": "1",
    "sample.min_new_tokens": "10",
    "sample.stop": "['5', '6', '7', '8', '9']",
    "sample.repetition_penalty": "9.0",
    "beam.no_repeat_ngram": "1",
    "beam.min_new_tokens": "10",
    "beam.stop": "['5', '6', '7', '8', '9']",
    "beam.repetition_penalty": "9.0",
    "beam.beams": "2",
    "beam.length_penalty": "-5.0",
    "beam.early_stopping": "false",
}
"""What changes each key of a decoding, by its kind and name."""
SOLIDITY = "evaluate.solidity."
WRITES = (
    SFT,
    f"{FIRST}data=[{{source: solidity, path: '{{here}}/contracts', families: file, tests: true, metadata: both}}]",
    *TALKS[2:],
    "prepare={validation_share: 0.0, test_share: 0.5, near_duplicate_similarity: null}",
    "evaluate.samples=0",
    "evaluate.solidity={functions: 9, new_tokens: 9, judge: false}",
)
TWO_ARRAYS = ("tokens, path: '{here}/rows.npy'", "tokens, path: '{here}/others.npy'")
CURRICULUM = f"{FIRST}curriculum={{by: length}}"
ONE_AND_A_HALF = (f"{FIRST}steps=null", f"{FIRST}epochs=1.5")
MIDDLES = f"{FIRST}fill_in_the_middle={{share: 0.9}}"
STUMBLES = f"{FIRST}objective=stumbling"


def decoding(key: str, value: str) -> Probe:
    kind, name = key.split(".")
    return probe(
        continues, f"evaluate.decoding.0.{name}={value}", given=(f"evaluate.decoding=[{{kind: {kind}}}]",)
    )


def decoding_solidity(key: str, value: str) -> Probe:
    kind, name = key.split(".")
    given = (*PAIRS, f"evaluate.solidity={{decoding: {{kind: {kind}}}}}")
    return probe(continues_solidity, f"{SOLIDITY}decoding.{name}={value}", given=given)


def weight(first: str, second: str, *given: str, **more: Any) -> Probe:
    data = f"{FIRST}data=[{{source: {first}, weight: 1.0}}, {{source: {second}, weight: 1.0}}]"
    return probe(plans, f"{AT}weight=3.0", given=(data, *given), **more)


def cleaning(rule: str, key: str, value: str) -> Probe:
    return probe(prepares, f"prepare.cleaning.{rule}.{key}={value}")


PROBES: dict[str, Probe] = {
    "name": probe(writes_to, "name=other"),
    "description": probe(reports, "description=what it is for"),
    "output": probe(writes_to, "output=elsewhere"),
    "seed": probe(prepares, "seed=8"),
    "device": probe(chooses, "device=mps", refused="is not there"),
    "precision": probe(trains, "precision=bf16"),
    "compile": probe(compiles, 'compile="on"'),
    "processes": probe(starts, "processes=2", refused="asks for 2 training processes"),
    "sharding": probe(shares, "sharding=fsdp2", given=("processes=2",)),
    **{f"prepare.cleaning.{rule}": probe(prepares, f"prepare.cleaning.{rule}=false")
       for rule in ("control_characters", "generated", "minified", "repetitive", "size")},
    "prepare.cleaning.control_characters.max_share": cleaning("control_characters", "max_share", "0.9"),
    "prepare.cleaning.minified.max_line": cleaning("minified", "max_line", "60"),
    "prepare.cleaning.minified.max_mean_line": cleaning("minified", "max_mean_line", "90000"),
    "prepare.cleaning.minified.max_numbers": cleaning("minified", "max_numbers", "1.0"),
    "prepare.cleaning.minified.max_encoded": cleaning("minified", "max_encoded", "1.0"),
    "prepare.cleaning.repetitive.max_share": cleaning("repetitive", "max_share", "1.0"),
    "prepare.cleaning.size.min_bytes": cleaning("size", "min_bytes", "0"),
    "prepare.cleaning.size.max_bytes": cleaning("size", "max_bytes", "1500"),
    "prepare.exact_duplicates": probe(prepares, "prepare.exact_duplicates=keep", given=(NO_NEAR,)),
    "prepare.near_duplicate_similarity": probe(prepares, NO_NEAR),
    "prepare.validation_share": probe(prepares, "prepare.validation_share=0.5"),
    "prepare.test_share": probe(prepares, "prepare.test_share=0.5"),
    "tokenizer.path": probe(prepares, "tokenizer.path={here}/tokenizer", given=("tokenizer.vocab_size=330",)),
    "tokenizer.vocab_size": probe(prepares, "tokenizer.vocab_size=330"),
    "tokenizer.sample_bytes": probe(prepares, "tokenizer.sample_bytes=5000"),
    "tokenizer.special_tokens": probe(prepares, "tokenizer.special_tokens=['<|note|>']"),
    "model.size": probe(plans, "model.size=medium", given=("model={size: tiny}",), more=True),
    "model.norm": probe(plans, "model.norm=layernorm"),
    "model.positions": probe(plans, "model.positions=learned", given=("model.norm=layernorm",)),
    "model.d_model": probe(plans, "model.d_model=24"),
    "model.layers": probe(plans, "model.layers=2"),
    "model.heads": probe(trains, "model.heads=4"),
    "model.d_ff": probe(plans, "model.d_ff=48"),
    "model.context": probe(prepares, "model.context=80"),
    "model.dropout": probe(trains, "model.dropout=0.5"),
    "model.tie_embeddings": probe(plans, "model.tie_embeddings=false"),
    "model.base": probe(trains, "model.base={here}/other_base", given=BASE),
    "model.revision": probe(prepares, "model.revision=v1", given=BASE, refused="has no revision 'v1'"),
    "model.cache_dir": probe(looks_for, "model.cache_dir={here}/cache", given=ELSEWHERE),
    "model.quantization": probe(trains, "model.quantization=int8", given=BASE),
    "model.double_quantization": probe(trains, "model.double_quantization=false", given=QUANTIZED),
    "model.new_tokens": probe(prepares, "model.new_tokens=['<|note|>']", given=BASE),
    "model.adapter.kind": probe(trains, "model.adapter.kind=rslora", given=BASE),
    "model.adapter.rank": probe(trains, "model.adapter.rank=3", given=BASE),
    "model.adapter.alpha": probe(trains, "model.adapter.alpha=9", given=BASE),
    "model.adapter.dropout": probe(trains, "model.adapter.dropout=0.5", given=BASE),
    "model.adapter.targets": probe(plans, "model.adapter.targets=mlp", given=BASE),
    "chat_template": probe(prepares, "chat_template=plain", given=TALKS),
    f"{STAGE}loss_on": probe(prepares, f"{FIRST}loss_on=last", given=TALKS),
    f"{STAGE}prompt_loss_weight": probe(trains, f"{FIRST}prompt_loss_weight=0.5", given=TALKS),
    f"{STAGE}batch_tokens": probe(plans, f"{FIRST}batch_tokens=512", given=TALKS),
    f"{STAGE}name": probe(prepares, f"{FIRST}name=other"),
    f"{STAGE}objective": probe(trains, f"{FIRST}objective=half"),
    f"{DATA}source": probe(reads, STDLIB),
    f"{DATA}text.path": probe(prepares, f"{AT}path={{here}}/other"),
    f"{DATA}text.field": probe(prepares, f"{AT}field=body", given=(ROWS,)),
    f"{DATA}text.piece_bytes": probe(prepares, f"{AT}piece_bytes=600", given=(LARGE, f"{AT}piece_bytes=900")),
    f"{DATA}text.group_by": probe(prepares, f"{AT}group_by=folder"),
    f"{DATA}text.group_field": probe(prepares, f"{AT}group_field=repository", given=(ROWS,)),
    f"{DATA}text.exclude": probe(prepares, f"{AT}exclude=['m1*.py']"),
    f"{DATA}text.licence": probe(prepares, f"{AT}licence=MIT"),
    f"{DATA}stdlib.tests": probe(first_test, f"{AT}tests=true", given=(STDLIB,)),
    f"{DATA}text.weight": weight("text, path: '{here}/other'", "text, path: '{here}/code'"),
    f"{DATA}tokens.weight": weight(*TWO_ARRAYS, "tokenizer.path={here}/tokenizer"),
    f"{DATA}stdlib.weight": weight("stdlib", "text, path: '{here}/code'", slow=True),
    f"{DATA}stdlib_english.weight": weight("stdlib_english", "text, path: '{here}/code'", slow=True),
    f"{DATA}tokens.path": probe(prepares, f"{AT}path={{here}}/others.npy", given=ARRAYS),
    f"{DATA}tokens.validation": probe(prepares, f"{AT}validation={{here}}/others.npy", given=ARRAYS),
    f"{DATA}solidity.path": probe(makes_pairs, f"{AT}path={{here}}/contracts/a.sol", given=PAIRS),
    f"{DATA}solidity.npm": probe(makes_pairs, f"{AT}npm=[tokens@1.0.0]", given=PAIRS),
    f"{DATA}solidity.dependencies": probe(makes_pairs, f"{AT}dependencies=[tokens@1.0.0]", given=PAIRS),
    f"{DATA}solidity.solc": probe(makes_pairs, f"{AT}solc=0.8.19", given=PAIRS),
    f"{DATA}solidity.builds": probe(makes_pairs, f"{AT}builds=[default, \"off\"]", given=PAIRS),
    f"{DATA}solidity.families": probe(makes_pairs, f"{AT}families=file", given=PAIRS),
    f"{DATA}solidity.most_per_era": probe(makes_pairs, f"{AT}most_per_era=1", given=PAIRS),
    f"{DATA}solidity.tests": probe(makes_pairs, f"{AT}tests=true", given=PAIRS),
    f"{DATA}solidity.metadata": probe(makes_pairs, f"{AT}metadata=both", given=PAIRS),
    f"{DATA}solidity.prompt_tokens": probe(makes_pairs, f"{AT}prompt_tokens=1", given=PAIRS),
    f"{DATA}solidity.names": probe(makes_pairs, f"{AT}names=context", given=PAIRS),
    f"{DATA}solidity.emitted": probe(makes_pairs, f"{AT}emitted=true", given=PAIRS),
    f"{DATA}conversations.path": probe(gives, f"{AT}path={{here}}/more_chats.jsonl", given=CHATS),
    f"{DATA}conversations.format": probe(gives, f"{AT}format=messages", given=CHATS),
    f"{DATA}conversations.columns": probe(gives, f"{AT}columns={{prompt: question}}", given=CHATS),
    f"{DATA}conversations.group_field": probe(gives, f"{AT}group_field=who", given=CHATS),
    f"{DATA}conversations.licence": probe(gives, f"{AT}licence=MIT", given=CHATS),
    f"{DATA}conversations.hub": probe(asks_the_hub, f"{AT}hub=c/d", given=HUB),
    f"{DATA}conversations.split": probe(asks_the_hub, f"{AT}split=test", given=HUB),
    f"{DATA}conversations.subset": probe(asks_the_hub, f"{AT}subset=de", given=HUB),
    f"{DATA}conversations.revision": probe(asks_the_hub, f"{AT}revision=v1", given=HUB),
    f"{DATA}conversations.weight": weight(
        "conversations, path: '{here}/talks.jsonl'", "conversations, path: '{here}/more_talks.jsonl'", *TALKS
    ),
    f"{DATA}solidity.weight": probe(
        plans_pairs,
        f"{AT}weight=3.0",
        given=(SFT, f"{FIRST}data=[{PAIRS_WEIGHED}, {TALKS_WEIGHED}]", *TALKS[2:]),
    ),
    f"{STAGE}sequence_length": probe(plans, f"{FIRST}sequence_length=32"),
    f"{STAGE}overflow": probe(plans, f"{FIRST}overflow=truncate_right"),
    f"{STAGE}batch_size": probe(trains, f"{FIRST}batch_size=3"),
    f"{STAGE}accumulation": probe(trains, f"{FIRST}accumulation=2"),
    f"{STAGE}epochs": probe(plans, f"{FIRST}epochs=2", given=(f"{FIRST}steps=null", f"{FIRST}epochs=1")),
    f"{STAGE}steps": probe(trains, f"{FIRST}steps=2"),
    f"{STAGE}optimizer": probe(trains, f"{FIRST}optimizer=adamw"),
    f"{STAGE}learning_rate": probe(trains, f"{FIRST}learning_rate=2e-2"),
    f"{STAGE}betas": probe(trains, f"{FIRST}betas=[0.5, 0.6]"),
    f"{STAGE}eps": probe(trains, f"{FIRST}eps=1e-2"),
    f"{STAGE}momentum": probe(trains, f"{FIRST}momentum=0.5"),
    f"{STAGE}weight_decay": probe(trains, f"{FIRST}weight_decay=0.9"),
    f"{STAGE}grad_clip": probe(trains, f"{FIRST}grad_clip=1e-3", given=(f"{FIRST}eps=1e-3",)),
    f"{STAGE}schedule": probe(trains, f"{FIRST}schedule=constant"),
    f"{STAGE}warmup_steps": probe(trains, f"{FIRST}warmup_steps=2"),
    f"{STAGE}warmup_share": probe(trains, f"{FIRST}warmup_share=0.7"),
    f"{STAGE}decay_share": probe(trains, f"{FIRST}decay_share=1.0", given=(f"{FIRST}schedule=wsd",)),
    f"{STAGE}final_learning_rate_share": probe(trains, f"{FIRST}final_learning_rate_share=0.9"),
    f"{STAGE}skip_steps": probe(trains, f"{FIRST}skip_steps=0", given=(STUMBLES,), refused="loss nan at step 2"),
    f"{STAGE}spike_factor": probe(trains, f"{FIRST}spike_factor=5.0", given=(STUMBLES, f"{FIRST}steps=26")),
    f"{STAGE}curriculum.by": probe(trains, f"{FIRST}curriculum.by=difficulty", given=(CURRICULUM,)),
    f"{STAGE}curriculum.bands": probe(trains, f"{FIRST}curriculum.bands=3", given=(CURRICULUM,)),
    f"{STAGE}curriculum.epochs": probe(plans, f"{FIRST}curriculum.epochs=2", given=(CURRICULUM, *ONE_AND_A_HALF)),
    f"{STAGE}fill_in_the_middle.share": probe(trains, f"{FIRST}fill_in_the_middle.share=0.2", given=(MIDDLES,)),
    f"{STAGE}fill_in_the_middle.spm_share": probe(trains, f"{FIRST}fill_in_the_middle.spm_share=0.9", given=(MIDDLES,)),
    f"{STAGE}gradient_checkpointing": probe(recomputes, f"{FIRST}gradient_checkpointing=true"),
    f"{STAGE}evaluate_every": probe(trains, f"{FIRST}evaluate_every=3"),
    f"{STAGE}validation_tokens": probe(trains, f"{FIRST}validation_tokens=200"),
    f"{STAGE}save_every": probe(trains, f"{FIRST}save_every=3"),
    f"{STAGE}keep": probe(trains, f"{FIRST}keep=1"),
    f"{STAGE}log_every": probe(trains, f"{FIRST}log_every=5"),
    f"{STAGE}result": probe(trains, f"{FIRST}result=last"),
    "evaluate.metrics": probe(evaluates, "evaluate.metrics=[perplexity]"),
    "evaluate.stride": probe(evaluates, "evaluate.stride=5"),
    "evaluate.max_tokens": probe(evaluates, "evaluate.max_tokens=500"),
    "evaluate.floors": probe(evaluates, "evaluate.floors=2"),
    "evaluate.resamples": probe(evaluates, "evaluate.resamples=200"),
    "evaluate.samples": probe(samples, "evaluate.samples=2"),
    "evaluate.middles": probe(evaluates, "evaluate.middles=2", given=(MIDDLES,)),
    "evaluate.prompt_tokens": probe(samples, "evaluate.prompt_tokens=12"),
    "evaluate.new_tokens": probe(samples, "evaluate.new_tokens=12"),
    f"{DECODE}kind": probe(continues, "evaluate.decoding.0.kind=sample"),
    **{f"{DECODE}{key}": decoding(key, value) for key, value in DECODINGS.items()},
    f"{SOLIDITY}functions": probe(writes, f"{SOLIDITY}functions=1", given=WRITES),
    f"{SOLIDITY}new_tokens": probe(writes, f"{SOLIDITY}new_tokens=2", given=WRITES),
    f"{SOLIDITY}judge": probe(writes, f"{SOLIDITY}judge=true", given=WRITES),
    f"{SOLIDITY}decoding.kind": probe(
        continues_solidity, f"{SOLIDITY}decoding.kind=sample", given=(*PAIRS, "evaluate.solidity={}")
    ),
    **{f"{SOLIDITY}decoding.{key}": decoding_solidity(key, value) for key, value in DECODINGS.items()},
}  # fmt: skip
