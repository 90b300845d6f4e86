"""All that is measured of the Solidity written for the held-out functions of each domain.

    the functions -> nearest training examples, what the models write -> the emitter's, verdicts -> figures

Writers are the last model, the model before training, the nearest training example, the emitter, and the last model where
it behaves the same, else the emitter. Of each the text is kept as it is, empty or cut if need be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from whet.evaluate.written import EMITTER, FALLBACK, MODEL, NEAREST
from whet.evaluate.written.answers import answers
from whet.evaluate.written.figures import bounds, measure, tables
from whet.evaluate.written.held_out import Asked, HeldOut, held_out, keys, metadata_of
from whet.evaluate.written.nearest import Example, Near, nearest
from whet.evm.judge import Judge
from whet.evm.pairs.pool import Pool
from whet.models.decoder import Decoder
from whet.progress import Reporter, shown_on
from whet.recipe.schema import Recipe, WrittenSolidity
from whet.sources.solidity import SoliditySource
from whet.text.conversation import from_text
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore

SAME = "same"

Text = dict[str, Any]
"""`text`, `ended` (of a model's), `verdict`, `metrics`."""


def score_all(
    recipe: Recipe,
    prepared: Path,
    held: Mapping[str, TokenStore],
    models: Mapping[str, Callable[[], Decoder]],
    tokenizer: Tokenizer,
    reporter: Reporter,
) -> dict[str, Any]:
    """{domain: figures, texts} of every domain of pairs, as evaluation.json has it (docs/file-formats.md).

    prepared: the folder of the prepared data. held: the held-out split by domain. models: {writer: opens it}; MODEL is one.
    """
    settings, found = recipe.evaluate.solidity, {}
    assert settings is not None
    for stage in recipe.stages:
        sources = {at: one for at, one in enumerate(stage.data) if isinstance(one, SoliditySource)}
        if sources and stage.name in held:
            training = TokenStore.open(prepared / stage.name / "train", tokenizer.vocab_size, check_ids=False)
            domain = _Domain(stage.name, held[stage.name], training, sources, settings, reporter)
            found[stage.name] = domain.scored(models, tokenizer, recipe.seed)
    return found


@dataclass(frozen=True, slots=True)
class _Domain:
    """One stage's data. sources: by their place in the stage's `data`."""

    name: str
    held: TokenStore
    training: TokenStore
    sources: Mapping[int, SoliditySource]
    settings: WrittenSolidity
    reporter: Reporter

    def scored(
        self, models: Mapping[str, Callable[[], Decoder]], tokenizer: Tokenizer, seed: int
    ) -> dict[str, Any]:
        """All that is measured of it."""
        self.reporter.say(f"evaluate: held-out functions of {self.name}")
        found = held_out(self.held, self.sources, self.settings.functions)
        self._say_left_out(found)
        asked = found.asked
        texts: dict[str, list[Text]] = {
            name: self._written(name, open_model, asked, tokenizer, seed)
            for name, open_model in models.items()
        }
        self._say_ended(texts[MODEL])
        self.reporter.say(f"evaluate: the nearest training examples of {self.name}")
        near = nearest(asked, examples(self.training, self.sources))
        self._say_far(near)
        texts[NEAREST] = [text_of(one.text if one else "") for one in near]
        if self.settings.judge:
            with self.reporter.task(f"evaluate: what was written for {self.name}") as task, shown_on(task):
                judge_all(asked, self.sources, texts)
            texts[FALLBACK] = [or_else(*both) for both in zip(texts[MODEL], texts[EMITTER], strict=True)]
        else:
            self._notice("evaluate.solidity.judge is off: nothing was compiled, no emitter beside")
        records = [
            _record(one, near[at], {name: those[at] for name, those in texts.items()})
            for at, one in enumerate(asked)
        ]
        metrics = measure(records, self._notice)
        return {
            "held_out": found.there,
            "gone": found.gone,
            "new_tokens": self.settings.new_tokens,
            "decoding": self.settings.decoding.model_dump(),
            "judged": self.settings.judge,
            "writers": list(texts),
            "metrics": {
                one.NAME: {"units": one.UNITS, "lower_is_better": one.LOWER_IS_BETTER} for one in metrics
            },
            "similarity": bounds([one.true for one in asked], self._notice),
            "tables": tables(records, metrics),
            "functions": records,
        }

    def _written(
        self,
        name: str,
        open_model: Callable[[], Decoder],
        asked: Sequence[Asked],
        tokenizer: Tokenizer,
        seed: int,
    ) -> list[Text]:
        """What a model writes."""
        if not asked:
            return []
        with self.reporter.task(f"evaluate: {name} writes", len(asked)) as task:
            found = answers(
                open_model(),
                tokenizer,
                [one.ids for one in asked],
                self.settings.decoding,
                new_tokens=self.settings.new_tokens,
                seed=seed,
                task=task,
            )
        return [{**text_of(one.text), "ended": one.ended, "tokens": one.tokens} for one in found]

    def _notice(self, text: str) -> None:
        self.reporter.notice(f"stage {self.name}: {text}")

    def _say_left_out(self, found: HeldOut) -> None:
        if found.gone:
            self._notice(
                f"{found.gone} of {found.there} held-out records are no longer given by their source; nobody is asked "
                "for them"
            )
        left = found.there - found.gone - len(found.asked)
        if left:
            self._notice(
                f"{len(found.asked)} held-out records are written; {left} others are left out "
                "(evaluate.solidity.functions)"
            )

    def _say_far(self, near: Sequence[Near | None]) -> None:
        far = sum(one is None for one in near)
        if far:
            self._notice(
                f"{far} held-out functions share no run of TAC with any training example; their nearest example is an "
                "empty text"
            )

    def _say_ended(self, texts: Sequence[Text]) -> None:
        ended = Counter(text["ended"] for text in texts)
        if ended["no room"]:
            self._notice(
                f"{ended['no room']} prompts leave no room in the model's context; their answers are empty"
            )
        if ended["length"]:
            self._notice(
                f"{ended['length']} answers of the model are cut (evaluate.solidity.new_tokens, or its context)"
            )


def examples(training: TokenStore, sources: Mapping[int, SoliditySource]) -> Iterator[Example]:
    """The training records of these sources."""
    there = keys(training)
    for entry, source in sources.items():
        for pair, record in source.pairs():
            if (entry, record.origin) in there:
                answer = from_text(record.text).messages[-1].content
                yield Example(pair, metadata_of(pair, record.origin), record.origin, answer)


def judge_all(
    asked: Sequence[Asked], sources: Mapping[int, SoliditySource], texts: dict[str, list[Text]]
) -> None:
    """Adds the emitter's texts, and a verdict to every text; a text that two wrote for a function is judged once."""
    texts[EMITTER] = [text_of("") for _ in asked]
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
            texts[EMITTER][at] = {**text_of(text), "verdict": asdict(verdict)}


def or_else(model: Text, emitter: Text) -> Text:
    """The model's text where it behaves the same, else the emitter's."""
    chosen = MODEL if model["verdict"]["behaves"] == SAME else EMITTER
    kept = model if chosen == MODEL else emitter
    return {**kept, "metrics": {}, "from": chosen}


def text_of(text: str) -> Text:
    return {"text": text, "ended": "", "verdict": None, "metrics": {}}


def _record(one: Asked, near: Near | None, texts: dict[str, Text]) -> dict[str, Any]:
    return {
        "origin": one.origin,
        "name": one.pair.name,
        "signature": one.pair.signature,
        "source_hash": one.pair.source_hash,
        "era": one.pair.era,
        "solc": one.pair.solc,
        "build": one.pair.build,
        "via_ir": one.via_ir,
        "outside": one.pair.visibility in ("public", "external"),
        "metadata": one.metadata,
        "prompt": one.prompt,
        "prompt_tokens": len(one.ids),
        "true": one.true,
        "nearest": {"origin": near.origin, "overlap": round(near.overlap, 4)} if near else None,
        "texts": texts,
    }
