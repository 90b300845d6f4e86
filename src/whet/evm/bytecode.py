"""Reads EVM code from text, bytes, files and artifacts, and says what it is: `read_code(...) -> Code`.

What is lifted is runtime code. Where creation code is given, the part that it deploys is taken, and that is said.
Everything found beside the instructions (metadata, sub-contracts, immutables, proxies) is read by pattern and taken for
what it looks like; the code itself is not changed, but for the addresses of libraries that are not linked.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whet import limits
from whet.errors import CodeError
from whet.evm.artifacts import Artifact, read_artifacts
from whet.evm.constructor import Deployed, deployed
from whet.evm.hexadecimal import Link, looks_like_hex, parse_hex, too_large
from whet.evm.metadata import Metadata, all_metadata, metadata_at_end
from whet.evm.proxies import DELEGATION, Proxy, find_proxy, is_library
from whet.evm.regions import Embedded, Regions, find_regions


@dataclass(frozen=True, slots=True)
class Code:
    """Code of one contract, and what was recognised in it. All offsets are bytes of `runtime`.

    runtime: the code that runs, whole. kind: what was given: "runtime", "creation", or "delegation" (of an account,
    EIP-7702: there is no code here). name: the contract's in an artifact, or "".
    notes: what was assumed, cut or is missing.
    metadata: what the compiler appended, None if nothing is recognised. code_end: where instructions end, as far as data
    is known that follows them. embedded: contracts that this one creates. immutables: {id: offsets of 32 zero bytes}; the
    id is the artifact's, "" without one. libraries: not linked, each with the address that was put there.
    proxy: what it stands for, or None. is_library: it begins with solc's guard of libraries. hints: known storage slots.
    creation: the creation code if that was given; the runtime code begins in it at runtime_offset.
    constructor_arguments: what was appended to it. abi: entries of the artifact's JSON ABI.
    """

    runtime: bytes
    kind: str
    name: str
    notes: tuple[str, ...]
    metadata: Metadata | None
    code_end: int
    embedded: tuple[Embedded, ...]
    immutables: dict[str, tuple[int, ...]]
    libraries: tuple[Link, ...]
    proxy: Proxy | None
    is_library: bool
    hints: tuple[str, ...]
    creation: bytes = b""
    runtime_offset: int = 0
    constructor_arguments: bytes = b""
    abi: tuple[dict[str, Any], ...] = ()

    @property
    def compiler(self) -> str:
        """ "solc 0.8.30", "solc 0.4.7 to 0.5.8", or "" where nothing says it."""
        if self.metadata:
            return str(self.metadata)
        starts = {"6060604052": "solc up to 0.4.21?", "6080604052": "solc since 0.4.22?"}
        return starts.get(self.runtime[:5].hex(), "")

    def facts(self) -> list[str]:
        """What was recognised, one line each, without the notes."""
        told = [f"{len(self.runtime):,} bytes of runtime code" + (f" of {self.name}" if self.name else "")]
        told += [f"compiler: {self.compiler}"] if self.compiler else []
        told += [f"source: {self.metadata.source}"] if self.metadata and self.metadata.source else []
        told += [str(self.proxy)] if self.proxy else []
        told += ["library (knows its own address)"] if self.is_library else []
        told += [f"storage slot: {hint}" for hint in self.hints]
        told += [
            f"creates a contract: {part.length:,} bytes of creation code at {part.offset:#x}"
            for part in self.embedded
        ]
        if self.constructor_arguments:
            told.append(f"constructor arguments: {len(self.constructor_arguments):,} bytes")
        return told


def read_code(source: str | bytes | Path | Code, *, contract: str = "") -> Code:
    """The code in `source`, and what is recognised in it.

    source: a str is hex digits, the text of an artifact, the path of a file, or "-" (standard input); bytes are the code
    itself; a Path is a file with hex digits, an artifact (JSON) or the code's bytes. A str that is hex is taken as code
    even if there is a file of that name. contract: which one of an artifact, as "Token" or "file.sol:Token".

    Raises CodeError for what is no bytecode, saying what and where; for an artifact with several contracts where none is
    named; for an EOF container; for more than limits.CODE_BYTES of code or limits.ARTIFACT_BYTES of file.
    """
    if isinstance(source, Code):
        return source
    given, where = _open(source)
    if isinstance(given, str) and _is_artifact(given):
        return _of_artifact(_choose(read_artifacts(given, where), contract, where), where)
    if contract:
        fix = "leave out --contract, which names one of an artifact's contracts"
        raise CodeError(f"no artifact, so nothing in it is named {contract!r}", where=where, fix=fix)
    code, links = parse_hex(_unquoted(given), where) if isinstance(given, str) else (given, ())
    found = None if find_proxy(code) else deployed(_checked(code, where))
    return _of_creation(code, found, links) if found else _inspect(code, "runtime", links)


def _open(source: str | bytes | Path) -> tuple[str | bytes, str]:
    """Text or bytes of code, and what to call the place in messages."""
    if isinstance(source, bytes | bytearray):
        return bytes(source), "the bytes given"
    if source == "-":
        return _text_or_bytes(
            sys.stdin.buffer.read(limits.ARTIFACT_BYTES + 1), "standard input"
        ), "standard input"
    if isinstance(source, str):
        if "://" in source[:10]:
            fix = "nothing is fetched; give the code itself"
            raise CodeError("an address in the web, not code", where=source[:80], fix=fix)
        if looks_like_hex(source) or "\n" in source or _is_artifact(source):
            return source, "the text given"
        if not _names_a_file(source):
            return source, "the text given (and no file is named so)"
        source = Path(source)
    return _text_or_bytes(_read_file(source), str(source)), str(source)


def _names_a_file(text: str) -> bool:
    if len(text) < 1024 and (text.endswith((".json", ".hex", ".bin", ".txt", ".sol", ".vy")) or "/" in text):
        return True
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limits.ARTIFACT_BYTES + 1)
    except IsADirectoryError as error:
        raise CodeError(
            "is a folder", where=str(path), fix="give a file in it, e.g. out/Token.sol/Token.json"
        ) from error
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise CodeError(
            f"cannot be read: {told}", where=str(path), fix="give hex digits, or a file that is there"
        ) from error


def _text_or_bytes(raw: bytes, where: str) -> str | bytes:
    """What a file holds: text if all of it is printable, else code as it is."""
    if len(raw) > limits.ARTIFACT_BYTES:
        fix = "give the artifact of one contract, or its code"
        raise CodeError(f"larger than {limits.ARTIFACT_BYTES:,} bytes", where=where, fix=fix)
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return raw
    return text if "".join(text.split()).isprintable() else raw


def _is_artifact(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith(("{", "[", "======="))


def _unquoted(text: str) -> str:
    inner = text.strip()
    return inner[1:-1] if len(inner) > 1 and inner[0] == inner[-1] == '"' else text


def _choose(found: list[Artifact], contract: str, where: str) -> Artifact:
    """The one that is meant: by its name, or the only one with code."""
    if contract:
        found = [one for one in found if contract in (one.name, one.name.rpartition(":")[2])] or _unknown(
            found, contract, where
        )
    if len(found) == 1:
        return found[0]
    with_code = [one for one in found if one.has_code]
    if len(with_code) == 1:
        return with_code[0]
    if not with_code:
        raise CodeError(
            "no contract in it has code", where=where, fix="interfaces and abstract contracts have none"
        )
    raise CodeError(
        f"{len(with_code)} contracts with code: {_names(with_code)}",
        where=where,
        fix="name one: --contract NAME",
    )


def _unknown(found: list[Artifact], contract: str, where: str) -> list[Artifact]:
    raise CodeError(
        f"no contract is named {contract!r}",
        where=where,
        fix=f"there are {_names(found) or 'none with names'}",
    )


def _names(found: list[Artifact]) -> str:
    names = sorted(one.name for one in found if one.name)
    return ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")


def _of_artifact(artifact: Artifact, where: str) -> Code:
    place = f"{where}: {artifact.name}" if artifact.name else where
    if not artifact.has_code:
        raise CodeError(
            "has no bytecode",
            where=place,
            fix="an interface or an abstract contract; give one that can be deployed",
        )
    if artifact.runtime in ("", "0x"):
        code, links = parse_hex(artifact.creation, place)
        found = deployed(_checked(code, place))
        if found is None:
            raise CodeError(
                "the runtime code was not found in this creation code",
                where=place,
                fix="let the compiler write deployedBytecode (evm.deployedBytecode, bin-runtime) too",
            )
        read = _of_creation(code, found, links)
    else:
        code, links = parse_hex(artifact.runtime, place)
        named = tuple(_named(link, artifact.libraries) for link in links)
        read = _inspect(_checked(code, place), "runtime", named, artifact.immutables)
    return replace(read, name=artifact.name, abi=artifact.abi)


def _named(link: Link, libraries: dict[str, tuple[int, ...]]) -> Link:
    names = [name for name, offsets in libraries.items() if set(offsets) & set(link.offsets)]
    return replace(link, name=names[0]) if names else link


def _checked(code: bytes, where: str) -> bytes:
    if not code:
        raise CodeError("no code: there is not one byte", where=where)
    if len(code) > limits.CODE_BYTES:
        raise too_large(len(code), where)
    if code[:2] == b"\xef\x00":
        raise CodeError(
            "an EOF container (it begins with EF00, EIP-3540)",
            where=where,
            fix="only code of the EVM as it runs is read; compile without EOF",
        )
    return code


def _of_creation(code: bytes, found: Deployed, links: tuple[Link, ...]) -> Code:
    runtime = _checked(
        code[found.offset : found.offset + found.length], "the runtime part of the creation code"
    )
    notes = [
        f"creation code: its runtime code, {found.length:,} bytes at offset {found.offset:#x}, was taken"
    ]
    if len(runtime) < found.length:
        notes.append(f"{found.length - len(runtime):,} bytes are missing at the end of the runtime code")
    if found.appended:
        notes.append(f"{found.appended:,} bytes that the constructor appends (immutables) stand as zero")
    shifted = tuple(
        replace(link, offsets=tuple(at - found.offset for at in link.offsets if at >= found.offset))
        for link in links
    )
    inside = tuple(link for link in shifted if link.offsets)
    read = _inspect(runtime + bytes(found.appended), "creation", inside)
    return replace(
        read,
        notes=(*notes, *read.notes),
        creation=code,
        runtime_offset=found.offset,
        constructor_arguments=b"" if found.arguments is None else code[found.arguments :],
    )


def _inspect(
    runtime: bytes, kind: str, links: tuple[Link, ...], references: dict[str, tuple[int, ...]] | None = None
) -> Code:
    at_end = metadata_at_end(runtime)
    metadata = at_end or max(all_metadata(runtime), key=lambda one: one.offset, default=None)
    regions = find_regions(runtime, metadata)
    proxy = find_proxy(runtime)
    delegates = runtime[:3] == DELEGATION and proxy is not None
    immutables = references or ({"": regions.zero_words} if regions.zero_words else {})
    library = is_library(runtime)
    notes = _notes(runtime, links, immutables, library, regions)
    if metadata and not at_end and not regions.embedded and not (proxy and proxy.arguments):
        notes.append(f"{len(runtime) - metadata.end:,} bytes follow the metadata: appended data")
    return Code(
        runtime=runtime,
        kind="delegation" if delegates else kind,
        name="",
        notes=tuple(notes),
        metadata=metadata,
        code_end=regions.code_end,
        embedded=regions.embedded,
        immutables=immutables,
        libraries=links,
        proxy=proxy,
        is_library=library,
        hints=regions.hints,
    )


def _notes(
    runtime: bytes,
    links: tuple[Link, ...],
    immutables: dict[str, tuple[int, ...]],
    library: bool,
    regions: Regions,
) -> list[str]:
    notes = [f"library {link.name} is not linked: {link.address} stands in its place" for link in links]
    if library and not any(runtime[1:21]):
        notes.append("the library's own address stands as zero: it is written when the library is deployed")
    if immutables:
        count = sum(len(offsets) for offsets in immutables.values())
        notes.append(f"immutables stand as zero in {count} places: the constructor would write them")
    if regions.missing is not None:
        notes.append(
            f"bytes from {regions.missing:#x} on are copied and are not there: creation code cut short, or"
            " Vyper's immutables"
        )
    if regions.cut_push is not None:
        notes.append(
            f"the last instruction, at {regions.cut_push:#x}, is cut short; zeros follow, as in the EVM"
        )
    if len(runtime) == 20:
        notes.append("20 bytes, as long as an address; if this is one, give the code that stands there")
    return notes
