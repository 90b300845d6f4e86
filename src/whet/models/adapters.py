"""Low-rank adapters on a frozen base model, through peft, in peft's own file format.

    y = W x + (alpha / rank) B A x          alpha / sqrt(rank) with rslora (Kalajdzievski 2023, arXiv 2312.03732)

peft puts its layers into the transformers model, which stays the model it was: body, head and blocks are found as
before, so the packed mask, the chunked loss and the self-check hold for it too. Only A, B and the rows of new tokens
are trained, in fp32 whatever the base is held in; those rows stand in the embedding and, where it is not tied, in the
head, and all other rows stay as they are, bit for bit (peft's trainable_token_indices).

A folder of an adapter is two files, `adapter_config.json` and `adapter_model.safetensors`. One from elsewhere is read
with `whet.models.weights_file` and compared with the model before anything is changed. Left out, and refused by name:
DoRA and other variants, ranks or alphas that differ by layer, biases, whole modules, initialisations that change the
base. New tokens cost their rows, not a copy of the table (`whet.models.token_rows`).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from whet import limits, store, untrusted
from whet.errors import ArtefactError, WhetError
from whet.models import quantize, token_rows
from whet.models.decoder import Decoder
from whet.models.weights_file import WeightsFile

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
NAME = "default"
"""What peft calls the adapter within the model; files do not have it."""
PREFIX = "base_model.model."
"""Before every name in a file of peft."""
_LORA = re.compile(r"^(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")
_ROWS = re.compile(r"^(?P<module>.+)\.token_adapter\.trainable_tokens_delta$")
MEANT = {
    "peft_type", "task_type", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "auto_mapping",
    "r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules", "fan_in_fan_out",
    "layers_to_transform", "layers_pattern", "trainable_token_indices", "init_lora_weights", "ensure_weight_tying",
}  # fmt: skip
"""Keys of adapter_config.json that are read, or that say nothing beyond the names of the tensors."""
RANDOM = (True, False, "gaussian", "orthogonal")
"""Initialisations that leave the base as it is; the others train on another base than the one they name."""


class Lora(Protocol):
    """Settings of an adapter."""

    @property
    def rank(self) -> int:
        """Columns of B and rows of A."""

    @property
    def alpha(self) -> float:
        """The product is scaled by alpha / rank."""

    @property
    def dropout(self) -> float:
        """On the input of A, in training."""

    @property
    def rslora(self) -> bool:
        """Scale by alpha / sqrt(rank) instead."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's folder as read: settings, and the tensors by their names within the model."""

    folder: Path
    base_name: str
    rank: int
    alpha: float
    dropout: float
    rslora: bool
    tensors: dict[str, torch.Tensor]
    token_ids: dict[str, list[int]]
    """By module: the rows that are replaced."""

    @property
    def targets(self) -> list[str]:
        """Full names of the layers with an adapter."""
        return [
            found["module"] for name in self.tensors if (found := _LORA.match(name)) and found["part"] == "A"
        ]

    @property
    def scaling(self) -> float:
        """What the product B A is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def product(self, target: str) -> torch.Tensor:
        """The change of one layer's weight, (out, in), fp32."""
        a, b = (self.tensors[f"{target}.lora_{part}.weight"].float() for part in "AB")
        return (b @ a) * self.scaling

    def rows(self, module: str) -> torch.Tensor:
        """The rows that replace those of `token_ids[module]`."""
        return self.tensors[f"{module}.token_adapter.trainable_tokens_delta"]

    @property
    def vocabulary(self) -> int:
        """Rows that embedding and head must have."""
        return 1 + max((max(ids) for ids in self.token_ids.values()), default=-1)


def attach(
    decoder: Decoder,
    settings: Lora,
    targets: Sequence[str],
    new_token_ids: Sequence[int] = (),
    *,
    seed: int,
) -> None:
    """Add an adapter to the layers named in full by `targets`, and freeze everything else.

    A is drawn on the CPU from `seed` (Kaiming, as peft does), B is zero: the model computes what it did. The rows of
    `new_token_ids` are trained too; where the embedding has fewer rows it grows, by the mean of its rows. The head
    of the decoder may be another module afterwards. Raises WhetError for targets that cannot have an adapter.
    """
    if is_attached(decoder):
        raise WhetError("this model has an adapter already", where="adapter", fix="merge it first")
    if not targets:
        raise WhetError("an adapter needs layers to adapt", where="targets")
    for name in targets:
        _linear(decoder, name)
    ids = sorted(set(new_token_ids))
    rows: dict[str, list[int]] = {}
    if ids:
        grow(decoder, ids[-1] + 1)
        rows = dict.fromkeys(_tables(decoder), ids)
    _inject(decoder, settings.rank, settings.alpha, settings.dropout, settings.rslora, targets, rows)
    _draw(decoder, seed)


