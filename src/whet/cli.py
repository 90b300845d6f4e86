"""The command line: parse, call what `import whet` offers, print. Nothing heavy is imported before a room needs it."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

import whet
from whet import options as opt
from whet.launch import leave

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


def _open(target: str, overrides: list[str] | None, quiet: bool, json: bool) -> whet.Run:
    reporter = whet.reporter_for("json" if json else "quiet" if quiet else "terminal")
    return whet.open_run(target, overrides or [], reporter)


@app.command()
def run(
    target: opt.Target,
    overrides: opt.Overrides = None,
    force: opt.Force = False,
    profile: opt.Profile = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """All rooms: prepare, plan, train, evaluate, report. Skips what is done; resumes what was begun."""
    opened = _open(target, overrides, quiet, json)
    path = whet.run_all(opened, force=force, profile=profile)
    if json or not opened.leads:
        return
    last, folder = opened.recipe.stages[-1], opened.folder
    print(f"report: {path}\nmodel:  {folder / 'stages' / last.name / 'model'}")
    print(f"try:    whet {f'chat {folder}' if last.chats else f'generate {folder} --prompt {_PROMPT}'}")


@app.command()
def prepare(
    target: opt.Target,
    overrides: opt.Overrides = None,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
    npy: opt.Npy = None,
) -> None:
    """Raw material to clean, deduplicated, split and tokenized documents."""
    prepared = _open(target, overrides, quiet, json).prepare(force=force, npy=npy)
    if not json:
        print(prepared.folder)


@app.command()
def preview(
    target: opt.Target,
    overrides: opt.Overrides = None,
    stage: Annotated[str | None, typer.Option(help="Which stage (default: every one).")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    rows: Annotated[int, typer.Option(min=0, help="How many rows of each stage.")] = 2,
    json: opt.Json = False,
) -> None:
    """Show real training rows in colour, and what was dropped or changed and why."""
    shown = _open(target, overrides, quiet=json, json=False).preview(stage=stage, split=split, rows=rows)
    if json:
        print(_json(shown.as_json()))
    else:
        whet.show_preview(shown)


@app.command()
def plan(
    target: opt.Planned = None,
    overrides: opt.Overrides = None,
    cards: opt.Cards = None,
    models: opt.Models = None,
    length: opt.Length = None,
    batch: opt.Batch = None,
    accumulation: opt.Accumulation = None,
    quantization: opt.Quantization = None,
    rank: opt.Rank = None,
    full: opt.Full = False,
    targets: opt.Targets = None,
    optimizer: opt.Optimizer = None,
    precision: opt.Precision = None,
    checkpointing: opt.Checkpointing = None,
    sharding: opt.Sharding = None,
    tokens: opt.Tokens = None,
    speed: opt.Speed = None,
    price: opt.Price = None,
    picture: opt.Picture = None,
    json: opt.Json = False,
) -> None:
    """What fits on which cards, how long, at what price: before anything is downloaded or prepared."""
    asked = whet.Asked(
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
        if target or overrides or picture:
            raise whet.WhetError(
                "a table is of the models alone",
                where="whet plan --models",
                fix="leave out TARGET, --set and --picture",
            )
        table = whet.plan_table(models.split(","), asked)
        print(_json(table.as_dict()) if json else table)
        return
    if target is None:
        raise whet.WhetError(
            "what is to be planned?", where="whet plan", fix="give a recipe or a model, or --models all"
        )
    outlook = whet.look_ahead(target, asked, overrides or [])
    print(_json(outlook.as_dict()) if json else outlook)
    if picture:
        outlook.draw(picture)


@app.command()
def train(
    target: opt.Target,
    overrides: opt.Overrides = None,
    force: opt.Force = False,
    profile: opt.Profile = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Prepare, plan and train every stage. Ctrl-C saves; the same command goes on."""
    opened = _open(target, overrides, quiet, json)
    trained = opened.train(force=force, profile=profile)
    if not json and opened.leads:
        print("\n".join(str(stage.folder) for stage in trained.stages))


