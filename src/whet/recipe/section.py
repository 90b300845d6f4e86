"""What every section of a recipe has in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic_core import PydanticCustomError

from whet.settings import Settings

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(Settings):
    """A section; its defaults are checked too, and no number is infinite or none."""

    model_config = ConfigDict(validate_default=True, allow_inf_nan=False)


def refuse(found: Iterable[tuple[str, str]]) -> None:
    """Raise one error for all contradictions found: (key, message).

    Keys are dotted and start in the section; several are separated by spaces, see `explain`.
    """
    problems = list(found)
    if problems:
        text = "; ".join(f"{key}: {message}" for key, message in problems)
        raise PydanticCustomError("contradiction", "{text}", {"text": text, "problems": problems})
