"""How this process was started: alone, or by torchrun as one of several. No torch.

torchrun tells each process its number through the environment. A recipe says how many it wants; where the
two disagree training is refused, since a launcher that silently starts one process is a known trap.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from whet.errors import WhetError


@dataclass(frozen=True, slots=True)
class Launch:
    """This process among `size`; `rank` 0 leads: it prepares, writes and speaks. `local_rank` picks the device."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes artefacts."""
        return self.rank == 0


ALONE = Launch()


def started() -> Launch:
    """What the environment says."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    if "WORLD_SIZE" not in os.environ:
        return Launch()
    try:
        rank, local_rank, size = (int(os.environ.get(name, "0")) for name in names)
    except ValueError as error:
        raise WhetError(
            f"{', '.join(names)} are not all numbers: {error}", where="environment", fix="start with torchrun"
        ) from error
    return Launch(rank, local_rank, size)


def required(processes: int) -> Launch:
    """This process, once there are as many as the recipe asks for. Raises WhetError otherwise."""
    launch = started()
    if launch.size == processes:
        return launch
    raise WhetError(
        f"the recipe asks for {processes} training process{'es' if processes > 1 else ''}, "
        f"there {'are' if launch.size > 1 else 'is'} {launch.size}",
        where="processes",
        fix=f"torchrun --nproc-per-node {processes} -m whet train ..."
        if processes > 1
        else f"--set processes={launch.size}, or start without torchrun",
    )


def require_alone(doing: str) -> None:
    """Raise WhetError in all but the first of several processes: only training is shared among them."""
    if not started().leads:
        raise WhetError(f"{doing} take one process", where="torchrun", fix="start without torchrun")


def leave(code: int) -> NoReturn:
    """End this process; one of several without the interpreter's own end.

    gloo's threads may still hold tensors then, and letting go of one while Python ends aborts the process
    after all its work is done and saved.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        sys.exit(code)
    with suppress(OSError, ValueError):  # nobody listens any more
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
