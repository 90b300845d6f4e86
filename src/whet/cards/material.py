"""What both cards say of the material: how much of it, its licences and languages, what left, what was not looked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from whet.cards.gather import SPLITS, Contents, Facts, Record
from whet.cards.markdown import bullets, code, plural, prose, table
from whet.cleaning.base import FILTERS, Filter
from whet.progress import amount

MOST_LISTED = 20
"""Licences, languages and reasons named one by one; how many more there are is said."""
SEARCHES = ("personal", "privacy", "secret", "credential", "password", "e-mail", "email")
"""Words by which a filter says that it looks for what should not be published."""


def amounts(facts: Facts) -> list[str]:
    """Documents, text and tokens of every stage and split."""
    rows = []
    for stage in facts.stages:
        for split in SPLITS:
            counts = stage["splits"][split]
            figures = (f"{counts['documents']:,}", amount(counts["bytes"], "B"), f"{counts['tokens']:,}")
            rows.append([f"{code(stage['name'])}, {split}", *figures])
    return table(["Stage and split", "Documents", "Text", "Tokens"], rows)


def licences(facts: Facts) -> list[str]:
    """Licences of every stage, as the sources named them."""
    return bullets(f"{code(name)}: {_counted(found.licences)}" for name, found in _contents(facts))


def languages(facts: Facts) -> list[str]:
    """Languages of every stage, as the sources named them."""
    return bullets(f"{code(name)}: {_counted(found.languages)}" for name, found in _contents(facts))


def _contents(facts: Facts) -> list[tuple[str, Contents]]:
    return [(stage["name"], facts.contents[stage["name"]]) for stage in facts.stages]


def _counted(found: Counter[str]) -> str:
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    named = [
        f"{code(name) if name else 'none recorded'} ({plural(count, 'document')})"
        for name, count in ordered[:MOST_LISTED]
    ]
    more = len(ordered) - len(named)
    return ", ".join([*named, *([f"and {more:,} more"] if more else [])])


def dropped(stage: Record, *, examples: bool) -> list[str]:
    """How many came, how many stayed, and every reason why one left."""
    tally = stage["tally"]
    came, stayed = tally["documents_in"], tally["documents_kept"]
    lines = [
        f"{code(stage['name'])}: of {plural(came, 'document')} {stayed:,} stayed and {came - stayed:,} left."
    ]
    for row in tally["dropped"]:
        lines.append(f"  - {prose(row['reason'])}: {row['documents']:,} ({amount(row['bytes'], 'B')})")
        if examples and row["examples"]:
            lines[-1] += f", for example {', '.join(code(name) for name in row['examples'])}"
    for change, documents in tally["changed"].items():
        lines.append(f"  - changed, {prose(change)}: {documents:,}")
    return ["- " + lines[0], *lines[1:]]


def leakage(facts: Facts) -> list[str]:
    """How much of the held-out text also stands in the training text."""
    return [
        f"{100 * share:.1f} % of the {split} split's runs of 13 tokens in {code(stage['name'])} also stand in "
        "its training text."
        for stage in facts.stages
        for split, share in stage.get("shared_13_token_runs", {}).items()
        if share is not None
    ]


def groups(facts: Facts) -> list[str]:
    """The groups of every split that has few enough for the record to name them."""
    return [
        f"The {split} split of {code(stage['name'])} is made of {_counted(Counter(named))}."
        for stage in facts.stages
        for split, named in stage.get("groups", {}).items()
        if named
    ]


def filters(facts: Facts) -> Iterator[tuple[type[Filter], dict[str, Any] | None]]:
    """Every filter with its settings, or None where the recipe switches it off."""
    for kind in FILTERS:
        given = facts.recipe.prepare.cleaning.get(kind.NAME, {})
        yield kind, None if given is False else kind.model_validate(given).model_dump(mode="json")


def passed_by(facts: Facts, kind: type[Filter]) -> list[str]:
    """The stages whose records a filter does not see."""
    return [stage.name for stage in facts.recipe.stages if stage.passes_by(kind)]


def _but(stages: list[str]) -> str:
    return f"; **not** in {', '.join(map(code, stages))}" if stages else ""


def not_searched_for(facts: Facts) -> str:
    """What is said of personal data and secrets: which filter looks for them, or that none does."""
    looking = [
        f"{code(kind.NAME)} ({prose(kind.SUMMARY)}{_but(passed)})"
        for kind, settings in filters(facts)
        if settings is not None
        and any(word in f"{kind.NAME} {kind.SUMMARY}".lower() for word in SEARCHES)
        and len(passed := passed_by(facts, kind)) < len(facts.recipe.stages)
    ]
    if not looking:
        return (
            "Personal data and secrets (passwords, keys, addresses) were **not searched for**: no filter that ran "
            "looks for them. What the sources held of them, and no other filter dropped, is in the data."
        )
    return f"These filters look for personal data or secrets: {', '.join(looking)}. What they do not recognise stays."
