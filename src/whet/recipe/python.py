"""The settings of a recipe as objects to be made in Python: its own classes, under one roof.

    Recipe(name="mine", stages=[Stage(name="notes", data=[TextSource(path="notes/")], steps=500)])

What such an object means, and which are refused, is what the same keys mean in a file: both are the same classes.
Relative paths start at the current folder. A mistake raises RecipeError in the words that a file's gets (`whet.recipe.load`).
"""

from __future__ import annotations

import whet.recipe.load  # noqa: F401  it brings the words for mistakes
from whet.recipe.decoding import PRESETS as PRESETS
from whet.recipe.decoding import Beam as Beam
from whet.recipe.decoding import Greedy as Greedy
from whet.recipe.decoding import Sample as Sample
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
from whet.recipe.schema import WrittenSolidity as WrittenSolidity
from whet.sources.base import Source as Source
from whet.sources.conversations import ConversationSource as ConversationSource
from whet.sources.solidity import SoliditySource as SoliditySource
from whet.sources.stdlib import StdlibSource as StdlibSource
from whet.sources.stdlib_english import StdlibEnglishSource as StdlibEnglishSource
from whet.sources.text import TextSource as TextSource
from whet.sources.tokens import TokensSource as TokensSource
