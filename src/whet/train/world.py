"""The processes that train together, and what they agree on: sums, a stop, and who goes first.

One process is a world of its own and pays nothing for it. Several are started by torchrun and speak
through gloo on CPUs and NCCL on CUDA. torch's own sharding is used (see `sharding`); here are the few
numbers that every process must see alike: the labels of a step, its loss, whether anyone was asked to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from whet import launch
from whet.launch import Launch

T = TypeVar("T")
COLLECTIVE_TIMEOUT_S = 1800
"""A process that waits longer than this for the others in the middle of training gives up."""
PREPARED_WITHIN = timedelta(days=30)
_PREPARED = "whet/prepared"


class World:
    """This process (`rank`) among `size`."""

    def __init__(self, started: Launch, store: Any = None) -> None:
        self.launch, self._store = started, store
        self.rank, self.size = started.rank, started.size

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def first(self, lead: Callable[[], T], follow: Callable[[], T]) -> T:
        """`lead()` in the first process; the others wait until it is done, then call `follow()`."""
        if self._store is None:
            return lead()
        if self.leads:
            result = lead()
            self._store.set(_PREPARED, "1")
            return result
        self._store.wait([_PREPARED], PREPARED_WITHIN)
        return follow()

    def total(self, *values: float) -> list[float]:
        """Sums over all processes, in float64."""
        if self._store is None or not values:
            return list(values)
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        summed = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(summed)
        found: list[float] = summed.tolist()
        return found

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all get the same answer."""
        return self.total(float(flag))[0] > 0

    def wait(self) -> None:
        """Go on once every process is here."""
        self.total(0.0)


ALONE = World(launch.ALONE)


@contextmanager
def joined(device: str, started: Launch) -> Iterator[World]:
    """The world of this training on the recipe's device, left again at the end."""
    if started.size == 1:
        yield ALONE
        return
    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(started.local_rank)
    store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S)))
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=store,
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=COLLECTIVE_TIMEOUT_S),
    )
    assert (distributed.get_rank(), distributed.get_world_size()) == (started.rank, started.size)
    try:
        yield World(started, store)
    finally:
        distributed.destroy_process_group()