@app.command()
def evaluate(
    target: opt.Target,
    overrides: opt.Overrides = None,
    force: opt.Force = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Measure every stage's model on held-out text, beside n-gram floors, with confidence intervals."""
    found = _open(target, overrides, quiet, json).evaluate(force=force)
    if not json:
        print(found.folder / "evaluation.json")


@app.command()
def generate(
    target: opt.Model,
    prompt: opt.Prompt = None,
    suffix: opt.Suffix = None,
    stage: opt.StageOf = None,
    new_tokens: opt.NewTokens = 128,
    preset: opt.Preset = None,
    temperature: opt.Temperature = None,
    top_p: opt.TopP = None,
    top_k: opt.TopK = None,
    beams: opt.Beams = None,
    stop: opt.Stop = None,
    system: opt.System = "",
    as_chat: opt.AsChat = None,
    seed: opt.Seed = 42,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Continue a prompt with a trained model, or answer it."""
    decoding = whet.choose_decoding(
        preset=preset, temperature=temperature, top_p=top_p, top_k=top_k, beams=beams, stop=stop or []
    )
    written = whet.generate(
        target,
        prompt if prompt is not None else sys.stdin.read(),
        decoding,
        stage=stage,
        suffix=suffix,
        system=system,
        as_chat=as_chat,
        new_tokens=new_tokens,
        seed=seed,
        device=device,
        on_text=None if json else _as_it_comes,
        echo=True,
    )
    print(_json(written.as_dict()) if json else "")


@app.command()
def chat(
    target: opt.Model,
    stage: opt.StageOf = None,
    system: opt.System = "",
    preset: opt.Preset = "production",
    new_tokens: opt.NewTokens = 512,
    seed: opt.Seed = 42,
    device: opt.Device = "auto",
) -> None:
    """Converse with a model, line by line. /new begins anew, /bye ends."""
    decoding = whet.choose_decoding(preset=preset)
    with whet.open_model(target, stage=stage, device=device, chat=True) as model:
        talk = whet.Talk(model, decoding, new_tokens, system=system, seed=seed)
        whet.converse(talk, sys.stdin, _as_it_comes)


@app.command()
def merge(
    target: opt.Model,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the whole model goes.")],
    stage: opt.StageOf = None,
    save_as: Annotated[str, typer.Option(help="Type of the weights: bf16, fp16 or fp32.")] = "bf16",
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Merge an adapter into its base, and compare the result with the two."""
    found = whet.merge(target, to, stage=stage, save_as=save_as, device=device)
    print(_json({"model": str(to), **asdict(found)}) if json else to)


@app.command()
def doctor(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A run's folder, a recipe, or a model's folder or name.")
    ],
    overrides: opt.Overrides = None,
    json: opt.Json = False,
) -> None:
    """What is wrong with a run, a recipe or a model, why, and what to do. Exits with 7 if something is."""
    found = whet.diagnose(target, overrides or [])
    print(_json(found.as_dict()) if json else "\n".join(found.told()))
    if not found.healthy:
        raise typer.Exit(7)


@app.command()
def report(
    target: opt.Target, overrides: opt.Overrides = None, quiet: opt.Quiet = False, json: opt.Json = False
) -> None:
    """Make the HTML report from what a run's folder holds so far."""
    path = _open(target, overrides, quiet or json, json=False).report()
    print(_json({"report": str(path)}) if json else path)


@app.command()
def check(target: opt.Target, overrides: opt.Overrides = None, json: opt.Json = False) -> None:
    """Validate a recipe and print it with every default and derived value written out. Writes nothing."""
    loaded = whet.load_recipe(target, overrides or [])
    print(_json(loaded.recipe.model_dump()) if json else loaded.resolved, end="" if not json else "\n")


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A built-in recipe (see `whet recipes`).")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where to (default: NAME.yaml here).")
    ] = None,
) -> None:
    """Copy a built-in recipe here, to edit."""
    print(whet.copy_builtin(name, to or Path(f"{name}.yaml")))


@app.command()
def recipes(json: opt.Json = False) -> None:
    """List the built-in recipes."""
    known = whet.builtin_descriptions()
    lines = (f"{name:24} {description}" for name, description in known.items())
    print(_json(known) if json else "\n".join(lines))


@app.command()
def runs(
    output: Annotated[Path, typer.Argument(help="Folder of runs.")] = Path("runs"), json: opt.Json = False
) -> None:
    """List runs and how far each has come."""
    found = whet.list_runs(output)
    if json:
        print(_json([state.as_dict() for state in found]))
        return
    for state in found:
        stages = ", ".join(f"{name} {how}" for name, how in state.stages.items()) or "not trained"
        done = [told for told, is_so in (("evaluated", state.evaluated), ("report", state.report)) if is_so]
        print(f"{state.folder}: {', '.join([stages, *done])}")
    if not found:
        print(f"no runs in {output}")


