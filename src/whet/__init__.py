"""whet: from raw domain material to a language model that is trained, measured and in use.

    from whet import open_run, run_all

    report = run_all(open_run("recipe.yaml", ["stages.code.steps=100"]))

One room at a time: `whet.pipeline`. Importing this package imports neither torch nor transformers; the
rooms load them where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from whet.errors import WhetError as WhetError
    from whet.pipeline import Run as Run
    from whet.pipeline import open_run as open_run
    from whet.pipeline import run_all as run_all
    from whet.use.run import run as generate

__all__ = ["Run", "WhetError", "generate", "open_run", "run_all"]

_HOMES = {
    "Run": ("whet.pipeline", "Run"),
    "WhetError": ("whet.errors", "WhetError"),
    "generate": ("whet.use.run", "run"),
    "open_run": ("whet.pipeline", "open_run"),
    "run_all": ("whet.pipeline", "run_all"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'whet' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
