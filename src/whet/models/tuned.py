"""A base model as a recipe tunes it, and a result opened again: a whole model, or an adapter on its base.

    base folder -> weights held as the recipe says -> adapter (or every weight) -> a decoder that trains
    result folder -> the same, with what was trained in place

An adapter's result names its base; whet's own also says how that was held (its manifest's record), so that what is
evaluated and used is what was trained.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from whet import limits, store, untrusted
from whet.errors import ArtefactError, WhetError
from whet.models import adapters, build, hub, quantize, saved, targets
from whet.models.decoder import Decoder
from whet.models.hub import Say, silent
from whet.models.quantize import Quantization
from whet.text.tokenizer import Tokenizer

SAMPLES, SAMPLE_BYTES = 64, 2**16


class LoraSettings(adapters.Lora, Protocol):
    """What `whet.recipe.schema.Lora` holds."""

    @property
    def targets(self) -> str | list[str]:
        """A set's name, or names of layers."""


class Held(hub.Base, Protocol):
    """Which base, and how its frozen weights are held."""

    @property
    def quantization(self) -> Any: ...
    @property
    def double_quantization(self) -> bool: ...


class Settings(Held, Protocol):
    """What `whet.recipe.schema.Tuned` holds."""

    @property
    def adapter(self) -> LoraSettings | None: ...
    @property
    def new_tokens(self) -> list[str]: ...


def fresh(
    settings: Settings,
    folder: Path,
    tokenizer: Tokenizer,
    *,
    seed: int,
    device: torch.device,
    precision: str,
    say: Say = silent,
) -> Decoder:
    """The base in `folder`, ready to be tuned with its tokenizer, to which `new_tokens` were added.

    Raises WhetError for targets that mean no layer, and for a tokenizer of another model.
    """
    decoder = build.load_base(folder, device=device, precision=precision, weights=held(settings), say=say)
    ids = map(tokenizer.backend.token_to_id, settings.new_tokens)
    added = [index for index in ids if index is not None]
    assert len(added) == len(settings.new_tokens), "preparing added them"
    _require_same_vocabulary(decoder, tokenizer.vocab_size - len(added), folder)
    if settings.adapter is None:
        adapters.grow(decoder, tokenizer.vocab_size)
        return decoder
    names = quantize.linear_names(decoder.model, decoder.family)
    wanted = targets.resolve(settings.adapter.targets, names, decoder.family, where="model.adapter.targets")
    adapters.attach(decoder, settings.adapter, wanted, added, seed=seed)
    return decoder


def _require_same_vocabulary(decoder: Decoder, ids: int, folder: Path) -> None:
    rows = int(decoder.model.get_input_embeddings().weight.shape[0])
    if ids > rows:
        raise WhetError(
            f"the tokenizer has {ids:,} ids, the model knows {rows:,}",
            where=str(folder),
            fix="name the tokenizer that the model was trained with (tokenizer.path)",
        )


def again(settings: Settings, folder: Path, result: Path, *, device: torch.device, precision: str) -> Decoder:
    """The base in `folder` with the adapter in `result`, to be tuned further; or the whole model in `result`."""
    if settings.adapter is None:
        return build.load_base(result, device=device, precision=precision)
    decoder = build.load_base(folder, device=device, precision=precision, weights=held(settings))
    adapters.load_adapter(decoder, result)
    return decoder


def held(settings: Settings) -> build.Held | Quantization:
    """How the base's weights are held while it is tuned."""
    return "fp32" if settings.adapter is None else how_held(settings)


def how_held(settings: Held) -> build.Held | Quantization:
    """How frozen weights are held."""
    if settings.quantization == "none":
        return "compute"
    return Quantization(settings.quantization, settings.double_quantization)


def is_adapter(folder: Path) -> bool:
    """Whether a result's folder holds an adapter instead of a whole model."""
    return (folder / adapters.CONFIG).exists()


def described(settings: Settings, folder: Path) -> dict[str, Any]:
    """What a result's record says of its base, which lies in `folder`: enough to find the very one again."""
    return {
        "base": settings.base,
        "revision": _commit(folder) or settings.revision,
        "quantization": settings.quantization,
        "double_quantization": settings.double_quantization,
        "fingerprint": fingerprint(folder),
    }


