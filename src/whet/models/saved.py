"""A saved model's folder, checked before anything is made of it: whoever wrote it may have meant harm.

    config.json -> names, types and bounds -> the shape on torch's meta device
    model.safetensors, or the shards of its index -> headers -> exactly the tensors of that shape

transformers never sees the folder: it gets a configuration that was checked key by key, and the weights are
read here. So nothing in the folder can name code, other files or other hosts. Read: config.json, the weights
and their index; looked at only to refuse what they ask for: generation_config.json, tokenizer_config.json,
adapter_config.json. Everything else in the folder stays closed.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet import limits, untrusted
from whet.errors import ArtefactError
from whet.models.families.base import FAMILIES, Family, for_model_type
from whet.models.saved_config import checked
from whet.models.weights_file import WeightsFile

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS, INDEX, ADAPTER = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_config.json",
)
GENERATION = "generation_config.json"
ASIDE = (GENERATION, "tokenizer_config.json")
"""Not read for their values; a model whose files name code of its own is refused all the same."""
HARMLESS = re.compile(r"(^|\.)(attn|attention)\.(bias|masked_bias)$|(^|\.)rotary_emb\.inv_freq$")
"""Causal masks and rotary frequencies that older transformers saved; they are computed, never loaded."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a folder's configuration says: the family, and settings that its transformers class takes."""

    folder: Path
    family: Family
    settings: dict[str, Any]
    stop_ids: tuple[int, ...] = ()
    """What ends its texts, as its generation_config.json says; empty if that says nothing."""


def inspect(folder: Path) -> Saved:
    """The checked configuration of the model in `folder`; no weights are read.

    Raises ArtefactError that names the file and what is wrong.
    """
    require_whole(folder)
    values = untrusted.settings_inside(folder, CONFIG)
    family = _family_of(values.get("model_type"), folder)
    for name in ASIDE:
        if (folder / name).exists():
            refuse_code(untrusted.settings_inside(folder, name), folder / name)
    refuse_code(values, folder / CONFIG)
    settings = checked(values, family, folder / CONFIG)
    return Saved(folder, family, settings, stop_ids_in(folder))


def require_whole(folder: Path) -> None:
    """Raise ArtefactError unless the folder has a config.json and safetensors weights; nothing is read."""
    if (folder / ADAPTER).exists():
        raise ArtefactError(
            "an adapter, which changes another model's weights; whet reads whole models only",
            where=str(folder / ADAPTER),
            fix="name the model it was made for as the base, or merge it into that model first",
        )
    if not folder.is_dir() or not (folder / CONFIG).exists() or not _has_weights(folder):
        pickles = _pickles(folder)
        raise ArtefactError(
            "no config.json with safetensors weights here"
            + (f", only pickles ({pickles[0]}), which can run code when they are read" if pickles else ""),
            where=str(folder),
            fix="give the folder of a model saved as safetensors",
        )


def stop_ids_in(folder: Path) -> tuple[int, ...]:
    """The ids that a folder's generation_config.json ends texts with. Raises ArtefactError for what is no such id."""
    if not (folder / GENERATION).exists():
        return ()
    given = untrusted.settings_inside(folder, GENERATION).get("eos_token_id")
    many = given if isinstance(given, list) else [] if given is None else [given]
    if len(many) > limits.STOP_IDS or not all(
        type(one) is int and 0 <= one < limits.TOKENIZER_IDS for one in many
    ):
        raise ArtefactError(
            f"eos_token_id: {str(given)[:80]!r} is no list of ids", where=str(folder / GENERATION)
        )
    return tuple(many)


def _pickles(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.glob("*") if item.suffix in (".bin", ".pt", ".pth", ".ckpt"))


def _has_weights(folder: Path) -> bool:
    return any((folder / name).exists() or (folder / name).is_symlink() for name in (WEIGHTS, INDEX))


def _family_of(model_type: Any, folder: Path) -> Family:
    for kind in FAMILIES:
        if model_type == kind.NAME and kind.PLAN_ONLY:
            raise ArtefactError(
                f"a model of type {kind.NAME!r}: whet plans such models, it does not load them",
                where=str(folder / CONFIG),
            )
        if model_type == kind.NAME:
            return kind()
    if not isinstance(model_type, str) or not _is_causal(model_type):
        raise ArtefactError(
            f"a model of type {str(model_type)[:80]!r}, which whet has no family for",
            where=str(folder / CONFIG),
        )
    return for_model_type(model_type)


