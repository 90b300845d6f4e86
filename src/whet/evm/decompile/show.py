"""What `whet decompile` does: inputs to text, JSON or a page, progress and what was recognised to standard error."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whet.errors import CodeError, WhetError
from whet.evm.decompile.annotate import annotated, excerpt, summary
from whet.evm.decompile.asking import Writer
from whet.evm.decompile.given import Task, named
from whet.evm.decompile.many import Done, attempt, one, several
from whet.evm.decompile.nouns import Decompiled
from whet.evm.decompile.parts import PARTS, find, part
from whet.evm.decompile.run import Options
from whet.evm.decompile.serial import to_json
from whet.evm.show import put, write_out
from whet.evm.signatures import read_abi
from whet.hardware import cores
from whet.progress import Reporter, reporter_for


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is shown of a result. form: "solidity", "json" or one of PARTS."""

    form: str
    function: str


def show_decompiled(
    codes: Sequence[str],
    *,
    contract: str = "",
    function: str = "",
    abi: Path | None = None,
    source: Path | None = None,
    show: str = "",
    json: bool = False,
    html: Path | None = None,
    out: Path | None = None,
    rpc: str = "",
    block: str = "latest",
    follow: bool = False,
    verify: bool = True,
    compiling: bool = True,
    calls: int = 0,
    jobs: int = 0,
    cache: bool = True,
    model: Writer | None = None,
) -> None:
    """Decompile and print; into `out`, a file of one input and a folder of several, if that is given.

    codes: hex digits, files, folders, "-", or addresses where `rpc`, a node's URL, is given (block: its number or
    "latest"; follow: what a proxy stands for instead of itself). contract: which one of an artifact. function: one, by
    selector, signature or name. abi: for names. show: one of PARTS instead of the Solidity. json: everything. html: a
    page, of one input; source: the original Solidity, for that page. verify, compiling: False to leave these steps out.
    calls: most calls of a function when it is compared; 0: the verification's own. jobs: processes; 0: one per core.
    cache: False to do again what was done before. model: one that is asked for each function (`whet.open_writer`), by this
    process, one contract after the other.

    Raises CodeError and other `WhetError`s for one input; of several, the failures are said and counted, and a
    WhetError at the end says how many they were. KeyboardInterrupt, where a person ended the asking, after the result.
    """
    if show and show not in PARTS:
        raise WhetError(f"nothing is named {show!r}", where="--show", fix=f"one of {', '.join(PARTS)}")
    if jobs < 0 or calls < 0:
        raise WhetError("less than 0", where="--jobs" if jobs < 0 else "--calls", fix="0 for whet's own")
    if model and not (verify and compiling):
        fix = "leave out --no-verify" if compiling else "leave out --no-compile"
        raise WhetError("nothing that a model writes would be checked", where="--model", fix=fix)
    options = Options(compiling, verify and compiling, _entries(abi), calls)
    tasks = [
        Task(name, given, options, contract, rpc, block, follow, cache) for name, given in named(list(codes))
    ]
    wanted = _Wanted("json" if json else show or "solidity", function)
    if len(tasks) == 1:
        _single(tasks[0], wanted, out, html, source, model)
        return
    if html or source or function:
        option = "--html" if html else "--source" if source else "--function"
        raise CodeError("takes one input", where=option, fix=f"{len(tasks)} were given")
    _several(tasks, wanted, out, jobs or cores(), model)


def _entries(abi: Path | None) -> str:
    return json.dumps(read_abi(abi), sort_keys=True) if abi else ""


def _single(
    task: Task,
    wanted: _Wanted,
    out: Path | None,
    html: Path | None,
    source: Path | None,
    model: Writer | None,
) -> None:
    original = _read_source(source) if source else ""
    done = one(task, model, reporter_for("terminal"), wanted.function)
    assert done.result is not None
    for line in _said(done):
        print(f"# {line}", file=sys.stderr)
    if html:
        from whet.evm.decompile.page import render

        write_out(html, render(done.result, original))
    if out:
        write_out(out, shown(done.result, wanted.form, wanted.function))
    elif not html:
        put(shown(done.result, wanted.form, wanted.function))
    _leave_if_interrupted(done.result)


