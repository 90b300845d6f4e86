"""The report: whole on a rich run, polite on a partial one, inert on hostile text, and fit for a phone.

Every figure in `example` is made up (a smooth curve, round numbers) and stands for nothing that was run.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.written_example import example_written

from whet.evaluate.report import render
from whet.evaluate.report.beside import beside
from whet.evaluate.report.charts import MOST_POINTS, Scale, points, smooth, thin, ticks, window
from whet.evaluate.report.fields import Estimate
from whet.evaluate.report.headline import verdict
from whet.evaluate.report.samples import MOST_CHARACTERS, passage
from whet.evaluate.report.wording import (
    count,
    difference,
    duration,
    memory,
    rate,
    round_count,
    share,
    significant,
    size,
    visible,
)

HEADINGS = [
    "Caveats",
    "Against counting",
    "What went in",
    "Training",
    "What each stage gained and forgot",
    "Floors",
    "Samples",
    "Filling in",
    "Written Solidity",
    "How to reproduce",
]
OPTIONAL = {"Caveats", "Filling in", "Written Solidity"}
"""Sections that are left out where there is nothing to say."""
PHONE_PX = 390
WRITTEN = example_written()
LONG_NAME = "src/" + "a_rather_long_folder_name/" * 6 + "module.py"
HOSTILE = (
    "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>{{ 7 * 7 }}"
    "\x00\x1b[31m\u202egpj.exe\u2066\ud800\x85\r"
)


def around(value: float, reach: float = 0.03) -> dict[str, float | None]:
    return {"value": value, "low": round(value - reach, 4), "high": round(value + reach, 4)}


def example_tally(documents: int) -> dict[str, Any]:
    dropped = [
        (
            "duplicate of another document",
            documents // 20,
            ["pkg/copy_of_a.py (same as pkg/a.py)", LONG_NAME],
        ),
        ("longer than the limit", documents // 100, ["data/table.py (2.1 MB)"]),
        ("not valid UTF-8", 1, ["vendor/latin1.py"]),
    ]
    gone = sum(number for _, number, _ in dropped)
    return {
        "documents_in": documents + gone,
        "bytes_in": documents * 5200 + gone * 9000,
        "documents_kept": documents,
        "bytes_kept": documents * 5200,
        "dropped": [
            {"reason": reason, "documents": number, "bytes": number * 9000, "examples": examples}
            for reason, number, examples in dropped
        ],
        "changed": {"newlines normalised": documents // 8, "byte order mark removed": 3},
    }


def example_prepared(name: str, documents: int) -> dict[str, Any]:
    parts = {"train": documents * 9 // 10, "validation": documents // 20, "test": documents // 20}
    splits = {part: {"documents": n, "tokens": n * 1300, "bytes": n * 5200} for part, n in parts.items()}
    return {"name": name, "sources": [f"{name}-files"], "tally": example_tally(documents), "splits": splits}


def example_training(name: str, steps: int, start: float) -> dict[str, Any]:
    def loss(step: int) -> float:
        return 2.0 + (start - 2.0) * math.exp(-4 * step / steps)

    log = [
        {
            "step": step,
            "tokens": step * 8192,
            "loss": loss(step) + 0.12 * math.sin(step * 12.9898) * math.cos(step * 78.233),
            "learning_rate": 1e-3 * min(step / 50, 0.5 + 0.5 * math.cos(math.pi * step / steps)),
            "grad_norm": 0.8 + 2 * math.exp(-step / 40) + 0.2 * math.sin(step * 7.7),
            "tokens_per_s": 20_000.0,
        }
        for step in range(1, steps + 1)
    ]
    validation = [
        {
            "step": step,
            "tokens": step * 8192,
            "loss": loss(step) + 0.05 + 0.5 * max(step / steps - 0.8, 0),
            "bits_per_byte": loss(step) * 0.36,
        }
        for step in range(0, steps + 1, steps // 10)
    ]
    return {
        "name": name,
        "seconds": steps * 0.41,
        "steps": steps,
        "tokens": steps * 8192,
        "tokens_per_s": 20_000.0,
        "peak_share": 0.5,
        "peak_memory_bytes": 2**31,
        "optimizer": "AdamW (betas 0.9, 0.95; weight decay 0.1)",
        "schedule": "cosine, 50 warm-up steps",
        "learning_rate": 1e-3,
        "batch_rows": 16,
        "sequence_length": 512,
        "best_step": steps * 8 // 10,
        "epochs": 1.5,
        "compile": "off",
        "log": log,
        "validation": validation,
        "fill_in_the_middle": {"pieces": 400, "outcomes": {"psm": 90, "spm": 100, "plain: by draw": 210}},
    }


def example_middles() -> dict[str, Any]:
    return {
        "count": 32,
        "matches": 8,
        "share": {"value": 0.25, "low": 0.1325, "high": 0.4211},
        "prefixes_cut": 3,
        "suffixes_cut": 2,
        "examples": [
            {
                "origin": f"pkg/module_{index}.py",
                "prefix": "def area(side):\n    return side",
                "expected": " * side",
                "got": " * side" if index % 2 else " ** 2",
                "suffix": "\n\n\ndef next():\n",
                "ended": index != 2,
                "exact": bool(index % 2),
            }
            for index in range(6)
        ],
    }


def example_evaluation() -> dict[str, Any]:
    bits = {
        "untrained": {"language": 3.2, "code": 3.5},
        "language": {"language": 1.8, "code": 2.4},
        "code": {"language": 1.9, "code": 1.4},
    }
    floors = {"language": [3.0, 2.3, 2.0, 1.9, 1.9], "code": [2.8, 1.9, 1.6, 1.5, 1.5]}
    return {
        "split": {"language": "validation", "code": "test"},
        "domains": ["language", "code"],
        "models": list(bits),
        "matrix": {
            "bits_per_byte": {m: {d: around(v) for d, v in row.items()} for m, row in bits.items()},
            "perplexity": {
                m: {d: around(2 ** (4 * v), 2) for d, v in row.items()} for m, row in bits.items()
            },
        },
        "floors": {
            domain: [
                {
                    "order": order,
                    "name": "unigram" if order == 1 else f"{order}-gram",
                    "bits_per_byte": around(value),
                    "perplexity": around(2 ** (4 * value), 2),
                    "difference": around(round(bits["code"][domain] - value, 4), 0.02),
                }
                for order, value in enumerate(values, 1)
            ]
            for domain, values in floors.items()
        },
        "floor_tokens": {"language": 1_000_000, "code": 1_404_000},
        "scored": {
            "language": {"documents": 50, "tokens": 65_000, "bytes": 260_000},
            "code": {"documents": 60, "tokens": 78_000, "bytes": 312_000},
        },
        "middles": {"code": example_middles()},
        "solidity": {"code": copy.deepcopy(WRITTEN)},
        "samples": [
            {
                "domain": "code",
                "origin": f"pkg/module_{index}.py",
                "prompt": "import math\n\n\ndef hypotenuse(a, b):\n",
                "reference": '    """Length of the longest side."""\n    return math.sqrt(a * a + b * b)\n',
                "outputs": [
                    {"decoding": "greedy", "text": "    return math.sqrt(a ** 2 + b ** 2)\n"},
                    {"decoding": "sample (temperature 0.8, top-p 0.95)", "text": "    return a + b\n"},
                ],
            }
            for index in range(6)
        ],
        "seconds": 41.0,
    }


def example() -> dict[str, Any]:
    """A two-stage run with everything in it."""
    return {
        "name": "synthetic-example",
        "created": "2025-03-01T12:30:00+00:00",
        "version": "0.1.0",
        "seed": 42,
        "notices": ["This is a made-up run: its numbers come from a formula."],
        "machine": {
            "processor": "Example CPU 3000",
            "cores": 8,
            "memory_bytes": 16 * 2**30,
            "device": "cpu",
            "precision": "bf16",
            "python": "3.11.9",
            "torch": "2.10.0",
            "transformers": "5.0.0",
            "platform": "Linux-6.1-x86_64",
        },
        "prepare": {
            "seconds": 12.0,
            "stages": [example_prepared("language", 1000), example_prepared("code", 1200)],
            "tokenizer": {"vocab_size": 8192, "kind": "byte-level BPE", "special_tokens": ["<|end|>"]},
            "hash": "ab" * 32,
        },
        "plan": {
            "parameters": {"total": 12_400_000, "embedding": 4_000_000, "other": 8_400_000},
            "family": "llama",
            "shape": {"d_model": 256, "layers": 8, "heads": 8, "d_ff": 704, "context": 512},
        },
        "train": {
            "peak_flops_per_s": 1.2e12,
            "stages": [example_training("language", 1000, 9.0), example_training("code", 600, 5.0)],
        },
        "evaluation": example_evaluation(),
        "recipe": "name: synthetic-example\nmodel:\n  size: tiny\n",
        "commands": ["whet run examples/synthetic.yaml"],
        "model_path": "runs/synthetic-example/stages/code/model",
        "artefacts": [
            {"path": "stages/code/model/model.safetensors", "sha256": "cd" * 32, "bytes": 24_800_000}
        ],
    }


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_a_rich_run_has_every_section_in_order() -> None:
    page = render(example())
    assert headings(page) == HEADINGS
    assert 'class="absent"' not in page


def test_the_headline_says_the_outcome_against_the_best_floor() -> None:
    page = render(example())
    assert "<strong>1.40 bits per byte</strong>; a <bdi>4-gram</bdi> model trained on the same tokens" in page
    assert "12.4\N{NO-BREAK SPACE}M" in page
    assert "13.1\N{NO-BREAK SPACE}M" in page  # tokens of both stages: 1600 steps of 8192


def test_middles_say_how_many_were_exact_and_show_the_first() -> None:
    page = render(example())
    section = page[page.index('<section id="middles">') : page.index('<section id="reproduce">')]
    assert "25\N{NO-BREAK SPACE}% <small>[13\N{NO-BREAK SPACE}%, 42\N{NO-BREAK SPACE}%]</small>" in section
    assert "48\N{NO-BREAK SPACE}%</td>" in section, "of the pieces, psm and spm together"
    assert re.findall(r'<span class="word">(.*?)</span>', section) == [
        "different",
        "exact",
        "did not end",
        "exact",
    ]
    assert '<pre class="after">\n\n\n\ndef next' in section, "the first line break of a pre is not shown"
    data = example()
    data["evaluation"]["middles"] = {}
    assert "Filling in" not in headings(render(data))


def test_floors_counted_on_other_tokens_are_not_called_the_same() -> None:
    data = example()
    data["evaluation"]["floor_tokens"]["code"] = 1_000_000
    assert "trained on 1.00\N{NO-BREAK SPACE}M tokens" in render(data)


def test_the_matrix_names_the_split_and_floors_say_why_there_are_none() -> None:
    data = example()
    assert "held-out text (test or validation split), in bits per byte" in render(data)
    data["evaluation"]["split"] = dict.fromkeys(("language", "code"), "test")
    data["evaluation"]["floors"] = {}
    page = render(data)
    assert "held-out text (test split), in bits per byte" in page
    assert "None were counted" in page
    assert "No floors yet" not in page
    data["evaluation"] = {}
    assert "No floors yet" in render(data)


def test_same_data_same_bytes_and_the_input_is_left_alone() -> None:
    data = example()
    before = copy.deepcopy(data)
    assert render(data).encode() == render(data).encode()
    assert data == before


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("prepare", "whet prepare RECIPE"),
        ("train", "whet train RECIPE"),
        ("evaluation", "whet evaluate RECIPE"),
        ("model_path", "whet train RECIPE"),
        ("commands", "were not recorded"),
        ("recipe", "was not recorded"),
        ("machine", None),
        ("plan", "no plan yet"),
        ("artefacts", None),
        ("notices", None),
    ],
)
def test_a_missing_section_is_said_in_one_line(missing: str, command: str | None) -> None:
    for data in (example() | {missing: None}, {k: v for k, v in example().items() if k != missing}):
        page = render(data)
        assert set(HEADINGS) - set(headings(page)) <= OPTIONAL
        assert command is None or command in page


def test_an_empty_run_is_a_page_too() -> None:
    assert headings(render({})) == [heading for heading in HEADINGS if heading not in OPTIONAL]


def every_path(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key in the data, and of the first and last item of every list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from every_path(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index in {0, len(value) - 1}:
            yield (*path, index)
            yield from every_path(value[index], (*path, index))


def small_example() -> dict[str, Any]:
    data = example()
    for stage in data["train"]["stages"]:
        stage["log"], stage["validation"] = stage["log"][:3], stage["validation"][:2]
    data["evaluation"]["samples"] = data["evaluation"]["samples"][:1]
    written = data["evaluation"]["solidity"]["code"]
    written["functions"], written["tables"] = written["functions"][:1], written["tables"][:2]
    for holder, name in [
        *((table, "writers") for table in written["tables"]),
        *((one, "texts") for one in written["functions"]),
    ]:
        holder[name] = {"model": holder[name]["model"]}
    return data


@pytest.mark.parametrize("instead", [None, "<b>a text</b>", [], float("nan"), -1])
def test_no_value_anywhere_breaks_the_page(instead: object) -> None:
    whole = small_example()
    for path in every_path(whole):
        data = copy.deepcopy(whole)
        holder: Any = data
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = instead
        assert "<b>" not in render(data), path


def test_a_figure_that_is_not_finite_is_reported_with_its_place() -> None:
    data = example()
    data["train"]["stages"][0]["log"][5]["loss"] = float("nan")
    page = render(data)
    assert "train.stages[0].log[5].loss" in page
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", page)


def test_unaccounted_documents_are_reported() -> None:
    data = example()
    data["prepare"]["stages"][0]["tally"]["documents_in"] += 7
    assert "7 are unaccounted for" in render(data)


def test_a_difference_of_the_wrong_sign_is_reported() -> None:
    data = example()
    row = data["evaluation"]["floors"]["code"][0]
    row["difference"]["value"] = -row["difference"]["value"]
    assert "the paired difference reads 1.400, but 1.400 minus 2.800 is −1.400" in render(data).replace(
        "+", ""
    )


def test_a_peak_share_that_was_not_measured_is_absent() -> None:
    data = example()
    data["train"]["stages"][0]["peak_share"] = None
    assert "not measured" in render(data)


def hostile(value: Any) -> Any:
    """The same data with every text, and every key that is a name, made hostile."""
    if isinstance(value, str):
        return HOSTILE + value
    if isinstance(value, list):
        return [hostile(item) for item in value]
    if isinstance(value, dict):
        names = value.keys() & {"language", "code", "untrained", "newlines normalised"}
        return {HOSTILE + key if key in names else key: hostile(item) for key, item in value.items()}
    return value


def test_hostile_text_is_inert_everywhere() -> None:
    page = render(hostile(example()))
    assert "<script" not in page
    assert "<img" not in page
    assert "{{ 7 * 7 }}" in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)
    assert "⟨U+202E⟩gpj.exe" in page
    assert "␛[31m" in page
    page.encode()
    assert len(re.findall(r"<h2>", page)) == len(HEADINGS)


def test_hostile_text_cannot_leave_an_attribute() -> None:
    tags = re.findall(r"<[a-z][^>]*>", render(hostile(example())))
    assert not [tag for tag in tags if "onerror" in tag and "&lt;img" not in tag]
    assert not re.search(
        r"<[^>]*\son[a-z]+\s*=\s*[\"']", re.sub(r'"[^"]*"', '""', render(hostile(example())))
    )


def test_a_line_break_in_a_name_shows_and_in_a_sample_breaks() -> None:
    data = small_example()
    data["evaluation"]["samples"][0] |= {"origin": "a\nb.py", "prompt": "one\ntwo"}
    page = render(data)
    assert "a␊b.py" in page
    assert "one\ntwo" in page


def test_the_page_asks_nobody_for_anything() -> None:
    page = render(example())
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", page) == ["data:,"]


def test_a_long_run_stays_small_and_says_what_is_not_drawn() -> None:
    data = example()
    data["train"]["stages"] = [example_training("language", 50_000, 9.0)]
    page = render(data)
    assert len(page.encode()) < 300_000
    assert "Of 50,000 logged steps the lowest and highest of every group are drawn." in page.replace(
        "50.0\N{NO-BREAK SPACE}k", "50,000"
    )
    assert len(render(example()).encode()) < 300_000


def test_loading_code_is_python_whatever_the_path_holds() -> None:
    path = 'runs/"x"\n/model'
    page = render(example() | {"model_path": path})
    line = f'write = pipeline("text-generation", model={json.dumps(path)})'
    assert str(escape(line)).replace("&quot;", "&#34;") in page
    compile(line, "report", "exec")


def test_thinning_keeps_every_spike() -> None:
    line = [(float(index), 1.0) for index in range(10_000)]
    line[7777] = (7777.0, 99.0)
    kept = thin(line)
    assert len(kept) <= MOST_POINTS
    assert (7777.0, 99.0) in kept
    assert kept == sorted(kept)


def test_smoothing_keeps_a_straight_line_straight_and_ends_with_a_mean() -> None:
    line = [(float(index), 2.0 * index) for index in range(200)]
    smoothed, reach = smooth(line), window(200) // 2
    assert [y for _, y in smoothed[:-reach]] == pytest.approx([y for _, y in line[:-reach]])
    assert smoothed[-1][1] == pytest.approx(sum(y for _, y in line[-reach - 1 :]) / (reach + 1))


def test_points_without_a_number_are_not_drawn() -> None:
    rows = [
        {"tokens": 1, "loss": 2.0},
        {"tokens": 2, "loss": None},
        {"loss": 1.0},
        {"tokens": 3, "loss": math.inf},
    ]
    assert points(rows, "loss") == [(1.0, 2.0)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.13, 0.48, [0.2, 0.3, 0.4]),
        (0, 3.2e-4, [0, 1e-4, 2e-4, 3e-4]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_scale_maps_its_ends_to_nothing_and_all() -> None:
    assert (Scale(2, 4).place(2), Scale(2, 4).place(4), Scale(2, 4).place(3)) == (0, 100, 50)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.3, -0.1, "ahead"), (0.1, 0.3, "behind"), (-0.1, 0.1, "level"), (None, None, "unknown")],
)
def test_a_verdict_needs_an_interval_without_zero(
    low: float | None, high: float | None, expected: str
) -> None:
    assert verdict(Estimate(0.0, low, high)) == expected


def test_a_long_text_is_cut_at_the_side_that_matters_less() -> None:
    raw = "a" + "b" * MOST_CHARACTERS + "c"
    assert passage(raw).text.startswith("ab")
    assert passage(raw, tail=True).text.endswith("bc")
    assert passage(raw).unshown == "2"
    assert passage("short").unshown == ""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (count(1234), "1,234"),
        (count(12_400_000), "12.4 M"),
        (count(999_960), "1 M"),
        (count(None), "–"),
        (round_count(2_500_000), "2.5 M"),
        (round_count(0.5), "0.5"),
        (round_count(10), "10"),
        (size(45_200_000), "45.2 MB"),
        (size(12), "12 B"),
        (memory(2**31), "2.00 GiB"),
        (duration(0.45), "0.45 s"),
        (duration(12.34), "12.3 s"),
        (duration(92), "1 min 32 s"),
        (duration(59.97), "1 min"),
        (duration(7500), "2 h 5 min"),
        (duration(3 * 86400 + 4 * 3600), "3 d 4 h"),
        (rate(3e-4), "3e-4"),
        (rate(0), "0"),
        (share(0.00001), "< 0.1 %"),
        (share(0.614), "61 %"),
        (share(0), "0 %"),
        (significant(1234.5), "1,234"),
        (significant(0.0123), "0.0123"),
        (difference(-0.01), "−0.010"),
        (difference(-0.0001), "0.000"),
        (visible("a\x00\u202e\u00ad"), "a␀⟨U+202E⟩⟨U+00AD⟩"),
        (visible("نمی\u200cدانم"), "نمی\u200cدانم"),
    ],
)
def test_numbers_and_text_read_as_a_person_writes_them(written: str, expected: str) -> None:
    assert written.replace("\N{NO-BREAK SPACE}", " ") == expected


def chromium(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Headless Chromium that talks to nobody; skips when the machine has none."""
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("no `chromium` binary on this machine (Debian: apt-get install chromium)")
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
    ]
    shown = ["--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={profile}"]
    return subprocess.run(
        [binary, "--headless", "--no-sandbox", "--no-first-run", *quiet, *shown, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(profile)},  # it leaves files in the home folder
    )


