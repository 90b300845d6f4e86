"""Which added tokens a template writes although the tokenizer does not call them special.

DeepSeek's `<｜User｜>`, Qwen's `<think>` and every one of `model.new_tokens` are found in any text, so a user who writes
such a name would write the token. Those that the template's text names or that it writes in a plain conversation, and
the recipe's new ones, are for the template and the assistant alone. Of these, the ones that stand in a plain history
mark turns, and not even the assistant may write them; but what the template looks for in an answer, such as the end of
a thought, is left to it. White space and single characters are nobody's mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from whet import untrusted
from whet.errors import DataError
from whet.sandbox.templates import Failed, Job, TemplateProcess
from whet.text.chat.template import Template
from whet.text.tokenizer import Tokenizer
from whet.text.tokenizer_bounds import data_errors

FILE = "chat_fixtures.json"
"""Beside a model, what its conversations were written with (`fixtures`)."""

_TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "Bye."},
]
_HISTORIES = (Job(_TALK, [(4, False)]), Job(_TALK[1:], [(3, False)]), Job(_TALK[1:], [(1, True)]))
"""What shows how turns are marked; the first that the template does not refuse counts."""

_OPENED = re.compile(r"""(\w\(\s*)?(['"])""")
_IN = re.compile(r"\s*(?:not\s+)?in\b")


@dataclass(frozen=True, slots=True)
class Written:
    """Names of added tokens that are not special. `turns`, some of `names`: only the template writes them."""

    names: frozenset[str] = frozenset()
    turns: frozenset[str] = frozenset()


def written_by(
    process: TemplateProcess, template: Template, tokenizer: Tokenizer, new_tokens: Iterable[str] = ()
) -> Written:
    """Ask the template. Raises TemplateError if it does not compile."""
    added = [
        str(token.content)
        for token in tokenizer.backend.get_added_tokens_decoder().values()
        if not token.special
    ]
    marks = [name for name in added if len(name.strip()) > 1]
    if not marks:
        return Written()
    history = next((text for job in _HISTORIES if (text := _rendered(process, job))), "")
    read, new = "\n".join(looked_for(template.text)), set(new_tokens)
    turns = {name for name in marks if name in history and name not in read and f"</{name[1:]}" not in read}
    named = {name for name in marks if name in template.text or name in history or name in new}
    return Written(frozenset(named), frozenset(turns))


def _rendered(process: TemplateProcess, job: Job) -> str:
    (done,) = process.render([job])
    return "" if isinstance(done, Failed) else done[0]


def looked_for(template: str) -> Iterator[str]:
    """What a template reads: `'</think>' in content`, `content.split('</think>')`. The work grows with its length."""
    for opened in _OPENED.finditer(template):
        stop = template.find(opened[2], opened.end())
        text = template[opened.end() : stop] if stop >= 0 else "\n"
        if "\n" not in text and (opened[1] or _IN.match(template, stop + 1)):
            yield text


def kept_tokens(folder: Path) -> list[str]:
    """The recipe's new tokens as a folder's fixtures name them, none if it has no fixtures. Raises DataError."""
    if not (folder / FILE).is_file():
        return []
    with data_errors(str(folder / FILE)):
        found = untrusted.settings_inside(folder, FILE).get("new_tokens", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise DataError("new_tokens are no names", where=str(folder / FILE))
    return found
