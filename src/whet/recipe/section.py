"""What every section of a recipe has in common."""

from __future__ import annotations

from pydantic import ConfigDict

from whet.settings import Settings


class Section(Settings):
    """A section; its defaults are checked too, and no number is infinite or none."""

    model_config = ConfigDict(validate_default=True, allow_inf_nan=False)
