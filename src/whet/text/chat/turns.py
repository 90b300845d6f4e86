"""Where the assistant's answers stand in a rendered conversation, found with the template itself.

The model begins to speak where the rendering of what came before ends: P = render(messages before, with the prompt
for an answer). What it says is how F = render(messages up to the answer) goes on. Both must be beginnings of the text
that is looked at; a template that rewrites earlier turns (leaving out their thinking) breaks that, and then the
conversation is no single example. Nothing is searched for by marker strings, and no template is edited.

What ends an answer is the last special token that F and the whole text have in common: behind it a template may end
a text (Phi-3 writes <|endoftext|> wherever a rendering ends) or begin the next turn. White space behind that token is
the template's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer: the index of its message, P and F as above, so that F begins with P.

    `moved`: the template's own rendering began otherwise, and the answer was taken from it and set behind P.
    """

    index: int
    prompt: str
    full: str
    moved: bool = False


def turn(index: int, prompt: str, full: str, says: Sequence[str], special: re.Pattern[str]) -> Turn | None:
    """The answer that `full` has more than `prompt`; None if it cannot be located.

    `says` are texts that the answer must hold; otherwise the template leaves it out. Where `full` does not begin with
    the prompt (Mistral writes the system text into the last question only), the answer is what follows the prompt's
    last special token and the words behind it: only the template can have written that token.
    """
    if full.startswith(prompt):
        answer = full[len(prompt) :]
    else:
        marks = list(special.finditer(prompt))
        tail = prompt[marks[-1].start() :] if marks else ""
        _, found, answer = full.rpartition(tail) if tail else ("", "", "")
        if not found:
            return None
    if not all(text in answer for text in says):
        return None
    moved = not full.startswith(prompt)
    return Turn(index, prompt, prompt + answer if moved else full, moved)


def span(turn: Turn, text: str, special: re.Pattern[str], ending: str) -> tuple[int, int] | None:
    """From where to where the answer stands in `text`, its end-of-turn tokens included.

    None if `text` does not show the turn as it was answered, or ended otherwise than it was. `ending` is what the template writes
    only because a rendering ends (see `ending_of`); it counts if the answer is the end of `text`.
    """
    start = len(turn.prompt)
    if not text.startswith(turn.prompt) or not turn.full.startswith(turn.prompt):
        return None
    marks = list(special.finditer(turn.full, start))
    if text == turn.full:
        shared = len(text) - len(ending) if ending and text.endswith(ending) else len(text)
    else:
        shared = _shared(turn.full, text, marks)
    closing = _closing(turn.full, start, marks)
    own = len(turn.full) - len(ending) if ending and turn.full.endswith(ending) else len(turn.full)
    closers = [mark.end() for mark in marks if mark.start() >= closing and mark.end() <= own]
    if shared < closing or (closers and shared < closers[0]):
        return None
    within = [mark for mark in marks if mark.end() <= shared]
    if within and not turn.full[within[-1].end() : shared].strip():
        return start, within[-1].end()
    return start, start + len(turn.full[start:shared].rstrip())


def ending_of(answered: str, continued: str, start: int, special: re.Pattern[str]) -> str:
    """What a template writes only because a rendering ends there, "" if nothing.

    `answered` ends with an answer that begins at `start`, `continued` is the same conversation with one more message.
    Counts only if a special token of the answer's own is left.
    """
    marks = list(special.finditer(answered, start))
    shared = _shared(answered, continued, marks)
    within = [mark for mark in marks if mark.end() <= shared]
    closed = bool(within) and not answered[within[-1].end() : shared].strip()
    return answered[shared:] if closed and shared >= _closing(answered, start, marks) else ""


def _shared(full: str, text: str, marks: list[re.Match[str]]) -> int:
    """How many characters two texts share at their beginning, without a token that they share in part."""
    if text.startswith(full):
        return len(full)
    low, high = 0, min(len(full), len(text))
    while low < high:
        middle = (low + high + 1) // 2
        if full[:middle] == text[:middle]:
            low = middle
        else:
            high = middle - 1
    return next((mark.start() for mark in marks if mark.start() < low < mark.end()), low)


def _closing(full: str, start: int, marks: list[re.Match[str]]) -> int:
    """Where the special tokens and the white space begin with which a rendering ends."""
    at = len(full)
    for mark in reversed(marks):
        if full[mark.end() : at].strip():
            break
        at = mark.start()
    return start + len(full[start:at].rstrip())
