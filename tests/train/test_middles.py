"""Training on rearranged pieces: epochs, stop and resume, plain validation, what is counted and refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.proofs.bench import Bench, settings
from tests.test_fill_in_the_middle import write
from whet import packing, store
from whet.errors import DataError, RecipeError
from whet.fill_in_the_middle import BY_DRAW, OUTCOMES, PSM, RESERVE, SENTINELS, SPM, Arranger, arranger_for
from whet.launch import Launch
from whet.plan.run import run as plan
from whet.prepare.preview import preview
from whet.progress import Reporter
from whet.recipe.load import Loaded, load_recipe
from whet.recipe.schema import FillInTheMiddle
from whet.text import tokenizer as tokenizers
from whet.train import data as training_data
from whet.train.machine import Machine
from whet.train.run import StageTraining
from whet.train.world import ALONE

ON = "stages.first.fill_in_the_middle={share: 0.7}"


def bench(prepared: store.Artefact, folder: Path, steps: int = 5) -> Bench:
    chosen = settings(fill_in_the_middle=FillInTheMiddle(share=0.7), batch_size=32, accumulation=2)
    return Bench(prepared, folder, chosen, steps=steps)


def test_stop_and_resume_is_bitwise_across_an_epoch(prepared: store.Artefact, tmp_path: Path) -> None:
    """Losses, norms and weights of the steps around the end of the first epoch, where cuts are drawn anew."""
    chosen = settings(fill_in_the_middle=FillInTheMiddle(share=0.7), batch_size=2)
    rows = len(Bench(prepared, tmp_path, chosen, steps=1).loop.training.rows)
    before = rows // 2 - 3

    def near_the_end(name: str) -> Bench:
        made = Bench(prepared, tmp_path / name, chosen, steps=before + 7)
        made.progress.step = before
        return made

    straight = near_the_end("a")
    assert straight.run()
    first = near_the_end("b")
    assert not first.run(until=before + 2)
    second = near_the_end("b")
    second.resume()
    assert second.progress.step == before + 2
    assert second.run()
    assert first.figures() + second.figures() == straight.figures()
    for found, expected in zip(
        second.decoder.model.parameters(), straight.decoder.model.parameters(), strict=True
    ):
        assert torch.equal(found, expected)


def test_each_row_has_the_cuts_of_its_own_epoch(prepared: store.Artefact, tmp_path: Path) -> None:
    """Step by step against the arranger, also where a micro-batch spans two epochs."""
    data = bench(prepared, tmp_path).loop.training
    arranger = data.arranger
    assert arranger is not None
    rows, cursor, spanning = len(data.rows), 0, 0
    for step in range(2 * rows // 64 + 1):
        for batch in data.step(step):
            spanning += cursor // rows != (cursor + 31) // rows
            for place in range(32):
                epoch = (cursor + place) // rows
                row = int(packing.row_at(rows, 3, cursor + place, 1)[0])
                alone = packing.batch_of(
                    data.store, data.rows, [row], 0, arranger.rewrite(data.store, [epoch])
                )
                assert np.array_equal(batch.inputs[place], alone.inputs[0])
                assert np.array_equal(batch.labels[place], alone.labels[0])
            cursor += 32
    assert spanning == 2


def test_two_processes_see_together_what_one_sees(prepared: store.Artefact, tmp_path: Path) -> None:
    """The same rows with the same cuts, also in the step where an epoch ends."""
    tokenizer = tokenizers.load(prepared.folder / "tokenizer")

    def data(accumulation: int, launch: Launch) -> training_data.TrainingData:
        chosen = settings(
            fill_in_the_middle=FillInTheMiddle(share=0.7), batch_size=16, accumulation=accumulation
        )
        return training_data.TrainingData(
            prepared.folder / "first" / "train",
            chosen,
            vocab_size=420,
            pad_id=0,
            seed=3,
            launch=launch,
            arranger=arranger_for(chosen.fill_in_the_middle, tokenizer, 3, "first"),
        )

    alone = data(4, Launch())
    ranks = [data(2, Launch(rank=rank, local_rank=rank, size=2)) for rank in range(2)]
    assert len(alone.rows) % 64
    for step in range(len(alone.rows) // 64 + 2):
        dealt = zip(*(rank.step(step) for rank in ranks), strict=True)
        for one, other in zip(alone.step(step), (batch for pair in dealt for batch in pair), strict=True):
            assert np.array_equal(one.inputs, other.inputs)
    assert alone.outcomes(3) == ranks[1].outcomes(3)


def test_the_rows_of_every_epoch_are_as_many(prepared: store.Artefact, tmp_path: Path) -> None:
    """Cut shorter and packed with room, and only on the training side; validation reads plain text."""
    made = bench(prepared, tmp_path)
    assert (made.loop.training.rows.pieces.length <= 48 - RESERVE).all()
    validation = made.loop.validation
    assert validation is not None
    assert (validation.rows.pieces.length <= 48).all()
    assert (validation.rows.pieces.length > 48 - RESERVE).any()
    tokenizer = tokenizers.load(prepared.folder / "tokenizer")
    sentinels = [tokenizer.backend.token_to_id(name) for name in SENTINELS]
    assert not any(np.isin(batch.inputs, sentinels).any() for batch in validation.in_order(10**9))
    assert any(np.isin(batch.inputs, sentinels).any() for batch in made.loop.training.step(0))


def test_outcomes_are_those_of_the_pieces_trained_on(
    prepared: store.Artefact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bench(prepared, tmp_path).loop.training
    found = data.outcomes(3)
    assert found is not None
    batches = [batch for step in range(3) for batch in data.step(step)]
    assert found.pieces == sum(len(batch.documents) for batch in batches)
    sentinels = [data.arranger.middle_id]
    rearranged = sum(int(np.isin(batch.inputs, sentinels).sum()) for batch in batches)
    assert found.counts[PSM] + found.counts[SPM] == rearranged
    record = found.as_dict()
    assert list(record["outcomes"]) == list(OUTCOMES)
    assert sum(record["outcomes"].values()) == record["pieces"]
    monkeypatch.setattr(training_data, "COUNTED_PIECES", 10)
    fewer = data.outcomes(3)
    assert fewer is not None
    assert 10 <= fewer.pieces < found.pieces


def test_the_plan_says_what_is_reserved(small: Loaded, prepared: store.Artefact, tmp_path: Path) -> None:
    loaded = load_recipe(small.origin, [ON])
    reporter = Said()
    planned = plan(loaded.recipe, tmp_path, prepared, reporter)
    on, off = planned["stages"]
    assert off["fill_in_the_middle"] is None
    about = on["fill_in_the_middle"]
    assert about["reserved_positions"] % RESERVE == 0
    assert 0 < about["reserved_share"] < 1
    assert sum(about["outcomes"].values()) == about["pieces"]
    assert 0.1 < about["outcomes"][BY_DRAW] / about["pieces"] < 0.5
    plain = plan(small.recipe, tmp_path, prepared, reporter)["stages"][0]
    assert on["filled_share"] < plain["filled_share"]
    assert any("fill-in-the-middle" in line and "reserved" in line for line in reporter.lines)
    data = training_data.TrainingData(
        prepared.folder / "first" / "train",
        loaded.recipe.stages[0],
        vocab_size=420,
        pad_id=0,
        seed=7,
        arranger=arranger_of(loaded, prepared),
    )
    assert len(data.rows) == on["rows"]
    counted = sum(batch.label_count for step in range(len(data.rows) // 4) for batch in data.step(step))
    assert counted / (len(data.rows) // 4 * 4 * 48) == pytest.approx(on["filled_share"], rel=0.02)


def arranger_of(loaded: Loaded, prepared: store.Artefact) -> Arranger:
    tokenizer = tokenizers.load(prepared.folder / "tokenizer")
    made = arranger_for(loaded.recipe.stages[0].fill_in_the_middle, tokenizer, 7, "first")
    assert made is not None
    return made


class Said(Reporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_the_room_rearranges_training_only_and_says_so(
    small: Loaded, prepared: store.Artefact, tmp_path: Path
) -> None:
    """What `whet train` reads, records, and takes into the training's key."""
    reporter, keys = Said(), []
    for overrides in ([], ["stages.first.fill_in_the_middle={}"], [ON]):
        recipe = load_recipe(small.origin, overrides).recipe
        planned = plan(recipe, tmp_path, prepared, reporter)
        machine = Machine(recipe, planned, ALONE)
        stage, entry = recipe.stages[0], planned["stages"][0]
        room = StageTraining(recipe, stage, entry, tmp_path, prepared, None, machine, reporter)
        data = room._data()
        assert data["validation"].arranger is None
        assert (data["train"].arranger is None) == (not overrides)
        record = room._outcomes(6)
        assert (record is None) == (not overrides)
        keys.append(room.key)
    assert record == data["train"].outcomes(6).as_dict()
    assert len(set(keys)) == 3, "other settings are another training"
    assert f"of {record['pieces']} pieces trained on" in reporter.lines[-1]


