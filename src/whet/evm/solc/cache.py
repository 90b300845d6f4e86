"""Where compilers, packages and what was compiled are kept: one folder of the user's, safe to delete at any time."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "WHET_CACHE"
"""Environment variable with another folder."""


def cache_folder() -> Path:
    """$WHET_CACHE, else $XDG_CACHE_HOME/whet, else ~/.cache/whet. Not made here."""
    if own := os.environ.get(VARIABLE):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "whet"
