"""The model card: what a model is, what it was made from and how, what it scored, what to be careful about.

Written when a stage ends (as README.md in the model's folder, without scores) and again with the report.
The front matter names no licence: whet knows those of the material, and nobody told it the model's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from whet.cards import material
from whet.cards.gather import Facts, Record
from whet.cards.markdown import bullets, code, document, plural, prose, table
from whet.objectives.base import OBJECTIVES
from whet.progress import amount, duration
from whet.recipe.schema import HUB_NAME, Model, Recipe, Stage
from whet.visible import visible

HUB_LANGUAGES = {"english": "en"}
"""Names of natural languages that sources give, as the hub writes them."""
BEGINNINGS = {"untrained": "untrained", "base": "before tuning"}
_TAG = re.compile(r"[a-z0-9][a-z0-9_.+#-]{0,40}")


def model_card(facts: Facts, *, folder: str = ".") -> str:
    """The card of the last finished stage's model, which lies in `folder` as seen from the card."""
    return document(
        [
            _front_matter(facts),
            _head(facts),
            _shape(facts),
            _use(facts),
            _loading(facts, folder),
            _training_data(facts),
            _training(facts),
            _evaluation(facts),
            _caveats(facts),
            _again(facts),
        ]
    )


def _front_matter(facts: Facts) -> list[str]:
    """YAML; every value is plain or a JSON string, which YAML reads alike."""
    languages = {name for contents in _contents(facts) for name in contents.languages}
    hub = sorted({HUB_LANGUAGES[name] for name in languages if name in HUB_LANGUAGES})
    family = (facts.plan or {}).get("family", "")
    tags = dict.fromkeys(["whet", *([family] if family else []), *sorted(languages)])
    tuned = facts.recipe.tuned
    library = "peft" if tuned and tuned.adapter else "transformers"
    lines = ["---", f"library_name: {library}", "pipeline_tag: text-generation"]
    lines += [f"base_model: {json.dumps(tuned.base)}"] if tuned and HUB_NAME.fullmatch(tuned.base) else []
    lines += ["language:", *(f"  - {name}" for name in hub)] if hub else []
    lines += ["tags:", *(f"  - {json.dumps(tag)}" for tag in tags if _TAG.fullmatch(tag))]
    return [*lines, "---", ""]


def _contents(facts: Facts) -> list[Any]:
    return [facts.contents[stage["name"]] for stage in facts.stages if stage["name"] in facts.contents]


def _head(facts: Facts) -> list[str]:
    recipe, plan, last = facts.recipe, facts.plan or {}, facts.models[-1]
    total = (plan.get("parameters") or {}).get("total")
    size = f" with {total:,} parameters" if total else ""
    stages = ", ".join(code(model["name"]) for model in facts.models)
    lines = [f"# {code(recipe.name)}", ""]
    lines += [prose(recipe.description), ""] if recipe.description else []
    lines += [
        f"{_origin(facts, size)} by whet {_version(facts)}.",
        f"Stages trained: {len(facts.models)} of {len(recipe.stages)} ({stages}).",
        f"These are the weights after stage {code(last['name'])}, {_which_step(facts)}.",
        "",
    ]
    return lines


def _origin(facts: Facts, size: str) -> str:
    """What it was made of."""
    tuned = facts.recipe.tuned
    if tuned is None:
        return f"A decoder-only language model{size}, trained from random weights"
    if tuned.adapter is None:
        return f"The language model {code(tuned.base)}{size}, every weight of it tuned"
    held = "" if tuned.quantization == "none" else f", held in {tuned.quantization} while it was trained"
    return f"A low-rank adapter (rank {tuned.adapter.rank}) for {code(tuned.base)}{size}{held}, trained"


def _which_step(facts: Facts) -> str:
    last = facts.models[-1]
    step = f"step {last['result_step']:,} of {last['steps']:,}"
    best = facts.trained[-1][0].result == "best" and last["best_step"] == last["result_step"]
    return f"{step}, where the validation loss was lowest" if best else step


def _environment(facts: Facts) -> Record:
    environment: Record = facts.models[-1].get("environment", {})
    return environment


def _version(facts: Facts) -> str:
    """Of whet, as prose: that which trained."""
    return prose(str(_environment(facts).get("whet", "of a version that was not recorded")))