MEASURE = """<!doctype html><iframe width="{width}" height="900" srcdoc="{page}"></iframe><pre id="out"></pre>
<script>onload = () => {{
  const inner = document.querySelector("iframe").contentDocument;
  const wide = [...inner.querySelectorAll("body *")].filter(node =>
    node.getBoundingClientRect().right > {width} && !node.closest(".scroll") && node.tagName != "path");
  document.getElementById("out").textContent = "MEASURED " + JSON.stringify([
    inner.documentElement.scrollWidth, wide.map(node => node.tagName + "." + node.className)]);
}}</script>"""


@pytest.mark.browser
def test_a_browser_shows_every_section_without_complaint(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render(example()), encoding="utf-8")
    picture = tmp_path / "report.png"
    found = chromium(
        tmp_path / "profile",
        f"--screenshot={picture}",
        "--window-size=1200,3000",
        "--dump-dom",
        (tmp_path / "report.html").as_uri(),
    )
    assert headings(found.stdout) == HEADINGS
    assert "CONSOLE" not in found.stderr
    assert picture.stat().st_size > 10_000


@pytest.mark.browser
@pytest.mark.parametrize(
    "kind", [example, lambda: hostile(example()), dict], ids=["rich", "hostile", "empty"]
)
def test_nothing_sticks_out_on_a_phone(kind: Any, tmp_path: Path) -> None:
    page = escape(render(kind()))
    (tmp_path / "measure.html").write_text(MEASURE.format(width=PHONE_PX, page=page), encoding="utf-8")
    found = chromium(tmp_path / "profile", "--dump-dom", (tmp_path / "measure.html").as_uri())
    width, wide = json.loads(re.search(r"MEASURED (.*?)</pre>", found.stdout).group(1))  # type: ignore[union-attr]
    assert (width, wide) == (PHONE_PX, [])


