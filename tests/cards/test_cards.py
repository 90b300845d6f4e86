"""The cards of a real run against its records; of a partial run; of hostile records."""

from __future__ import annotations

import copy
import io
import json
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cards.test_markdown import ALLOWED, HOSTILE, PARSER, tags
from tests.conftest import write_material
from whet import pipeline, store
from whet.cards.data import data_card
from whet.cards.gather import DATA_CARD, MODEL_CARD, README, Contents, Facts, gather
from whet.cards.model import model_card
from whet.cleaning.base import FILTERS, Filter
from whet.errors import ArtefactError
from whet.records import Document


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    """A finished run of the small recipe, whose material also has what gets dropped, and a licence."""
    folder = tmp_path_factory.mktemp("cards")
    recipe = write_material(folder)
    material = folder / "material/b"
    (material / "tiny.py").write_text("x = 1\n")
    (material / "z|`of`.py").write_text((material / "m101.py").read_text())
    licensed = "{source: text, path: material/b, licence: Apache-2.0}"
    text = recipe.read_text().replace("{source: text, path: material/b}", licensed)
    recipe.write_text(f"description: Small <b>modules</b> of Python.\n{text}")
    opened = pipeline.open_run(str(recipe), [f"output={folder / 'runs'}"])
    pipeline.run_all(opened)
    return opened


@pytest.fixture(scope="module")
def facts(run: pipeline.Run) -> Facts:
    return gather(run.recipe, run.folder)


def model_folder(run: pipeline.Run, stage: str = "second") -> Path:
    return run.folder / "stages" / stage / "model"


def test_every_figure_of_the_model_card_is_in_a_record(run: pipeline.Run, facts: Facts) -> None:
    card = (run.folder / MODEL_CARD).read_text()
    assert facts.plan
    assert facts.prepared
    assert facts.evaluation
    expected = [f"{facts.plan['parameters']['total']:,} parameters", f"| Vocabulary | {420} |", "Seed: 7."]
    for _, planned, model in facts.trained:
        expected += [f"{model['tokens']:,}", f"{model['tokens_per_s']:,.0f}", f"{planned['epochs']:.2f}"]
        expected += [f"{model['best_validation_loss']:.4f} at step {model['best_step']}"]
    for stage in facts.prepared["stages"]:
        expected += [f"| {counts['tokens']:,} |" for counts in stage["splits"].values()]
    for model in facts.evaluation["matrix"]["bits_per_byte"].values():
        expected += [f"{figure['value']:.3f}" for figure in model.values()]
    for floors in facts.evaluation["floors"].values():
        expected += [f"{floor['bits_per_byte']['value']:.3f}" for floor in floors]
    second = facts.evaluation["floors"]["second"]
    gap = min(second, key=lambda floor: floor["bits_per_byte"]["value"])["difference"]
    expected.append(f"{gap['value']:.3f} [{gap['low']:.3f}, {gap['high']:.3f}], worse")
    expected += [facts.data_hash, "`Apache-2.0` (30 documents)", "none recorded (24 documents)"]
    expected += ["exact duplicate: 1 (", "too short: 1 (", "It continues text", "Energy was not measured."]
    assert not [figure for figure in expected if figure not in card]


def test_the_data_card_counts_what_the_manifest_counts(run: pipeline.Run, facts: Facts) -> None:
    card = (run.folder / DATA_CARD).read_text()
    expected = [
        "`second`: of 32 documents 30 stayed and 2 left.",
        "exact duplicate: 1 (",
        "<code>b&#47;z&#124;&#96;of&#96;&#46;py",
        "too short: 1 (6 B), for example `b/tiny.py (6 bytes)`",
        '- `licence`: `"Apache-2.0"`',
        "`size`: drops documents below or above a size in bytes (`min_bytes` `32`, `max_bytes` `1000000`)",
        "similarity to an earlier document was 0.8 or more",
        "Of the groups 0.1 were meant for validation, 0.15 for test.",
        "**not searched for**",
        "Of 24 documents no licence is recorded",
        facts.data_hash,
        "Small &lt;b&gt;modules&lt;/b&gt; of Python.",
    ]
    for stage in facts.stages:
        named = {split: groups for split, groups in stage["groups"].items() if groups}
        assert set(named) == {"validation", "test"}
        for split, groups in named.items():
            expected.append(f"The {split} split of `{stage['name']}` is made of `")
            expected += [f"`{group}` (1 document)" for group in groups]
        for split, share in stage["shared_13_token_runs"].items():
            expected.append(
                f"{100 * share:.1f} % of the {split} split's runs of 13 tokens in `{stage['name']}`"
            )
    assert not [sentence for sentence in expected if sentence not in card]


