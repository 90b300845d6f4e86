"""Things that can be added by adding one file: sources, filters, metrics, objectives, families.

A registry scans one folder of whet, then the entry points of installed packages (group
`whet.<kind>`), and takes what `register` was given from Python. A class that lacks a required
attribute fails to load with the name of what is missing. Recipes name things; they never hold import paths.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.metadata import entry_points
from threading import RLock
from typing import Any, Generic, TypeVar

from whet.errors import WhetError

T = TypeVar("T")


class Registry(Generic[T]):
    """All subclasses of `base` found in `package`, by their NAME.

    `required` are class attributes that must be set to a non-empty value.
    """

    def __init__(self, base: Any, package: str, required: tuple[str, ...]) -> None:
        self.base, self.package, self.required = base, package, ("NAME", "SUMMARY", *required)
        self.kind = package.rpartition(".")[2]
        self.revision = 0
        self._found: dict[str, type[T]] = {}
        self._scanned = self._complete = False
        self._scanning = RLock()

    def register(self, item: type[T]) -> type[T]:
        """Add a class from Python; usable as a decorator. Raises WhetError if it is not complete."""
        missing = [name for name in self.required if not getattr(item, name, None)]
        if missing or not issubclass(item, self.base):
            reason = f"lacks {', '.join(missing)}" if missing else f"is not a {self.base.__name__}"
            raise WhetError(
                f"{item.__module__}.{item.__qualname__} {reason}", where=f"registry of {self.kind}"
            )
        name: str = item.NAME  # type: ignore[attr-defined]
        known = self._found.get(name)
        if known is not None and _home(known) != _home(item):  # the same is defined anew in a notebook
            raise WhetError(f"two {self.kind} are named {name!r}: {known.__module__} and {item.__module__}")
        self._found[name] = item
        self.revision += 1
        return item

    def unregister(self, name: str) -> None:
        """Take back what `register` added."""
        del self._found[name]
        self.revision += 1

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        self._scan()
        return sorted(self._found)

    def get(self, name: str) -> type[T]:
        """The class of that name. Raises WhetError that lists the names and the nearest one."""
        self._scan()
        if name in self._found:
            return self._found[name]
        near = get_close_matches(name, self._found, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise WhetError(f"no {self.kind} named {name!r}", fix=f"{hint}there are: {', '.join(self.names())}")

    def __iter__(self) -> Iterator[type[T]]:
        self._scan()
        return iter([self._found[name] for name in sorted(self._found)])

    def _scan(self) -> None:
        if self._complete:
            return
        with self._scanning:  # another thread waits for what this one finds
            if not self._scanned:
                self._scanned = True  # what is imported may ask, too
                self._find()
                self._complete = True

    def _find(self) -> None:
        folder = importlib.import_module(self.package)
        for found in pkgutil.iter_modules(folder.__path__):
            if not found.name.startswith("_") and found.name != "base":
                self._register_all(importlib.import_module(f"{self.package}.{found.name}"))
        for entry in entry_points(group=f"whet.{self.kind}"):
            self.register(entry.load())

    def _register_all(self, module: object) -> None:
        for item in vars(module).values():
            own = inspect.isclass(item) and item.__module__ == getattr(module, "__name__", "")
            if own and issubclass(item, self.base) and not inspect.isabstract(item):
                self.register(item)


def _home(item: type) -> tuple[str, str]:
    return item.__module__, item.__qualname__
