"""whet: from raw domain material to a language model that is trained, measured and in use.

    import whet

    recipe = whet.Recipe(name="mine", stages=[whet.Stage(name="notes", data=[whet.TextSource(path="notes/")])])
    whet.run_all(whet.open_run(recipe))
    print(whet.generate("runs/mine", "def ").text)

This is all there is to call (docs/python.md); the command line uses nothing else. Importing this package imports
neither torch nor transformers, nor anything else that is heavy: a name is looked up where it lives when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from whet.doctor.run import Diagnosis as Diagnosis
    from whet.errors import ArtefactError as ArtefactError
    from whet.errors import CannotWrite as CannotWrite
    from whet.errors import CodeError as CodeError
    from whet.errors import DataError as DataError
    from whet.errors import RecipeError as RecipeError
    from whet.errors import Stopped as Stopped
    from whet.errors import TrainingError as TrainingError
    from whet.errors import WhetError as WhetError
    from whet.evm import lift as lift
    from whet.evm.bytecode import Code as Code
    from whet.evm.bytecode import read_code as read_code
    from whet.evm.decompile import decompile as decompile
    from whet.evm.decompile.nouns import Decompiled as Decompiled
    from whet.evm.decompile.show import show_decompiled as show_decompiled
    from whet.evm.show import show_lifted as show_lifted
    from whet.evm.tac import Contract as Contract
    from whet.evm.verify import Verification as Verification
    from whet.evm.verify import verify as verify
    from whet.evm.verify.show import show_verified as show_verified
    from whet.measure import DocumentScores as DocumentScores
    from whet.measure import Estimate as Estimate
    from whet.measure import difference as difference
    from whet.measure import estimate as estimate
    from whet.measure import floors as floors
    from whet.measure import score as score
    from whet.pipeline import Run as Run
    from whet.pipeline import diagnose as diagnose
    from whet.pipeline import open_run as open_run
    from whet.pipeline import run_all as run_all
    from whet.pipeline import show_preview as show_preview
    from whet.plan.ahead import Outlook as Outlook
    from whet.plan.ahead import look_ahead as look_ahead
    from whet.plan.subject import Asked as Asked
    from whet.plan.table import plan_table as plan_table
    from whet.progress import Reporter as Reporter
    from whet.progress import reporter_for as reporter_for
    from whet.recipe.load import Loaded as Loaded
    from whet.recipe.load import builtin_descriptions as builtin_descriptions
    from whet.recipe.load import copy_builtin as copy_builtin
    from whet.recipe.load import json_schema as json_schema
    from whet.recipe.load import load_recipe as load_recipe
    from whet.recipe.python import PRESETS as PRESETS
    from whet.recipe.python import Beam as Beam
    from whet.recipe.python import ConversationSource as ConversationSource
    from whet.recipe.python import Curriculum as Curriculum
    from whet.recipe.python import Evaluate as Evaluate
    from whet.recipe.python import FillInTheMiddle as FillInTheMiddle
    from whet.recipe.python import Greedy as Greedy
    from whet.recipe.python import Lora as Lora
    from whet.recipe.python import Model as Model
    from whet.recipe.python import Prepare as Prepare
    from whet.recipe.python import Recipe as Recipe
    from whet.recipe.python import Sample as Sample
    from whet.recipe.python import SoliditySource as SoliditySource
    from whet.recipe.python import Source as Source
    from whet.recipe.python import Stage as Stage
    from whet.recipe.python import StdlibEnglishSource as StdlibEnglishSource
    from whet.recipe.python import StdlibSource as StdlibSource
    from whet.recipe.python import TextSource as TextSource
    from whet.recipe.python import Tokenizer as Tokenizer
    from whet.recipe.python import TokensSource as TokensSource
    from whet.recipe.python import Tuned as Tuned
    from whet.recipe.python import WrittenSolidity as WrittenSolidity
    from whet.results import Evaluation as Evaluation
    from whet.results import Plan as Plan
    from whet.results import Prepared as Prepared
    from whet.results import RunState as RunState
    from whet.results import Trained as Trained
    from whet.results import list_runs as list_runs
    from whet.text.conversation import Message as Message
    from whet.use.chat import Talk as Talk
    from whet.use.chat import converse as converse
    from whet.use.choose import choose_decoding as choose_decoding
    from whet.use.merge import merge as merge
    from whet.use.model import Generated as Generated
    from whet.use.model import OpenModel as OpenModel
    from whet.use.run import generate as generate
    from whet.use.run import open_model as open_model
    from whet.use.writer import RunWriter as RunWriter
    from whet.use.writer import open_writer as open_writer

__all__ = [
    "PRESETS",
    "ArtefactError",
    "Asked",
    "Beam",
    "CannotWrite",
    "Code",
    "CodeError",
    "Contract",
    "ConversationSource",
    "Curriculum",
    "DataError",
    "Decompiled",
    "Diagnosis",
    "DocumentScores",
    "Estimate",
    "Evaluate",
    "Evaluation",
    "FillInTheMiddle",
    "Generated",
    "Greedy",
    "Loaded",
    "Lora",
    "Message",
    "Model",
    "OpenModel",
    "Outlook",
    "Plan",
    "Prepare",
    "Prepared",
    "Recipe",
    "RecipeError",
    "Reporter",
    "Run",
    "RunState",
    "RunWriter",
    "Sample",
    "SoliditySource",
    "Source",
    "Stage",
    "StdlibEnglishSource",
    "StdlibSource",
    "Stopped",
    "Talk",
    "TextSource",
    "Tokenizer",
    "TokensSource",
    "Trained",
    "TrainingError",
    "Tuned",
    "Verification",
    "WhetError",
    "WrittenSolidity",
    "builtin_descriptions",
    "choose_decoding",
    "converse",
    "copy_builtin",
    "decompile",
    "diagnose",
    "difference",
    "estimate",
    "floors",
    "generate",
    "json_schema",
    "lift",
    "list_runs",
    "load_recipe",
    "look_ahead",
    "merge",
    "open_model",
    "open_run",
    "open_writer",
    "plan_table",
    "read_code",
    "reporter_for",
    "run_all",
    "score",
    "show_decompiled",
    "show_lifted",
    "show_preview",
    "show_verified",
    "verify",
]

_HOMES = {
    "whet.errors": "ArtefactError CannotWrite CodeError DataError RecipeError Stopped TrainingError WhetError",
    "whet.doctor.run": "Diagnosis",
    "whet.evm": "lift",
    "whet.evm.bytecode": "Code read_code",
    "whet.evm.decompile": "decompile",
    "whet.evm.decompile.nouns": "Decompiled",
    "whet.evm.decompile.show": "show_decompiled",
    "whet.evm.show": "show_lifted",
    "whet.evm.tac": "Contract",
    "whet.evm.verify": "Verification verify",
    "whet.evm.verify.show": "show_verified",
    "whet.measure": "DocumentScores Estimate difference estimate floors score",
    "whet.pipeline": "Run diagnose open_run run_all show_preview",
    "whet.plan.ahead": "Outlook look_ahead",
    "whet.plan.subject": "Asked",
    "whet.plan.table": "plan_table",
    "whet.progress": "Reporter reporter_for",
    "whet.recipe.load": "Loaded builtin_descriptions copy_builtin json_schema load_recipe",
    "whet.recipe.python": "PRESETS Beam ConversationSource Curriculum Evaluate FillInTheMiddle Greedy Lora Model Prepare "
    "Recipe Sample SoliditySource Source Stage StdlibEnglishSource StdlibSource TextSource Tokenizer TokensSource Tuned "
    "WrittenSolidity",
    "whet.results": "Evaluation Plan Prepared RunState Trained list_runs",
    "whet.text.conversation": "Message",
    "whet.use.chat": "Talk converse",
    "whet.use.choose": "choose_decoding",
    "whet.use.merge": "merge",
    "whet.use.model": "Generated OpenModel",
    "whet.use.run": "generate open_model",
    "whet.use.writer": "RunWriter open_writer",
}
"""Module -> the names that live in it."""
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'whet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
