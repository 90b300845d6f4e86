"""The command line: parse, call a room, print. Everything heavy is imported by the room that needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from whet import __version__
from whet.errors import WhetError
from whet.launch import leave, started

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="From raw material to a language model that is trained, measured and in use.",
    epilog="Start with: whet run scratch-quickstart",
)

CommandLineError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""click's own where typer uses the installed click, a copy inside typer in newer versions."""

_PROMPT = "'def '"

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


def _open(target: str, overrides: list[str] | None, quiet: bool, json: bool) -> Any:
    from whet import pipeline
    from whet.progress import reporter_for

    return pipeline.open_run(
        target, overrides or [], reporter_for("json" if json else "quiet" if quiet else "terminal")
    )


@app.command()
def run(
    target: Target,
    overrides: Overrides = None,
    force: Force = False,
    profile: Profile = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """All rooms: prepare, plan, train, evaluate, report. Skips what is done; resumes what was begun."""
    from whet import pipeline

    opened = _open(target, overrides, quiet, json)
    path = pipeline.run_all(opened, force=force, profile=profile)
    if not json and started().leads:
        print(f"report: {path}\nmodel:  {opened.folder / 'stages' / opened.recipe.stages[-1].name / 'model'}")
        chats = opened.recipe.stages[-1].chats
        print(
            f"try:    whet {f'chat {opened.folder}' if chats else f'generate {opened.folder} --prompt {_PROMPT}'}"
        )


@app.command()
def prepare(
    target: Target,
    overrides: Overrides = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
    npy: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Also write the rows as .npy arrays (rows, length), per stage and split."
        ),
    ] = None,
) -> None:
    """Raw material to clean, deduplicated, split and tokenized documents."""
    from whet import pipeline

    opened = _open(target, overrides, quiet, json)
    prepared = pipeline.prepare(opened, force=force)
    opened.reporter.event("prepared", folder=str(prepared.folder), record=prepared.record)
    if npy:
        from whet.prepare.export import write_arrays

        for line in write_arrays(opened.recipe, prepared, npy):
            opened.reporter.say(line)
    if not json:
        print(prepared.folder)


@app.command()
def preview(
    target: Target,
    overrides: Overrides = None,
    stage: Annotated[str | None, typer.Option(help="Which stage (default: every one).")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    rows: Annotated[int, typer.Option(min=0, help="How many rows of each stage.")] = 2,
    json: Json = False,
) -> None:
    """Show real training rows in colour, and what was dropped or changed and why."""
    from whet import pipeline
    from whet.prepare.preview import preview as look
    from whet.prepare.preview import render

    opened = _open(target, overrides, quiet=json, json=False)
    shown = look(pipeline.prepare(opened), opened.recipe, stage=stage, split=split, rows=rows)
    if json:
        print(_json(shown.as_json()))
        return
    from rich.console import Console

    render(shown, Console(highlight=False))


@app.command()
def plan(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="A recipe, a run, a model's name on the hub, or a folder or file of a config.json.",
        ),
    ] = None,
    overrides: Overrides = None,
    cards: Annotated[
        str | None,
        typer.Option(help="4x48GB, rtx4090, '2x A100 40GB', 'cpu 16GB' (default: this machine)."),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            help="A table of these models, separated by commas, or of `all` that whet knows sizes of."
        ),
    ] = None,
    length: Annotated[int | None, typer.Option(min=8, help="Tokens in a row (default: 2048).")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Rows per card and micro-batch (default: 1).")
    ] = None,
    accumulation: Annotated[
        int | None, typer.Option(min=1, help="Micro-batches per step (default: 1).")
    ] = None,
    quantization: Annotated[str | None, typer.Option(help="none, nf4, fp4 or int8.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Of the adapter (default: 16).")] = None,
    full: Annotated[bool, typer.Option("--full", help="Train every weight, without an adapter.")] = False,
    targets: Annotated[
        str | None, typer.Option(help="attention, mlp, all-linear, or layers' names separated by commas.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adamw, adamw_8bit, paged_adamw, paged_adamw_8bit or muon.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="bf16, fp16 or fp32 (default: what the card can do).")
    ] = None,
    checkpointing: Annotated[
        bool | None, typer.Option("--checkpointing/--no-checkpointing", help="Of gradients (default: on).")
    ] = None,
    sharding: Annotated[
        str | None, typer.Option(help="ddp or fsdp2, for several cards (default: what fits).")
    ] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="To train on, for time and cost.")] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Tokens per second, measured (default: from the cards' peak)."),
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Per hour, of all the cards together.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw the memory as an SVG.")
    ] = None,
    json: Json = False,
) -> None:
    """What fits on which cards, how long, at what price: before anything is downloaded or prepared."""
    from whet.plan import show
    from whet.plan.ahead import look_ahead
    from whet.plan.subject import Asked, cards_of

    asked = Asked(
        length=length,
        batch=batch,
        accumulation=accumulation,
        quantization=quantization,
        rank=rank,
        full=full,
        targets=targets.split(",") if targets else None,
        optimizer=optimizer,
        precision=precision,
        checkpointing=checkpointing,
        sharding=sharding,
        cards=cards,
        tokens=tokens,
        tokens_per_s=speed,
        price_per_hour=price,
    )
    if models:
        from whet.plan.table import table

        lines = table(models.split(","), asked, cards_of(asked))
        print(
            _json([line.as_dict() for line in lines])
            if json
            else "\n".join(show.told_table(lines, cards_of(asked)))
        )
        return
    if target is None:
        raise WhetError(
            "what is to be planned?", where="whet plan", fix="give a recipe or a model, or --models all"
        )
    outlook = look_ahead(target, asked, overrides or [])
    print(_json(outlook.as_dict()) if json else "\n".join(show.told(outlook)))
    if picture:
        from whet.plan.picture import svg
        from whet.store import write_text

        write_text(picture, svg(outlook.prospects))