def _commit(folder: Path) -> str | None:
    """The commit of a snapshot of the hub, which is its folder's name."""
    return folder.name if folder.parent.name == "snapshots" else None


def fingerprint(folder: Path) -> str:
    """A hash that changes with the base: its settings, and of its weights the sizes and many stretches.

    Whole files of weights would take longer to read than to load: of large ones the header and SAMPLES stretches of
    SAMPLE_BYTES count, evenly spread.
    """
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        total.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            for at in range(SAMPLES):
                file.seek(max(0, size - SAMPLE_BYTES) * at // (SAMPLES - 1))
                total.update(file.read(SAMPLE_BYTES))
    total.update(untrusted.read_inside(folder, hub.CONFIG, limits.SETTINGS_BYTES))
    return total.hexdigest()


def open_result(
    folder: Path, *, device: torch.device, precision: str, say: Say, base: Path | None = None
) -> Decoder:
    """A model in use: a whole one, or an adapter on its base: in the folder `base`, or where the adapter's folder says.

    Raises ArtefactError that says what is missing, `hub.find`'s among them, and if the base is not the one that the
    adapter was made for.
    """
    if not is_adapter(folder):
        return build.load_model(folder, device=device, precision=precision)
    about = base_of(folder)
    found = base or hub.of(about, say=say)
    require_same_base(about, found, folder)
    decoder = build.load_base(found, device=device, precision=precision, weights=how_held(about), say=say)
    adapters.load_adapter(decoder, folder)
    decoder.stop_ids = saved.stop_ids_in(folder) or decoder.stop_ids
    return decoder


@dataclass(frozen=True, slots=True)
class Origin:
    """The base of an adapter, and how it was held; `precision` and `fingerprint` are "" if nobody recorded them."""

    base: str
    revision: str | None = None
    cache_dir: str | None = None
    quantization: Any = "none"
    double_quantization: bool = True
    precision: str = ""
    fingerprint: str = ""


def base_of(folder: Path) -> Origin:
    """What an adapter's folder says of its base: whet's record, else peft's configuration.

    Raises ArtefactError for a record that whet did not write.
    """
    if (folder / store.MANIFEST).exists():
        record = store.record_of(folder, "model")
        about, environment = record.get("base"), record.get("environment")
        if isinstance(about, dict) and isinstance(environment, dict):
            return _origin({**about, "precision": environment.get("precision")}, folder)
    values = untrusted.settings_inside(folder, adapters.CONFIG)
    return _origin(
        {"base": values.get("base_model_name_or_path"), "revision": values.get("revision")}, folder
    )


def _origin(about: dict[str, Any], folder: Path) -> Origin:
    texts = {name: about.get(name) for name in ("base", "revision", "precision", "fingerprint")}
    kind, double = about.get("quantization", "none"), about.get("double_quantization", True)
    fine = all(value is None or isinstance(value, str) for value in texts.values())
    fine = fine and (texts["precision"] or "fp32") in build.DTYPES
    if not fine or not texts["base"] or kind not in ("none", *quantize.BITS) or not isinstance(double, bool):
        raise ArtefactError("does not say which base model it was made for", where=str(folder))
    return Origin(
        base=str(texts["base"]),
        revision=texts["revision"] or None,
        quantization=kind,
        double_quantization=double,
        precision=texts["precision"] or "",
        fingerprint=texts["fingerprint"] or "",
    )


def tokenizer_folder(folder: Path, base: Path) -> Path:
    """Where the tokenizer of an adapter lies: beside it, or else beside its base."""
    return folder if (folder / "tokenizer.json").exists() else base


def require_same_base(about: Origin, base: Path, folder: Path) -> None:
    """Raise ArtefactError if the model in `base` is not the one that the adapter in `folder` was made for."""
    if about.fingerprint and about.fingerprint != fingerprint(base):
        raise ArtefactError(
            f"the base in {base} is not the one that this adapter was made for: its settings or weights differ",
            where=str(folder),
            fix=f"bring back {about.base}{f' at {about.revision}' if about.revision else ''} as it was, or train again",
        )
