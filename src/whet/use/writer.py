"""A run's model that writes the functions of decompiled contracts, asked in the words it was trained with.

The run's recipe says how: the entry of `source: solidity` in its stage (`metadata`, `prompt_tokens`, `emitted`), and the
first decoding that samples. The model is loaded when it is first asked; opening looks at its files only. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from whet import limits, store, untrusted
from whet.errors import WhetError
from whet.evm.decompile.asking import Asks, NotAsked, Proposed
from whet.evm.pairs.prompt import Prompt
from whet.progress import aside
from whet.recipe.decoding import Sample
from whet.recipe.yaml12 import parse
from whet.text.conversation import Message
from whet.use.choose import choose_model

if TYPE_CHECKING:
    from whet.models.generation import Written
    from whet.models.hub import Say
    from whet.use.model import OpenModel

_RECIPE = "recipe.yaml"
_NOT_OURS = "the run's recipe is not one that whet wrote"
BEST_OF = 4
"""Texts of a function, where nobody says."""
NEW_TOKENS = 1024
SAMPLE = Sample(temperature=0.3, top_p=0.9)
"""How all texts but the first are drawn where the recipe does not sample."""


@dataclass(slots=True, eq=False)
class RunWriter:
    """A model of a run, or of a folder; what `whet.decompile` and `whet.show_decompiled` take as `model`.

    A context manager, since a chat template runs in a process of its own. name: as it was asked for. identity: a hash of
    the model's files, of all of `settings`, and of what else decides its texts.
    """

    name: str
    folder: Path
    asks: Asks
    sample: Sample
    best_of: int
    new_tokens: int
    seed: int
    device: str
    say: Say = field(repr=False)
    settings: dict[str, Any] = field(init=False)
    identity: str = field(init=False)
    _model: OpenModel | None = field(init=False, default=None, repr=False)

    def __post_init__(self) -> None:
        self.settings = {
            "asks": asdict(self.asks),
            "sample": self.sample.model_dump(),
            "new_tokens": self.new_tokens,
            "seed": self.seed,
            "device": self.device,
        }
        ours = [
            store.code_hash("models", "text", "use"),
            store.versions("torch", "transformers", "tokenizers"),
        ]
        self.identity = store.content_hash([_files(self.folder), self.best_of, self.settings, ours])

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *about: object) -> None:
        model, self._model = self._model, None
        if model is not None:
            model.__exit__(*about)

    def propose(self, prompt: Prompt) -> Iterator[Proposed]:
        """The likeliest text, then others that are drawn, each time the same. Raises NotAsked where there is no room for
        an answer."""
        model = self._opened()
        ids = model.asked([Message("system", prompt.task), Message("user", prompt.text)])
        room = min(self.new_tokens, model.decoder.context - len(ids))
        if room < 1:
            raise NotAsked(
                f"{len(ids):,} tokens of prompt, more than the model's context of {model.decoder.context:,}"
            )
        cut = f"cut at {room:,} tokens" + (", the model's context" if room < self.new_tokens else "")
        for written, text in _texts(model, ids, self.sample, self.best_of, room, self.seed):
            yield Proposed(text, cut if written.ended == "length" else "")

    def _opened(self) -> OpenModel:
        if self._model is None:
            from whet.use.run import open_model

            self._model = open_model(self.folder, device=self.device, chat=True, say=self.say)
        return self._model


def open_writer(
    target: str | Path,
    *,
    stage: str | None = None,
    best_of: int = BEST_OF,
    new_tokens: int = NEW_TOKENS,
    seed: int = 42,
    device: str = "auto",
    say: Say = aside,
) -> RunWriter:
    """The model of a run (of its last finished stage, or of `stage`), or the one in a folder, to write functions.

    best_of: most texts of one function: the likeliest, then samples. new_tokens: most of one text. `say` is told what a
    person should know. Raises ArtefactError if there is no finished model, WhetError for a number that is none.
    """
    for name, value in (("--best-of", best_of), ("--new-tokens", new_tokens)):
        if value < 1:
            raise WhetError(f"must be at least 1, not {value}", where=name)
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise WhetError(
                f"a model needs {package}, which is not installed", where="--model", fix="pip install whet"
            )
    folder = choose_model(Path(target), stage)
    recipe = _recipe(folder)
    entries = _entries(recipe, folder)
    if not entries:
        say(f"note: {folder} was not trained on `source: solidity`; it is asked as if it had been")
    elif any(one.get("names") != "context" for one in entries):
        say(
            f"note: {folder} learned the authors' names, which no bytecode shows: texts that use them do not compile, and "
            "the emitter's stay (train with `names: context`)"
        )
    return RunWriter(
        str(target), folder, _asks(entries), _sample(recipe), best_of, new_tokens, seed, device, say
    )


def _texts(
    model: OpenModel, ids: Sequence[int], sample: Sample, count: int, new_tokens: int, seed: int
) -> Iterator[tuple[Written, str]]:
    from whet.use.model import GREEDY

    yield model.write(ids, GREEDY, new_tokens=new_tokens, seed=seed)
    yield from model.write_several(ids, sample, count - 1, new_tokens=new_tokens, seed=seed)


def _recipe(model: Path) -> dict[str, Any]:
    """Of the run that a model's folder stands in, as plain values, since its sources need not be here; {} without one."""
    folder = model.parents[2] if len(model.parents) > 2 and model.parent.parent.name == "stages" else model
    if not (folder / _RECIPE).is_file():
        return {}
    raw = untrusted.read_inside(folder, _RECIPE, limits.RECIPE_BYTES)
    return parse(raw.decode("utf-8", "replace"), str(folder / _RECIPE)).values