def is_attached(decoder: Decoder) -> bool:
    """Whether the model has an adapter."""
    return hasattr(decoder.model, "peft_config")


def parameters(decoder: Decoder) -> dict[str, nn.Parameter]:
    """The adapter's parameters by their names in its file, without `PREFIX`."""
    found = {}
    for name, weight in decoder.model.named_parameters():
        short = name.removesuffix(f".{NAME}").replace(f".{NAME}.weight", ".weight")
        if short != name and (_LORA.match(short) or _ROWS.match(short)):
            found[short] = weight
    return found


def save_adapter(decoder: Decoder, folder: Path, base_name: str, *, revision: str | None = None) -> None:
    """Write the adapter as peft does; `base_name` is where its base model is found, a path or a hub name.

    Raises CannotWrite.
    """
    from safetensors.torch import save_file

    tensors = {
        PREFIX + name: weight.detach().to("cpu", copy=True).contiguous()
        for name, weight in parameters(decoder).items()
    }
    with store.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        text = json.dumps(_settings(decoder, base_name, revision), indent=2, sort_keys=True)
        (folder / CONFIG).write_text(text + "\n", "utf-8")


def _settings(decoder: Decoder, base_name: str, revision: str | None) -> dict[str, Any]:
    values: dict[str, Any] = decoder.model.peft_config[NAME].to_dict()
    targets = [found["module"] for name in parameters(decoder) if (found := _LORA.match(name))]
    values.update(
        base_model_name_or_path=base_name,
        revision=revision,
        inference_mode=True,
        task_type="CAUSAL_LM",
        peft_type="LORA",
        target_modules=_shortest(decoder, set(targets)),
    )
    return {key: sorted(value) if isinstance(value, set) else value for key, value in values.items()}


def _shortest(decoder: Decoder, targets: set[str]) -> list[str]:
    """The last parts of the names where these name just the targets, else the full names; sorted."""
    last = {name.rpartition(".")[2] for name in targets}
    meant = {
        name
        for name, module in decoder.model.named_modules()
        if name in targets or "weight" in module._parameters or hasattr(module, "token_adapter")
    }  # not hasattr(module, "weight"): peft would make a copy of a table with trained rows
    same = {name for name in meant if name.rpartition(".")[2] in last} == targets
    return sorted(last if same else targets)


def load_adapter(decoder: Decoder, folder: Path) -> Adapter:
    """Put an adapter from a folder, whoever wrote it, on a model that has none; it can be trained on.

    Returns what was read. Raises ArtefactError, with nothing changed, if it is damaged, of another kind than whet
    reads, or made for another model.
    """
    if is_attached(decoder):
        raise WhetError("this model has an adapter already", where=str(folder), fix="load the base anew")
    adapter = read(folder)
    require_fit(adapter, decoder)
    if adapter.token_ids:
        grow(decoder, adapter.vocabulary)
    _inject(
        decoder, adapter.rank, adapter.alpha, adapter.dropout, adapter.rslora, adapter.targets, adapter.token_ids
    )  # fmt: skip
    own = parameters(decoder)
    assert own.keys() == adapter.tensors.keys(), "what was injected is what was read"
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(adapter.tensors[name])
    return adapter


def read(folder: Path) -> Adapter:
    """An adapter's folder, checked by itself. Raises ArtefactError that names the file and what is wrong."""
    if not (folder / CONFIG).exists():
        raise ArtefactError(
            f"no {CONFIG} here", where=str(folder), fix="give the folder of an adapter saved by whet or peft"
        )
    if not (folder / WEIGHTS).exists() and (folder / PICKLE).exists():
        raise ArtefactError(
            f"its weights are a pickle ({PICKLE}), which can run code when it is read",
            where=str(folder),
            fix="ask for a safetensors version, or save it again with a newer peft on a machine you can lose",
        )
    values = untrusted.settings_inside(folder, CONFIG)
    where = str(folder / CONFIG)
    _require_plain(values, where)
    tensors = _tensors(folder)
    return Adapter(
        folder,
        str(values.get("base_model_name_or_path") or "another model")[:200],
        rank=int(_number(values, "r", 1, 65_536, where)),
        alpha=_number(values, "lora_alpha", 0.0, 1e6, where),
        dropout=_number(values, "lora_dropout", 0.0, 0.999, where),
        rslora=values.get("use_rslora") is True,
        tensors=tensors,
        token_ids=_token_ids(values.get("trainable_token_indices"), tensors, where),
    )


