"""The preview shows what training reads, and nothing in the material reaches the terminal as a command."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from whet import packing, store
from whet.errors import DataError
from whet.packing import IGNORED
from whet.prepare.preview import Preview, one_line, preview, render, visible
from whet.recipe.schema import Recipe
from whet.text import tokenizer as tokenizers
from whet.tokenstore import TokenStore

from .test_run import plant, prepare, prose, recipe, text

EVIL = (
    "\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07 \x9b2J [bold]markup[/bold] <eos>\n"
    "\u202ereversed\u202c zero\u200bwidth 😀 日本\ttab \r\n"
)
SETTINGS = {
    "validation_share": 0.1,
    "test_share": 0.1,
    "cleaning": dict.fromkeys(("control_characters", "minified", "repetitive"), False),
}

MODEL = {"size": "tiny", "context": 160}

Made = tuple[Recipe, store.Artefact]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("preview")
    plant(folder, {f"a/{seed}.txt": prose(seed, 24 + 40 * (seed % 5)) for seed in range(30)})
    plant(folder, {f"b/{name}.txt": EVIL + prose(100 + name, 64) for name in range(12)})
    plant(folder, {"a/empty.txt": "", "a/copy.txt": prose(4, 184)})
    made = recipe(folder, {"plain": text("a"), "evil": text("b")}, prepare=SETTINGS, model=MODEL)
    made.stages[0].sequence_length = 64
    made.stages[1].overflow = "truncate_right"
    return made, prepare(made, folder)


def printed(shown: Preview, *, colour: bool = True) -> str:
    file = io.StringIO()
    render(
        shown,
        Console(file=file, width=400, force_terminal=colour, color_system="truecolor" if colour else None),
    )
    return file.getvalue()


class TestRows:
    def test_they_are_the_rows_that_training_reads_first(self, made: Made) -> None:
        wanted, artefact = made
        shown = preview(artefact, wanted, stage="plain", rows=5)
        stored = TokenStore.open(artefact.folder / "plain/train", shown.vocab_size)
        rows = packing.plan_rows(stored, 64, "split")
        chosen = packing.row_at(len(rows), wanted.seed, 0, 5)
        assert [row.row for row in shown.rows] == chosen.tolist()
        for row, batch in zip(
            shown.rows, (packing.batch_of(stored, rows, [int(at)], 0) for at in chosen), strict=True
        ):
            inputs = [token.id for piece in row.pieces for token in piece.tokens if token.read]
            learned = [token.id for piece in row.pieces for token in piece.tokens if token.learned]
            assert inputs == batch.inputs[batch.segments > 0].tolist()
            assert learned == batch.labels[batch.labels != IGNORED].tolist()
            assert (row.length, row.learned) == (64, batch.label_count)
            assert row.padding == int((batch.segments == 0).sum())

    def test_pieces_name_their_documents_and_hold_their_text(self, made: Made) -> None:
        wanted, artefact = made
        shown = preview(artefact, wanted, stage="plain", rows=1000)
        stored = TokenStore.open(artefact.folder / "plain/train", shown.vocab_size)
        tokenizer = tokenizers.load(artefact.folder / "tokenizer")
        texts = {
            about["origin"]: tokenizer.decode(stored.document(at).tolist())
            for at, about in enumerate(stored.origins())
        }
        pieces = [piece for row in shown.rows for piece in row.pieces]
        assert {piece.origin for piece in pieces} == set(texts)
        for piece in pieces:
            assert "".join(token.text for token in piece.tokens if not token.special) in texts[piece.origin]
            assert piece.language == "text"
        for origin in texts:
            own = [piece for piece in pieces if piece.origin == origin]
            assert sum(piece.begins for piece in own) == sum(piece.ends for piece in own) == 1
            (first,) = [piece for piece in own if piece.begins]
            assert (first.tokens[0].text, first.tokens[0].special, first.tokens[0].learned) == (
                "<bos>",
                True,
                False,
            )
            (last,) = [piece for piece in own if piece.ends]
            assert (last.tokens[-1].text, last.tokens[-1].read, last.tokens[-1].learned) == (
                "<eos>",
                False,
                True,
            )

    def test_characters_of_several_tokens_stand_at_their_last_one(self, made: Made) -> None:
        shown = preview(made[1], made[0], stage="evil", rows=1)
        tokens = shown.rows[0].pieces[0].tokens
        assert not any("\\x" in token.text for token in tokens[4:])
        assert any(token.text == "" for token in tokens)

    def test_choices(self, made: Made) -> None:
        wanted, artefact = made
        assert {row.stage for row in preview(artefact, wanted, rows=2).rows} == {"plain", "evil"}
        assert len(preview(artefact, wanted, rows=0).rows) == 0
        held_out = preview(artefact, wanted, stage="plain", split="test", rows=1)
        assert (held_out.rows[0].split, held_out.packed[0].split) == ("test", "test")
        orders = {tuple(row.row for row in preview(artefact, wanted, seed=seed).rows) for seed in range(5)}
        assert len(orders) > 1
        with pytest.raises(DataError, match=r"no stage 'other'.*\n.*there are: plain, evil, train"):
            preview(artefact, wanted, stage="other")
        with pytest.raises(DataError, match="no split 'tests'"):
            preview(artefact, wanted, split="tests")

    def test_an_empty_split_shows_no_rows(self, tmp_path: Path) -> None:
        plant(tmp_path, {f"a/{seed}.txt": prose(seed) for seed in range(9)})
        shares = {"validation_share": 0.0, "test_share": 0.1}
        made = recipe(tmp_path, {"s": text("a")}, prepare=shares)
        shown = preview(prepare(made, tmp_path), made, split="validation")
        assert shown.rows == ()
        assert shown.packed[0].rows == 0
        assert "Splits" in printed(shown)


class TestRendering:
    def test_what_it_says(self, made: Made) -> None:
        shown = preview(made[1], made[0], stage="plain", rows=2)
        said = printed(shown, colour=False)
        row = shown.rows[0]
        assert (
            f"plain / train, row {row.row}: 64 positions, {row.learned} learned, {row.padding} padding"
            in said
        )
        assert f"── {row.pieces[0].origin}, text" in said
        assert "learned  here" in said
        for title in ("Splits", "Rows", "Dropped"):
            assert title in said
        assert re.search(r"plain +exact duplicate +1 +3\.1%", said)
        assert re.search(r"plain +too short +1 ", said)
        counts = shown.stages[0]["splits"]["train"]
        ratio = f"{counts['bytes'] / counts['tokens']:.2f}"
        assert re.search(rf"plain +train +{counts['documents']} +{counts['tokens']:,} .* {ratio}", said)

    def test_changes_and_cuts_are_told(self, made: Made) -> None:
        shown = preview(made[1], made[0], stage="evil", rows=1)
        assert "Changed" not in printed(shown)
        changed = {
            **shown.stages[0],
            "tally": {**shown.stages[0]["tally"], "changed": {"tabs straightened": 7}},
        }
        said = printed(replace(shown, stages=(changed,)), colour=False)
        assert re.search(r"Changed and kept[^~]*evil +tabs straightened +7", said)
        packed = shown.packed[0]
        assert packed.tokens_cut > 0
        assert re.search(rf"evil .*truncate_right +{packed.documents_over} +{packed.tokens_cut:,}", said)

    def test_learned_read_and_special_look_different(self, made: Made) -> None:
        shown = printed(preview(made[1], made[0], stage="plain", rows=1000))
        (bos,) = set(re.findall(r"\x1b\[([0-9;]+)m<bos>", shown))
        (eos,) = set(re.findall(r"\x1b\[([0-9;]+)m<eos>", shown))
        rest = set(re.findall(r"\x1b\[([0-9;]*48;2;[0-9;]+)m", shown)) - {bos, eos}
        assert bos != eos
        assert len(rest) == 4, "two shades of learned and two of only read"

    def test_neighbouring_tokens_have_different_shades(self, made: Made) -> None:
        shown = preview(made[1], made[0], stage="evil", rows=1)
        tokens = shown.rows[0].pieces[0].tokens[1:9]
        body = printed(shown).partition("── b/")[2].partition("<bos>")[2]
        styles = []
        for token in tokens:
            found = re.search(
                r"\x1b\[([0-9;]+)m" + re.escape(visible(token.text).split("\n")[0]) + r"\x1b", body
            )
            assert found
            styles.append(found[1])
            body = body[found.start() + 2 :]
        assert all(one != other for one, other in pairwise(styles))


HARMFUL = "\x1b[red]\x07\x9b\r\t\n\u202e\u202c\u200b\ud800"


def bare(output: str) -> str:
    """Without the colours that rich writes itself."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


