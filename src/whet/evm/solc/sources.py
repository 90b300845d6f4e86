"""Solidity sources of packages: every file by the name that imports use, and what one file needs.

Version pragmas are rewritten so that any compiler takes the file (a pin such as `=0.7.6` is a wish of its authors, and
the compiler chosen here is the same or a close one); other pragmas stay.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence

from whet.evm.solc.npm import Package, package

ANY_VERSION = "pragma solidity >=0.4.0;"

_PRAGMA = re.compile(r"\bpragma\s{1,100}solidity\b([^;]{0,1000});")
_IMPORT = re.compile(
    r"""(?:^|(?<=[;}]))[^\S\n]*import\b[^;"']{0,3000}["']([^"'\n]+)["'][^;]{0,3000};""", re.MULTILINE
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)|(\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?)", re.DOTALL)
"""Comments and, as its group, strings. What has no end goes to the end of the text, or of the line, so that no place is
looked at twice."""
_COMMENT_OR_PRAGMA = re.compile(f"{_COMMENT.pattern}|(?P<pragma>{_PRAGMA.pattern})", re.DOTALL)


def sources_of(found: Package, alias: str = "") -> dict[str, str]:
    """{import name: text} of all Solidity files of a package, e.g. "solmate/src/auth/Auth.sol".

    `alias`: the name under which others import it, if not its own. Files that are no UTF-8 are left out.
    """
    texts = {}
    for path in sorted(found.folder.rglob("*.sol")):
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        inside = path.relative_to(found.folder).as_posix()
        texts[f"{alias or found.name}/{inside}"] = for_any_version(text)
    return texts


def for_any_version(text: str) -> str:
    """The file with version pragmas that every compiler takes."""
    return _COMMENT_OR_PRAGMA.sub(lambda match: ANY_VERSION if match["pragma"] else match[0], text)


def library(wanted: Sequence[str]) -> dict[str, str]:
    """The sources of several packages, each "name@version" or "alias=name@version". Raises WhetError (see `npm`)."""
    texts: dict[str, str] = {}
    for one in wanted:
        alias, _, key = one.rpartition("=")
        name, _, version = key.rpartition("@")
        texts |= sources_of(package(name, version), alias)
    return texts


def pragmas(text: str) -> list[str]:
    """What the file asks of the compiler's version, such as "^0.8.0"."""
    bare = _COMMENT.sub(lambda match: match[1] or " ", text)
    return [" ".join(match[3].split()) for match in _COMMENT_OR_PRAGMA.finditer(bare) if match["pragma"]]


def imports(name: str, text: str) -> list[str]:
    """What the file imports, as names of sources (relative ones resolved)."""
    bare = _COMMENT.sub(lambda match: match[1] or " ", text)
    return [_resolved(name, path) for path in _IMPORT.findall(bare)]


def closure(names: Sequence[str], texts: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What the files `names` need, with themselves, and the imported names that are nowhere in `texts`."""
    needed: dict[str, str] = {}
    missing = set()
    work = list(names)
    while work:
        name = work.pop()
        if name in needed:
            continue
        if name not in texts:
            missing.add(name)
            continue
        needed[name] = texts[name]
        work += imports(name, texts[name])
    return dict(sorted(needed.items())), sorted(missing)


def _resolved(importer: str, path: str) -> str:
    """As the compiler does: the importer's name need be no path, it can begin with "https://"."""
    if not path.startswith(("./", "../")):
        return path
    folder, path = _folder(importer), posixpath.normpath(path)
    while path.startswith("../"):
        folder, path = _folder(folder), path[3:]
    return f"{folder.rstrip('/')}/{path}" if folder else path


def _folder(name: str) -> str:
    """ "/" of "/a", and nothing above it."""
    if name.rfind("/") == 0:
        return name[:1] if len(name) > 1 else ""
    return name.rpartition("/")[0].rstrip("/")
