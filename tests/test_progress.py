"""What a user sees: figures in words, notices once, JSON lines that every reader takes."""

from __future__ import annotations

import io
import json

import pytest

from whet.progress import (
    JsonReporter,
    PlainReporter,
    Reporter,
    TerminalReporter,
    amount,
    duration,
    reporter_for,
    shown_on,
    working,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (4.24, "4.2 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.6, "1 h 00 min"),
        (3720, "1 h 02 min"),
        (7199, "2 h 00 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "unit", "words"),
    [
        (0, "", "0"),
        (812, "", "812"),
        (812, "tokens", "812 tokens"),
        (999.4, "", "999"),
        (999.6, "", "1 k"),
        (3100, "", "3.1 k"),
        (999_999, "B", "1 MB"),
        (12_400_000, "", "12.4 M"),
        (2e9, "B", "2 GB"),
        (-5e12, "", "-5 T"),
    ],
)
def test_amounts(number: float, unit: str, words: str) -> None:
    assert amount(number, unit) == words


def test_a_notice_is_kept_and_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    for text in ("first", "second", "first"):
        reporter.notice(text)
    assert reporter.notices == ["first", "second"]
    assert capsys.readouterr().err == "note: first\nnote: second\n"


def test_json_lines_are_ascii_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = JsonReporter()
    reporter.say("new\nline \udc80 é")
    reporter.notice("mind this")
    reporter.event("step", loss=1.5)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isascii() for line in lines)
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["message", "notice", "step"]
    assert events[0]["text"] == "new\nline \udc80 é"
    assert events[2]["loss"] == 1.5


def test_plain_progress_shows_figures_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("whet.progress.time.monotonic", lambda: now[0])
    with PlainReporter().task("train", 100, initial=20) as task:
        now[0] += 5
        task.advance(10)
        now[0] += 6
        task.advance(10, loss="3.21")
        now[0] += 1
        task.advance(60)
    assert capsys.readouterr().err.splitlines() == ["train 40/100  loss 3.21  left 33.0 s", "train 100/100"]


def test_what_a_deep_step_is_at_shows_on_the_task_that_asked_for_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("whet.progress.time.monotonic", lambda: now[0])

    def deep(at: int) -> None:
        now[0] += 11
        working(compiling=f"solmate {at}/2")

    deep(0)
    with PlainReporter().task("read code") as task:
        with shown_on(task):
            deep(1)
            task.advance(3)
            deep(2)
        deep(3)
    assert capsys.readouterr().err.splitlines() == [
        "read code  compiling solmate 1/2",
        "read code 3  compiling solmate 2/2",
    ]


def test_terminal_progress_takes_markup_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    reporter = TerminalReporter()
    reporter.console = Console(record=True, width=100, force_terminal=True, file=io.StringIO())
    reporter.say("[red]said[/red]")
    reporter.notice("[bold]noted")
    with reporter.task("read [code]", 2) as task:
        task.advance(2, loss="[x]")
    shown = reporter.console.export_text()
    assert "[red]said[/red]" in shown
    assert "note: [bold]noted" in shown
    assert "read [code]" in shown
    assert "loss [x]" in shown


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("terminal", PlainReporter), ("plain", PlainReporter), ("quiet", Reporter), ("json", JsonReporter)],
)
def test_modes_where_there_is_no_terminal(mode: str, kind: type[Reporter]) -> None:
    assert type(reporter_for(mode)) is kind  # type: ignore[arg-type]
