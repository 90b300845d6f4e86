"""A tiny saved model, and ways to spoil its folder. Each way is one function and the words of the refusal it meets."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
CANARY = "canary"


@dataclass(frozen=True)
class Case:
    """One hostile folder: how it is made from a good one, and what the refusal says."""

    name: str
    spoil: Callable[[Path], None]
    says: str


class Canary:
    """Unpickled, it would make a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder / CANARY),)


CODE = f"""
from pathlib import Path
(Path(__file__).parent / "{CANARY}").mkdir(exist_ok=True)
"""


def config(**changes: Any) -> Callable[[Path], None]:
    """Other values in config.json."""

    def spoil(folder: Path) -> None:
        edit(folder / CONFIG, **changes)

    return spoil


def edit(file: Path, **changes: Any) -> None:
    values = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**values, **changes}))


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Another content of a file."""

    def spoil(folder: Path) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(raw)

    return spoil


def code(name: str, **changes: Any) -> Callable[[Path], None]:
    """Settings that name a module beside them."""

    def spoil(folder: Path) -> None:
        for module in ("modeling_x", "configuration_x", "tokenization_x", "generate"):
            (folder / f"{module}.py").write_text(CODE)
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(CODE)
        edit(folder / name, **changes)

    return spoil


def split(raw: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def joined(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def header(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Another header of the weights; `change` edits it, or returns the bytes of another."""

    def spoil(folder: Path) -> None:
        found, data = split((folder / WEIGHTS).read_bytes())
        other = change(found)
        (folder / WEIGHTS).write_bytes(joined(other if isinstance(other, bytes) else found, data))

    return spoil


def tensors(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Other tensors, written as safetensors writes them."""

    def spoil(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS)

    return spoil


def link(name: str, target: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return spoil


def special(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """A pipe or a folder in place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return spoil


def shards(change: Callable[[Path, dict[str, str]], None]) -> Callable[[Path], None]:
    """The weights as one shard with an index; `change` spoils both."""

    def spoil(folder: Path) -> None:
        found, _ = split((folder / WEIGHTS).read_bytes())
        shard = "model-00001-of-00001.safetensors"
        (folder / WEIGHTS).rename(folder / shard)
        weight_map = {name: shard for name in found if name != "__metadata__"}
        change(folder, weight_map)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

    return spoil


def pickled(folder: Path) -> bytes:
    return pickle.dumps({"weights": Canary(folder)})


def sparse(file: Path, size: int, start: bytes = b"") -> None:
    with file.open("wb") as stream:
        stream.write(start)
        stream.truncate(size)


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / WEIGHTS, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(folder))