def _leave_if_interrupted(result: Decompiled) -> None:
    if result.model and result.model.interrupted:
        raise KeyboardInterrupt


def _several(tasks: list[Task], wanted: _Wanted, out: Path | None, jobs: int, model: Writer | None) -> None:
    if out and not out.is_dir():
        if out.exists():
            raise CodeError("is no folder", where=str(out), fix="several inputs go into a folder: --out")
        out.mkdir(parents=True)
    labels: Counter[str] = Counter()
    failed: list[Done] = []
    reporter = reporter_for("terminal")
    if model is None:
        results, outer = several(tasks, min(jobs, len(tasks))), reporter
    else:  # each contract shows its own progress
        results, outer = (attempt(task, model, reporter) for task in tasks), Reporter()
    with outer.task("decompiling", len(tasks)) as progress:
        for done in results:
            if done.result is None:
                failed.append(done)
                print(f"# {done.task.name}: {done.error}", file=sys.stderr, flush=True)
            else:
                labels += done.result.labels
                _deliver(done, done.result, wanted, out)
                _leave_if_interrupted(done.result)
            progress.advance(1, failed=str(len(failed)))
    counts = ", ".join(f"{count} {label}" for label, count in sorted(labels.items()))
    print(f"# {len(tasks) - len(failed)} contracts; functions: {counts or 'none'}", file=sys.stderr)
    if failed:
        fix = "the messages above say why; the others are done"
        raise _Failures(f"{len(failed)} of {len(tasks)} inputs failed", fix=fix)


class _Failures(WhetError):
    exit_code = 3


def _deliver(done: Done, result: Decompiled, wanted: _Wanted, out: Path | None) -> None:
    """To a file of its own, or with its name before it; JSON is one line."""
    if out:
        ending = {"json": ".json", "solidity": ".sol"}.get(wanted.form, f".{wanted.form}.txt")
        write_out(out / f"{done.task.name}{ending}", shown(result, wanted.form, ""))
    elif wanted.form == "json":
        put(json.dumps({"input": done.task.name, **to_json(result)}) + "\n")
    else:
        put(f"// ==== {done.task.name}\n{shown(result, wanted.form, '')}\n")


def shown(result: Decompiled, form: str, function: str) -> str:
    """What is asked for, as text. Raises CodeError for a function that is not there."""
    wanted = find(result, function) if function else None
    if form == "solidity":
        return excerpt(result, wanted.text) if wanted else annotated(result)[0]
    if form == "json":
        raw = to_json(result)
        if wanted:
            raw["functions"] = [one for one in raw["functions"] if one["of"] == wanted.text.of]
        return json.dumps(raw, indent=1) + "\n"
    return part(result, form, wanted)


def _said(done: Done) -> list[str]:
    result = done.result
    assert result is not None
    lines = [*done.told, *result.facts, *(f"note: {note}" for note in result.notes), summary(result)]
    lines += [f"does not compile: {error}" for error in result.errors[:5]]
    spent = result.seconds
    names = ("lift", "emit", "compile", "verify", *(("model",) if result.model else ()))
    figures = ", ".join(f"{name} {getattr(spent, name):.2f} s" for name in names)
    return [*lines, figures + (" (when it was done; this is from the cache)" if done.from_cache else "")]


def _read_source(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_SOURCE_BYTES + 1)
    except OSError as error:
        raise CodeError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if len(raw) > _SOURCE_BYTES:
        raise CodeError(f"larger than {_SOURCE_BYTES:,} bytes", where=str(path), fix="one contract's sources")
    return raw.decode("utf-8", "replace")


_SOURCE_BYTES = 4 * 2**20
"""Original Solidity larger than this is refused."""
