"""What a person should know of prepared data, beyond what its tokenizer and conversations say themselves."""

from __future__ import annotations

from typing import Any

from whet.cleaning.base import FILTERS
from whet.prepare.split import Sides
from whet.prepare.spool import NEAR, StageSpool
from whet.recipe.schema import Recipe
from whet.sources.solidity import SoliditySource

COPIES_SHARE = 0.5
"""Above this share of near duplicates there is a notice."""

LEAK_SHARE = 0.05
"""Above this the report warns of leakage."""


def notices_of(record: dict[str, Any], recipe: Recipe, stages: list[StageSpool], sides: Sides) -> list[str]:
    """One sentence for each thing found in the record of all stages."""
    return [
        *_not_asked(recipe),
        *_apart(recipe),
        *_copies(record),
        *_leaks(record),
        *_empty(recipe, stages, sides),
    ]


def _not_asked(recipe: Recipe) -> list[str]:
    """Filters that the recipe sets although some stage's records are none of theirs."""
    return [
        f"stage {stage.name}: the filter {name} is not asked about its records: {why}"
        for stage in recipe.stages
        for name in recipe.prepare.filters_set
        if (why := stage.passes_by(FILTERS.get(name)))
    ]


def _apart(recipe: Recipe) -> list[str]:
    """Entries of pairs whose families do not know of one another, in one stage or in several."""
    entries = [
        (f"{stage.name}.{at}", source.families_from())
        for stage in recipe.stages
        for at, source in enumerate(stage.data)
        if isinstance(source, SoliditySource)
    ]
    held_out = recipe.prepare.validation_share or recipe.prepare.test_share
    if not held_out or all(formed == entries[0][1] for _, formed in entries):
        return []
    names = ", ".join(name for name, _ in entries)
    why = "each entry of source solidity forms its families by itself"
    todo = "one entry with all paths and packages keeps them on one"
    return [f"{names}: {why}, so the same 13 tokens may be on both sides of the split; {todo}"]


def _copies(record: dict[str, Any]) -> list[str]:
    """Stages that lost most of their records as near copies, which may be a form that all of them have."""
    shares = {
        stage["name"]: row["documents"] / stage["tally"]["documents_in"]
        for stage in record["stages"]
        for row in stage["tally"]["dropped"]
        if row["reason"] == NEAR
    }
    return [
        f"stage {name}: {share:.0%} of its records left as near copies of earlier ones; if they are none, "
        "raise prepare.near_duplicate_similarity or set it to null"
        for name, share in shares.items()
        if share > COPIES_SHARE
    ]


def _leaks(record: dict[str, Any]) -> list[str]:
    return [
        f"stage {stage['name']}: {share:.1%} of the {name} split's 13-token runs also stand in its "
        "training text; the held-out figures may flatter"
        for stage in record["stages"]
        for name, share in stage["shared_13_token_runs"].items()
        if share is not None and share > LEAK_SHARE
    ]


def _empty(recipe: Recipe, stages: list[StageSpool], sides: Sides) -> list[str]:
    """Wanted splits that are empty although groups were chosen for them, or that token arrays do not hold."""
    shares = {"validation": recipe.prepare.validation_share, "test": recipe.prepare.test_share}
    notices = []
    for item in stages:
        expected: set[str] = {*item.reached(sides)} or set(shares)
        notices += [
            f"stage {item.stage.name}: the {name} split is empty; nothing is held out for it"
            for name, share in shares.items()
            if share and name in expected and not item.counts[name]["documents"]
        ]
    return notices
