"""Which model and which decoding a `generate` call means. No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Literal

from whet import limits, store, untrusted
from whet.errors import ArtefactError, WhetError
from whet.recipe.decoding import PRESETS, Beam, Greedy, Sample
from whet.recipe.yaml12 import parse


def choose_model(folder: Path, stage: str | None) -> Path:
    """The model folder in a run (its last finished stage, or the one named), or the folder itself.

    Raises ArtefactError that says which stages are finished.
    """
    folder = Path(os.path.expanduser(folder))
    if not os.path.isdir(folder):
        raise ArtefactError(
            "there is no such folder",
            where=str(folder),
            fix="whet runs lists runs; whet train RECIPE trains one",
        )
    if (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file():
        if stage is not None:
            raise ArtefactError(
                f"is one model, without a stage {stage!r}", where=str(folder), fix="leave the stage out"
            )
        return _unchanged(folder)
    finished = {
        name: folder / "stages" / name / "model"
        for name in stage_names(folder)
        if (folder / "stages" / name / "model").exists()
    }
    if stage is not None and stage in finished:
        return store.open_artefact(finished[stage], "model").folder
    if stage is not None or not finished:
        known = f"finished stages: {', '.join(sorted(finished))}" if finished else "no stage is finished"
        raise ArtefactError(
            f"no trained model{f' of stage {stage!r}' if stage else ''} here; {known}",
            where=str(folder),
            fix="whet runs lists runs; whet train RECIPE trains one",
        )
    return store.open_artefact(list(finished.values())[-1], "model").folder


def taught_to_fill_in(model: Path) -> bool | None:
    """Whether the stage that made this model rearranged pieces; None for a model from elsewhere."""
    if not (model / store.MANIFEST).exists():
        return None
    record = store.open_artefact(model, "model", verify=False).record
    return bool(record["fill_in_the_middle"]) if "fill_in_the_middle" in record else None


def _unchanged(model: Path) -> Path:
    """The folder, if it is as whet wrote it; a model from elsewhere has no manifest to compare with."""
    if (model / store.MANIFEST).exists():
        store.open_artefact(model, "model")
    return model


def stage_names(folder: Path) -> list[str]:
    """The stages of a run's folder in the order of its recipe; none if it holds no run."""
    recipe = folder / "recipe.yaml"
    if not recipe.is_file():
        return []
    raw = untrusted.read_inside(folder, recipe.name, limits.RECIPE_BYTES)
    stages = parse(raw.decode("utf-8", "replace"), str(recipe)).values.get("stages")
    named = (
        [stage.get("name") for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    )
    names = [
        name for name in named if isinstance(name, str) and PurePath(name).parts == (name,) and name != ".."
    ]
    if not names or len(names) != len(named):
        raise ArtefactError("not a recipe that whet wrote: its stages have no names", where=str(recipe))
    return names


def choose_type(name: str, where: str) -> Literal["fp32", "bf16", "fp16"]:
    """A type of weights or of products by name. Raises WhetError that lists them."""
    for known in ("fp32", "bf16", "fp16"):
        if name == known:
            return known
    raise WhetError(f"there is no type {name!r}", where=where, fix="there are: bf16, fp16, fp32")


def choose_decoding(
    *,
    preset: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    beams: int | None = None,
    stop: Sequence[str] = (),
) -> Greedy | Sample | Beam:
    """The preset, with what is given beside it; else greedy unless sampling or beams are asked for.

    Raises WhetError for an unknown preset, and for settings that contradict or are out of range.
    """
    sampling = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
    given = {name: value for name, value in sampling.items() if value is not None}
    if preset is not None and preset not in PRESETS:
        raise WhetError(f"no preset named {preset!r}", fix=f"there are: {', '.join(PRESETS)}")
    chosen = PRESETS[preset] if preset else None
    if isinstance(chosen, Greedy | Beam) and given:
        name = next(iter(given)).replace("_", "-")
        raise WhetError(f"--preset {preset} does not sample, so --{name} means nothing", fix="keep one")
    if chosen is not None and beams is not None and not isinstance(chosen, Beam):
        raise WhetError(f"--preset {preset} and --beams are two ways to decode", fix="keep one")
    if beams is not None and given:
        raise WhetError(
            f"--beams and --{next(iter(given)).replace('_', '-')} are two ways to decode", fix="keep one"
        )
    texts = stop if isinstance(stop, str) else list(stop)  # one text is refused, not cut into letters
    try:
        if beams is not None:
            return Beam.model_validate({**(chosen or Beam()).model_dump(), "beams": beams, "stop": texts})
        if chosen is None:
            chosen = Sample() if given else Greedy()
        return type(chosen).model_validate({**chosen.model_dump(), **given, "stop": texts})
    except ValueError as error:
        detail = error.errors()[0] if hasattr(error, "errors") else {"loc": ("",), "msg": str(error)}
        raise WhetError(f"--{str(detail['loc'][0]).replace('_', '-')}: {detail['msg']}") from error
