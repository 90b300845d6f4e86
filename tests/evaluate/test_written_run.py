"""A tiny model on Solidity written here, all the way: compiled, trained, asked, judged, and on the page (slow: a compiler)."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from whet import pipeline
from whet.errors import WhetError
from whet.evaluate.written import EMITTER, FALLBACK, MODEL, NEAREST, score
from whet.evaluate.written.held_out import held_out, keys
from whet.recipe.load import Loaded, load_recipe
from whet.sources.solidity import SoliditySource
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenStore

pytestmark = pytest.mark.slow

CONTRACTS = {
    "Vault": """
    mapping(address => uint256) public stored;
    function put(uint256 amount) external { require(amount > 0, "nothing"); stored[msg.sender] += amount; }
    function take(uint256 amount) external returns (uint256) { stored[msg.sender] -= amount; return amount; }
    """,
    "Owned": """
    address public owner;
    function give(address next) external { require(msg.sender == owner, "not yours"); owner = next; }
    function mine() external view returns (bool) { return msg.sender == owner; }
    """,
    "Steps": """
    uint256 public reached;
    function climb(uint256 steps) external { for (uint256 i = 0; i < steps; i++) reached += i; }
    function rest() external { reached = 0; }
    """,
    "Numbers": """
    function largest(uint256 a, uint256 b, uint256 c) external pure returns (uint256) {
        uint256 most = a > b ? a : b;
        return most > c ? most : c;
    }
    function even(uint256 value) external pure returns (bool) { return value % 2 == 0; }
    """,
    "Switch": """
    bool public lit;
    event Switched(bool lit);
    function flip() external { lit = !lit; emit Switched(lit); }
    function burn(uint8 hours_) external pure returns (uint16) { return uint16(hours_) * 60; }
    """,
    "Times": """
    uint64 public begun;
    function begin() external { if (begun == 0) begun = uint64(block.timestamp); }
    function since() external view returns (uint256) { return block.timestamp - begun; }
    """,
}
RECIPE = """
name: written
seed: {seed}
device: cpu
precision: fp32
compile: "off"
prepare: {{validation_share: 0.0, test_share: 0.5, near_duplicate_similarity: null, cleaning: {{size: {{min_bytes: 1}}}}}}
tokenizer: {{vocab_size: 340}}
model: {{d_model: 16, layers: 1, heads: 2, d_ff: 32, context: 640}}
chat_template: plain
stages:
  - name: decompile
    objective: sft
    data: [{{source: solidity, path: contracts, families: file, metadata: both}}]
    batch_size: 2
    steps: 2
    learning_rate: 1e-2
evaluate:
  samples: 0
  floors: 0
  resamples: 100
  solidity: {{functions: 6, new_tokens: 24}}