def _is_causal(model_type: str) -> bool:
    """Whether transformers has a causal language model of this type in its own code."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def refuse_code(values: dict[str, Any], where: Path) -> None:
    """Raise ArtefactError if a file of settings names code, or weights in another form."""
    for key in ("auto_map", "custom_generate", "custom_pipelines"):
        if values.get(key):
            raise ArtefactError(f"{key} names code of the model's own, which is never run", where=str(where))
    for key in ("quantization_config", "compression_config"):
        if values.get(key):
            raise ArtefactError(f"{key}: quantized weights are not read", where=str(where))
    if values.get("transformers_weights"):
        raise ArtefactError("transformers_weights names another file of weights", where=str(where))


class Weights:
    """The open weights of a folder, by the names that the model has for them; a context manager."""

    def __init__(self, saved: Saved) -> None:
        """Raises ArtefactError if a file is not what it should be, or if there are fewer tensors than layers."""
        self.folder = saved.folder
        self._files = ExitStack()
        self._at: dict[str, tuple[WeightsFile, str]] = {}
        try:
            self._found = _opened(saved.folder, self._files)
            layers = saved.settings.get("num_hidden_layers") or saved.settings.get("n_layer") or 0
            if layers > len(self._found):
                self._refuse(
                    f"the configuration says {layers:,} layers, the files hold {len(self._found):,} tensors"
                )
        except BaseException:
            self._files.close()
            raise

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def match(self, model: torch.nn.Module) -> None:
        """Raise ArtefactError unless the files hold exactly the tensors of `model`, which may lie on the meta device."""
        self._at = self._named(model)
        wanted = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
        known = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
        missing, extra = (sorted(names) for names in (wanted.keys() - self._at, self._at.keys() - known))
        if missing:
            self._refuse(f"lacks {_some(missing)}")
        if extra:
            self._refuse(f"holds what this architecture does not have: {_some(extra)}")
        for name, (file, stored) in self._at.items():
            there = file.tensors[stored].shape
            if there != known[name]:
                self._refuse(
                    f"{name} has the shape {list(there)}, the configuration says {list(known[name])}"
                )
            file.require_weights(stored)

    def require_tied(self, model: torch.nn.Module) -> None:
        """Raise ArtefactError if the files hold a second, other head than the embedding of the (filled) model."""
        import torch

        state = model.state_dict()
        for name in self._tied(model):
            if not torch.equal(self.finite(name).to(state[name].dtype), state[name].cpu()):
                self._refuse(f"{name} differs from the embedding that the configuration ties it to")

    def finite(self, name: str) -> torch.Tensor:
        """One tensor as it is stored. Raises ArtefactError for numbers that are not finite."""
        file, stored = self._at[name]
        tensor = file.tensor(stored)
        if not tensor.isfinite().all():
            raise ArtefactError(f"{name} holds numbers that are not finite", where=file.where)
        return tensor

    def _tied(self, model: torch.nn.Module) -> list[str]:
        """Names in the files that the model knows as second names of its parameters."""
        parameters = dict(model.named_parameters())
        return [name for name in self._at if name not in parameters]

    def _named(self, model: torch.nn.Module) -> dict[str, tuple[WeightsFile, str]]:
        prefix = f"{getattr(model, 'base_model_prefix', '')}."
        # The body alone, as some models were saved, has names without the body's own.
        whole = any(name.startswith(prefix) for name in self._found)
        at: dict[str, tuple[WeightsFile, str]] = {}
        for name, file in self._found.items():
            ours = re.sub(r"^embed_out\.", "lm_head.", name)
            if not whole and not ours.startswith("lm_head."):
                ours = prefix + ours
            if HARMLESS.search(ours):
                continue
            if ours in at:
                self._refuse(f"holds {ours[:80]} under two names")
            at[ours] = (file, name)
        return at

    def _refuse(self, what: str) -> None:
        raise ArtefactError(what, where=str(self.folder))


def _opened(folder: Path, files: ExitStack) -> dict[str, WeightsFile]:
    """Tensor name -> the open file that holds it."""
    if not _exists(folder / INDEX):
        file = files.enter_context(WeightsFile(folder, WEIGHTS))
        return dict.fromkeys(file.tensors, file)
    if _exists(folder / WEIGHTS):
        raise ArtefactError(
            f"both {WEIGHTS} and {INDEX}: which of them is meant?", where=str(folder), fix="remove one"
        )
    where = str(folder / INDEX)
    index = untrusted.settings_inside(folder, INDEX).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(name, str) for name in index.values()):
        raise ArtefactError("has no weight_map of files by tensor", where=where)
    names = sorted(set(index.values()))
    if len(names) > limits.WEIGHTS_FILES:
        raise ArtefactError(f"names {len(names):,} files; the most is {limits.WEIGHTS_FILES:,}", where=where)
    for name in names:
        if not name.endswith(".safetensors"):
            raise ArtefactError(f"names {name[:80]!r}, which is no .safetensors file", where=where)
    found: dict[str, WeightsFile] = {}
    for name, file in {name: files.enter_context(WeightsFile(folder, name)) for name in names}.items():
        listed = {tensor for tensor, at in index.items() if at == name}
        if listed != file.tensors.keys():
            wrong = sorted(listed ^ file.tensors.keys())
            raise ArtefactError(f"the index and {name} do not agree on {_some(wrong)}", where=where)
        found.update(dict.fromkeys(file.tensors, file))
    return found


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 4:,} more" if len(names) > 4 else ""
    return ", ".join(name[:80] for name in names[:4]) + more