@app.command()
def lift(
    code: opt.Bytecode,
    function: opt.Function = "",
    form: opt.Form = "flat",
    contract: opt.Contract = "",
    abi: opt.Abi = None,
    out: opt.Out = None,
) -> None:
    """EVM bytecode to three-address code, by function; what was recognised or cut off goes to standard error."""
    whet.show_lifted(code, contract=contract, function=function, form=form, abi=abi, out=out)


@app.command()
def decompile(
    codes: opt.Codes,
    function: opt.Function = "",
    contract: opt.Contract = "",
    abi: opt.Abi = None,
    show: opt.Part = "",
    json: opt.Json = False,
    html: opt.Page = None,
    source: opt.Original = None,
    out: opt.Out = None,
    rpc: opt.Rpc = "",
    block: opt.AtBlock = "latest",
    follow: opt.Follow = False,
    verify: opt.Verifying = True,
    compiling: opt.Compiling = True,
    calls: opt.Calls = 0,
    jobs: opt.Jobs = 0,
    cache: opt.Cached = True,
    model: opt.Writing = "",
    stage: opt.StageOf = None,
    best_of: opt.BestOf = 4,
    new_tokens: opt.NewTokens = 1024,
    seed: opt.Seed = 42,
    device: opt.Device = "auto",
) -> None:
    """EVM bytecode to Solidity that compiles; every function with what is known of its behaviour."""
    with ExitStack() as stack:
        writer = None
        if model:
            settings: Any = {"stage": stage, "best_of": best_of, "new_tokens": new_tokens}
            writer = stack.enter_context(whet.open_writer(model, seed=seed, device=device, **settings))
        whet.show_decompiled(
            codes,
            function=function,
            contract=contract,
            abi=abi,
            show=show,
            json=json,
            html=html,
            source=source,
            out=out,
            rpc=rpc,
            block=block,
            follow=follow,
            verify=verify,
            compiling=compiling,
            calls=calls,
            jobs=jobs,
            cache=cache,
            model=writer,
        )


@app.command()
def verify(
    original: Annotated[
        str, typer.Argument(metavar="ORIGINAL", help="Bytecode as `whet lift` takes it, or a .sol file.")
    ],
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="What should do the same; as ORIGINAL.")
    ],
    function: opt.Function = "",
    contract: opt.Contract = "",
    candidate_contract: Annotated[
        str, typer.Option(metavar="NAME", help="The same for the candidate (default: as --contract).")
    ] = "",
    abi: opt.Abi = None,
    compiler: Annotated[
        str,
        typer.Option(
            metavar="VERSION", help="Exact version of solc for .sol files (default: by their pragmas)."
        ),
    ] = "",
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON with solc's settings for .sol files.")
    ] = None,
    calls: Annotated[int, typer.Option(min=20, max=100_000, help="Most calls of one function.")] = 400,
    seed: Annotated[int, typer.Option(help="Of all chance; the same seed gives the same verdicts.")] = 0,
    json: opt.Json = False,
) -> None:
    """Does CANDIDATE behave as ORIGINAL? A verdict for each function, with the smallest call that shows a difference."""
    code = whet.show_verified(
        original,
        candidate,
        contract=contract,
        candidate_contract=candidate_contract,
        function=function,
        abi=abi,
        compiler=compiler,
        settings=settings,
        calls=calls,
        seed=seed,
        as_json=json,
    )
    raise typer.Exit(code)


@app.command()
def schema() -> None:
    """Print the recipe's JSON schema, for editors."""
    print(_json(whet.json_schema()))


def _as_it_comes(text: str) -> None:
    print(text, end="", flush=True)


def _json(value: Any) -> str:
    from json import dumps

    return dumps(value, indent=1, default=str)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"whet {whet.__version__}")
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
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # what is not UTF-8 is refused where it is used
    try:
        code = int(app(standalone_mode=False) or 0)
        if code == 130:  # what newer versions of typer make of Ctrl-C
            raise KeyboardInterrupt
        return code
    except CommandLineError as error:
        error.show()
        return int(error.exit_code)
    except whet.WhetError as error:
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
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        return 0  # nobody reads on, which newer versions of typer turn into an exit


if __name__ == "__main__":
    main()
