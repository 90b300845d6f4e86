"""Packages: npm is played by a function that leaves a tarball, as `npm pack` does."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from whet.errors import ArtefactError, WhetError
from whet.evm.pairs.nouns import NO_TEXT
from whet.evm.pairs.projects import from_npm
from whet.evm.solc import npm
from whet.evm.solc.node import _why
from whet.recipe.load import builtin_recipes, load_recipe
from whet.sources.solidity import SoliditySource

Files = dict[str, bytes]


def tarball(files: Files, links: Sequence[str] = ()) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size, about.pax_headers = len(content), {"path": name}
            tar.addfile(about, io.BytesIO(content))
        for name in links:
            about = tarfile.TarInfo(name)
            about.type, about.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(about)
    return raw.getvalue()


def integrity(raw: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(raw).digest()).decode()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[str]]:
    """Called with a tarball: npm has it from then on; gives the list of what is asked for."""
    monkeypatch.setenv("WHET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(npm, "pins", dict)

    def serve(raw: bytes) -> list[str]:
        asked: list[str] = []

        def pack(arguments: Sequence[str], folder: Path) -> str:
            assert arguments[0] == "pack"
            assert "--ignore-scripts" in arguments
            asked.append(arguments[1])
            (folder / "it.tgz").write_bytes(raw)
            return json.dumps([{"filename": "it.tgz", "integrity": "sha512-not-believed"}])

        monkeypatch.setattr(npm, "npm", pack)
        return asked

    return serve


PLAIN: Files = {
    "package/contracts/A.sol": b"contract A {}",
    "package/package.json": b"{}",
    "package/LICENSE": b"MIT",
    "package/build/A.json": b"{}",
    "package/install.js": b"evil()",
}


def test_installed_once_and_only_what_is_kept(registry: Callable[[bytes], list[str]]) -> None:
    raw = tarball(PLAIN)
    asked = registry(raw)
    first, second = npm.package("@a/b", "1.2.3"), npm.package("@a/b", "1.2.3")
    assert first == second
    assert asked == ["@a/b@1.2.3"]
    assert first.integrity == integrity(raw)
    assert not first.pinned
    names = {path.relative_to(first.folder).as_posix() for path in first.folder.rglob("*") if path.is_file()}
    assert names == {"contracts/A.sol", "package.json", "LICENSE", npm.RECORD}
    assert npm.read_verified(first, "contracts/A.sol") == b"contract A {}"


def test_pinned(registry: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tarball(PLAIN)
    registry(raw)
    monkeypatch.setattr(npm, "pins", lambda: {"b@1.0.0": integrity(raw), "c@1.0.0": integrity(b"other")})
    assert npm.package("b", "1.0.0").pinned
    with pytest.raises(ArtefactError, match="not what was recorded"):
        npm.package("c", "1.0.0")
    assert not list((npm.cache_folder() / "npm").glob("c@*"))


def test_what_came_first_is_remembered(registry: Callable[[bytes], list[str]]) -> None:
    registry(tarball(PLAIN))
    folder = npm.package("b", "1.0.0").folder
    npm.staging.remove(folder)
    registry(tarball({**PLAIN, "package/contracts/A.sol": b"contract A { uint x; }"}))
    with pytest.raises(ArtefactError, match="not what was recorded"):
        npm.package("b", "1.0.0")


def test_a_file_changed_after_the_installation(registry: Callable[[bytes], list[str]]) -> None:
    registry(tarball(PLAIN))
    found = npm.package("b", "1.0.0")
    (found.folder / "contracts/A.sol").write_bytes(b"contract B {}")
    with pytest.raises(ArtefactError, match="is not what was installed"):
        npm.read_verified(found, "contracts/A.sol")
    (found.folder / npm.RECORD).write_text("{")
    with pytest.raises(ArtefactError, match="is damaged"):
        npm.package("b", "1.0.0")


def test_names_that_lead_elsewhere_and_links_are_no_files(
    registry: Callable[[bytes], list[str]], tmp_path: Path
) -> None:
    hostile = {"package/../../../evil.sol": b"x", "package//tmp/evil.sol": b"x", "package/ok.sol": b"ok"}
    registry(tarball(hostile, links=["package/link.sol"]))
    folder = npm.package("b", "1.0.0").folder
    written = {path.name for path in tmp_path.rglob("*.sol")}
    assert written <= {"ok.sol", "evil.sol"}
    assert all(path.is_relative_to(folder) for path in tmp_path.rglob("*.sol"))
    assert not Path("/tmp/evil.sol").exists()


def test_a_name_that_no_file_can_have_is_refused(registry: Callable[[bytes], list[str]]) -> None:
    registry(tarball({"package/A\0.sol": b""}))
    with pytest.raises(WhetError, match="no package of npm"):
        npm.package("b", "1.0.0")


def test_odd_packages_are_projects(registry: Callable[[bytes], list[str]]) -> None:
    files = {"package/A.sol": b"// 1\r\n", "package/D.sol/E.sol": b"", "package/F.sol": b"\xff"}
    registry(tarball({**files, "package/package.json": b'{"a":' + b"[" * 100_000}))
    project = from_npm("b@1.0.0")
    assert project.texts == {"b/A.sol": "// 1\n", "b/D.sol/E.sol": ""}
    assert project.unread == {"b/F.sol": (NO_TEXT, "")}
    assert project.licence == ""


def test_too_large_is_refused_and_leaves_nothing(
    registry: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry(tarball({"package/A.sol": bytes(100_000)}))
    monkeypatch.setattr(npm.limits, "NPM_UNPACKED_BYTES", 50_000)
    with pytest.raises(WhetError, match="unpacks to more than"):
        npm.package("b", "1.0.0")
    monkeypatch.setattr(npm.limits, "NPM_PACKAGE_BYTES", 10)
    with pytest.raises(WhetError, match="more than 10 bytes"):
        npm.package("b", "1.0.0")
    assert not list((npm.cache_folder() / "npm").glob("b@*"))


def test_no_network(registry: Callable[[bytes], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(arguments: Sequence[str], folder: Path) -> str:
        raise WhetError("npm pack failed: getaddrinfo ENOTFOUND")

    monkeypatch.setattr(npm, "npm", offline)
    with pytest.raises(WhetError, match=r"solc@0\.8\.30 is not in .* and cannot be installed: .*ENOTFOUND"):
        npm.package("solc", "0.8.30")


@pytest.mark.parametrize(("raw", "said"), [(b"no tarball", "no package of npm"), (b"", "no package of npm")])
def test_garbage(registry: Callable[[bytes], list[str]], raw: bytes, said: str) -> None:
    registry(raw)
    with pytest.raises(WhetError, match=said):
        npm.package("b", "1.0.0")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("b", "latest"),
        ("b", "^1.0.0"),
        ("../b", "1.0.0"),
        ("--registry=x", "1.0.0"),
        ("b", "1.0.0 --x"),
        ("", "1.0.0"),
    ],
)
def test_only_exact_versions(registry: Callable[[bytes], list[str]], name: str, version: str) -> None:
    asked = registry(tarball(PLAIN))
    with pytest.raises(WhetError, match="no package by exact version"):
        npm.package(name, version)
    assert asked == []


def test_every_pin_is_a_sha512() -> None:
    npm.pins.cache_clear()
    for key, pin in npm.pins().items():
        name, _, version = key.rpartition("@")
        assert npm._NAME.fullmatch(name)
        assert npm._VERSION.fullmatch(version)
        assert len(base64.b64decode(pin.removeprefix("sha512-"), validate=True)) == 64


def test_every_package_of_a_built_in_recipe_is_pinned() -> None:
    named = [
        one.rpartition("=")[2]
        for recipe, text in builtin_recipes().items()
        if "source: solidity" in text
        for stage in load_recipe(recipe).recipe.stages
        for source in stage.data
        if isinstance(source, SoliditySource)
        for one in (*source.npm, *source.dependencies)
    ]
    assert named
    npm.pins.cache_clear()
    assert [one for one in named if one not in npm.pins()] == []


def test_packages_are_fetched_while_there_is_a_network(
    registry: Callable[[bytes], list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = registry(tarball({"package/A.sol": b"contract A {}", "package/package.json": b"{}"}))
    assert npm.main(["a@1.0.0", "@b/c@2.0.0", "a@1.0.0"]) == 0
    assert asked == ["a@1.0.0", "@b/c@2.0.0"]

    def missing(arguments: Sequence[str], folder: Path) -> str:
        raise WhetError("npm pack failed: no network")

    monkeypatch.setattr(npm, "npm", missing)
    assert npm.main(["a@1.0.0", "d@1.0.0"]) == 1
    said = capsys.readouterr().err
    assert "d@1.0.0 is not in" in said
    assert "cannot be installed: npm pack failed: no network" in said
    assert "once with a network" in said


def test_npms_reason_is_shown_without_the_trace() -> None:
    said = b"""npm error code ECONNREFUSED
npm error syscall connect
npm error errno ECONNREFUSED
npm error FetchError: request to http://localhost:9/solmate failed, reason: connect ECONNREFUSED
npm error     at ClientRequest.<anonymous> (index.js:130:14)
npm error     at ClientRequest.emit (node:events:509:28) {
npm error   code: 'ECONNREFUSED',
npm error   type: 'system'
npm error }
npm error If you are behind a proxy, please make sure that the 'proxy' config is set properly.
npm error A complete log of this run can be found in: somewhere
"""
    assert _why(said) == (
        "code ECONNREFUSED; FetchError: request to http://localhost:9/solmate failed, reason: connect ECONNREFUSED; "
        "If you are behind a proxy, please make sure that the 'proxy' config is set properly."
    )
