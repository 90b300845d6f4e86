"""The settings of a recipe as objects to be made in Python: its own classes, under one roof.

    Recipe(name="mine", stages=[Stage(name="notes", data=[TextSource(path="notes/")], steps=500)])

What such an object means, and which are refused, is what the same keys mean in a file: both are the same classes.
Relative paths start at the current folder. A mistake raises RecipeError in the words that a file's gets, from here on;
`whet.Recipe` and all the others come from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from whet import settings
from whet.errors import RecipeError
from whet.recipe import explain, yaml12
from whet.recipe.decoding import PRESETS as PRESETS
from whet.recipe.decoding import Beam as Beam
from whet.recipe.decoding import Greedy as Greedy
from whet.recipe.decoding import Sample as Sample
from whet.recipe.load import refresh_schema
from whet.recipe.schema import Curriculum as Curriculum
from whet.recipe.schema import Evaluate as Evaluate
from whet.recipe.schema import FillInTheMiddle as FillInTheMiddle
from whet.recipe.schema import Lora as Lora
from whet.recipe.schema import Model as Model
from whet.recipe.schema import Prepare as Prepare
from whet.recipe.schema import Recipe as Recipe
from whet.recipe.schema import Stage as Stage
from whet.recipe.schema import Tokenizer as Tokenizer
from whet.recipe.schema import Tuned as Tuned
from whet.settings import Settings
from whet.sources.base import Source as Source
from whet.sources.conversations import ConversationSource as ConversationSource
from whet.sources.stdlib import StdlibSource as StdlibSource
from whet.sources.stdlib_english import StdlibEnglishSource as StdlibEnglishSource
from whet.sources.text import TextSource as TextSource
from whet.sources.tokens import TokensSource as TokensSource


@contextmanager
def _making(kind: type[BaseModel], values: dict[str, Any]) -> Iterator[None]:
    refresh_schema()
    here = f"whet.{kind.__name__}(...)"
    try:
        yield
    except UnicodeEncodeError as error:  # pydantic's message of it cannot be written
        raise RecipeError(f"text that is not valid Unicode: {error}", where=here) from None
    except ValidationError as error:
        tree = yaml12.tree_of(_plain(values), here)
        raise explain.refused(tree, explain.problems(tree, error.errors(include_url=False), kind)) from None


def _plain(value: Any) -> Any:
    """Plain values of settings within settings, for the message."""
    if isinstance(value, Settings):
        return explain.Made(value.given(), type(value).__name__)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


settings.made_by(_making)
