"""What `whet lift` shows: code lifted, as text, JSON, a graph or a picture; and on the side what was recognised."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from whet.errors import CannotWrite, CodeError, WhetError
from whet.evm import lift
from whet.evm.bytecode import Code, read_code
from whet.evm.graph import dot, picture
from whet.evm.keccak import selector as selector_of
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.untangle import untangled
from whet.evm.signatures import Signatures
from whet.evm.tac import Contract, Function, to_json
from whet.evm.text import flat, flat_function, structured, structured_function
from whet.staging import write_file

FORMS = ("flat", "structured", "json", "dot", "picture")
"""flat: blocks with jumps. structured: loops and conditions. json: `whet.evm.tac`'s. dot: the control flow for
Graphviz. picture: the same of one function, as SVG."""

_MOST_NAMES = 40


def show_lifted(
    code: str | bytes | Path | Code,
    *,
    contract: str = "",
    function: str = "",
    form: str = "flat",
    abi: Path | None = None,
    out: Path | None = None,
) -> None:
    """Lift code and print it, or write it to `out`; what was recognised, assumed and cut off goes to standard error.

    code, contract: as `whet.lift` has them. function: a selector ("0xa9059cbb"), a signature, a name that an ABI or the
    table of signatures knows, or a name in the TAC ("fallback", "p_1f0"); "" for all. form: one of FORMS; a picture
    is of one function. abi: a file with the ABI of this or other contracts, for names.

    Raises CodeError for code that cannot be read and a function that is not there, CannotWrite, WhetError for a form
    that is not known.
    """
    if form not in FORMS:
        raise WhetError(f"no form is named {form!r}", where="--form", fix=f"one of {', '.join(FORMS)}")
    if form == "picture" and not function:
        raise WhetError("a picture is of one function", where="--form picture", fix="add --function SELECTOR")
    read = read_code(code, contract=contract)
    names = Signatures.builtin().with_abi(read.abi)
    names = names.with_abi(abi) if abi else names
    lifted = lift(read)
    chosen = find_function(lifted, function, names) if function else None
    print("\n".join(f"# {line}" for line in _head(read, lifted, names)), file=sys.stderr)
    shown = f"{_shown(lifted, chosen, form, names).rstrip()}\n"
    if out is None:
        put(shown)
    else:
        write_out(out, shown)


def find_function(contract: Contract, wanted: str, names: Signatures) -> Function:
    """The function that is meant. Raises CodeError with what there is if none or several are."""
    if wanted in contract.functions:
        return contract.functions[wanted]
    selector = _selector(wanted)
    found = [
        function
        for key, function in contract.public.items()
        if key == selector or any(wanted in (name, name.partition("(")[0]) for name in names.functions(key))
    ]
    if len(found) == 1:
        return found[0]
    known = found or list(contract.functions.values())
    told = [_title(function, names) for function in known]
    more = f", and {len(told) - _MOST_NAMES} more" if len(told) > _MOST_NAMES else ""
    raise CodeError(
        f"{len(found) or 'no'} functions are meant by {wanted!r}",
        where="--function",
        fix=f"one of: {', '.join(told[:_MOST_NAMES])}{more}",
    )


def _selector(wanted: str) -> int | None:
    """Of a signature, known or not, or of eight digits; None for anything else."""
    if wanted.endswith(")") and "(" in wanted:
        return selector_of("".join(wanted.split()))
    digits = wanted.removeprefix("0x")
    if len(digits) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return int(digits, 16)
    return None


def _title(function: Function, names: Signatures) -> str:
    if function.selector is None:
        return function.name
    known = names.functions(function.selector)
    return f"0x{function.selector:08x}{' ' + known[0] if known else ''}"


def _head(code: Code, contract: Contract, names: Signatures) -> list[str]:
    functions = list(contract.functions.values())
    public = [_title(function, names) for function in contract.public.values()]
    private = sum(function.kind == "private" for function in functions)
    cut = [function.name for function in functions if not function.complete]
    lines = [*code.facts(), *(f"note: {note}" for note in contract.notes)]
    lines.append(f"{len(public)} public functions, {private} private ones")
    lines += [f"  {title}" for title in public]
    if cut:
        lines.append(
            f"not complete: {', '.join(cut[:_MOST_NAMES])}{' ...' if len(cut) > _MOST_NAMES else ''}"
        )
    return lines


def _shown(contract: Contract, function: Function | None, form: str, names: Signatures) -> str:
    if form == "json":
        return _json(contract, function)
    if form == "dot":
        return dot(contract, function.name if function else None)
    if form == "picture":
        assert function is not None
        return picture(contract, function.name)
    if form == "flat":
        return flat_function(function) if function else flat(contract)
    contract = untangled(contract)
    meaning = analyse(contract, names)
    if function is not None:
        return structured_function(contract, contract.functions[function.name], meaning)
    return structured(contract, meaning)


def _json(contract: Contract, function: Function | None) -> str:
    if function is not None:
        note = f"{len(contract.functions) - 1} other functions are left out"
        contract = replace(contract, functions={function.name: function}, notes=[*contract.notes, note])
    return json.dumps(to_json(contract), indent=1)


def put(shown: str) -> None:
    """To standard output. Raises BrokenPipeError where nobody reads on, CannotWrite for anything else that the system says."""
    try:
        sys.stdout.write(shown)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more, and with another exit code, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise
        raise CannotWrite(f"cannot be written: {error.strerror}", where="standard output") from error


def write_out(path: Path, shown: str) -> None:
    """The whole text under its name or nothing; what is no plain file (/dev/stdout, a pipe) is written into.

    Raises CannotWrite.
    """
    try:
        if path.is_relative_to("/dev") or (path.exists() and not path.is_file()):
            path.write_text(shown, "utf-8")
        elif path.parent.is_dir():
            write_file(path.resolve(), shown)
        else:
            raise CannotWrite(
                "no folder of that name", where=str(path.parent), fix="make it, or name another: --out"
            )
    except OSError as error:
        fix = "name a file in a folder that can be written in: --out"
        raise CannotWrite(f"cannot be written: {error.strerror}", where=str(path), fix=fix) from error