def test_the_readme_is_part_of_the_artefact_and_without_scores(run: pipeline.Run) -> None:
    for stage in ("first", "second"):
        artefact = store.open_artefact(model_folder(run, stage), "model")
        assert README in artefact.files
        text = (artefact.folder / README).read_text()
        assert "There are no scores here" in text
        assert f"after stage `{stage}`" in text
        assert 'folder = "."' in text
    first = (model_folder(run, "first") / README).read_text()
    assert "Stages trained: 1 of 2 (`first`)" in first
    assert "`second`" not in first, "a card tells nothing of what came later"
    assert str(run.folder.parent.parent) not in first.partition("How to make it again")[0], (
        "no path of this machine"
    )


def test_a_changed_readme_is_found(run: pipeline.Run, tmp_path: Path) -> None:
    import shutil

    copied = shutil.copytree(model_folder(run), tmp_path / "model")
    (copied / README).write_text((copied / README).read_text().replace("llama", "Llama"))
    with pytest.raises(ArtefactError):
        store.open_artefact(copied, "model")


def test_the_front_matter_is_yaml(run: pipeline.Run) -> None:
    for path in (run.folder / MODEL_CARD, model_folder(run) / README):
        start, matter, _ = path.read_text().split("---\n", 2)
        assert start == ""
        assert YAML(typ="safe").load(io.StringIO(matter)) == {
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["whet", "llama", "python"],
        }, "no licence: nobody told it"


