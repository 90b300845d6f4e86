"""What the rooms made, typed for whoever calls them: views of the records that lie in a run's folder.

Every view has the whole `record` too; docs/file-formats.md says what is in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whet import store
from whet.errors import WhetError
from whet.evaluate.compare import Estimate
from whet.recipe.registered import no_such
from whet.use.choose import stage_names

WRITTEN_SHARES = ("parses", "compiles", "abi", "same")
RECIPE, STATE = "recipe.yaml", "run.json"


@dataclass(frozen=True, slots=True)
class Split:
    """One side of a stage's documents; `text_bytes` in UTF-8, without special tokens."""

    documents: int
    tokens: int
    text_bytes: int


@dataclass(frozen=True, slots=True)
class PreparedStage:
    """A stage's documents by split (train, validation, test), and how many were dropped for which reason."""

    name: str
    splits: Mapping[str, Split]
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Prepared:
    """Prepared material: clean, split and tokenized."""

    folder: Path
    vocab_size: int
    stages: tuple[PreparedStage, ...]
    notices: tuple[str, ...]
    record: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, made: store.Artefact) -> Prepared:
        """From the room's artefact."""
        record = made.record
        stages = tuple(_prepared(stage) for stage in record["stages"])
        return cls(made.folder, record["tokenizer"]["vocab_size"], stages, tuple(record["notices"]), record)


def _prepared(stage: dict[str, Any]) -> PreparedStage:
    splits = {
        name: Split(counts["documents"], counts["tokens"], counts["bytes"])
        for name, counts in stage["splits"].items()
    }
    dropped = {entry["reason"]: entry["documents"] for entry in stage["tally"]["dropped"]}
    return PreparedStage(stage["name"], splits, dropped)


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """What a stage's training will take. `flops`: floating-point operations, 0 if the architecture is not known."""

    name: str
    steps: int
    tokens: int
    epochs: float
    flops: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What training will take. `parameters` and `trainable` are None for an architecture that whet does not know."""

    parameters: int | None
    trainable: int | None
    disk_bytes: int
    stages: tuple[PlannedStage, ...]
    notices: tuple[str, ...]
    record: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Plan:
        """From plan.json."""
        known = record["parameters"] or {}
        stages = tuple(
            PlannedStage(**{name: stage[name] for name in ("name", "steps", "tokens", "epochs", "flops")})
            for stage in record["stages"]
        )
        sizes = (known.get("total"), known.get("trainable"), record["disk_bytes"])
        return cls(*sizes, stages, tuple(record["notices"]), record)


@dataclass(frozen=True, slots=True)
class TrainedStage:
    """A stage's model: `result_step` says which step its weights are of. Losses are in nats per token."""

    name: str
    folder: Path
    steps: int
    tokens: int
    seconds: float
    best_validation_loss: float | None
    result_step: int
    record: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, model: store.Artefact) -> TrainedStage:
        """From the room's artefact."""
        names = ("name", "steps", "tokens", "seconds", "best_validation_loss", "result_step")
        about: Any = {name: model.record[name] for name in names}
        return cls(folder=model.folder, record=model.record, **about)


@dataclass(frozen=True, slots=True)
class Trained:
    """Every stage's model, in order."""

    stages: tuple[TrainedStage, ...]

    @property
    def folder(self) -> Path:
        """The last stage's model, which plain transformers loads (an adapter: peft)."""
        return self.stages[-1].folder


@dataclass(frozen=True, slots=True)
class Floor:
    """An n-gram model of a domain's training text; `difference`: the last model's bits per byte less its own."""

    name: str
    order: int
    bits_per_byte: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True)
class Written:
    """What one writer's texts for a domain's held-out functions are worth (docs/metrics.md).

    functions: records, each a function in one build, shown or hidden. distinct: different functions among them, None where
    an older evaluation did not count them. shares: of the records, by `parses`, `compiles`, `abi`, `same`; empty where
    nothing was judged. metrics: by name.
    """

    writer: str
    functions: int
    distinct: int | None
    shares: Mapping[str, Estimate]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What every model scored in every domain, on held-out text."""

    folder: Path
    models: tuple[str, ...]
    domains: tuple[str, ...]
    record: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, made: store.Artefact) -> Evaluation:
        """From the room's artefact."""
        return cls(made.folder, tuple(made.record["models"]), tuple(made.record["domains"]), made.record)

    def score(
        self, domain: str | None = None, *, model: str | None = None, metric: str = "bits_per_byte"
    ) -> Estimate:
        """A figure with its interval; of the last domain and the last model where none is named.

        Raises WhetError for a name that is not in `domains` or `models`, or a metric that the recipe does not ask for.
        """
        if not self.domains:
            raise WhetError("nothing was measured: no stage has held-out text", where="evaluation")
        by_model = _named("metric", metric, self.record["matrix"])
        by_domain = _named("model", model or self.models[-1], by_model)
        return Estimate(**_named("domain", domain or self.domains[-1], by_domain))

    def floors(self, domain: str | None = None) -> list[Floor]:
        """The n-gram models of a domain, by order; none where the recipe or the material leaves them out.

        Raises WhetError for a name that is not in `domains`.
        """
        if not self.domains and domain is None:
            return []
        _named("domain", domain or self.domains[-1], dict.fromkeys(self.domains))
        return [
            Floor(
                entry["name"],
                entry["order"],
                Estimate(**entry["bits_per_byte"]),
                Estimate(**entry["difference"]),
            )
            for entry in self.record["floors"].get(domain or self.domains[-1], ())
        ]

    def written(self, domain: str | None = None) -> list[Written]:
        """What was written for a domain's held-out functions, by writer; none where the recipe does not ask for it.

        Of the first domain that was asked, if none is named. Raises WhetError for a name that is not in `domains`.
        """
        asked = self.record.get("solidity") or {}
        if domain is not None:
            _named("domain", domain, dict.fromkeys(self.domains))
        found = asked.get(domain) if domain is not None else next(iter(asked.values()), None)
        if not found:
            return []
        overall = found["tables"][0]
        return [
            Written(
                writer,
                overall["functions"],
                overall.get("distinct"),
                {step: Estimate(**figures[step]) for step in WRITTEN_SHARES if step in figures},
                figures["metrics"],
            )
            for writer, figures in overall["writers"].items()
        ]


def _named(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise WhetError(no_such(what, name, list(known)), where="evaluation")
    return known[name]


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run has come. `stages`: name -> finished, begun, or at which step it stopped."""

    folder: Path
    stages: Mapping[str, str]
    evaluated: bool
    report: Path | None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        report = str(self.report) if self.report else None
        return {
            "run": str(self.folder),
            "stages": dict(self.stages),
            "evaluated": self.evaluated,
            "report": report,
        }


def list_runs(output: str | Path = "runs") -> list[RunState]:
    """Every run below `output`."""
    return [_state(path.parent) for path in sorted(Path(os.path.expanduser(output)).glob(f"*/{STATE}"))]


def _state(folder: Path) -> RunState:
    begun = [place for name in stage_names(folder) if (place := folder / "stages" / name).exists()]
    stages = {stage.name: "finished" if (stage / "model").exists() else _unfinished(stage) for stage in begun}
    report = folder / "report.html"
    return RunState(folder, stages, (folder / "evaluation").exists(), report if report.exists() else None)


def _unfinished(stage: Path) -> str:
    checkpoints = sorted((stage / "checkpoints").glob("step-*"))
    return f"stopped at step {int(checkpoints[-1].name[5:])}" if checkpoints else "begun"