def test_many_pieces_that_stay_plain_are_a_notice(
    small: Loaded, prepared: store.Artefact, tmp_path: Path
) -> None:
    """Emoji of four bytes, cut wherever a piece ends: most pieces are not whole characters."""
    recipe = load_recipe(small.origin, [ON]).recipe
    assert not plan(recipe, tmp_path, prepared, Reporter())["notices"]
    folder = tmp_path / "prepared"
    shutil.copytree(prepared.folder, folder)
    shutil.rmtree(folder / "first" / "train")
    tokenizer = tokenizers.load(folder / "tokenizer")
    write(folder / "first" / "train", tokenizer.encode_documents(["\U0001f600x" * 501] * 3))
    (notice,) = plan(recipe, tmp_path, replace(prepared, folder=folder), Reporter())["notices"]
    assert "not whole characters" in notice
    assert notice.startswith("stage first: of ")


def test_preview_shows_the_sentinels(small: Loaded, prepared: store.Artefact) -> None:
    recipe = load_recipe(small.origin, ["stages.first.fill_in_the_middle={share: 1.0}"]).recipe
    seen: Counter[str] = Counter()
    for split, rows in (("train", 3), ("validation", 3)):
        for row in preview(prepared, recipe, stage="first", split=split, rows=rows).rows:
            for piece in row.pieces:
                for token in piece.tokens:
                    if token.special:
                        seen[f"{split} {token.text}"] += 1
                        assert token.learned or token.text == "<bos>" or token is piece.tokens[0]
    assert all(seen[f"train {name}"] for name in SENTINELS)
    assert not any(seen[f"validation {name}"] for name in SENTINELS)


