"""The data card: where a run's material came from, what was done to it, and what nobody looked at.

The questions are those of Datasheets for Datasets (Gebru et al. 2021), as far as a record of the run answers
one. Sources are shown with all their settings, paths included: the card stays in the run's folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from whet.cards import material
from whet.cards.gather import Facts, Record
from whet.cards.markdown import bullets, code, document, prose
from whet.recipe.schema import Stage
from whet.sources.base import SOURCES


def data_card(facts: Facts) -> str:
    """The card of all stages' prepared data."""
    whole = Facts(facts.recipe, facts.prepared, facts.data_hash, facts.contents, command=facts.command)
    return document(
        [
            _head(whole),
            _composition(whole),
            _sources(whole),
            _cleaning(whole),
            _duplicates(whole),
            _splits(whole),
            _tokenizer(whole),
            _not_known(whole),
            _again(whole),
        ]
    )


def _prepared(facts: Facts) -> Record:
    assert facts.prepared is not None
    return facts.prepared


def _head(facts: Facts) -> list[str]:
    described = prose(facts.recipe.description)
    purpose = f"The recipe says: “{described}”" if described else "The recipe gives no description."
    return [
        f"# Data of {code(facts.recipe.name)}",
        "",
        f"What it was put together for: to train and measure the model of this run. {purpose}",
        "",
    ]


def _composition(facts: Facts) -> list[str]:
    return [
        "## What is in it",
        *material.amounts(facts),
        "Text is counted in UTF-8 bytes. Documents of several sources in one stage are not counted apart.",
        "",
        "Languages, as the sources name them:",
        "",
        *material.languages(facts),
        "",
        "Licences, as the sources name them (nobody checked them):",
        "",
        *material.licences(facts),
        "",
    ]


def _sources(facts: Facts) -> list[str]:
    lines = ["## Where it came from", ""]
    for stage in facts.recipe.stages:
        lines += [f"### {code(stage.name)}", ""]
        for source in stage.data:
            lines.append(f"- {code(source.NAME)}: {prose(SOURCES.get(source.NAME).SUMMARY)}")
            lines += [
                f"  - {code(key)}: {code(json.dumps(value, ensure_ascii=False))}"
                for key, value in source.model_dump(mode="json").items()
                if key != "source" and value not in (None, "", [])
            ]
        lines.append("")
    return [
        *lines,
        "How the sources themselves were put together, and who consented to it, was not recorded.",
        "",
    ]


def _cleaning(facts: Facts) -> list[str]:
    lines = ["## What was left out or changed", ""]
    for kind, settings in material.filters(facts):
        said = f"{code(kind.NAME)}: {prose(kind.SUMMARY)}"
        if settings is None:
            lines.append(f"- {said}. **Switched off.**")
        else:
            given = ", ".join(f"{code(key)} {code(json.dumps(value))}" for key, value in settings.items())
            lines.append(f"- {said}{f' ({given})' if given else ''}")
    lines += _on_conversations(facts)
    lines += ["", "Counts by reason, with up to five examples each:", ""]
    for stage in _prepared(facts)["stages"]:
        lines += material.dropped(stage, examples=True)
    taken = [code(stage.name) for stage in facts.recipe.stages if _ready_made(stage)]
    if taken:
        lines += [
            "",
            f"Taken as they came, as finished token arrays, neither cleaned nor compared: {', '.join(taken)}.",
        ]
    return [*lines, ""]


def _on_conversations(facts: Facts) -> list[str]:
    """What the filters were given of conversations, if there are any."""
    chats = [code(stage.name) for stage in facts.recipe.stages if stage.chats]
    ran = [kind for kind, settings in material.filters(facts) if settings is not None]
    if not chats:
        return []
    given = {"messages": "each message", "whole": "the whole as JSON", "": "nothing, since they judge files"}
    named = {
        what: ", ".join(code(kind.NAME) for kind in ran if what == kind.ON_CONVERSATIONS) or "none"
        for what in given
    }
    said = "; ".join(f"{words}: {named[what]}" for what, words in given.items())
    return ["", f"Of conversations ({', '.join(chats)}) the filters were given: {said}."]


def _ready_made(stage: Stage) -> bool:
    return any(source.YIELDS == "arrays" for source in stage.data)


def _duplicates(facts: Facts) -> list[str]:
    settings = facts.recipe.prepare
    exact = "left" if settings.exact_duplicates == "drop" else "was kept"
    near = (
        "Near copies were not looked for."
        if settings.near_duplicate_similarity is None
        else "A near copy within a stage left when its Jaccard similarity to an earlier document was "
        f"{settings.near_duplicate_similarity:g} or more, as MinHash estimates it, which can miss some. "
        "Across stages a near copy left only if its twin was on another side of the split."
    )
    if settings.near_duplicate_similarity is not None and any(stage.chats for stage in facts.recipe.stages):
        near += (
            " Of conversations the words of users and tools and those of the assistant were compared, each by "
            "themselves; the same words under another system text or with other tools left across the split only."
        )
    return ["## Duplicates", "", f"A second copy of the same text within a stage {exact}. {near}", ""]


def _splits(facts: Facts) -> list[str]:
    settings, seed = facts.recipe.prepare, _prepared(facts)["seed"]
    lines = [
        "## Splits",
        "",
        f"Whole groups of documents were put on one side, by a hash of the group's name and the seed ({seed}).",
        f"Of the groups {settings.validation_share:g} were meant for validation, {settings.test_share:g} for test.",
        "What a group is, the source's settings say.",
        "",
    ]
    groups, shared = bullets(material.groups(facts)), bullets(material.leakage(facts))
    return [
        *lines,
        *(groups and [*groups, ""]),
        *(shared or ["How much of the held-out text also stands in the training text was not measured."]),
        "",
    ]


def _tokenizer(facts: Facts) -> list[str]:
    tokenizer = _prepared(facts)["tokenizer"]
    special = ", ".join(map(code, tokenizer["special_tokens"]))
    return [
        "## Tokenizer",
        "",
        f"{prose(tokenizer['kind'])}, {tokenizer['vocab_size']:,} ids, special tokens: {special}.",
        "",
    ]


def _not_known(facts: Facts) -> list[str]:
    return [
        "## Personal data, secrets, and what is not known",
        "",
        *bullets(_gaps(facts)),
        "",
        "Notices of the preparation:",
        "",
        *(bullets(map(prose, _prepared(facts)["notices"])) or ["None."]),
        "",
    ]


def _gaps(facts: Facts) -> Iterator[str]:
    yield material.not_searched_for(facts)
    yield "Whether the texts are true, fair or harmless was not looked at."
    unlicensed = sum(contents.licences[""] for contents in facts.contents.values())
    if unlicensed:
        yield f"Of {unlicensed:,} documents no licence is recorded; whether they may be passed on is unknown."
    yield "Whether the licences that are recorded allow a model to be trained or passed on was not examined."


def _again(facts: Facts) -> list[str]:
    return [
        "## Where it lies",
        "",
        "The prepared data is in `prepared/` of the run's folder; `prepared/MANIFEST.json` holds these counts.",
        "`documents.jsonl` of each split names every document. whet publishes nothing.",
        "",
        f"SHA-256 over the prepared data: `{facts.data_hash}`",
        "",
    ]
