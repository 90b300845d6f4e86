"""All that is measured of the Solidity written for one domain's held-out functions.

    the functions -> nearest training examples, what the models write -> the emitter's, verdicts -> figures

Writers are the last model, the model before training, the nearest training example, the emitter, and the last model where
it behaves the same, else the emitter. Of each the text is kept as it is, empty or cut if need be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from whet.evaluate.written.answers import Answer, answers
from whet.evaluate.written.figures import bounds, measure, tables
from whet.evaluate.written.held_out import Asked, HeldOut, held_out, keys, metadata_of
from whet.evaluate.written.nearest import Example, Near, nearest
from whet.evm.pairs.pool import Pool
from whet.models.decoder import Decoder
from whet.progress import Reporter
from whet.recipe.evaluate import WrittenSolidity
from whet.sources.solidity import SoliditySource
from whet.text.conversation import from_text
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore

MODEL, NEAREST, EMITTER, FALLBACK = "model", "nearest example", "emitter", "model, else emitter"
SAME = "same"

Text = dict[str, Any]
"""`text`, `ended` (of a model's), `verdict`, `metrics`."""


def score_written(
    domain: str,
    held: TokenStore,
    training: TokenStore,
    sources: Mapping[int, SoliditySource],
    models: Mapping[str, Callable[[], Decoder]],
    tokenizer: Tokenizer,
    settings: WrittenSolidity,
    seed: int,
    reporter: Reporter,
) -> dict[str, Any]:
    """The part of evaluation.json for one domain (docs/file-formats.md).

    sources: by their place in the stage's `data`. models: {writer: opens it}; MODEL is among them.
    """
    reporter.say(f"evaluate: held-out functions of {domain}")
    found = held_out(held, sources, settings.functions)
    _say_left_out(domain, found, reporter)
    asked = found.asked
    texts: dict[str, list[Text]] = {
        name: [
            _of_answer(one) for one in _written(name, open_model, asked, tokenizer, settings, seed, reporter)
        ]
        for name, open_model in models.items()
    }
    _say_ended(domain, texts[MODEL], reporter)
    reporter.say(f"evaluate: the nearest training examples of {domain}")
    near = nearest(asked, _examples(training, sources))
    _say_far(domain, near, reporter)
    texts[NEAREST] = [_text(one.text if one else "") for one in near]
    if settings.judge:
        reporter.say(f"evaluate: compiling and comparing what was written for {domain}")
        _judge(asked, sources, texts)
        texts[FALLBACK] = [_or_else(*both) for both in zip(texts[MODEL], texts[EMITTER], strict=True)]
    else:
        reporter.notice(
            f"stage {domain}: evaluate.solidity.judge is off: nothing was compiled, no emitter beside"
        )
    records = [
        _record(one, near[at], {name: those[at] for name, those in texts.items()})
        for at, one in enumerate(asked)
    ]
    metrics = measure(records, lambda text: reporter.notice(f"stage {domain}: {text}"))
    return {
        "held_out": found.there,
        "gone": found.gone,
        "new_tokens": settings.new_tokens,
        "decoding": settings.decoding.model_dump(),
        "judged": settings.judge,
        "writers": list(texts),
        "metrics": {
            one.NAME: {"units": one.UNITS, "lower_is_better": one.LOWER_IS_BETTER} for one in metrics
        },
        "similarity": bounds([one.true for one in asked]),
        "tables": tables(records, metrics),
        "functions": records,
    }


def _written(
    name: str,
    open_model: Callable[[], Decoder],
    asked: Sequence[Asked],
    tokenizer: Tokenizer,
    settings: WrittenSolidity,
    seed: int,
    reporter: Reporter,
) -> list[Answer]:
    if not asked:
        return []
    with reporter.task(f"evaluate: {name} writes", len(asked)) as task:
        return answers(
            open_model(),
            tokenizer,
            [one.ids for one in asked],
            settings.decoding,
            new_tokens=settings.new_tokens,
            seed=seed,
            task=task,
        )


def _examples(training: TokenStore, sources: Mapping[int, SoliditySource]) -> Iterator[Example]:
    """The training records of these sources."""
    there = keys(training)
    for entry, source in sources.items():
        for pair, record in source.pairs():
            if (entry, record.origin) in there:
                answer = from_text(record.text).messages[-1].content
                yield Example(pair, metadata_of(pair, record.origin), record.origin, answer)


def _judge(
    asked: Sequence[Asked], sources: Mapping[int, SoliditySource], texts: dict[str, list[Text]]
) -> None:
    """Adds the emitter's texts, and a verdict to every text; a text that two wrote for a function is judged once."""
    from whet.evm.judge import Judge

    texts[EMITTER] = [_text("") for _ in asked]
    for entry, source in sources.items():
        own = [at for at, one in enumerate(asked) if one.entry == entry]
        if not own:
            continue
        with Pool() as pool:
            judge = Judge(source.projects(), pool, solc=source.solc)
            pairs = {asked[at].pair.origin: asked[at].pair for at in own}
            emitted = dict(zip(pairs, judge.emitted(list(pairs.values())), strict=True))
            todo = {
                (asked[at].pair.origin, those[at]["text"], asked[at].metadata): asked[at].pair
                for name, those in texts.items()
                if name != EMITTER
                for at in own
            }
            tasks = [(pair, text, metadata) for (_, text, metadata), pair in todo.items()]
            verdicts = dict(zip(todo, judge.judged(tasks), strict=True))
        for at in own:
            one = asked[at]
            for name, those in texts.items():
                if name != EMITTER:
                    those[at]["verdict"] = asdict(verdicts[one.pair.origin, those[at]["text"], one.metadata])
            text, verdict = emitted[one.pair.origin]
            texts[EMITTER][at] = {**_text(text), "verdict": asdict(verdict)}


def _or_else(model: Text, emitter: Text) -> Text:
    """The model's text where it behaves the same, else the emitter's."""
    chosen = MODEL if model["verdict"]["behaves"] == SAME else EMITTER
    kept = model if chosen == MODEL else emitter
    return {**kept, "metrics": {}, "from": chosen}


def _of_answer(answer: Answer) -> Text:
    return {**_text(answer.text), "ended": answer.ended, "tokens": answer.tokens}


def _text(text: str) -> Text:
    return {"text": text, "ended": "", "verdict": None, "metrics": {}}


def _record(one: Asked, near: Near | None, texts: dict[str, Text]) -> dict[str, Any]:
    return {
        "origin": one.origin,
        "name": one.pair.name,
        "signature": one.pair.signature,
        "era": one.pair.era,
        "solc": one.pair.solc,
        "build": one.pair.build,
        "via_ir": one.via_ir,
        "metadata": one.metadata,
        "prompt": one.prompt,
        "prompt_tokens": len(one.ids),
        "true": one.true,
        "nearest": {"origin": near.origin, "overlap": round(near.overlap, 4)} if near else None,
        "texts": texts,
    }


def _say_left_out(domain: str, found: HeldOut, reporter: Reporter) -> None:
    if found.gone:
        reporter.notice(
            f"stage {domain}: {found.gone} of {found.there} held-out functions are no longer given by their source; "
            "nobody is asked for them"
        )
    left = found.there - found.gone - len(found.asked)
    if left:
        reporter.notice(
            f"stage {domain}: {len(found.asked)} held-out functions are written; {left} others are left out "
            "(evaluate.solidity.functions)"
        )


def _say_far(domain: str, near: Sequence[Near | None], reporter: Reporter) -> None:
    far = sum(one is None for one in near)
    if far:
        reporter.notice(
            f"stage {domain}: {far} held-out functions share no run of TAC with any training example; their nearest "
            "example is an empty text"
        )


def _say_ended(domain: str, texts: Sequence[Text], reporter: Reporter) -> None:
    ended = Counter(text["ended"] for text in texts)
    if ended["no room"]:
        reporter.notice(
            f"stage {domain}: {ended['no room']} prompts leave no room in the model's context; their answers are empty"
        )
    if ended["length"]:
        reporter.notice(
            f"stage {domain}: {ended['length']} answers of the model are cut (evaluate.solidity.new_tokens, or its context)"
        )