"""


def written(folder: Path, seed: int = 3) -> Loaded:
    """The recipe and its contracts in `folder`."""
    (folder / "contracts").mkdir()
    for name, body in CONTRACTS.items():
        text = f"// SPDX-License-Identifier: MIT\npragma solidity 0.8.30;\ncontract {name} {{{body}}}\n"
        (folder / "contracts" / f"{name}.sol").write_text(text, "utf-8")
    (folder / "written.yaml").write_text(RECIPE.format(seed=seed), "utf-8")
    return load_recipe(str(folder / "written.yaml"), [f"output={folder / 'runs'}"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    """Evaluated, with its report."""
    folder = tmp_path_factory.mktemp("written")
    written(folder)
    opened = pipeline.open_run(str(folder / "written.yaml"), [f"output={folder / 'runs'}"])
    pipeline.run_all(opened)
    return opened


@pytest.fixture(scope="module")
def found(run: pipeline.Run) -> dict[str, Any]:
    """What was measured of the one domain."""
    text = (run.folder / "evaluation" / "evaluation.json").read_text("utf-8")
    (one,) = json.loads(text)["solidity"].values()
    return dict(one)


def test_every_writer_has_a_text_and_a_verdict_for_every_function(found: dict[str, Any]) -> None:
    assert len(found["functions"]) == 6
    assert found["held_out"] == 12
    assert found["writers"] == [MODEL, "untrained", NEAREST, EMITTER, FALLBACK]
    for one in found["functions"]:
        assert list(one["texts"]) == found["writers"]
        assert all(
            text["verdict"] and text["metrics"].keys() == found["metrics"].keys()
            for text in one["texts"].values()
        )
        assert one["texts"][MODEL]["ended"] in ("end", "length")
        assert "TAC" not in one["prompt"]
        assert one["prompt"].endswith("}")
        assert one["true"].startswith("function ")
        chosen = one["texts"][FALLBACK]
        assert chosen["text"] == one["texts"][chosen["from"]]["text"]
    assert {one["metadata"] for one in found["functions"]} == {"shown", "hidden"}


def test_what_two_steps_teach_is_nothing_and_the_emitter_is_right(found: dict[str, Any]) -> None:
    overall = found["tables"][0]["writers"]
    assert overall[MODEL]["same"]["value"] == 0
    assert overall["untrained"]["parses"]["value"] == 0
    assert overall[NEAREST]["parses"]["value"] == 1
    assert overall[NEAREST]["same"]["value"] == 0
    assert overall[EMITTER]["same"]["value"] == 1
    assert overall[FALLBACK]["same"]["value"] == 1
    assert overall[EMITTER]["metrics"]["edit_distance"] < overall[MODEL]["metrics"]["edit_distance"]


def test_the_nearest_examples_are_of_the_training_split(run: pipeline.Run, found: dict[str, Any]) -> None:
    stores = {
        split: TokenStore.open(run.folder / "prepared" / "decompile" / split, 340, check_ids=False)
        for split in ("train", "test")
    }
    origins = {split: {key[1] for key in keys(store)} for split, store in stores.items()}
    for one in found["functions"]:
        assert one["origin"] in origins["test"]
        assert one["nearest"]["origin"] in origins["train"]


def test_the_authors_own_text_behaves_the_same(run: pipeline.Run) -> None:
    """What a perfect model would get, by the same way."""
    store = TokenStore.open(run.folder / "prepared" / "decompile" / "test", 340, check_ids=False)
    (source,) = run.recipe.stages[0].data
    assert isinstance(source, SoliditySource)
    asked = held_out(store, {0: source}, 4).asked
    texts = {MODEL: [score.text_of(one.true) for one in asked]}
    score.judge_all(asked, {0: source}, texts)
    assert [one["verdict"]["behaves"] for one in texts[MODEL]] == ["same"] * 4
    assert all(one["verdict"]["abi"] for one in texts[MODEL])


def test_the_prompts_are_those_of_the_prepared_data(run: pipeline.Run) -> None:
    store = TokenStore.open(run.folder / "prepared" / "decompile" / "test", 340, check_ids=False)
    tokenizer = tokenizers.load(run.folder / "prepared" / "tokenizer")
    (source,) = run.recipe.stages[0].data
    assert isinstance(source, SoliditySource)
    for one in held_out(store, {0: source}, 100).asked:
        text = tokenizer.decode(one.ids)
        assert one.prompt in text
        assert one.true not in text


def test_the_page_and_the_typed_results_say_what_was_measured(
    run: pipeline.Run, found: dict[str, Any]
) -> None:
    page = (run.folder / "report.html").read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert "Written Solidity" in page
    assert "6 records of 3 functions; 12 records are held out" in page
    evaluation = run.evaluate()
    (model, *_, fallback) = evaluation.written("decompile")
    assert (model.writer, model.functions, model.distinct) == (MODEL, 6, 3)
    assert fallback.shares["same"].value == 1
    assert model.metrics == found["tables"][0]["writers"][MODEL]["metrics"]
    with pytest.raises(WhetError, match="there is no domain 'nothing'"):
        evaluation.written("nothing")
    record = deepcopy(dict(evaluation.record))
    del record["solidity"]["decompile"]["tables"][0]["distinct"]
    assert replace(evaluation, record=record).written("decompile")[0].distinct is None


def test_what_a_source_no_longer_gives_is_said(run: pipeline.Run) -> None:
    """Another build than the prepared data's has none of its records."""
    store = TokenStore.open(run.folder / "prepared" / "decompile" / "test", 340, check_ids=False)
    (source,) = run.recipe.stages[0].data
    other = source.model_copy(update={"builds": ["off"]})
    found = held_out(store, {0: other}, 5)
    assert (found.asked, found.there, found.gone) == ([], 12, 12)