@pytest.mark.parametrize("card", [MODEL_CARD, f"stages/second/model/{README}"])
def test_the_code_in_the_card_runs(
    run: pipeline.Run,
    card: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = run.folder / card
    found = re.search(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    assert found
    (tmp_path / "shown.py").write_text(found[1])
    monkeypatch.chdir(path.parent)
    runpy.run_path(str(tmp_path / "shown.py"))
    assert capsys.readouterr().out.startswith("<bos>The ")


def test_the_command_in_the_card_is_that_of_the_run(run: pipeline.Run) -> None:
    command = json.loads((run.folder / "run.json").read_text())["command"]
    assert f"```sh\n{command}\n```" in (run.folder / MODEL_CARD).read_text()


def test_the_same_records_give_the_same_bytes(run: pipeline.Run) -> None:
    cards = [run.folder / MODEL_CARD, run.folder / DATA_CARD]
    before = [card.read_bytes() for card in cards]
    pipeline.report(run)
    assert [card.read_bytes() for card in cards] == before
    readme = model_card(
        gather(run.recipe, run.folder, until=store.open_artefact(model_folder(run), "model").record)
    )
    assert readme == (model_folder(run) / README).read_text()


def test_a_run_that_is_only_prepared_has_a_data_card(run: pipeline.Run, tmp_path: Path) -> None:
    again = pipeline.open_run(str(run.folder), ["name=half", f"output={tmp_path}"])
    pipeline.prepare(again)
    (again.folder / MODEL_CARD).write_text("of a model that is gone")
    pipeline.report(again)
    assert (again.folder / DATA_CARD).exists()
    assert not (again.folder / MODEL_CARD).exists()


def test_old_records_without_the_machine_are_said_to_be_so(facts: Facts) -> None:
    bare = copy.deepcopy(facts)
    bare.command, bare.evaluation, bare.plan = "", None, None
    del bare.models[-1]["machine"], bare.models[-1]["environment"]
    card = model_card(bare)
    assert "Machine: not recorded." in card
    assert "The command was not recorded." in card
    assert "a version that was not recorded" in card


class Secrets(Filter):
    """Drops what holds a password."""

    NAME = "secrets"
    SUMMARY = "drops documents with passwords"
    REASONS = ("secret",)

    def apply(self, document: Document) -> Document:
        return document


def test_a_filter_that_searches_is_named(facts: Facts) -> None:
    FILTERS.register(Secrets)
    try:
        card = data_card(facts)
        off = replace(facts, recipe=facts.recipe.model_copy(deep=True))
        off.recipe.prepare.cleaning["secrets"] = False
        without = data_card(off)
    finally:
        FILTERS.unregister("secrets")
    assert (
        "These filters look for personal data or secrets: `secrets` (drops documents with passwords)." in card
    )
    assert "not searched for" not in card
    assert "**not searched for**" in without
    assert "drops documents with passwords. **Switched off.**" in without


def test_what_was_written_for_functions_is_in_the_card(facts: Facts) -> None:
    def figures(same: float) -> dict[str, Any]:
        share = {"value": same, "low": max(same - 0.1, 0), "high": min(same + 0.1, 1)}
        return {"parses": share, "same": share, "metrics": {"bleu": 12.5}}

    facts = copy.deepcopy(facts)
    assert facts.evaluation
    every = {"model": figures(0.5), "the | emitter": {"metrics": {"bleu": 7.25}}}
    table = {"by": "all", "functions": 24, "distinct": 12, "writers": every}
    other = {"by": "era", "group": "0.8", "functions": 3, "writers": {"model": figures(0.25)}}
    found = {"writers": list(every), "metrics": {"bleu": {}}, "tables": [other, table]}
    facts.evaluation["solidity"] = {"code": found}
    card = model_card(facts)
    assert "### Solidity written for `code`\n\nFor 24 held-out records of 12 functions: the share" in card
    assert "| model | 0.500 [0.400, 0.600] | 0.500 [0.400, 0.600] | 12.500 |" in card
    (row,) = (line for line in card.splitlines() if "emitter" in line)
    assert row.endswith("| – | – | 7.250 |")
    assert "0.250" not in card.partition("### Solidity")[2].partition("\n## ")[0], "a part of the functions"
    del table["distinct"]
    assert "For 24 held-out records: the share" in model_card(facts), "as evaluated before"
    facts.evaluation["solidity"] = {"code": {**found, "tables": []}}
    assert "### Solidity" not in model_card(facts)


def test_another_objective_is_not_called_a_continuation(facts: Facts) -> None:
    other = replace(facts, recipe=facts.recipe.model_copy(deep=True))
    other.recipe.stages[0].result = "last"
    assert "chose the weights of `first`, `second`" in model_card(facts)
    assert "chose the weights of `second`" in model_card(other)
    assert "the validation loss was lowest" in model_card(other)


def hostile(value: Any, text: str) -> Any:
    """The same records with every text made hostile, but for keys that other records refer to."""
    if isinstance(value, dict):
        kept = ("name", "split", "result")
        return {key: item if key in kept else hostile(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, text) for item in value]
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_hostile_records_change_no_card(facts: Facts, text: str) -> None:
    """Headings, lists and tables are those of the harmless card; nothing new is markup."""
    names = (
        {"domains": facts.evaluation["domains"], "models": facts.evaluation["models"]}
        if facts.evaluation
        else {}
    )
    recipe = facts.recipe.model_copy(deep=True)
    recipe.description = text
    changed = Facts(
        recipe,
        hostile(facts.prepared, text),
        facts.data_hash,
        {
            name: Contents(*(type(c)({text: 3}) for c in (found.licences, found.languages)))
            for name, found in facts.contents.items()
        },
        hostile(facts.plan, text),
        hostile(facts.models, text),
        {**hostile(facts.evaluation, text), **names},
        text,
    )
    for card in (model_card, data_card):
        html, plain = (PARSER.render(_body(card(given))) for given in (changed, facts))
        assert tags(html) <= ALLOWED | {"h2", "h3", "pre", "strong"}
        assert "href" not in html
        assert tags(html) == tags(plain)
        for tag in ("<h1>", "<h2>", "<h3>", "<tr>", "<td", "<pre>", "<strong>"):
            assert html.count(tag) == plain.count(tag), (tag, text)
    matter = YAML(typ="safe").load(io.StringIO(model_card(changed).split("---\n", 2)[1]))
    assert matter["tags"][0] == "whet"


def _body(card: str) -> str:
    return card.split("---\n", 2)[2] if card.startswith("---") else card