@app.command()
def train(
    target: Target,
    overrides: Overrides = None,
    force: Force = False,
    profile: Profile = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Prepare, plan and train every stage. Ctrl-C saves; the same command goes on."""
    from whet import pipeline

    _, _, models = pipeline.train(_open(target, overrides, quiet, json), force=force, profile=profile)
    if not json and started().leads:
        print("\n".join(str(model.folder) for model in models))


@app.command()
def evaluate(
    target: Target,
    overrides: Overrides = None,
    force: Force = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure every stage's model on held-out text, beside n-gram floors, with confidence intervals."""
    from whet import pipeline

    result = pipeline.evaluate(_open(target, overrides, quiet, json), force=force)
    if not json:
        print(result.folder / "evaluation.json")


@app.command()
def generate(
    target: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run, or of a model.")],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="Text to continue (default: standard input).")
    ] = None,
    suffix: Annotated[
        str | None, typer.Option("--suffix", "-s", help="What follows: the model writes what stands between.")
    ] = None,
    stage: Annotated[
        str | None, typer.Option(help="Which stage's model (default: the last finished one).")
    ] = None,
    new_tokens: Annotated[int, typer.Option("--new-tokens", "-n", min=1, help="At most this many.")] = 128,
    preset: Annotated[
        str | None,
        typer.Option(help="production, balanced, exploratory, greedy, nucleus, top-k or beam."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sample at this temperature (default: greedy).")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Sample from the smallest set with this probability.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Sample from this many likeliest tokens.")] = None,
    beams: Annotated[int | None, typer.Option(help="Beam search with this many hypotheses.")] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End where this text appears. Repeatable.")
    ] = None,
    system: Annotated[str, typer.Option(help="The system message, for a model that converses.")] = "",
    as_chat: Annotated[
        bool | None,
        typer.Option(
            "--chat/--text",
            help="The prompt is a user's message, or a text to go on with (default: by what it was tuned on).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 42,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Json = False,
) -> None:
    """Continue a prompt with a trained model, or answer it."""
    from whet.use.choose import choose_decoding, choose_model, taught_to_fill_in

    decoding = choose_decoding(
        preset=preset, temperature=temperature, top_p=top_p, top_k=top_k, beams=beams, stop=stop or []
    )
    folder = choose_model(Path(target), stage)
    if suffix is not None and taught_to_fill_in(folder) is False:
        print("note: this stage was not trained to fill in middles (fill_in_the_middle)", file=sys.stderr)
    text = prompt if prompt is not None else sys.stdin.read()
    from whet.use.run import run as room
    from whet.use.run import talks

    answering = as_chat if as_chat is not None else talks(folder) and suffix is None
    shown: list[bool] = []

    def on_text(piece: str) -> None:
        print(piece if shown or answering else text + piece, end="", flush=True)
        shown.append(True)

    result = room(
        folder,
        text,
        decoding,
        new_tokens=new_tokens,
        suffix=suffix,
        system=system,
        as_chat=answering,
        seed=seed,
        device=device,
        on_text=None if json else on_text,
        say=_aside,
    )
    if not json and not shown:  # not a token was written
        on_text("")
    print(_json(result) if json else suffix or "")


@app.command()
def chat(
    target: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run, or of a model.")],
    stage: Annotated[
        str | None, typer.Option(help="Which stage's model (default: the last finished one).")
    ] = None,
    system: Annotated[str, typer.Option(help="The system message.")] = "",
    preset: Annotated[str, typer.Option(help="How to decode, see generate.")] = "production",
    new_tokens: Annotated[int, typer.Option("--new-tokens", "-n", min=1, help="At most this many.")] = 512,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 42,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Converse with a model, line by line. /new begins anew, /bye ends."""
    from whet.use.chat import Talk, converse
    from whet.use.choose import choose_decoding, choose_model
    from whet.use.run import open_model

    folder, decoding = choose_model(Path(target), stage), choose_decoding(preset=preset)
    with open_model(folder, device=device, chat=True, say=_aside) as model:
        talk = Talk(model, decoding, new_tokens, system=system, seed=seed)
        converse(talk, iter(sys.stdin), lambda text: print(text, end="", flush=True))


@app.command()
def merge(
    target: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a run, or of an adapter.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the whole model goes.")],
    stage: Annotated[
        str | None, typer.Option(help="Which stage's adapter (default: the last finished one).")
    ] = None,
    save_as: Annotated[str, typer.Option(help="Type of the weights: bf16, fp16 or fp32.")] = "bf16",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    json: Json = False,
) -> None:
    """Merge an adapter into its base, and compare the result with the two."""
    from dataclasses import asdict

    from whet.use.choose import choose_model, choose_type
    from whet.use.merge import run as room

    found = room(
        choose_model(Path(target), stage), to, save_as=choose_type(save_as), device=device, say=_aside
    )
    print(_json({"model": str(to), **asdict(found)}) if json else to)


@app.command()
def doctor(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A run's folder, a recipe, or a model's folder or name.")
    ],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """What is wrong with a run, a recipe or a model, why, and what to do. Exits with 7 if something is."""
    from whet.pipeline import diagnose

    found = diagnose(target, overrides or [], say=_aside)
    print(_json(found.as_dict()) if json else "\n".join(found.told()))
    if not found.healthy:
        raise typer.Exit(7)


@app.command()
def report(target: Target, overrides: Overrides = None, quiet: Quiet = False, json: Json = False) -> None:
    """Make the HTML report from what a run's folder holds so far."""
    from whet import pipeline

    path = pipeline.report(_open(target, overrides, quiet, json))
    print(_json({"report": str(path)}) if json else path)


@app.command()
def check(target: Target, overrides: Overrides = None, json: Json = False) -> None:
    """Validate a recipe and print it with every default and derived value written out. Writes nothing."""
    from whet.recipe.load import load_recipe

    loaded = load_recipe(target, overrides or [])
    print(_json(loaded.recipe.model_dump()) if json else loaded.resolved, end="" if not json else "\n")


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A built-in recipe (see `whet recipes`).")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to (default: NAME.yaml here).")
    ] = None,
) -> None:
    """Copy a built-in recipe here, to edit."""
    from whet.recipe.load import copy_builtin

    print(copy_builtin(name, to or Path(f"{name}.yaml")))


