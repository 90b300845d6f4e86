"""Training that changes nothing: no parameter that trains, gradients that are all zero, an adapter that adds zero."""

from __future__ import annotations

from collections.abc import Iterator

from whet.doctor.case import Case, Trained
from whet.doctor.finding import CannotLook, Check, Finding

NOTHING = "nothing trained"
EXPLAINS = ("loss flat", "incoherent output", "looping output")


class TrainedAtAll(Check):
    """Looks at the parameters that train, the logged gradients, and the adapter's matrices."""

    NAME = "trained"
    SUMMARY = "nothing trainable, or an adapter that changes nothing"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs a training's log, or an adapter."""
        stages = [] if case.folder is None else case.trained
        found = [finding for one in stages for finding in _by_the_log(one)]
        yield from found
        if found:
            return
        if case.folder is None and case.recipe is not None:
            raise CannotLook("nothing is trained yet (whet train)")
        if case.model is not None and not case.is_adapter:
            raise CannotLook("a whole model does not tell which of its weights were trained")
        if case.model is not None or any(one.record for one in stages):
            yield from _by_the_adapter(case)


def _by_the_log(one: Trained) -> Iterator[Finding]:
    norms = [line["grad_norm"] for line in one.lines if line.get("grad_norm") is not None]
    trains = (one.record or {}).get("trained_parameters")
    if trains == 0:
        evidence = "the result has 0 trained parameters"
    elif norms and not any(norms):
        evidence = f"the gradient is exactly 0 in all {len(norms)} logged steps"
    else:
        return
    yield Finding(
        name=NOTHING,
        where=one.name,
        evidence=evidence,
        cause="no weight that trains takes part in the loss: targets that are not used, or everything is frozen",
        todo="choose model.adapter.targets that the model uses (whet plan shows how many parameters train)",
        explains=EXPLAINS,
    )


def _by_the_adapter(case: Case) -> Iterator[Finding]:
    """An adapter begins with B at zero, so that it adds nothing; after any step none of its B is zero any more."""
    if not case.is_adapter:
        return
    from whet.models.adapters import read

    tensors = read(case.result).tensors
    second = {name: tensor for name, tensor in tensors.items() if name.endswith("lora_B.weight")}
    zero = [name for name, tensor in second.items() if not bool(tensor.any())]
    if second and len(zero) == len(second):
        yield Finding(
            name=NOTHING,
            where=str(case.result),
            evidence=f"all {len(zero)} B matrices of the adapter are zero: it adds nothing to its base",
            cause="it was saved before the first step, or no gradient reached it",
            todo="train it again, and look at the logged gradient norm",
            explains=EXPLAINS,
        )
