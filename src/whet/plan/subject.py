"""What is to be planned: a target and options become a model's outline and the trainings' settings. No torch.

A target is a recipe or a run, or a model: a name whose sizes come with whet, a folder or file of a config.json, or a
name on the hub, of which config.json alone is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from whet import hardware, store, untrusted
from whet.errors import ArtefactError, WhetError
from whet.memory import cards as card_table
from whet.memory.cards import Cards
from whet.memory.training import WIDTHS, Training, with_cards
from whet.models import known
from whet.models.families.base import family_for, for_model_type
from whet.models.outline import Outline
from whet.plan.size import shape_of
from whet.recipe.load import builtin_recipes, load_recipe
from whet.recipe.schema import Model, Recipe, Stage, Tuned

CONFIG = "config.json"
Target = str | Path | Recipe


_LEAST = {
    "length": 8, "batch": 1, "accumulation": 1, "rank": 1, "tokens": 1, "tokens_per_s": 1e-6, "price_per_hour": 0
}  # fmt: skip
_OPTIONS = {"tokens_per_s": "--speed", "price_per_hour": "--price"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked beside the target. None: as the recipe says, or the default for a model by itself.

    Raises WhetError for a number with which nothing can be planned.
    """

    length: int | None = None
    batch: int | None = None
    accumulation: int | None = None
    quantization: str | None = None
    rank: int | None = None
    full: bool = False
    """Every weight is trained, no adapter."""
    targets: str | Sequence[str] | None = None
    optimizer: str | None = None
    precision: str | None = None
    checkpointing: bool | None = None
    sharding: str | None = None
    cards: str | None = None
    tokens: int | None = None
    tokens_per_s: float | None = None
    """Measured, over all the cards; else it is estimated from their peak."""
    price_per_hour: float | None = None
    """Of all the cards together, in any currency."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                option = _OPTIONS.get(name, f"--{name}")
                raise WhetError(f"{option}: must be at least {least}, not {value}", where="plan")

    @property
    def about_the_model(self) -> list[str]:
        """Names of what is given that a recipe says by itself."""
        own = {"cards", "tokens", "tokens_per_s", "price_per_hour", "sharding"}
        empty: tuple[Any, ...] = (None, False)
        return [f.name for f in fields(self) if f.name not in own and getattr(self, f.name) not in empty]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is planned: a model, where its sizes are from, and the trainings."""

    name: str
    source: str
    outline: Outline
    download_bytes: int | None
    """Of the base; 0 where nothing is downloaded, None where it is not known."""
    trainings: list[tuple[str, Training]]
    tokens: dict[str, int] = field(default_factory=dict)
    """By training, where a plan of the run knows them."""
    keep: int = 2


def cards_of(asked: Asked) -> Cards:
    """The cards that were asked for, or this machine's."""
    return card_table.parse(asked.cards) if asked.cards else this_machine()


def this_machine() -> Cards:
    """This machine's NVIDIA cards where it has any that whet knows, else its processor and memory."""
    for name, count in hardware.nvidia_cards().items():
        try:
            return Cards(count, card_table.parse(name).card)
        except WhetError:
            continue
    return processor()


def processor() -> Cards:
    """This machine's processor and memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    bf16 = bool({"avx512_bf16", "amx_bf16", "bf16"} & hardware.cpu_flags())
    return card_table.cpu(memory, bf16=bf16)


def subject_of(target: Target, asked: Asked, cards: Cards, overrides: Sequence[str] = ()) -> Subject:
    """What `target` means. Raises RecipeError, ArtefactError or WhetError if it means nothing."""
    if isinstance(target, Recipe):
        return _from_recipe(target, asked, cards, overrides)
    target = str(target)
    path = Path(os.path.expanduser(target))
    run = path / "recipe.yaml"
    if path.suffix in (".yaml", ".yml") or target in builtin_recipes() or os.path.isfile(run):
        return _from_recipe(str(run) if os.path.isfile(run) else target, asked, cards, overrides)
    if overrides:
        raise WhetError(
            "--set is for recipes", where=target, fix="give options: --length, --batch, --rank, ..."
        )
    config, source, download = read_config(target)
    outline = for_model_type(str(config.get("model_type"))).outline(config)
    return Subject(target, source, outline, download, [("training", by_options(asked, cards))])


def read_config(
    target: str, *, revision: str | None = None, cache_dir: str | None = None
) -> tuple[dict[str, Any], str, int | None]:
    """A model's configuration, where it is from, and the bytes of its files (None where they are not known)."""
    path = Path(os.path.expanduser(target))
    if os.path.isdir(path) or path.name == CONFIG:
        folder = path if os.path.isdir(path) else path.parent
        files = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        return untrusted.settings_inside(folder, CONFIG), f"{folder / CONFIG}", files
    try:
        return known.facts(target), "sizes that come with whet", None
    except WhetError:
        if "/" not in target:
            raise
    return _from_hub(target, revision, cache_dir), "config.json from the hub", None