def _shape(facts: Facts) -> list[str]:
    plan = facts.plan or {}
    shape, parameters = _sizes(plan), plan.get("parameters") or {}
    tokenizer = (facts.prepared or {}).get("tokenizer", {})
    rows = [
        ("Architecture", code(plan["family"]) if "family" in plan else ""),
        ("Parameters", _whole(parameters.get("total"))),
        ("of these in the embedding", _whole(parameters.get("embedding"))),
        ("of these trained", _trained_part(parameters)),
        ("Layers", _whole(shape.get("layers"))),
        ("Width", _whole(shape.get("d_model"))),
        ("Attention heads", _whole(shape.get("heads"))),
        ("Width of the feed-forward layer", _whole(shape.get("d_ff"))),
        ("Context, in tokens", _whole(shape.get("context"))),
        ("Vocabulary", _whole(tokenizer.get("vocab_size"))),
        ("Tokenizer", prose(tokenizer.get("kind", ""))),
        ("Head shares the embedding's weights", _tied(shape)),
        ("Weights stored as", "fp32 safetensors"),
    ]
    return ["## Model", *table(["What", "Value"], [row for row in rows if row[1]])]


def _sizes(plan: Record) -> Record:
    """The shape of the model, of whichever kind: widths, layers, heads, context; what is unknown is left out."""
    return {**(plan.get("shape") or {}), **(plan.get("model") or {})}


def _trained_part(parameters: Record) -> str:
    trainable, total = parameters.get("trainable"), parameters.get("total")
    return _whole(trainable) if trainable != total else ""


def _tied(shape: Record) -> str:
    return "" if "tie_embeddings" not in shape else "yes" if shape["tie_embeddings"] else "no"


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _use(facts: Facts) -> list[str]:
    return ["## Use and limits", "", *bullets(_limits(facts)), ""]


def _limits(facts: Facts) -> Iterator[str]:
    described = prose(facts.recipe.description)
    yield (
        f"What it is meant for: the recipe says “{described}”; nothing else was recorded."
        if described
        else "What it is meant for was not recorded: the recipe has no description."
    )
    yield from _objectives([stage for stage, _, _ in facts.trained])
    yield from _context(facts)
    spoken = sorted({name for contents in _contents(facts) for name in contents.languages if name})
    if spoken:
        listed = ", ".join(map(code, spoken[: material.MOST_LISTED]))
        yield f"It was trained on what the sources call {listed}; on other material it was not tested."
    yield "It may repeat its training text word for word; whether it does was not measured."
    yield from material.leakage(facts)
    yield material.not_searched_for(facts)
    yield "Truth, bias and harm of what it writes were not measured."


def _objectives(stages: list[Stage]) -> Iterator[str]:
    names = list(dict.fromkeys(stage.objective for stage in stages))
    said = ", ".join(f"{code(name)} ({prose(OBJECTIVES.get(name).SUMMARY)})" for name in names)
    if names == ["pretrain"]:
        yield f"It continues text: every stage's objective is {said}. It was not trained to follow instructions or to converse."
    else:
        yield f"Objectives it was trained with: {said}."


def _context(facts: Facts) -> Iterator[str]:
    longest = max(stage.sequence_length or 0 for stage, _, _ in facts.trained)
    context = _sizes(facts.plan or {}).get("context")
    if context is None:
        yield f"No stage trained on rows longer than {longest:,} tokens."
        return
    yield (
        f"It reads at most {context:,} tokens at once, and no stage trained on rows longer than {longest:,}."
        if longest < context
        else f"It reads at most {context:,} tokens at once."
    )


def _loading(facts: Facts, folder: str) -> list[str]:
    tuned = facts.recipe.tuned
    if tuned and tuned.adapter:
        return _loading_adapter(tuned.base, folder)
    return [
        "## How to load it",
        "",
        "With plain transformers, from the folder of this file:",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"folder = {json.dumps(folder)}",
        "tokenizer, model = (kind.from_pretrained(folder) for kind in (AutoTokenizer, AutoModelForCausalLM))",
        'prompt = tokenizer("The ", return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40)[0]))",
        "```",
        "",
    ]


def _loading_adapter(base: str, folder: str) -> list[str]:
    return [
        "## How to load it",
        "",
        "With plain transformers and peft, from the folder of this file:",
        "",
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"folder, base = {json.dumps(folder)}, {json.dumps(base)}",
        "tokenizer = AutoTokenizer.from_pretrained(folder)",
        "model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)",
        'prompt = tokenizer("The ", return_tensors="pt")',
        "print(tokenizer.decode(model.generate(**prompt, max_new_tokens=40)[0]))",
        "```",
        "",
    ]


def _training_data(facts: Facts) -> list[str]:
    if facts.prepared is None:
        return ["## Training data", "", "Its records are no longer there.", ""]
    sources = bullets(
        f"{code(stage['name'])}: {', '.join(map(code, stage['sources']))}" for stage in facts.stages
    )
    return [
        "## Training data",
        "",
        "Sources of each stage (their settings are in the run's data card):",
        "",
        *sources,
        *material.amounts(facts),
        "Only the training split was learned from.",
        *_chosen_by(facts),
        "",
        "Licences, as the sources name them:",
        "",
        *material.licences(facts),
        "",
        "Languages, as the sources name them:",
        "",
        *material.languages(facts),
        "",
        "What left before the split, and why:",
        "",
        *(line for stage in facts.stages for line in material.dropped(stage, examples=False)),
        "",
    ]


