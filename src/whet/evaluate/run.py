"""The evaluate room: models and prepared data in, one evaluation out, as JSON and for the report.

    for every model (untrained or the base, after each stage) x every domain: bits per byte, perplexity, intervals
    for every domain: Kneser-Ney floors on the same tokens and split, and the paired difference to the last model
    for every domain: held-out prompts continued
    for every domain trained with fill-in-the-middle: held-out ends of lines filled in, exact matches
    for every domain of pairs, where asked for: the Solidity written for held-out functions, compiled, run, compared

A domain is a stage's data; its test split was never seen, neither in training nor in choosing checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whet import hardware, store
from whet.cards.gather import without_card
from whet.evaluate.compare import difference, estimate
from whet.evaluate.floors import counted_on, floor_scores
from whet.evaluate.middles import filled
from whet.evaluate.samples import continuations
from whet.evaluate.score import score
from whet.evaluate.written import MODEL
from whet.metrics.base import DocumentScores
from whet.models import hub, tuned
from whet.models.build import new_model
from whet.models.decoder import Decoder
from whet.models.shape import Shape
from whet.progress import Reporter, duration
from whet.recipe.schema import Recipe
from whet.text import tokenizer as tokenizers
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore

KIND = "evaluation"
CODE = ("evaluate", "metrics", "models", "packing", "tokenstore", "fill_in_the_middle")
"""What decides the figures."""
CODE_OF_SOLIDITY = ("evm", "sources")
FLOOR_NAMES = ("unigram", "bigram", "trigram", "4-gram", "5-gram")
Scores = dict[str, dict[str, DocumentScores]]


def run(
    recipe: Recipe,
    folder: Path,
    prepared: store.Artefact,
    plan: dict[str, Any],
    models: list[store.Artefact],
    reporter: Reporter,
    *,
    force: bool = False,
) -> store.Artefact:
    """Evaluate into `folder/evaluation`, unless that is there and unchanged."""
    key = store.content_hash(
        {
            "evaluate": recipe.evaluate.model_dump(),
            "seed": recipe.seed,
            "prepared": prepared.files,
            "models": [without_card(model.files) for model in models],
            "bases": [(model.record.get("base") or {}).get("fingerprint") for model in models],
            "code": store.code_hash(*CODE, *(CODE_OF_SOLIDITY if recipe.evaluate.solidity else ())),
        }
    )
    target = folder / KIND
    done = None if force else store.fresh(target, KIND, key, reporter.notice)
    if done:
        reporter.say(f"evaluate: unchanged, {target} is used as it is")
        return done
    began, known = time.monotonic(), len(reporter.notices)
    room = _Room(recipe, prepared, plan, reporter)
    scores = room.score_all(models)
    record: dict[str, Any] = {"split": room.splits, "domains": list(room.stores), "models": list(scores)}
    final = scores[models[-1].record["name"]]
    record["results"] = {
        model.record["name"]: store.content_hash(without_card(model.files)) for model in models
    }
    record["scored"] = room.scored(final)
    record["matrix"] = room.matrix(scores)
    record["floors"], record["floor_tokens"] = room.floors(final)
    record["samples"] = room.samples(models[-1])
    record["middles"] = room.middles(models[-1])
    record["solidity"] = room.solidity(models)
    record["seconds"] = round(time.monotonic() - began, 2)
    record["notices"] = reporter.notices[known:]
    with store.staged(target, kind=KIND, key=key, record=record) as work:
        store.write_json(work / "evaluation.json", record)
    reporter.event("evaluated", **{name: record[name] for name in ("domains", "matrix", "floors", "seconds")})
    reporter.say(f"evaluate: done in {duration(record['seconds'])}, in {target}")
    return store.open_artefact(target, KIND, verify=False)


class _Room:
    """What every measurement needs: the held-out stores and the settings."""

    def __init__(
        self, recipe: Recipe, prepared: store.Artefact, plan: dict[str, Any], reporter: Reporter
    ) -> None:
        self.recipe, self.settings, self.reporter, self.prepared = recipe, recipe.evaluate, reporter, prepared
        self.tokenizer: Tokenizer = tokenizers.load(prepared.folder / "tokenizer")
        self.plan, self.prepared = plan, prepared
        self.device = hardware.choose_device(recipe.device)
        self.precision, _ = hardware.choose_precision(recipe.precision, self.device)
        hardware.keep_freed_memory(self.device)
        self.splits: dict[str, str] = {}
        self.stores: dict[str, TokenStore] = {}
        for stage in recipe.stages:
            self._hold_out(stage.name)
        if not self.stores:
            reporter.notice("no stage has held-out documents: there is nothing to evaluate on")

    def _hold_out(self, stage: str) -> None:
        for split in ("test", "validation"):
            found = TokenStore.open(self.prepared.folder / stage / split, self.tokenizer.vocab_size)
            if not len(found):
                continue
            if split == "validation":
                self.reporter.notice(
                    f"stage {stage}: no test split; evaluated on the validation split, which also chose the checkpoint"
                )
            first = found.first(self.settings.max_tokens)
            if len(first) < len(found):
                self.reporter.notice(
                    f"stage {stage}: evaluate.max_tokens leaves out {len(found) - len(first)} of {len(found)} held-out documents"
                )
            self.splits[stage], self.stores[stage] = split, first
            return
        self.reporter.notice(f"stage {stage}: no held-out documents; this domain is not evaluated")

    def score_all(self, models: list[store.Artefact]) -> Scores:
        """Scores of the untrained model and of each stage's, on each domain."""
        lengths = {stage.name: stage.sequence_length or 0 for stage in self.recipe.stages}
        beginning = self._beginning()
        tokens = sum(held_out.learned_tokens() for held_out in self.stores.values())
        scores: Scores = {}
        decoder: Decoder | None = None
        with self.reporter.task("evaluate", tokens * (len(models) + 1)) as task:
            for name, length in {beginning: next(iter(lengths.values())), **lengths}.items():
                decoder = None  # two at a time may be more than fits
                decoder = self._load(name, models)
                stride = min(self.settings.stride or max(1, length // 2), length)
                scores[name] = {
                    domain: score(
                        decoder,
                        held_out,
                        length=length,
                        stride=stride,
                        pad_id=self.tokenizer.special_ids["pad"],
                        task=task,
                    )
                    for domain, held_out in self.stores.items()
                }
        return scores

    def _beginning(self) -> str:
        """What the model before training is called."""
        return "base" if self.recipe.tuned else "untrained"

    def _load(self, name: str, models: list[store.Artefact]) -> Decoder:
        folder = next((model.folder for model in models if model.record["name"] == name), None)
        if folder is not None:
            return self._open(folder)
        place: Any = {"device": self.device, "precision": self.precision}
        if self.recipe.tuned:
            return tuned.fresh(
                self.recipe.tuned, hub.of(self.recipe.tuned), self.tokenizer, seed=self.recipe.seed, **place
            )
        shape = Shape(**self.plan["model"])
        return new_model(shape, self.tokenizer.special_ids, seed=self.recipe.seed, **place)

    def _open(self, folder: Path) -> Decoder:
        """A stage's result: a whole model, which needs no base, or an adapter on its base."""
        settings = self.recipe.tuned
        base = hub.of(settings) if settings and tuned.is_adapter(folder) else None
        return tuned.open_result(
            folder, device=self.device, precision=self.precision, say=self.reporter.say, base=base
        )

    def scored(self, final: dict[str, DocumentScores]) -> dict[str, dict[str, int]]:
        """What was scored, per domain: documents or conversations, tokens, bytes."""
        return {
            name: {
                "documents": len(final[name]),
                "tokens": s.learned_tokens(),
                "bytes": int(s.text_bytes.sum()),
            }
            for name, s in self.stores.items()
        }

    def matrix(self, scores: Scores) -> dict[str, Any]:
        """metric -> model -> domain -> estimate."""
        return {
            metric: {
                model: {domain: self._estimate(metric, by_domain[domain]) for domain in by_domain}
                for model, by_domain in scores.items()
            }
            for metric in self.settings.metrics
        }

    def _estimate(self, metric: str, scores: DocumentScores) -> dict[str, Any]:
        return estimate(metric, scores, seed=self.recipe.seed, resamples=self.settings.resamples).as_dict()

    def floors(self, final: dict[str, DocumentScores]) -> tuple[dict[str, Any], dict[str, int]]:
        """Kneser-Ney models of the domain's own training tokens, scored on the same held-out tokens."""
        floors: dict[str, Any] = {}
        counted: dict[str, int] = {}
        for domain, held_out in self._with_floors():
            self.reporter.say(f"evaluate: Kneser-Ney floors of {domain}")
            by_order, counted[domain] = self._floor_scores(domain, held_out)
            floors[domain] = [
                self._floor(order, scores, final[domain]) for order, scores in enumerate(by_order)
            ]
        return floors, counted

    def _floor_scores(self, domain: str, held_out: TokenStore) -> tuple[list[DocumentScores], int]:
        """By order, and how many training tokens were counted."""

        def notice(text: str) -> None:
            self.reporter.notice(f"floors of {domain}: {text}")

        vocab_size, order = self.tokenizer.vocab_size, self.settings.floors
        training = counted_on(TokenStore.open(self.prepared.folder / domain / "train", vocab_size), notice)
        scores = floor_scores(training, held_out, vocab_size=vocab_size, order=order, notice=notice)
        return scores, int(training.offsets[-1])

    def _with_floors(self) -> Iterator[tuple[str, TokenStore]]:
        """The domains that are beside n-gram models: texts, not the answers of conversations."""
        for domain, held_out in self.stores.items() if self.settings.floors else ():
            if held_out.learned is None:
                yield domain, held_out
            else:
                self.reporter.say(
                    f"evaluate: no n-gram floors for {domain}, whose answers follow from their prompts"
                )

    def _floor(self, order: int, floor: DocumentScores, final: DocumentScores) -> dict[str, Any]:
        against = difference(
            "bits_per_byte",
            final,
            floor,
            seed=self.recipe.seed,
            resamples=self.settings.resamples,
        )
        return {
            "order": order + 1,
            "name": FLOOR_NAMES[order],
            **{metric: self._estimate(metric, floor) for metric in ("bits_per_byte", "perplexity")},
            "difference": against.as_dict(),
        }

    def samples(self, last: store.Artefact) -> list[dict[str, Any]]:
        """Continuations by the last model."""
        if not self.settings.samples:
            return []
        decoder = self._open(last.folder)
        self.reporter.say("evaluate: continuing held-out prompts")
        found = [
            continuations(decoder, self.tokenizer, held_out, domain, self.settings, self.recipe.seed)
            for domain, held_out in self.stores.items()
        ]
        return [sample for samples in found for sample in samples]

    def middles(self, last: store.Artefact) -> dict[str, Any]:
        """Exact matches of the last model, for each domain whose stage trained on rearranged pieces."""
        asked = [
            stage for stage in self.recipe.stages if stage.fill_in_the_middle and stage.name in self.stores
        ]
        if not self.settings.middles or not asked:
            return {}
        decoder = self._open(last.folder)
        found = {}
        for stage in asked:
            assert stage.sequence_length is not None
            found[stage.name] = filled(
                decoder,
                self.tokenizer,
                self.stores[stage.name],
                count=self.settings.middles,
                new_tokens=self.settings.new_tokens,
                length=stage.sequence_length,
                seed=self.recipe.seed,
                where=f"stages.{stage.name}.fill_in_the_middle",
            )
            self._say_middles(stage.name, found[stage.name])
        return found

    def _say_middles(self, domain: str, found: dict[str, Any]) -> None:
        if found["count"] < self.settings.middles:
            self.reporter.notice(
                f"stage {domain}: {found['count']} middles instead of {self.settings.middles}; one a document, "
                f"{found['documents_unusable']} of the held-out documents have no line to fill in"
            )
        self.reporter.say(
            f"evaluate: of {found['count']} held-out middles of {domain} {found['matches']} exact"
        )

    def solidity(self, models: list[store.Artefact]) -> dict[str, Any]:
        """Scores of the Solidity that the last model writes, for each domain of pairs, if the recipe asks for them."""
        if self.settings.solidity is None:
            return {}
        from whet.evaluate.written.score import score_all  # needs the extra `evm`

        last, beginning = models[-1], self._beginning()
        writers = {MODEL: lambda: self._open(last.folder), beginning: lambda: self._load(beginning, models)}
        return score_all(
            self.recipe, self.prepared.folder, self.stores, writers, self.tokenizer, self.reporter
        )
