"""One HTML file that a person enjoys reading: `render(data)` takes a run's figures and returns the page.

Each section is one file that turns its part of the data into words and geometry (`headline`, `material`,
`training`, `results`, `samples`, `middles`, `written`, `reproduce`); `report.html` puts them on the page and `figures.html` draws
the charts. The page is complete in itself: no script, no request, light and dark, phone and paper. What a
run does not have yet is said in one line with the command that makes it.

Leaves out: reading the run's files, and any figure that is not in the data. Every text of the data is
hostile: it is escaped, and characters that hide or reorder others are spelled out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whet.evaluate.report.checks import notices
from whet.evaluate.report.headline import headline
from whet.evaluate.report.material import material
from whet.evaluate.report.middles import middles
from whet.evaluate.report.reproduce import reproduce
from whet.evaluate.report.results import floors, matrix
from whet.evaluate.report.samples import samples
from whet.evaluate.report.training import training
from whet.evaluate.report.written import written
from whet.pages import environment


def render(data: Mapping[str, Any]) -> str:
    """The report as HTML text; the same data gives the same bytes.

    `data` holds the run's figures as plain Python: `name`, `description`, `created`, `version`, `seed`, `notices`,
    `machine`, `prepare`, `plan`, `train`, `evaluation`, `recipe`, `commands`, `model_path`, `artefacts`.
    Losses are nats per token; a floor's `difference` is the final model minus the floor in bits per byte.
    Any of it may be absent or None; nothing is raised for that.
    """
    return (
        environment(__name__)
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
            written=written(data),
            reproduce=reproduce(data),
        )
    )