def _require_plain(values: dict[str, Any], where: str) -> None:
    """Raise ArtefactError for settings that would make another computation than plain LoRA."""
    quantize.before_peft()
    from peft import LoraConfig

    if values.get("peft_type") != "LORA":
        raise ArtefactError(
            f"an adapter of type {str(values.get('peft_type'))[:80]!r}; whet reads LORA", where=where
        )
    if values.get("init_lora_weights", True) not in RANDOM:
        raise ArtefactError(
            f"init_lora_weights: {str(values['init_lora_weights'])[:80]!r} changes the base model's weights too",
            where=where,
            fix="convert it to a plain LoRA with peft (path_initial_model_for_weight_conversion)",
        )
    defaults = LoraConfig().to_dict()
    for key, value in values.items():
        if key in MEANT or value in (None, False, [], {}, "") or value == defaults.get(key):
            continue
        raise ArtefactError(
            f"{key}: {str(value)[:80]!r} is more than plain LoRA, which is all that whet reads", where=where
        )


def _number(values: dict[str, Any], key: str, least: float, most: float, where: str) -> float:
    value = values.get(key, 0)
    whole = key != "r" or type(value) is int
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not whole
        or not least <= value <= most
    ):
        raise ArtefactError(f"{key}: {str(value)[:80]!r} is not from {least:g} to {most:g}", where=where)
    return value


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    with WeightsFile(folder, WEIGHTS) as file:
        size_bytes = sum(stored.size_bytes for stored in file.tensors.values())
        if size_bytes > limits.ADAPTER_BYTES:
            raise ArtefactError(
                f"holds {size_bytes:,} bytes; the most is {limits.ADAPTER_BYTES:,}", where=file.where
            )
        for name in file.tensors:
            short = name.removeprefix(PREFIX)
            if short == name or not (_LORA.match(short) or _ROWS.match(short)):
                raise ArtefactError(
                    f"holds {name[:120]!r}, which is no part of a LoRA adapter as peft names it",
                    where=file.where,
                )
            tensor = file.tensor(name)
            if tensor.ndim != 2 or not tensor.isfinite().all():
                raise ArtefactError(
                    f"{name[:120]} is no matrix of finite numbers ({list(tensor.shape)})", where=file.where
                )
            found[short] = tensor
        for name in found:
            match = _LORA.match(name)
            if match and f"{match['module']}.lora_{'AB'[match['part'] == 'A']}.weight" not in found:
                raise ArtefactError(f"holds {name[:120]}, but not the other half of it", where=file.where)
        if not any(map(_LORA.match, found)):
            raise ArtefactError("holds no adapter", where=file.where)
    return found


def _token_ids(given: Any, tensors: dict[str, torch.Tensor], where: str) -> dict[str, list[int]]:
    """The ids of the rows of each module that has rows."""
    modules = [found["module"] for found in map(_ROWS.match, tensors) if found]
    if not given and not modules:
        return {}
    # A list is about the input embedding; with names, a tied head is named beside it and has no rows of its own.
    named = given if isinstance(given, dict) else dict.fromkeys(modules, given)
    ids: dict[str, list[int]] = {}
    for module in modules:
        own = [value for name, value in named.items() if name and module.endswith(name)]
        rows = tensors[f"{module}.token_adapter.trainable_tokens_delta"].shape[0]
        if not own or not _are_ids(own[0]) or len(own[0]) != rows:
            raise ArtefactError(
                f"trainable_token_indices does not name the {rows:,} rows that {WEIGHTS} has for {module[:80]}",
                where=where,
            )
        ids[module] = list(own[0])
    if not ids or any(value not in ids.values() for value in named.values()):
        raise ArtefactError(f"trainable_token_indices names rows that {WEIGHTS} does not have", where=where)
    return ids


def _are_ids(values: Any) -> bool:
    return (
        isinstance(values, list)
        and all(type(value) is int and 0 <= value < limits.TOKENIZER_IDS for value in values)
        and len(set(values)) == len(values) > 0
    )


