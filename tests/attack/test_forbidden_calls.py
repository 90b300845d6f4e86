"""No line of whet or of its benches can run what a file says: found in the syntax trees, whatever it is named as.

A name is followed through imports (`from os import system as s` is still os.system). Each exception stands
in ALLOWED with its reason, and one that is no longer needed fails.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "src/whet").rglob("*.py"), *(ROOT / "bench").rglob("*.py")])

MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "commands",
}
CALLS = {
    "eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "builtins.compile",
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter",
    "numpy.loads", "pandas.read_pickle",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.Loader", "yaml.UnsafeLoader",
    "os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.spawnv", "os.startfile", "pty.spawn",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
    "shutil.unpack_archive", "tempfile.mktemp", "runpy.run_path", "runpy.run_module", "code.interact",
    "importlib.util.spec_from_file_location", "jinja2.Environment", "jinja2.Template",
    "jinja2.sandbox.ImmutableSandboxedEnvironment",
    "transformers.pipeline", "huggingface_hub.snapshot_download", "huggingface_hub.hf_hub_download",
}  # fmt: skip
METHODS = {"extractall", "unpack_archive"}
WEIGHTS = ("Model", "ForCausalLM", "LMHeadModel")

ALLOWED = {
    (
        "src/whet/registry.py",
        "importlib.import_module",
    ): "the name of one of whet's own packages, given in whet's code",
    ("src/whet/__init__.py", "importlib.import_module"): "looked up in a table of whet's own names",
    (
        "src/whet/models/hub.py",
        "huggingface_hub.snapshot_download",
    ): "asks for files of data by their names; whet.models.saved reads them",
    (
        "src/whet/models/hub.py",
        "huggingface_hub.hf_hub_download",
    ): "asks for config.json, or the index of the weights",
    (
        "src/whet/metrics/solidity/similarity.py",
        "huggingface_hub.snapshot_download",
    ): "weights and tokenizer of one model, by name; refused before they are read unless their SHA-256 is the known one",
    (
        "src/whet/recipe/reference.py",
        "importlib.import_module",
    ): "the module of a class that is registered already",
    (
        "src/whet/sandbox/worker.py",
        "jinja2.sandbox.ImmutableSandboxedEnvironment",
    ): "the child process that renders others' chat templates, and can be killed",
}


class Finder(ast.NodeVisitor):
    """Names what is forbidden, as `what` alone, so that ALLOWED does not depend on lines."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.found: list[str] = []

    def visit_Import(self, node: ast.Import) -> None:
        for item in node.names:
            self._module(item.name)
            self.names[item.asname or item.name.partition(".")[0]] = (
                item.name if item.asname else item.name.partition(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._module(node.module or "")
        for item in node.names:
            self.names[item.asname or item.name] = f"{node.module}.{item.name}"
            self._called(f"{node.module}.{item.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._called(self._name(node))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):  # a field named `compile` is none of it
            self._called(self.names.get(node.id, node.id))

    def visit_Call(self, node: ast.Call) -> None:
        name, given = self._name(node.func), {word.arg: word.value for word in node.keywords if word.arg}
        last = name.rpartition(".")[2]
        self._keywords(given)
        if name == "numpy.load" and not _is(given.get("allow_pickle"), False):
            self.found.append("numpy.load without allow_pickle=False")
        if last == "from_pretrained":
            self._from_pretrained(name, given)
        if last in METHODS:
            self.found.append(last)
        if name.endswith("import_module") and not (node.args and isinstance(node.args[0], ast.Constant)):
            self.found.append("importlib.import_module")
        if last == "YAML" and not (
            _is(given.get("typ"), "safe") or (node.args and _is(node.args[0], "safe"))
        ):
            self.found.append("YAML that is not safe")
        if last == "SandboxedEnvironment" and not _is(given.get("autoescape"), True):
            self.found.append("a template environment without autoescape")
        self.generic_visit(node)

    def _keywords(self, given: dict[str, ast.expr]) -> None:
        for word, safe in (
            ("shell", False),
            ("trust_remote_code", False),
            ("allow_pickle", False),
            ("weights_only", True),
        ):
            if word in given and not _is(given[word], safe):
                self.found.append(f"{word} is not {safe}")

    def _from_pretrained(self, name: str, given: dict[str, ast.expr]) -> None:
        if not _is(given.get("trust_remote_code"), False):
            self.found.append("from_pretrained without trust_remote_code=False")
        if any(word in name for word in WEIGHTS) and not _is(given.get("use_safetensors"), True):
            self.found.append("from_pretrained without use_safetensors=True")

    def _module(self, name: str) -> None:
        if name.partition(".")[0] in MODULES:
            self.found.append(name.partition(".")[0])

    def _called(self, name: str) -> None:
        if name in CALLS:
            self.found.append(name)

    def _name(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            return f"{self._name(node.value)}.{node.attr}"
        return self.names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value and type(node.value) is type(value)


def forbidden(source: str) -> list[str]:
    finder = Finder()
    finder.visit(ast.parse(source))
    return finder.found


def _all() -> Iterator[tuple[str, str]]:
    for file in FILES:
        for what in forbidden(file.read_text("utf-8")):
            yield file.relative_to(ROOT).as_posix(), what


def test_no_file_has_any() -> None:
    assert len(FILES) > 100
    found = set(_all())
    assert found - ALLOWED.keys() == set()
    assert ALLOWED.keys() - found == set(), "these exceptions are not needed any more"


@pytest.mark.parametrize("snippet", [
    "import pickle", "from pickle import loads", "import cloudpickle as json", "import dill", "import joblib",
    "from joblib import load", "import shelve", "import marshal", "def f():\n    import pickle",
    "import torch\ntorch.load(p)", "from torch import load\nload(p)", "import torch as t\nt.load(p, weights_only=True)",
    "torch.hub.load('a', 'b')", "import numpy as np\nnp.load(p)", "import numpy as np\nnp.load(p, allow_pickle=True)",
    "import numpy\nnumpy.load(p, allow_pickle=flag)", "eval(x)", "exec(x)", "compile(x, 'f', 'exec')", "run = eval",
    "import builtins\nbuiltins.exec(x)", "__import__(x)", "import yaml\nyaml.load(x)",
    "import yaml\nyaml.load(x, Loader=yaml.SafeLoader)", "from ruamel.yaml import YAML\nYAML(typ='unsafe')",
    "from ruamel.yaml import YAML\nYAML()", "import subprocess\nsubprocess.run(x, shell=True)",
    "import subprocess as s\ns.Popen(x, shell=flag)", "import os\nos.system(x)", "from os import system as s\ns(x)",
    "import os\nos.popen(x)", "import tarfile\ntarfile.open(x).extractall()", "archive.extractall(filter='data')",
    "import shutil\nshutil.unpack_archive(x)", "Auto.from_pretrained(x)", "Auto.from_pretrained(x, trust_remote_code=True)",
    "Auto.from_pretrained(x, trust_remote_code=flag)", "f(trust_remote_code=1)", "f(trust_remote_code=0)",
    "AutoModelForCausalLM.from_pretrained(x, trust_remote_code=False)",
    "AutoModelForCausalLM.from_pretrained(x, trust_remote_code=False, use_safetensors=False)",
    "from jinja2 import Environment\nEnvironment()", "import jinja2\njinja2.Template(x)",
    "from jinja2.sandbox import SandboxedEnvironment\nSandboxedEnvironment()",
    "import importlib\nimportlib.import_module(x)", "from importlib import import_module\nimport_module(f'a.{x}')",
    "import tempfile\ntempfile.mktemp()", "import runpy\nrunpy.run_path(x)", "f(weights_only=False)",
])  # fmt: skip
def test_each_is_found(snippet: str) -> None:
    assert forbidden(snippet)


@pytest.mark.parametrize("snippet", [
    "import json\njson.load(x)", "import re\nre.compile(x)", "model.eval()", "decoder.compile()", "torch.compile(f)",
    "import numpy as np\nnp.load(p, allow_pickle=False)", "import importlib\nimportlib.import_module('json')",
    "import subprocess\nsubprocess.run([x], check=True)", "from ruamel.yaml import YAML\nYAML(typ='safe', pure=True)",
    "AutoModelForCausalLM.from_pretrained(x, trust_remote_code=False, use_safetensors=True)",
    "from jinja2.sandbox import SandboxedEnvironment\nSandboxedEnvironment(autoescape=True)",
])  # fmt: skip
def test_what_is_harmless_is_not(snippet: str) -> None:
    assert forbidden(snippet) == []