def _from_hub(name: str, revision: str | None, cache_dir: str | None) -> dict[str, Any]:
    from whet.models import hub

    try:
        return hub.config(name, revision=revision, cache_dir=Path(cache_dir) if cache_dir else None)
    except ArtefactError as error:
        near = get_close_matches(name.lower(), {known_name.lower(): 0 for known_name in known.KNOWN}, n=1)
        if not near:
            raise
        meant = next(known_name for known_name in known.KNOWN if known_name.lower() == near[0])
        fix = f"did you mean {meant}, whose sizes come with whet? {error.fix}"
        raise ArtefactError(error.what, where=error.where, fix=fix) from error


def by_options(asked: Asked, cards: Cards) -> Training:
    """A training by options alone; the defaults are those of a recipe with a base."""
    _require(asked.quantization, ("none", "nf4", "fp4", "int8"), "quantization")
    _require(asked.precision, tuple(WIDTHS), "precision")
    _require(asked.sharding, ("ddp", "fsdp2"), "sharding")
    _require(asked.optimizer, ("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "muon"), "optimizer")
    given: dict[str, Any] = {
        "length": asked.length,
        "batch": asked.batch,
        "accumulation": asked.accumulation,
        "quantization": asked.quantization,
        "rank": asked.rank,
        "optimizer": asked.optimizer,
        "precision": asked.precision,
        "checkpointing": True if asked.checkpointing is None else asked.checkpointing,
        "sharding": asked.sharding,
    }
    if asked.targets:
        names = (asked.targets,) if isinstance(asked.targets, str) else tuple(asked.targets)
        given["targets"] = names[0] if len(names) == 1 else names
    training = Training(cards=cards, **{name: value for name, value in given.items() if value is not None})
    if asked.full:
        training = replace(training, rank=None)
    return _placed(training, cards, asked)


def _require(value: str | None, allowed: Sequence[str], name: str) -> None:
    if value is not None and value not in allowed:
        raise WhetError(
            f"{value!r} is none of {', '.join(allowed)}", where=f"--{name}", fix="take one of them"
        )


def _placed(training: Training, cards: Cards, asked: Asked) -> Training:
    """On these cards; how several share the model is left open unless it was asked for."""
    sharding: Any = asked.sharding or training.sharding
    return replace(with_cards(training, cards), sharding=sharding if cards.count > 1 else None)


def _from_recipe(target: str | Recipe, asked: Asked, cards: Cards, overrides: Sequence[str]) -> Subject:
    if asked.about_the_model:
        names = ", ".join(f"--{name}" for name in asked.about_the_model)
        raise WhetError(
            f"{names}: a recipe says that itself",
            where=target if isinstance(target, str) else target.name,
            fix="change it with --set, e.g. --set stages.0.batch_size=1",
        )
    recipe = load_recipe(target, overrides).recipe
    outline, source, download = _model_of(recipe)
    if not asked.cards:
        cards = Cards(recipe.processes, cards.card)
    trainings = [
        (stage.name, _placed(training_of(recipe, stage, cards), cards, asked)) for stage in recipe.stages
    ]
    return Subject(
        recipe.tuned.base if recipe.tuned else recipe.name,
        source,
        outline,
        download,
        trainings,
        _tokens(Path(recipe.output) / recipe.name / "plan.json"),
        max(stage.keep for stage in recipe.stages),
    )


def _tokens(plan: Path) -> dict[str, int]:
    """Of each stage, where the run was planned with its data before."""
    if not plan.is_file():
        return {}
    return {stage["name"]: stage["tokens"] for stage in store.read_json(plan)["stages"]}


def _model_of(recipe: Recipe) -> tuple[Outline, str, int | None]:
    if isinstance(recipe.model, Tuned):
        config, source, download = read_config(
            recipe.model.base, revision=recipe.model.revision, cache_dir=recipe.model.cache_dir
        )
        return for_model_type(str(config.get("model_type"))).outline(config), source, download
    shape = shape_of(recipe.model, recipe.tokenizer.vocab_size if recipe.tokenizer else 0)
    family = family_for(shape.norm, shape.positions)
    return family.outline(family.settings(shape)), f"shape in the recipe, {shape.vocab_size:,} tokens", 0


def training_of(recipe: Recipe, stage: Stage, cards: Cards) -> Training:
    """A stage's memory settings: its largest micro-batch, every example as long as `sequence_length` allows."""
    assert stage.sequence_length is not None
    tuned = recipe.tuned
    adapter = tuned.adapter if tuned else None
    given: Mapping[str, Any] = {
        "length": stage.sequence_length,
        "batch": stage.batch_size,
        "accumulation": stage.accumulation,
        "optimizer": stage.optimizer,
        "checkpointing": stage.gradient_checkpointing,
        "precision": cards.card.precision if recipe.precision == "auto" else recipe.precision,
        "sharding": recipe.sharding or ("ddp" if recipe.processes > 1 else None),
        "quantization": tuned.quantization if tuned else "none",
        "double_quantization": tuned.double_quantization if tuned else False,
        "new_tokens": len(tuned.new_tokens) if tuned else 0,
        "rank": adapter.rank if adapter else None,
        "targets": (adapter.targets if isinstance(adapter.targets, str) else tuple(adapter.targets))
        if adapter
        else "attention",
        "adapter_dropout": adapter.dropout if adapter else 0.0,
        "dropout": recipe.model.dropout if isinstance(recipe.model, Model) else 0.0,
    }
    return with_cards(Training(cards=cards, **given), cards)