def _entries(recipe: dict[str, Any], model: Path) -> list[dict[str, Any]]:
    """The entries of `source: solidity` of the model's stage, or else of the nearest one before it."""
    stages = [one for one in _list(recipe.get("stages")) if isinstance(one, dict)]
    names = [one.get("name") for one in stages]
    last = names.index(model.parent.name) + 1 if model.parent.name in names else 0
    for stage in reversed(stages[:last]):
        found = [one for one in _list(stage.get("data")) if isinstance(one, dict)]
        if found := [one for one in found if one.get("source") == "solidity"]:
            return found
    return []


def _asks(entries: list[dict[str, Any]]) -> Asks:
    """What all entries together taught. Raises WhetError for values that no recipe has."""
    if not entries:
        return Asks()
    ways = {str(one.get("metadata", "shown")) for one in entries}
    most = [one.get("prompt_tokens", Asks().prompt_tokens) for one in entries]
    if not ways <= {"shown", "hidden", "both"} or not all(isinstance(one, int) and one > 0 for one in most):
        raise WhetError(_NOT_OURS, where="metadata, prompt_tokens")
    return Asks(
        metadata="both" if len(ways) > 1 or "both" in ways else "shown" if "shown" in ways else "hidden",
        prompt_tokens=max(most),
        emitted=all(one.get("emitted") is True for one in entries),
    )


def _sample(recipe: dict[str, Any]) -> Sample:
    """How the recipe samples first. Raises WhetError for a decoding that no recipe has."""
    evaluate = recipe.get("evaluate")
    for one in _list(evaluate.get("decoding")) if isinstance(evaluate, dict) else ():
        if isinstance(one, dict) and one.get("kind") == "sample":
            try:
                return Sample.model_validate(one)
            except ValidationError as error:
                raise WhetError(_NOT_OURS, where="evaluate.decoding") from error
    return SAMPLE


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _files(folder: Path) -> dict[str, str]:
    """{file of a model's folder: hash}, without its card, which tells of speed."""
    if (folder / store.MANIFEST).exists():
        files = store.open_artefact(folder, "model", verify=False).files
        found = {name: str(entry["sha256"]) for name, entry in files.items()}
        about = store.record_of(folder, "model").get("base")
        found["base"] = store.content_hash(about)
    else:
        found = {one.name: store.file_hash(one) for one in sorted(folder.iterdir()) if one.is_file()}
    return {name: hash_ for name, hash_ in found.items() if name != "README.md"}