@app.command()
def recipes(json: Json = False) -> None:
    """List the built-in recipes."""
    from whet.recipe.load import builtin_recipes
    from whet.recipe.yaml12 import parse

    known = {name: parse(text, name).values["description"] for name, text in builtin_recipes().items()}
    if json:
        print(_json(known))
        return
    for name, description in known.items():
        print(f"{name:24} {description}")


@app.command()
def runs(
    output: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("runs"), json: Json = False
) -> None:
    """List runs and how far each has come."""
    from whet.pipeline import list_runs

    found = list_runs(output)
    if json:
        print(_json(found))
        return
    for item in found:
        stages = ", ".join(f"{name} {state}" for name, state in item["stages"].items()) or "not trained"
        print(
            f"{item['run']}: {stages}{', evaluated' if item['evaluated'] else ''}{', report' if item['report'] else ''}"
        )
    if not found:
        print(f"no runs in {output}")


@app.command()
def schema() -> None:
    """Print the recipe's JSON schema, for editors."""
    from whet.recipe.load import json_schema

    print(_json(json_schema()))


def _aside(line: str) -> None:
    print(line, file=sys.stderr)


def _json(value: Any) -> str:
    from json import dumps

    return dumps(value, indent=1, default=str)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"whet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: runs a command and exits with its code."""
    # torch's profiler, which the probe counts allocations with, else speaks on standard error; read when torch loads.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    leave(_run())


def _run() -> int:
    """Run a command; prints a user's mistake in a few lines. The exit code."""
    try:
        return int(app(standalone_mode=False) or 0)
    except CommandLineError as error:
        error.show()
        return int(error.exit_code)
    except WhetError as error:
        rank = os.environ.get("RANK", "0")
        if rank == "0" or error.exit_code != 130:
            print(f"whet{'' if rank == '0' else f' (process {rank})'}: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print(
            "whet: interrupted; finished rooms and saved checkpoints are kept, the same command goes on",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    main()
