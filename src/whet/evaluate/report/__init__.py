"""One HTML file that a person enjoys reading: `render(data)` takes a run's figures and returns the page.

Each section is one file that turns its part of the data into words and geometry (`headline`, `material`,
`training`, `results`, `samples`, `middles`, `reproduce`); `report.html` puts them on the page and `figures.html` draws
the charts. The page is complete in itself: no script, no request, light and dark, phone and paper. What a
run does not have yet is said in one line with the command that makes it.

Leaves out: reading the run's files, and any figure that is not in the data. Every text of the data is
hostile: it is escaped, and characters that hide or reorder others are spelled out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

from whet.evaluate.report.checks import notices
from whet.evaluate.report.headline import headline
from whet.evaluate.report.material import material
from whet.evaluate.report.middles import middles
from whet.evaluate.report.reproduce import reproduce
from whet.evaluate.report.results import floors, matrix
from whet.evaluate.report.samples import samples
from whet.evaluate.report.training import training
from whet.evaluate.report.wording import visible


def render(data: Mapping[str, Any]) -> str:
    """The report as HTML text; the same data gives the same bytes.

    `data` holds the run's figures as plain Python: `name`, `description`, `created`, `version`, `seed`, `notices`,
    `machine`, `prepare`, `plan`, `train`, `evaluation`, `recipe`, `commands`, `model_path`, `artefacts`.
    Losses are nats per token; a floor's `difference` is the final model minus the floor in bits per byte.
    Any of it may be absent or None; nothing is raised for that.
    """
    return (
        _environment()
        .get_template("report.html")
        .render(
            version=data.get("version"),
            notices=notices(data),
            headline=headline(data),
            material=material(data),
            training=training(data),
            matrix=matrix(data),
            floors=floors(data),
            samples=samples(data),
            middles=middles(data),
            reproduce=reproduce(data),
        )
    )


@cache
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=PackageLoader(__name__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_in_line,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["block"] = _in_block
    return environment


def _in_line(value: object) -> object:
    """What the template engine does to every value it prints: here even a line break is spelled out."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _in_block(value: str) -> Markup:
    """For text in a `<pre>`, where line breaks and tabs mean what they say."""
    return escape(visible(value, keep="\n\t"))