def plain(page: str) -> str:
    """The words of a page, with ordinary blanks."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_written_solidity_says_what_is_right_and_how_near_it_is() -> None:
    """12 functions: every fourth behaves the same; of the emitter's all but every fifth."""
    page = plain(render(example()))
    assert (
        "12 records of 12 functions; 36 records are held out. What the model wrote behaves the same for 25 %"
        in page
    )
    assert "1 answers of the model were cut at the length allowed" in page
    assert re.search(
        r"model 92 % \[65 %, 99 %\] 83 % \[55 %, 95 %\] 75 % \[47 %, 91 %\] "
        r"67 % \[35 %, 88 %\] 25 % \[8.9 %, 53 %\] 3 3 3 ",
        page,
    )
    assert (
        "emitter 100 % [76 %, 100 %] 100 % [76 %, 100 %] 100 % [76 %, 100 %] 100 % [70 %, 100 %] 75 % [47 %, 91 %] 0 3 0 "
        in page
    )
    assert "floor: another true function 0.25" in page
    assert "Characters off Within ±50 Median, signed model" in page
    assert "the paper's model (arXiv 2506.19624) 0.82 78 % 45 % – – – – 68 % +5 Writer Structure" in page
    assert (
        "Writer Structure Syntax tree Control flow Calls Keywords Same but for names Not read whole model"
        in page
    )
    assert page.count("Over all functions the similarity's floor 0.25, ceiling 0.57.") == 2
    assert "82.5 % are below 0.4 and, in another plot, that 60 % are" in page
    for heading in ("Compiler", "Characters", "Through Yul", "Signature"):
        assert f"{heading} Records model untrained nearest example emitter model, else emitter" in page


