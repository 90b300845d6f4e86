"""Settings made in Python mean what the same keys mean in a file, and are refused in the same words."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

import whet
from whet.recipe.load import builtin_recipes, load_recipe
from whet.settings import Settings
from whet.sources.base import SOURCES, Source


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the built-in recipes read, and notes."""
    for place in ("data/language", "data/code", "notes"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "a.txt").write_text("a text\n")
    for name in ("pairs", "dialogues"):
        (tmp_path / "data" / f"{name}.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def notes(**more: Any) -> whet.Stage:
    return whet.Stage(name="notes", data=[whet.TextSource(path="notes")], **more)


def rebuilt(value: Any) -> Any:
    """The same by constructors alone, section by section, from what was given."""
    if isinstance(value, Settings):
        return type(value)(**{name: rebuilt(getattr(value, name)) for name in value.model_fields_set})
    return [rebuilt(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", builtin_recipes())
def test_a_builtin_recipe_is_the_same_made_in_python(name: str) -> None:
    loaded = load_recipe(name)
    assert "sequence_length: null" not in loaded.resolved
    for made in (
        rebuilt(loaded.recipe),
        whet.Recipe(**loaded.recipe.given()),
        whet.Recipe(**loaded.recipe.model_dump()),
    ):
        assert made == loaded.recipe
        assert whet.load_recipe(made).resolved == loaded.resolved
    stages = [stage.given() for stage in loaded.recipe.stages]
    assert all("sequence_length" not in stage or stage["sequence_length"] for stage in stages)


@pytest.mark.parametrize(
    "override",
    [
        "model.size=medium",
        "model={base: owner/name}",
        "stages.notes.batch_tokens=64",
        "tokenizer.vocab_size=400",
    ],
)
def test_an_override_acts_as_in_a_file(here: Path, override: str) -> None:
    (here / "small.yaml").write_text(
        "name: small\nmodel: {layers: 3}\nstages:\n  - name: notes\n    data: [{source: text, path: notes}]\n"
    )
    made = whet.Recipe(name="small", model=whet.Model(layers=3), stages=[notes()])
    overrides = [override]
    if "batch_tokens" in override:
        data = "stages.notes.data=[{source: conversations, path: data/pairs.jsonl}]"
        overrides = ["stages.notes.objective=sft", data, "stages.notes.sequence_length=32", override]
    assert whet.load_recipe(made, overrides).resolved == load_recipe("small.yaml", overrides).resolved


def test_a_stage_in_two_recipes_is_filled_for_each() -> None:
    stage = notes()
    new = whet.Recipe(name="new", model=whet.Model(context=64), stages=[stage])
    tuned = whet.Recipe(name="tuned", model=whet.Tuned(base="owner/name"), stages=[stage])
    assert (new.stages[0].optimizer, new.stages[0].sequence_length) == ("muon", 64)
    assert (tuned.stages[0].optimizer, tuned.stages[0].sequence_length) == ("adamw", 2048)
    assert (stage.optimizer, stage.sequence_length) == ("muon", None)
    again = whet.Recipe(name="again", model=whet.Model(context=32), stages=tuned.stages)
    assert (again.stages[0].optimizer, again.stages[0].sequence_length) == ("muon", 32)


WRONG: dict[str, tuple[Callable[[], object], list[str]]] = {
    "unknown key": (lambda: notes(lr=1), ["whet.Stage(...): lr: unknown key; did you mean 'learning_rate'?"]),
    "all at once": (
        lambda: whet.Lora(alhpa=3, rank="4"),  # type: ignore[call-arg, arg-type]
        [
            "2 problems in whet.Lora(...)",
            "alhpa: unknown key; did you mean 'alpha'?",
            "rank: must be a whole number",
        ],
    ),
    "no such file": (
        lambda: whet.TextSource(path="nots"),
        ["whet.TextSource(...): path: there is nothing at"],
    ),
    "a path": (lambda: whet.TextSource(path=Path("notes")), ["not a Path; write str('notes')"]),  # type: ignore[arg-type]
    "a tuple": (lambda: notes(betas=(0.9, 0.99)), ["betas: must be a list", "write [0.9, 0.99]"]),
    "decoding": (lambda: whet.Sample(temperature=-1), ["temperature: must be more than 0, not -1"]),
    "contradiction": (lambda: notes(steps=3, epochs=1.0), ["steps: epochs and steps both say when to end"]),
    "between sections": (
        lambda: whet.Recipe(name="a", stages=[notes(sequence_length=4096)]),
        ["stages.notes.sequence_length: 4096 is longer than the model's context of 512"],
    ),
    "missing": (lambda: whet.Recipe(name="a"), ["whet.Recipe(...): stages: is required and missing"]),  # type: ignore[call-arg]
    "another section": (
        lambda: whet.Recipe(name="a", model=whet.Lora(), stages=[notes()]),
        ["model: must be a section", "not whet.Lora(...)"],
    ),  # type: ignore[arg-type]
    "no list": (lambda: whet.Recipe(name="a", stages=notes()), ["write [whet.Stage(...)]"]),  # type: ignore[arg-type]
    "a class": (
        lambda: whet.Evaluate(decoding=[whet.Greedy]),
        ["decoding.0: must be a section with kind one of greedy"],
    ),  # type: ignore[list-item]
    "a name too long for the system": (
        lambda: whet.Tokenizer(path="a" * 5000),
        ["whet.Tokenizer(...): path: there is no tokenizer.json at"],
    ),
    "a base too long for the system": (
        lambda: whet.Tuned(base="a" * 4000),
        ["whet.Tuned(...): base: there is no folder"],
    ),
    "no folder": (
        lambda: whet.Recipe(name="a", output="a\0b", stages=[notes()]),
        ["output: holds a character"],
    ),
    "no such source": (
        lambda: whet.Stage(name="a", data=[{"source": "txt"}]),  # type: ignore[list-item]
        ["data.0.source: there is no source 'txt'; did you mean 'text'?"],
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_mistake_is_a_recipe_error_in_our_words(wrong: str) -> None:
    make, words = WRONG[wrong]
    with pytest.raises(whet.RecipeError) as caught:
        make()
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.__cause__ is None
    assert "pydantic" not in str(caught.value)


SECTIONS = [
    whet.Recipe,
    whet.Prepare,
    whet.Tokenizer,
    whet.Model,
    whet.Tuned,
    whet.Lora,
    whet.Stage,
    whet.Curriculum,
]
SECTIONS += [whet.FillInTheMiddle, whet.Evaluate, whet.WrittenSolidity, whet.Greedy, whet.Sample, whet.Beam]
SECTIONS += [
    whet.TextSource,
    whet.ConversationSource,
    whet.StdlibSource,
    whet.StdlibEnglishSource,
    whet.SoliditySource,
    whet.TokensSource,
]
ODD: list[Any] = [
    None, True, -1, 10**400, float("nan"), "x", "", b"x", [], [[]], {}, {1: 2}, {"kind": []}, (), set(), object(), Path("x"),
    whet.Greedy, whet.Greedy(), whet.Lora(), [whet.Lora()], [{"source": 3}], {"base": None}, {"size": {}}, "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_whatever_is_given_nothing_but_a_recipe_error_is_raised(section: type[Settings]) -> None:
    needed: dict[str, Any] = {"name": "a", "base": "a/b", "by": "length", "path": "notes"}
    needed["data"], needed["stages"] = [whet.TextSource(path="notes")], [notes()]
    fine = {name: value for name, value in needed.items() if name in section.model_fields}
    if section is whet.TokensSource:
        fine = {}
    refused = 0
    for name in section.model_fields:
        for odd in ODD:
            try:
                section(**{**fine, name: odd})
            except whet.RecipeError:
                refused += 1
    assert refused >= 10 * len(section.model_fields)


def test_what_is_changed_afterwards_is_looked_at_again() -> None:
    recipe = whet.Recipe(name="a", stages=[notes(steps=3)])
    recipe.stages[0].steps = 5
    assert whet.open_run(recipe).recipe.stages[0].steps == 5
    recipe.stages[0].steps = -5
    with pytest.raises(whet.RecipeError, match=r"stages\.notes\.steps: must be at least 1, not -5"):
        whet.open_run(recipe)
    with pytest.raises(whet.RecipeError, match=r"--set stages\.notes\.steps=0"):
        whet.open_run(recipe, ["stages.notes.steps=0"])


def test_what_is_changed_within_what_was_not_given_counts() -> None:
    """A section or a list that stands there by default is as good to change as one that was given."""
    stage = notes()
    stage.betas[1] = 0.99
    recipe = whet.Recipe(name="a", stages=[stage])
    assert recipe.tokenizer
    assert isinstance(recipe.model, whet.Model)
    recipe.evaluate.samples = 0
    recipe.evaluate.metrics.remove("perplexity")
    recipe.tokenizer.special_tokens.append("<a>")
    recipe.model.layers = 3
    recipe.prepare.cleaning["size"] = False
    found = whet.open_run(recipe).recipe
    assert isinstance(found.model, whet.Model)
    assert found.tokenizer
    assert (found.evaluate.samples, found.evaluate.metrics) == (0, ["bits_per_byte"])
    assert (found.tokenizer.special_tokens, found.model.layers) == (["<a>"], 3)
    assert (found.prepare.cleaning, found.stages[0].betas) == ({"size": False}, [0.9, 0.99])
    tuned = whet.Recipe(name="a", model=whet.Tuned(base="owner/name"), stages=[notes()])
    tuned.stages[0].betas[1] = 0.95
    model = tuned.model
    assert isinstance(model, whet.Tuned)
    assert model.adapter
    model.adapter.rank = 99
    assert whet.load_recipe(tuned).recipe.model_dump() == tuned.model_dump()
    assert whet.load_recipe(tuned, ["model={size: tiny}"]).recipe.stages[0].betas == [0.9, 0.95]


def test_what_follows_from_other_keys_follows_anew() -> None:
    recipe = whet.Recipe(name="a", model=whet.Model(size="medium"), stages=[notes()])
    assert recipe.given()["model"] == {"size": "medium"}
    assert isinstance(recipe.model, whet.Model)
    recipe.model.size, recipe.model.context = "large", 64
    found = whet.load_recipe(recipe).recipe
    assert found.model == whet.Model(size="large", context=64)
    assert found.stages[0].sequence_length == 64


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))],  # noqa: S301
)
def test_a_copy_is_as_good(copied: Callable[[whet.Recipe], whet.Recipe]) -> None:
    recipe = whet.Recipe(name="a", model=whet.Model(context=64), stages=[notes(steps=3)])
    assert (copied(recipe), copied(recipe).given()) == (recipe, recipe.given())
    assert whet.load_recipe(copied(recipe)).resolved == whet.load_recipe(recipe).resolved


def test_a_key_that_is_none_is_refused_afterwards_too() -> None:
    stage = notes()
    with pytest.raises(whet.RecipeError, match="lr: unknown key; did you mean 'learning_rate'"):
        stage.lr = 1e-3  # type: ignore[attr-defined]
    with pytest.raises(whet.RecipeError, match=r"whet.TextSource.weight: cannot be changed"):
        stage.data[0].weight = 2.0  # type: ignore[misc]


def test_home_is_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert whet.TextSource(path="~/notes").path == str(here / "notes")
    recipe = whet.Recipe(name="a", output="~/runs", stages=[notes()])
    assert whet.open_run(recipe).folder == here / "runs/a"
    (here / "runs/a").mkdir(parents=True)
    (here / "runs/a/recipe.yaml").write_text(whet.load_recipe(recipe).resolved)
    assert whet.open_run("~/runs/a").recipe == whet.load_recipe(recipe).recipe
    for moved in ("name=b", "name = b"):
        assert whet.open_run("~/runs/a", [moved]).folder == here / "runs/b"
    assert whet.open_run("~/runs/a", ["seed=3"]).folder == here / "runs/a"
    with pytest.raises(whet.RecipeError, match="there is nothing at"):
        whet.TextSource(path="~nobody-of-this-name/notes")


def test_what_is_no_recipe_is_said_to_be_none() -> None:
    whole = "name: a\n" + "# a line of a recipe\n" * 1000
    for wrong in (whole, "~nobody-of-this-name/a.yaml", "a\0b", Path("nowhere.yaml")):
        with pytest.raises(whet.RecipeError, match="no file and no built-in recipe") as caught:
            whet.open_run(wrong)
        assert len(str(caught.value)) < 300
    with pytest.raises(whet.RecipeError, match="one string is not several overrides"):
        whet.open_run(whet.Recipe(name="a", stages=[notes()]), "seed=1")


def test_opening_a_run_changes_neither_recipe_nor_disk(here: Path) -> None:
    recipe = whet.Recipe(name="a", stages=[notes()])
    before, given = recipe.model_dump(), recipe.given()
    run = whet.open_run(recipe, ["stages.notes.steps=7"])
    assert (recipe.model_dump(), recipe.given()) == (before, given)
    assert run.folder == Path("runs/a")
    assert not (here / "runs").exists()


def test_a_source_registered_later_is_part_of_it() -> None:
    assert whet.Stage

    class Nothing(Source):
        """Yields nothing."""

        NAME = "nothing"
        SUMMARY, UNITS, EXAMPLE = "nothing", "things", "{source: nothing}"
        source: Literal["nothing"] = "nothing"

        def fingerprint(self) -> str:
            return "0" * 32

        def documents(self) -> Any:
            return iter(())

    SOURCES.register(Nothing)
    try:
        stage = whet.Stage(name="a", data=[Nothing(weight=2.0)])
        assert whet.Recipe(name="a", stages=[stage]).given()["stages"][0]["data"] == [
            {"source": "nothing", "weight": 2.0}
        ]
    finally:
        SOURCES.unregister("nothing")


def test_a_source_that_is_not_registered_is_said_to_be_so() -> None:
    class Unknown(Source):
        """Yields nothing."""

        source: Literal["unknown"] = "unknown"

        def fingerprint(self) -> str:
            return "0" * 32

        def documents(self) -> Any:
            return iter(())

    with pytest.raises(whet.RecipeError, match=r"'unknown' is not registered; call .*register\(Unknown\)"):
        whet.Stage(name="a", data=[Unknown()])


def test_a_source_can_be_defined_again() -> None:
    """As a notebook's cell does that runs twice."""

    def define(units: str) -> type[Source]:
        class Cell(Source):
            """Yields nothing."""

            NAME = "cell"
            SUMMARY, EXAMPLE = "nothing", "{source: cell}"
            UNITS = units
            source: Literal["cell"] = "cell"

            def fingerprint(self) -> str:
                return "0" * 32

            def documents(self) -> Any:
                return iter(())

        return Cell

    try:
        SOURCES.register(define("things"))
        old = whet.Recipe(name="a", stages=[whet.Stage(name="a", data=[SOURCES.get("cell")()])])
        again = SOURCES.register(define("others"))
        assert whet.Stage(name="a", data=[again()]).data[0].UNITS == "others"
        assert whet.load_recipe(old).recipe.stages[0].data[0].UNITS == "others"
    finally:
        SOURCES.unregister("cell")


@pytest.mark.parametrize(
    "script",
    [
        "whet.open_run('scratch-quickstart').recipe.stages[0].lr = 1",
        "whet.load_recipe('scratch-quickstart').recipe.stages[0].lr = 1",
        "from whet.evaluate.texts import stored; stored(pathlib.Path('nothing'), None, print)",
        "whet.TextSource(path='nothing')",
        "whet.Greedy(stop=3)",
    ],
)
def test_whatever_is_imported_first_mistakes_are_recipe_errors(script: str) -> None:
    whole = f"import pathlib, whet\ntry:\n    {script}\nexcept whet.RecipeError:\n    print('refused')"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=300)
    assert done.stdout == "refused\n", done.stderr


def test_the_doctor_looks_at_a_recipe_made_in_python(here: Path) -> None:
    wide = whet.Model(d_model=65_536, layers=1_000, heads=512, d_ff=1_000_000)
    recipe = whet.Recipe(name="a", model=wide, stages=[notes()])
    (here / "a.yaml").write_text(whet.load_recipe(recipe).resolved)
    found, of_file = whet.diagnose(recipe), whet.diagnose("a.yaml")
    assert [one.name for one in found.findings] == [one.name for one in of_file.findings] != []
    assert (found.looked, found.not_looked) == (of_file.looked, of_file.not_looked)
    assert whet.diagnose(recipe, ["model={size: tiny}"]).healthy


def test_threads_that_come_first_find_everything_registered() -> None:
    """What is registered is looked for when it is first asked for; who asks meanwhile waits."""
    script = """
import concurrent.futures, threading, whet
kind, together = whet.Model, threading.Barrier(4)
def make(number):
    together.wait()
    return kind(layers=number + 1).layers
with concurrent.futures.ThreadPoolExecutor(4) as threads:
    print(list(threads.map(make, range(4))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.stdout == "[1, 2, 3, 4]\n", done.stderr