def require_fit(adapter: Adapter, decoder: Decoder) -> None:
    """Raise ArtefactError unless the model has the layers of the adapter, in its shapes. Changes nothing."""
    for target in adapter.targets:
        try:
            width_out, width_in = _linear(decoder, target)
        except WhetError as error:
            raise _misfit(adapter, error.what) from error
        for part, shape in (("A", (adapter.rank, width_in)), ("B", (width_out, adapter.rank))):
            name = f"{target}.lora_{part}.weight"
            there = tuple(adapter.tensors[name].shape)
            if there != shape:
                raise _misfit(adapter, f"{name} has the shape {list(there)}, not {list(shape)}")
    tables = _tables(decoder)
    for module in adapter.token_ids:
        if module not in tables:
            raise _misfit(adapter, f"{module[:80]} is neither its embedding nor an untied head")
        wanted = tables[module].shape[1]
        if adapter.rows(module).shape[1] != wanted:
            raise _misfit(
                adapter, f"the rows for {module} are {adapter.rows(module).shape[1]} wide, not {wanted}"
            )
        rows = tables[module].shape[0]
        beyond = [index for index in adapter.token_ids[module] if index >= rows]
        if len(beyond) and max(beyond) >= rows + limits.TOKENS_ADDED:
            raise _misfit(adapter, f"it adds the id {max(beyond):,} to a vocabulary of {rows:,}")


def _misfit(adapter: Adapter, why: str) -> ArtefactError:
    return ArtefactError(
        f"does not fit this model: {why}",
        where=str(adapter.folder),
        fix=f"load it on the model it was made for: {adapter.base_name}",
    )


def _linear(decoder: Decoder, name: str) -> tuple[int, int]:
    """(out, in) of a linear layer by name. Raises WhetError if there is none of that name, or it is something else."""
    from transformers.pytorch_utils import Conv1D

    try:
        module = decoder.model.get_submodule(name)
    except AttributeError:
        module = None
    if isinstance(module, nn.Linear):
        return module.out_features, module.in_features
    if isinstance(module, Conv1D):
        return module.nf, module.nx
    what = "has no layer" if module is None else f"has a {type(module).__name__}, no linear layer, as"
    raise WhetError(f"{decoder.family.NAME} {what} {name[:120]!r}", where="targets")


def _tables(decoder: Decoder) -> dict[str, torch.Tensor]:
    """The embedding's weight by its module's name, and the head's where it is another."""
    model = decoder.model
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name for name, module in model.named_modules()}
    tables = {names[id(embedding)]: embedding.weight}
    if head is not None and head.weight is not embedding.weight:
        tables[names[id(head)]] = head.weight
    return tables


def grow(decoder: Decoder, vocabulary: int) -> None:
    """Give embedding and head at least so many rows; new ones are the mean of the old ones."""
    model = decoder.model
    before = model.get_input_embeddings().weight.shape[0]
    if vocabulary <= before:
        return
    cuda = [decoder.device] if decoder.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):  # transformers draws the new rows first
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        for weight in module.parameters():
            with torch.no_grad():
                weight.copy_(grown(weight[:before], vocabulary))
    decoder.head = decoder.family.head(model)


def grown(table: torch.Tensor, rows: int) -> torch.Tensor:
    """The table with so many rows, those that are new being the mean of the others."""
    mean = table.float().mean(0, keepdim=True).to(table.dtype)
    return torch.cat([table, mean.expand(rows - len(table), *table.shape[1:])])


def _inject(
    decoder: Decoder,
    rank: int,
    alpha: float,
    dropout: float,
    rslora: bool,
    targets: Sequence[str],
    token_ids: dict[str, list[int]],
) -> None:
    quantize.before_peft()
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    model = decoder.model
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        use_rslora=rslora,
        target_modules=list(targets),
        fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in targets),
        trainable_token_indices=token_ids or None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="fan_in_fan_out"
        )  # targets of both kinds: each gets its own
        inject_adapter_in_model(config, model, adapter_name=NAME)
    token_rows.without_copies(model, NAME)
    own = parameters(decoder)
    modules = {found["module"] for name in own if (found := _LORA.match(name))}
    assert modules == set(targets), "peft adapted the layers it was given"
    for weight in model.parameters():
        weight.requires_grad_(False)
    for weight in own.values():
        weight.data = weight.data.to(torch.promote_types(weight.dtype, torch.float32))
        weight.requires_grad_()
    decoder.body, decoder.head = decoder.family.body(model), decoder.family.head(model)


def _draw(decoder: Decoder, seed: int) -> None:
    """A as in the paper's code (Hu et al. 2021, arXiv 2106.09685), B zero; the same numbers on every device."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in parameters(decoder).items():
            match = _LORA.match(name)
            if match and match["part"] == "A":
                drawn = torch.empty(weight.shape)
                nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
                weight.copy_(drawn)
            elif match:
                weight.zero_()