def test_the_headline_says_what_was_written_and_that_something_was_measured() -> None:
    data = example()
    page = plain(render(data))
    assert (
        "Of 12 records of 12 functions held out of code the Solidity that this model writes behaves the same for 25 % ; "
        "with the emitter where it does not, for 83 %."
    ) in page
    assert "On held-out code this model needs" in page
    del data["evaluation"]["solidity"]["code"]["tables"][0]["distinct"]
    assert "Of 12 records held out of code the Solidity" in plain(render(data)), "as evaluated before"
    data["evaluation"]["floors"] = {}
    assert "not measured yet" not in plain(render(data))
    data["evaluation"]["solidity"] = {}
    assert "Measured on held-out code and language ; no counting model stands beside it." in plain(
        render(data)
    )


def test_functions_are_shown_once_and_the_best_first() -> None:
    records = example_written(30)["functions"]
    shown = beside({"functions": records})
    assert [one.why for one in shown] == ["best"] * 3 + ["worst"] * 3 + ["at random"] * 3
    assert len({one.origin for one in shown}) == 9
    for one in shown[:3]:
        assert one.sides[0].said.startswith("behaves the same")
        assert one.sides[0].figures == "similarity 1.00, edit distance 0.00"
    assert [one.sides[0].said.split(":")[0] for one in shown[3:6]] == ["does not parse"] * 3
    few = beside({"functions": records[:4]})
    assert [one.why for one in few] == ["best", "best", "best", "worst"]
    assert beside({"functions": []}) == []


def test_written_solidity_is_inert_and_long_texts_scroll() -> None:
    data = example()
    function = data["evaluation"]["solidity"]["code"]["functions"][0]
    function["texts"]["model"]["text"] = "<script>alert(1)</script>\u202e" + "x" * MOST_CHARACTERS
    page = render(data)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;⟨U+202E⟩" in page
    assert "<script" not in page
    assert "more characters are not shown" in page


def test_what_was_not_judged_or_not_measured_has_no_table() -> None:
    data = example()
    written = data["evaluation"]["solidity"]["code"]
    for table in written["tables"]:
        for figures in table["writers"].values():
            for name in ("parses", "compiles", "abi", "same", "behaves"):
                del figures[name]
    written["metrics"] = {}
    page = render(data)
    assert "Is it right?" not in page
    assert "How near is it?" not in page
    assert "Side by side" in page
    data["evaluation"]["solidity"] = {}
    assert "Written Solidity" not in render(data)