class TestNothingReachesTheTerminal:
    @pytest.mark.parametrize("colour", [True, False])
    def test_in_rows_origins_and_tables(self, made: Made, colour: bool) -> None:
        said = printed(preview(made[1], made[0], rows=1000), colour=colour)
        assert "\x1b[31m" not in said
        assert not set(bare(said)) & set(HARMFUL) - set("[red]\n")
        assert "␛[31mred␛[0m" in bare(said)
        assert "[bold]markup[/bold] <eos>" in bare(said)
        assert "‹U+202E›" in bare(said)
        assert "日本" in bare(said).replace("·", "")

    def test_in_names_and_reasons(self, made: Made) -> None:
        shown = preview(made[1], made[0], stage="evil", rows=1)
        piece = replace(shown.rows[0].pieces[0], origin=HARMFUL, language=HARMFUL)
        entry = {"reason": HARMFUL, "documents": 1, "bytes": 1, "examples": [HARMFUL]}
        tally = {**shown.stages[0]["tally"], "dropped": [entry], "changed": {HARMFUL: 1}}
        changed = replace(
            shown,
            rows=(replace(shown.rows[0], pieces=(piece,)),),
            stages=({**shown.stages[0], "tally": tally},),
            notices=(HARMFUL,),
        )
        said = bare(printed(changed))
        assert not set(said) & set(HARMFUL) - set("[red]\n")
        assert said.count("[red]") == said.count(one_line(HARMFUL)) == 6

    @given(st.text(st.characters(exclude_categories=())))
    @settings(deadline=None, max_examples=200)
    def test_any_text(self, text: str) -> None:
        shown = visible(text)
        assert all(character.isprintable() or character == "\n" for character in shown)
        assert shown.count("\n") == text.count("\n")
        assert "\n" not in one_line(text)
        shown.encode()

    def test_signs(self) -> None:
        assert visible("a\tb\n\r\0\x7f\x85\u2028\ufeff\U000e0041\ud800") == (
            "a⇥   b↵\n␍␀␡‹U+0085›‹U+2028›‹U+FEFF›‹U+E0041›‹U+D800›"
        )
        assert visible("é 日本 😀 ñ") == "é 日本 😀 ñ"

    def test_in_json(self, made: Made) -> None:
        shown = preview(made[1], made[0], stage="evil", rows=1)
        written = json.dumps(shown.as_json())
        assert written.isprintable()
        read = json.loads(written)
        assert read["rows"][0]["pieces"][0]["tokens"][0] == {
            "id": 2,
            "text": "<bos>",
            "special": True,
            "read": True,
            "learned": False,
        }
        assert [item["name"] for item in read["stages"]] == ["evil"]
        assert read["packed"][0]["overflow"] == "truncate_right"
        assert read["vocab_size"] == 330
        assert not any(isinstance(value, np.generic) for value in read["packed"][0].values())
