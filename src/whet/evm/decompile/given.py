"""What was given to decompile: code, files, folders, addresses; each becomes a task with a name of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whet import limits
from whet.errors import CodeError
from whet.evm.bytecode import Code, read_code
from whet.evm.decompile.chain import (
    behind,
    block_name,
    checked_address,
    code_at,
    follow,
    is_address,
    with_checksum,
)
from whet.evm.decompile.endpoint import Endpoint
from whet.evm.decompile.run import Options
from whet.evm.hexadecimal import looks_like_hex, printable

ENDINGS = (".hex", ".bin", ".bin-runtime", ".json", ".txt")
"""Files of a folder that are taken; build-info and other JSON without code fails and is counted."""


@dataclass(frozen=True, slots=True)
class Task:
    """One input. name: for messages and files. given: as `read_code` takes it, or an address. url: of a node, "" for none.
    cached: whether an earlier result may be taken."""

    name: str
    given: str
    options: Options
    contract: str = ""
    url: str = ""
    block: str = "latest"
    follows: bool = False
    cached: bool = True


def named(arguments: list[str]) -> list[tuple[str, str]]:
    """(name, what to read) of every input, folders by their files in order.

    Raises CodeError for a folder without any, too many, or standard input among others.
    """
    found: list[tuple[str, str]] = []
    for argument in arguments:
        if not looks_like_hex(argument) and len(argument) < 4096 and Path(argument).is_dir():
            found += _in_folder(Path(argument))
        else:
            found.append((_name(argument), argument))
        if len(found) > limits.DECOMPILE_INPUTS:
            raise CodeError(f"more than {limits.DECOMPILE_INPUTS:,} inputs", where=argument[:200])
    if len(found) > 1 and "-" in arguments:
        raise CodeError("standard input stands alone", where="-", fix="give its code in a file")
    return _unique(found)


def load(task: Task) -> tuple[Code, list[str]]:
    """The code, and lines about where it comes from. Raises CodeError, RpcError."""
    endpoint = Endpoint(task.url) if task.url else None
    block = block_name(task.block)
    address, told = "", []
    if is_address(task.given):
        address = checked_address(task.given)
        if endpoint is None:
            raise CodeError(
                "an address; its code is not here", where=task.given, fix="name a node: --rpc URL"
            )
        code = code_at(endpoint, address, block)
        told.append(f"address: {with_checksum(address)}, block {task.block}")
    else:
        code = read_code(task.given, contract=task.contract)
    if task.follows:
        code, at, steps = follow(code, address, endpoint, block)
        told += steps
        told += [f"decompiled: the implementation at {with_checksum(at)}"] if steps else []
    elif found := behind(code, address, endpoint, block):
        told.append(f"{found}" + (" (--follow decompiles that)" if found.implementation else ""))
    return code, told


def _in_folder(folder: Path) -> list[tuple[str, str]]:
    try:
        files = [path for path in sorted(folder.rglob("*")) if path.name.endswith(ENDINGS) and path.is_file()]
    except OSError as error:
        raise CodeError(f"cannot be read: {error.strerror}", where=str(folder)) from error
    if not files:
        raise CodeError("no files with code", where=str(folder), fix=f"they end with {', '.join(ENDINGS)}")
    return [(_file_name(path.relative_to(folder)), str(path)) for path in files]


def _name(argument: str) -> str:
    if argument == "-":
        return "input"
    if is_address(argument):
        return argument.lower()
    if looks_like_hex(argument) or len(argument) > 1024 or "\n" in argument:
        return "code"
    return _file_name(Path(Path(argument).name))


def _file_name(path: Path) -> str:
    stem = path.as_posix()
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    return printable(stem.lstrip("./").replace("/", "_").replace("\\", "_") or "code")[:120]


def _unique(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names that occur again get a number, also where capitals are no difference to the disk."""
    seen: set[str] = set()
    named = []
    for name, given in found:
        number, fresh = 2, name
        while fresh.lower() in seen:
            fresh, number = f"{name}-{number}", number + 1
        seen.add(fresh.lower())
        named.append((fresh, given))
    return named