def test_a_wrong_tokenizer_is_refused_before_training(
    small: Loaded, prepared: store.Artefact, tmp_path: Path
) -> None:
    """In the plan room, by the stage's key and the missing token."""
    folder = tmp_path / "prepared"
    shutil.copytree(prepared.folder, folder)
    file = folder / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text("utf-8").replace("<fim_suffix>", "<other>"), "utf-8")
    recipe = load_recipe(small.origin, [ON]).recipe
    changed = replace(prepared, folder=folder)
    with pytest.raises(DataError, match="<fim_suffix>") as error:
        plan(recipe, tmp_path, changed, Reporter())
    assert error.value.where == "stages.first.fill_in_the_middle"
    assert not (tmp_path / "plan.json").exists()


def test_contradictions_are_refused(small: Loaded, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="12 positions are reserved"):
        load_recipe(small.origin, [ON, "stages.first.sequence_length=20"])
    np.save(tmp_path / "rows.npy", np.ones((2, 48), np.int32))
    data = json.dumps([{"source": "tokens", "path": str(tmp_path / "rows.npy")}])
    with pytest.raises(RecipeError, match=r"stages\.first\.(fill_in_the_middle|data).*token arrays"):
        load_recipe(small.origin, [ON, f"stages.first.data={data}", f"tokenizer.path={tmp_path}"])
    for wrong in ("{share: 0}", "{share: 1.1}", "{spm_share: -0.1}", "{spm: 0.5}", "true"):
        with pytest.raises(RecipeError):
            load_recipe(small.origin, [f"stages.first.fill_in_the_middle={wrong}"])
