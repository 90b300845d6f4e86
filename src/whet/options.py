"""The options of the command line that are long, or that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe file, a built-in recipe's name, or the folder of an earlier run."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key, e.g. --set stages.code.steps=100. Repeatable."
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Do this room again although nothing changed (run: training and evaluation); removes its earlier result.",
    ),
]
Profile = Annotated[
    bool,
    typer.Option(
        "--profile",
        help="Also record a few training steps of each stage: time, memory, a trace. They run slower.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong, and the result.")]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON on standard output, for scripts; long work prints one object a line."),
]
Npy = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Also write the rows as .npy arrays (rows, length), per stage and split."
    ),
]

# A model in use.
Model = Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run, or of a model.")]
StageOf = Annotated[
    str | None, typer.Option("--stage", help="Which stage's model (default: the last finished one).")
]
Prompt = Annotated[
    str | None, typer.Option("--prompt", "-p", help="Text to continue (default: standard input).")
]
Suffix = Annotated[
    str | None, typer.Option("--suffix", "-s", help="What follows: the model writes what stands between.")
]
NewTokens = Annotated[int, typer.Option("--new-tokens", "-n", min=1, help="At most this many.")]
Preset = Annotated[
    str | None, typer.Option(help="production, balanced, exploratory, greedy, nucleus, top-k or beam.")
]
Temperature = Annotated[float | None, typer.Option(help="Sample at this temperature (default: greedy).")]
TopP = Annotated[float | None, typer.Option(help="Sample from the smallest set with this probability.")]
TopK = Annotated[int | None, typer.Option(help="Sample from this many likeliest tokens.")]
Beams = Annotated[int | None, typer.Option(help="Beam search with this many hypotheses.")]
Stop = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="End where this text appears. Repeatable.")
]
System = Annotated[str, typer.Option(help="The system message, for a model that converses.")]
AsChat = Annotated[
    bool | None,
    typer.Option(
        "--chat/--text",
        help="The prompt is a user's message, or a text to go on with (default: by what it was tuned on).",
    ),
]
Seed = Annotated[int, typer.Option(help="Of sampling.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]

# What fits.
Planned = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        help="A recipe, a run, a model's name on the hub, or a folder or file of a config.json.",
    ),
]
Cards = Annotated[
    str | None, typer.Option(help="4x48GB, rtx4090, '2x A100 40GB', 'cpu 16GB' (default: this machine).")
]
Models = Annotated[
    str | None,
    typer.Option(help="A table of these models, separated by commas, or of `all` that whet knows sizes of."),
]
Length = Annotated[int | None, typer.Option(min=8, help="Tokens in a row (default: 2048).")]
Batch = Annotated[int | None, typer.Option(min=1, help="Rows per card and micro-batch (default: 1).")]
Accumulation = Annotated[int | None, typer.Option(min=1, help="Micro-batches per step (default: 1).")]
Quantization = Annotated[str | None, typer.Option(help="none, nf4, fp4 or int8.")]
Rank = Annotated[int | None, typer.Option(min=1, help="Of the adapter (default: 16).")]
Full = Annotated[bool, typer.Option("--full", help="Train every weight, without an adapter.")]
Targets = Annotated[
    str | None, typer.Option(help="attention, mlp, all-linear, or layers' names separated by commas.")
]
Optimizer = Annotated[
    str | None, typer.Option(help="adamw, adamw_8bit, paged_adamw, paged_adamw_8bit or muon.")
]
Precision = Annotated[str | None, typer.Option(help="bf16, fp16 or fp32 (default: what the card can do).")]
Checkpointing = Annotated[
    bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Of gradients (default: on).")
]
Sharding = Annotated[str | None, typer.Option(help="ddp or fsdp2, for several cards (default: what fits).")]
Tokens = Annotated[int | None, typer.Option(min=1, help="To train on, for time and cost.")]
Speed = Annotated[
    float | None, typer.Option(min=1e-6, help="Tokens per second, measured (default: from the cards' peak).")
]
Price = Annotated[float | None, typer.Option(min=0, help="Per hour, of all the cards together.")]
Picture = Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the memory as an SVG.")]

# Bytecode.
Bytecode = Annotated[
    str,
    typer.Argument(
        metavar="CODE",
        help="Hex digits, a file (hex, JSON artifact of a compiler, or the bytes), or - for standard input.",
    ),
]
Contract = Annotated[
    str,
    typer.Option(
        "--contract", metavar="NAME", help="Which contract of an artifact: Token or file.sol:Token."
    ),
]
Function = Annotated[
    str,
    typer.Option(
        "--function",
        "-f",
        metavar="SELECTOR",
        help="One function: 0xa9059cbb, its signature or its name (default: all).",
    ),
]
Form = Annotated[
    str,
    typer.Option("--form", help="flat, structured, json, dot (Graphviz), or picture (SVG, of one function)."),
]
Abi = Annotated[
    Path | None,
    typer.Option("--abi", metavar="FILE", help="A JSON ABI, or an artifact with one: names of functions."),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where to (default: standard output).")
]

# Decompiling.
Codes = Annotated[
    list[str],
    typer.Argument(
        metavar="CODE...",
        help="Hex digits, files, folders of files, - for standard input, or with --rpc addresses.",
    ),
]
Part = Annotated[str, typer.Option("--show", help="Instead of the Solidity: storage, events, errors or tac.")]
Page = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Also a page with everything side by side.")
]
Original = Annotated[
    Path | None, typer.Option("--source", metavar="FILE", help="The original Solidity, for that page.")
]
Rpc = Annotated[
    str, typer.Option("--rpc", metavar="URL", help="A node (http or https) to ask for code at an address.")
]
AtBlock = Annotated[str, typer.Option("--block", help="A number, latest, safe or finalized.")]
Follow = Annotated[
    bool, typer.Option("--follow", help="Of a proxy: decompile what it stands for. Needs --rpc.")
]
Verifying = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Compare what was compiled with the code, call by call.")
]
Compiling = Annotated[
    bool, typer.Option("--compile/--no-compile", help="Without, nothing is verified either.")
]
Calls = Annotated[
    int, typer.Option("--calls", min=0, help="Most calls of a function when comparing (0: whet's own).")
]
Writing = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="RUN",
        help="A run or a model that writes the functions; kept where they are the same.",
    ),
]
BestOf = Annotated[int, typer.Option("--best-of", min=1, help="Most texts that it writes of one function.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=0, help="Processes (0: one per core).")]
Cached = Annotated[
    bool, typer.Option("--cache/--no-cache", help="Take a result of before, if it is of the same whet.")
]
