"""The public surface: small, lazy, typed, told in docs/python.md, and all that the command line uses."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import whet

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/python.md").read_text("utf-8")


def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / "src/whet" / name).read_text("utf-8"))


def test_everything_public_is_there_and_says_what_it_is() -> None:
    for name in whet.__all__:
        found = getattr(whet, name)
        told = inspect.getdoc(found) if callable(found) else "a value"
        assert told, f"{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = whet.nothing


def test_names_of_type_checkers_are_those_at_run_time() -> None:
    (typed,) = (node for node in tree_of("__init__.py").body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert seen == whet._MODULES
    assert sorted(seen) == sorted(whet.__all__)
    assert set(dir(whet)) >= set(whet.__all__)


def test_no_public_name_is_a_module() -> None:
    """Importing the module would hide the name behind it."""
    modules = {found.name for found in pkgutil.iter_modules(whet.__path__)}
    assert not modules & set(whet.__all__)


def test_the_page_names_everything_and_nothing_else() -> None:
    table = PAGE[PAGE.index("## Every name") :]
    for name in whet.__all__:
        assert f"`{name}`" in table, f"docs/python.md does not list {name}"
    used = {
        node.attr
        for node in ast.walk(
            ast.parse("\n".join(part.split("```")[0] for part in PAGE.split("```python\n")[1:]))
        )
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "whet"
    }
    assert used <= set(whet.__all__)
    assert len(used) > 25


def test_import_is_light() -> None:
    heavy = ("torch", "transformers", "pydantic", "numpy")
    script = f"import whet, sys; dir(whet); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_recipe_is_made_without_torch() -> None:
    script = "import whet, sys; whet.Recipe; whet.look_ahead; whet.list_runs; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


BESIDE = {"typer", "whet", "whet.options", "whet.launch", *sys.stdlib_module_names}
"""What the command line may import: what everybody can, its own options, and how a process ends (`leave`)."""


def imported(tree: ast.Module) -> list[tuple[str, str]]:
    """(module, name) of every import; name is "" for a module as a whole."""
    found = [
        (alias.name, "") for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


def test_the_command_line_uses_nothing_else() -> None:
    tree = tree_of("cli.py")
    for module, name in imported(tree):
        assert module in BESIDE, f"cli.py imports {module}"
        assert (module, name) not in {
            ("whet", other) for other in vars(whet) if other != "options"
        } or not name
        assert module != "whet.launch" or name == "leave"
        assert module != "whet" or name in ("", "options")
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "whet"
    }
    assert used <= {*whet.__all__, "__version__"}
    assert len(used) > 15
    assert all(
        module in ("typer", "__future__", "pathlib", "typing")
        for module, _ in imported(tree_of("options.py"))
    )


@pytest.mark.slow
def test_strict_type_checkers_accept_the_page(tmp_path: Path) -> None:
    """mypy --strict without any plugin, as a user would have it, on all that docs/python.md shows."""
    blocks = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]
    (tmp_path / "page.py").write_text("\n".join(blocks), "utf-8")
    wrong = 'import whet\nwhet.Stage(name="a", data=[], steps="3")\nwhet.Sample(heat=1)\nwhet.open_run(3)\n'
    (tmp_path / "wrong.py").write_text(wrong, "utf-8")
    assert mypy("page.py", tmp_path).returncode == 0, mypy("page.py", tmp_path).stdout
    said = mypy("wrong.py", tmp_path).stdout
    assert [line.split(":")[1] for line in said.splitlines() if ": error:" in line] == ["2", "3", "4"]


def mypy(file: str, folder: Path) -> Any:
    (folder / "mypy.ini").write_text("[mypy]\nfollow_imports = silent\nignore_missing_imports = true\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "mypy.ini", file]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"MYPYPATH": str(ROOT / "src"), "PATH": ""}
    )