def _chosen_by(facts: Facts) -> Iterator[str]:
    chosen = [
        code(stage.name)
        for stage, _, model in facts.trained
        if model["best_step"] == model["result_step"] and stage.result == "best"
    ]
    if chosen:
        yield f"The validation split chose the weights of {', '.join(chosen)}."
    yield "The test split is for the final measurement."


def _settings(stage: Stage, planned: Record, dropout: float) -> dict[str, str]:
    """Of a stage, from the recipe."""
    rows = planned.get("rows_per_step", stage.batch_size * stage.accumulation)
    unit = "conversations of at most" if stage.counts_examples else "rows of"
    return {
        "Objective": code(stage.objective),
        "Optimiser": code(stage.optimizer),
        "Peak learning rate": f"{stage.learning_rate:g}",
        "Schedule": f"{stage.schedule}, {_warmup(stage)}",
        "Weight decay": f"{stage.weight_decay:g}",
        "Gradient norm clipped at": f"{stage.grad_clip:g}" if stage.grad_clip else "not clipped",
        "Dropout": f"{dropout:g}",
        "In a step": f"{rows:,} {unit} {stage.sequence_length:,} tokens",
    }


def _training(facts: Facts) -> list[str]:
    dropout = _dropout(facts.recipe)
    columns = [
        {**_settings(stage, planned, dropout), **_figures(planned, model)}
        for stage, planned, model in facts.trained
    ]
    header = ["Stage", *(code(stage.name) for stage, _, _ in facts.trained)]
    rows = [[label, *(column[label] for column in columns)] for label in columns[0]]
    return ["## Training", *table(header, rows), *bullets(_conditions(facts)), ""]


def _warmup(stage: Stage) -> str:
    share = f" or {stage.warmup_share:g} of all, whichever is longer" if stage.warmup_share else ""
    return f"{stage.warmup_steps:,} warm-up steps{share}"


def _dropout(recipe: Recipe) -> float:
    if isinstance(recipe.model, Model):
        return recipe.model.dropout
    return recipe.model.adapter.dropout if recipe.model.adapter else 0.0


def _figures(planned: Record, model: Record) -> dict[str, str]:
    """What a stage's training came to, from its record and its plan."""
    loss = model["best_validation_loss"]
    return {
        "Steps": f"{model['steps']:,}",
        "Tokens read": f"{model['tokens']:,}",
        "Epochs": f"{planned['epochs']:.2f}" if "epochs" in planned else "not recorded",
        "Operations, by formula": amount(planned["flops"], "FLOP") if "flops" in planned else "not recorded",
        "Lowest validation loss, nats per token": (
            f"{loss:.4f} at step {model['best_step']:,}" if loss is not None else "not validated"
        ),
        "Time": duration(model["seconds"]),
        "Tokens per second": f"{model['tokens_per_s']:,.0f}",
        "Share of the measured matmul peak": f"{model['peak_share']:.0%}",
        "Highest memory": amount(model["memory_peak_bytes"], "B"),
    }


def _conditions(facts: Facts) -> Iterator[str]:
    environment, machine = _environment(facts), facts.models[-1].get("machine", {})
    yield f"Seed: {facts.recipe.seed}."
    yield (
        f"Precision of matrix products: {prose(str(environment.get('precision', 'not recorded')))}; "
        f"device: {prose(str(environment.get('device', 'not recorded')))}; "
        f"threads: {prose(str(environment.get('threads', 'not recorded')))}; "
        f"torch.compile: {'on' if environment.get('compile') else 'off'}."
    )
    if machine:
        yield (
            f"Machine: {prose(str(machine['processor']))}, {machine['cores']} cores, "
            f"{amount(machine['memory_bytes'], 'B')} of memory, {prose(str(machine['platform']))}, Python "
            f"{prose(str(machine['python']))}."
        )
    else:
        yield "Machine: not recorded."
    libraries = (f"{name} {environment[name]}" for name in ("torch", "transformers") if name in environment)
    yield f"Libraries: {prose(', '.join(libraries)) or 'not recorded'}."
    yield "Energy was not measured."


