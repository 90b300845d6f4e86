"""Contracts compiled from public Solidity libraries, with what the compiler knows of them: what the EVM benches measure on.

    python bench/evm_corpus.py small            # one library per era, a few minutes
    python bench/evm_corpus.py full             # all libraries in all settings, hours
    python bench/evm_corpus.py small --only oz-5 --settings ir

Writes one JSON Lines file per library and settings under the cache folder (`--into` for another): one line per contract
with package, file, contract, kind, solc, settings, the harness's text and all of `whet.evm.solc.truth`; beside it
NAME.lost.json counts what is missing, by reason. The libraries come from npm and keep their own licences; nothing of them
is part of this repository.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whet.evm.solc.cache import cache_folder
from whet.evm.solc.compiler import Settings, close_compilers
from whet.evm.solc.harness import Compiled, compile_package
from whet.evm.solc.sources import library


@dataclass(frozen=True)
class Library:
    """name: of the files. packages: what npm gives ("alias=name@version"). under: whose files are compiled."""

    name: str
    version: str
    packages: tuple[str, ...]
    under: tuple[str, ...]
    small: bool = False


OZ = "@openzeppelin/contracts"
LIBRARIES = [
    Library(
        "oz-1.12", "0.4.26", ("openzeppelin-solidity@1.12.0",), ("openzeppelin-solidity/contracts/",), True
    ),
    Library("oz-2.5", "0.5.17", (f"{OZ}@2.5.1",), (f"{OZ}/",), True),
    Library("oz-3.4", "0.6.12", (f"{OZ}@3.4.2",), (f"{OZ}/",), True),
    Library("oz-3.4-0.7", "0.7.6", (f"{OZ}@3.4.2-solc-0.7",), (f"{OZ}/",), True),
    Library("aave-3", "0.8.19", ("@aave/core-v3@1.19.3",), ("@aave/core-v3/contracts/",), True),
    Library("oz-5", "0.8.30", (f"{OZ}@5.7.0",), (f"{OZ}/",), True),
    Library("solmate", "0.8.30", ("solmate@6.8.0",), ("solmate/src/",), True),
    Library("solady", "0.8.30", ("solady@0.1.26",), ("solady/src/",)),
    Library("oz-4.9", "0.8.19", (f"{OZ}@4.9.6",), (f"{OZ}/",)),
    Library(
        "oz-upgradeable-5",
        "0.8.30",
        ("@openzeppelin/contracts-upgradeable@5.7.0", f"{OZ}@5.7.0"),
        ("@openzeppelin/contracts-upgradeable/",),
    ),
    Library("oz-2.0", "0.4.26", ("openzeppelin-solidity@2.0.0",), ("openzeppelin-solidity/contracts/",)),
    Library("uniswap-2-core", "0.5.17", ("@uniswap/v2-core@1.0.1",), ("@uniswap/v2-core/contracts/",)),
    Library(
        "uniswap-2-periphery",
        "0.6.12",
        ("@uniswap/v2-periphery@1.1.0-beta.0", "@uniswap/v2-core@1.0.1", "@uniswap/lib@4.0.1-alpha"),
        ("@uniswap/v2-periphery/contracts/",),
    ),
    Library("uniswap-3-core", "0.7.6", ("@uniswap/v3-core@1.0.1",), ("@uniswap/v3-core/contracts/",)),
    Library(
        "uniswap-3-periphery",
        "0.7.6",
        (
            "@uniswap/v3-periphery@1.4.4",
            "@uniswap/v3-core@1.0.1",
            "@uniswap/v2-core@1.0.1",
            "@uniswap/lib@4.0.1-alpha",
            "base64-sol@1.0.1",
            f"{OZ}@3.4.2-solc-0.7",
        ),
        ("@uniswap/v3-periphery/contracts/",),
    ),
    Library("safe-1.4", "0.7.6", ("@safe-global/safe-contracts@1.4.1",), ("@safe-global/safe-contracts/",)),
    Library("safe-1.3", "0.7.6", ("@gnosis.pm/safe-contracts@1.3.0",), ("@gnosis.pm/safe-contracts/",)),
    Library(
        "balancer-2",
        "0.7.6",
        (
            "@balancer-labs/v2-vault@3.0.1",
            "@balancer-labs/v2-interfaces@0.2.1",
            "@balancer-labs/v2-solidity-utils@3.0.1",
        ),
        ("@balancer-labs/",),
    ),
    Library(
        "uniswap-4-core", "0.8.30", ("@uniswap/v4-core@1.0.2", "solmate@6.8.0"), ("@uniswap/v4-core/src/",)
    ),
    Library(
        "chainlink-shared",
        "0.8.19",
        (
            "@chainlink/contracts@1.5.0",
            f"{OZ}@4.8.3={OZ}@4.8.3",
            f"{OZ}@4.9.6={OZ}@4.9.6",
            f"{OZ}@5.0.2={OZ}@5.0.2",
        ),
        ("@chainlink/contracts/src/v0.8/shared/", "@chainlink/contracts/src/v0.8/vrf/"),
    ),
    Library(
        "gnosis-1",
        "0.4.26",
        ("@gnosis.pm/gnosis-core-contracts@1.0.2",),
        ("@gnosis.pm/gnosis-core-contracts/contracts/",),
    ),
    Library(
        "synthetix-2",
        "0.5.17",
        (
            "synthetix@2.30.1",
            "openzeppelin-solidity-2.3.0=openzeppelin-solidity@2.3.0",
            "@chainlink/contracts-0.0.10=@chainlink/contracts@0.0.10",
        ),
        ("synthetix/contracts/",),
    ),
    Library("erc721a", "0.8.30", ("erc721a@4.3.0",), ("erc721a/contracts/",)),
    Library("prb-math", "0.8.30", ("@prb/math@4.2.0",), ("@prb/math/src/",)),
    Library("aave-2", "0.6.12", ("@aave/protocol-v2@1.0.1",), ("@aave/protocol-v2/contracts/",)),
    Library("aave-governance", "0.7.6", ("@aave/governance-v2@1.0.0",), ("@aave/governance-v2/contracts/",)),
    Library("bancor", "0.4.26", ("bancor-contracts@0.4.3",), ("bancor-contracts/",)),
    Library("aragon", "0.4.26", ("@aragon/os@4.4.0",), ("@aragon/os/contracts/",)),
    Library(
        "layerzero",
        "0.8.30",
        (
            "@layerzerolabs/solidity-examples@1.1.0",
            f"{OZ}@4.9.6",
            "@openzeppelin/contracts-upgradeable@4.9.6",
        ),
        ("@layerzerolabs/solidity-examples/contracts/",),
    ),
    Library(
        "axelar",
        "0.8.19",
        ("@axelar-network/axelar-gmp-sdk-solidity@5.6.4",),
        ("@axelar-network/axelar-gmp-sdk-solidity/contracts/",),
    ),
    Library("abdk", "0.8.30", ("abdk-libraries-solidity@3.2.0",), ("abdk-libraries-solidity/",)),
]

SETTINGS = {
    "opt": {"runs": 200},
    "off": {"runs": None},
    "runs1": {"runs": 1},
    "ir": {"runs": 200, "via_ir": True},
}
SMALL_SETTINGS = {"oz-5": ("opt", "ir", "off"), "solmate": ("opt", "ir")}


def jobs(size: str, only: str, wanted: str) -> Iterator[tuple[Library, Settings]]:
    """Libraries with settings, the small ones first."""
    for item in sorted(LIBRARIES, key=lambda item: not item.small):
        if (only and item.name != only) or (size == "small" and not (item.small or only)):
            continue
        names = tuple(SETTINGS) if size == "full" else SMALL_SETTINGS.get(item.name, ("opt", "off"))
        for name in (wanted,) if wanted else names:
            settings = Settings(item.version, **SETTINGS[name])
            if not settings.via_ir or settings.number >= (0, 8, 13):
                yield item, settings


def write(item: Library, settings: Settings, compiled: Compiled, into: Path, seconds: float) -> str:
    """The files of one job; a line that says what is in them."""
    path = into / f"{item.name}-{settings.name}.jsonl"
    lines = []
    for harness, known in compiled.contracts:
        about = {
            "package": item.name,
            "packages": list(item.packages),
            "file": harness.file,
            "contract": harness.contract,
            "subject": harness.subject,
            "kind": harness.kind,
            "solc": settings.version,
            "settings": settings.plain(),
            "harness": harness.text,
        }
        lines.append(json.dumps(about | known, sort_keys=True))
    work = path.with_suffix(".part")
    work.write_text("".join(line + "\n" for line in lines), "utf-8")
    work.replace(path)
    counts = Counter(lost.reason for lost in compiled.lost)
    about_lost = {"by_reason": dict(counts.most_common()), "lost": [lost.plain() for lost in compiled.lost]}
    path.with_suffix(".lost.json").write_text(json.dumps(about_lost, indent=1) + "\n", "utf-8")
    known = [known for _, known in compiled.contracts]
    return (
        f"{path.name}: {len(known)} contracts, {sum(len(one['runtime']) for one in known) // 2:,} bytes, "
        f"{sum(len(one['methods']) for one in known):,} selectors, {sum(len(one['entries']) for one in known):,} entries, "
        f"{sum(one['unresolved_calls'] for one in known)} calls unresolved, {len(compiled.lost)} lost, {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("size", choices=("small", "full"))
    parser.add_argument("--only", default="", choices=("", *(item.name for item in LIBRARIES)))
    parser.add_argument("--settings", default="", choices=("", *SETTINGS))
    parser.add_argument("--into", type=Path, default=cache_folder() / "corpus")
    parser.add_argument("--limit", type=int, default=0, help="harnesses per library, 0: all")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    for item, settings in jobs(options.size, options.only, options.settings):
        start = time.monotonic()
        compiled = compile_package(library(item.packages), item.under, settings, options.limit)
        print(write(item, settings, compiled, options.into, time.monotonic() - start), flush=True)
        close_compilers()


if __name__ == "__main__":
    main()