def _evaluation(facts: Facts) -> list[str]:
    found = facts.evaluation
    if found is None:
        return [
            "## Evaluation",
            "",
            "There are no scores here: this was written before the model was evaluated.",
            "After `whet run`, or `whet evaluate` and `whet report`, they are in `model_card.md` of the run's folder.",
            "",
        ]
    lines = ["## Evaluation", "", "95 % intervals over documents in brackets. Lower is better.", ""]
    if not found["domains"]:
        return [*lines, "Nothing was held out, so nothing was measured.", ""]
    for domain in found["domains"]:
        lines += [
            f"### {code(domain)}",
            "",
            f"On the {found['split'][domain]} split: {_scored(found['scored'][domain])}.",
            *_scores(found, domain),
            *_against_floor(found, domain),
        ]
    return [
        *lines,
        *(line for name in found.get("solidity", {}) for line in _written(found["solidity"][name], name)),
    ]


def _written(found: Record, domain: str) -> list[str]:
    """What was written for held-out functions: by every writer, is it right, and how near is it on average."""
    table_of_all = next((one for one in found["tables"] if one["by"] == "all"), None)
    if table_of_all is None:
        return []
    writers = {
        name: table_of_all["writers"][name] for name in found["writers"] if name in table_of_all["writers"]
    }
    metrics = list(found["metrics"])
    steps = [
        step for step in ("parses", "compiles", "abi", "same") if any(step in of for of in writers.values())
    ]
    rows = [
        [
            prose(name),
            *(_estimate(of[step]) if step in of else "–" for step in steps),
            *(f"{of['metrics'][metric]:.3f}" if metric in of["metrics"] else "–" for metric in metrics),
        ]
        for name, of in writers.items()
    ]
    return [
        f"### Solidity written for {code(domain)}",
        "",
        f"For {_asked(table_of_all)}: the share that parses, compiles, has the ABI and",
        "behaves the same (95 % intervals), and means of what compares texts. Of shares and similarities more is better, of",
        "distances and differences less.",
        *table(["Writer", *(code(step) for step in steps), *(code(metric) for metric in metrics)], rows),
    ]


def _asked(table_of_all: Record) -> str:
    """How many records, and of how many functions; an older evaluation did not count these."""
    records = plural(table_of_all["functions"], "held-out record")
    return (
        f"{records} of {plural(table_of_all['distinct'], 'function')}"
        if "distinct" in table_of_all
        else records
    )


def _scored(counts: Record) -> str:
    documents, text = plural(counts["documents"], "document"), amount(counts["bytes"], "B")
    return f"{documents}, {plural(counts['tokens'], 'token')}, {text}"


def _scores(found: Record, domain: str) -> list[str]:
    """Every model and every floor on one domain."""
    metrics = list(found["matrix"])
    rows = [
        [
            f"model, {BEGINNINGS[name] if name in BEGINNINGS else f'after {code(name)}'}",
            *(_estimate(found["matrix"][metric][name][domain]) for metric in metrics),
        ]
        for name in found["models"]
    ]
    for floor in found["floors"].get(domain, ()):
        rows.append(
            [
                f"{prose(floor['name'])} (Kneser–Ney)",
                *(_estimate(floor[metric]) if metric in floor else "–" for metric in metrics),
            ]
        )
    return table(["", *(code(metric) for metric in metrics)], rows)


def _estimate(figure: Record) -> str:
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.3f} (no interval)"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def _against_floor(found: Record, domain: str) -> list[str]:
    floors = found["floors"].get(domain, ())
    if not floors:
        return ["No n-gram floor was measured.", ""]
    best = min(floors, key=lambda floor: floor["bits_per_byte"]["value"])
    gap = best["difference"]
    counted = found["floor_tokens"][domain]
    return [
        f"The best floor, {prose(best['name'])}, was counted on {counted:,} training tokens.",
        f"The last model's bits per byte minus this floor's: {_estimate(gap)}{_verdict(gap)}.",
        "",
    ]


def _verdict(gap: Record) -> str:
    if gap["low"] is None or gap["high"] is None:
        return ""
    return (
        ", better" if gap["high"] < 0 else ", worse" if gap["low"] > 0 else ", too close to call"
    ) + " (below zero the model is better)"


def _caveats(facts: Facts) -> list[str]:
    notices = [prose(notice) for notice in facts.notices]
    return ["## Notices of the run", "", *(bullets(notices) or ["None."]), ""]


def _again(facts: Facts) -> list[str]:
    lines = ["## How to make it again", ""]
    if facts.command:
        lines += [f"With whet {_version(facts)} and the same material:", "", *_fenced(facts.command), ""]
    else:
        lines += ["The command was not recorded.", ""]
    if facts.data_hash:
        lines += [f"SHA-256 over the prepared data: `{facts.data_hash}`", ""]
    return lines


def _fenced(command: str) -> list[str]:
    """A shell block that its content cannot end."""
    shown = visible(command)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", shown, fence]
