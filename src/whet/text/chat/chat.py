"""One tokenizer and one chat template: conversations in, ids with a mask out; prompts in, the same ids out.

A conversation is rendered once for every answer up to it and once with it (see `turns`). The whole rendering is cut
where answers begin and end, each part is encoded by itself, and the parts are joined. A prompt in use is cut at the
same places, so it is the very ids that stood before the answer in training; that other programs, which encode a
rendering in one go, get other ids is counted. Special tokens are those the template wrote and no others (`specials`).

Where a template shows earlier turns otherwise than when they were answered, a conversation becomes one example per
learned answer. What cannot be rendered, or whose answer cannot be located, is refused with one of REASONS.

Cost: two renderings an answer, in batches in a child process; each rendering is read a few times.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from whet import limits
from whet.errors import DataError
from whet.sandbox.templates import Failed, Job, TemplateProcess
from whet.text.chat.habits import given, habits_of
from whet.text.chat.parts import Part, PartEncoder
from whet.text.chat.specials import NO_SIGN, Said, Specials, without
from whet.text.chat.template import Template, choose, names
from whet.text.chat.turns import Turn, span, turn
from whet.text.chat.written import kept_tokens, written_by
from whet.text.conversation import NO_ANSWER, Conversation, Message
from whet.text.refused import Refused
from whet.text.tokenizer import Tokenizer, load

LossOn = Literal["all", "last", "marked"]

REFUSED = "refused by the chat template"
FAILS = "the chat template fails on it"
TOO_MUCH = "too much for the chat template"
NOT_FOUND = "answer not found in the chat template's rendering"
NOTHING_TO_LEARN = "no answer marked to be learned"
NOTHING_BEFORE = "nothing stands before the only answer"
REASONS = (REFUSED, FAILS, TOO_MUCH, NOT_FOUND, NOTHING_TO_LEARN, NOTHING_BEFORE, NO_ANSWER, NO_SIGN)

PER_ANSWER = "one example per answer: the chat template rewrites earlier turns"
AS_ASKED = "answers set behind their prompts: the chat template writes the two otherwise together"
OPENING = "an opening by the assistant not learned"
MARKS_UNUSED = "marks of what to learn not used"
AFTER_LAST = "messages after the last learned answer left out"
SPECIAL_TEXT = "control tokens' strings in messages kept as text"
NO_TOOLS = "the chat template leaves the tools out"
LEFT_OUT = "the chat template leaves out a {role} message"
_LEFT_OUT = tuple(LEFT_OUT.format(role=role) for role in ("system", "user", "tool"))
CHANGES = (
    PER_ANSWER, AS_ASKED, AFTER_LAST, OPENING, MARKS_UNUSED, SPECIAL_TEXT, NO_TOOLS, *_LEFT_OUT,
)  # fmt: skip

AT_ONCE_CHARACTERS = 4 * 2**20
"""Renderings of several conversations that are held at one time; of a longer one, its own."""

_KINDS = {"refused": REFUSED, "error": FAILS, "security": FAILS}


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example. `learned` says of each id whether the model learns to write it.

    `text_bytes`: UTF-8 bytes of the learned text, special tokens not counted. `differs`: encoded in one go, as other
    programs do it, the rendering has other ids. `changes` name what was done; `special_text` are the special tokens
    whose strings stand in messages.
    """

    ids: list[int]
    learned: list[bool]
    text_bytes: int
    rendered: str
    differs: bool = False
    changes: tuple[str, ...] = ()
    special_text: tuple[str, ...] = ()


class Chat:
    """A tokenizer with its chat template. `notes` are what a person should know of the choice."""

    def __init__(self, tokenizer: Tokenizer, template: Template, new_tokens: Sequence[str] = ()) -> None:
        """`new_tokens` were added by the recipe, so a user may not write them.

        Raises TemplateError if the template does not compile or cannot render a plain conversation.
        """
        self.tokenizer, self.template, self.new_tokens = tokenizer, template, tuple(new_tokens)
        self._process = TemplateProcess(template.text, _variables(tokenizer))
        written = written_by(self._process, template, tokenizer, new_tokens)
        self.specials = Specials(tokenizer, template.text, written)
        self._parts = PartEncoder(tokenizer, written.names)
        self._habits = habits_of(self._process, self.specials, template)

    @classmethod
    def of(
        cls, tokenizer: Path | Tokenizer, name: str | None = None, new_tokens: Sequence[str] | None = None
    ) -> Chat:
        """The chat of a tokenizer, or of the one in a folder, with its own template or else whet's template `name`.

        `new_tokens` are those that the fixtures in the folder name, unless they are given. Raises DataError if there
        is no template, or if whet's writes a mark that is no token.
        """
        folder = tokenizer if isinstance(tokenizer, Path) else None
        template = choose(folder, name)
        if new_tokens is None:
            new_tokens = kept_tokens(folder) if folder else ()
        chat = cls(load(tokenizer) if isinstance(tokenizer, Path) else tokenizer, template, new_tokens)
        missing = [mark for mark in template.marks if mark not in chat.specials.ids]
        if template.name and (missing or not chat.ends_answers):
            chat.close()
            raise _no_end(template, missing)
        return chat

    @property
    def notes(self) -> tuple[str, ...]:
        """About the template; the tokenizer has notes of its own."""
        return (*self.template.notes, *self._habits.notes)

    def close(self) -> None:
        """End the child process that renders; the next use would start another."""
        self._process.close()

    def __enter__(self) -> Chat:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def encode(self, conversation: Conversation, loss_on: LossOn = "all") -> list[Encoded]:
        """The examples of one conversation; mostly one. Raises Refused with one of REASONS."""
        (done,) = self.encode_batch([conversation], loss_on)
        if isinstance(done, Refused):
            raise done
        return done

    def encode_batch(
        self, conversations: Sequence[Conversation], loss_on: LossOn = "all"
    ) -> list[list[Encoded] | Refused]:
        """The examples of every conversation, or why it has none.

        `loss_on`: all answers, the last one, or those that are marked: if some are marked to be learned these, else
        those that are not marked against it. Raises TemplateError if the template is beyond use.
        """
        tasks = [self._task_or_not(conversation, loss_on) for conversation in conversations]
        return [one for some in _portions(tasks) for one in self._encoded(some)]

    def _encoded(self, tasks: Sequence[_Task | Refused]) -> list[list[Encoded] | Refused]:
        """The examples of some conversations, whose renderings are held together."""
        ready = [task for task in tasks if isinstance(task, _Task)]
        drawn = iter(self._process.render([task.job for task in ready]))
        laid = [task if isinstance(task, Refused) else self._laid_or_not(task, next(drawn)) for task in tasks]
        examples = iter(self._assembled([one for those in laid if isinstance(those, list) for one in those]))
        return [those if isinstance(those, Refused) else [next(examples) for _ in those] for those in laid]

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """What a model is given to answer: the ids that stood before such an answer in training.

        Raises DataError if the template refuses the messages.
        """
        try:
            task = self._task(messages, tools)
            texts = _texts(self._process.render([task.prompt_job()])[0])
        except Refused as why:
            raise DataError(str(why), where="chat template") from None
        layout = self._layout(task, texts[-1], self._turns(task, texts), frozenset())
        return self._assembled([layout])[0].ids

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]] = (),
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """The text the template makes of messages. Raises TemplateError."""
        said = [self._said(message) for message in messages]
        return self._process.render_one(Job(said, [(len(said), add_generation_prompt)], tools))[0]

    def stop_ids(self) -> list[int]:
        """The ids that end an answer in this template, then the tokenizer's end of text."""
        eos = self.tokenizer.special_ids.get("eos")
        return list(dict.fromkeys([*self._habits.stops, *([] if eos is None else [eos])]))

    @property
    def ends_answers(self) -> bool:
        """Whether the template ends an answer with a special token."""
        return bool(self._habits.stops)

    def _said(self, message: Message) -> dict[str, Any]:
        return given(message, self.template, self._habits.calls)

    def _task_or_not(self, conversation: Conversation, loss_on: LossOn) -> _Task | Refused:
        try:
            chosen = _chosen(conversation, loss_on)
            kept = conversation.messages[: max(chosen) + 1]
            task = self._task(kept, conversation.tools)
        except Refused as why:
            return why
        task.chosen = chosen
        if len(kept) < len(conversation.messages):
            task.changes.append(AFTER_LAST)
        if 0 in conversation.answers:
            task.changes.append(OPENING)
        if loss_on != "marked" and any(message.learn is not None for message in conversation.messages):
            task.changes.append(MARKS_UNUSED)
        return task

    def _task(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> _Task:
        """Messages ready to be rendered, special tokens' strings broken. Raises Refused."""
        values = [self._said(message) for message in messages], list(tools)
        try:
            task = _Task(*self.specials.hidden(*values))
        except RecursionError:
            raise Refused(TOO_MUCH, "nested too deeply") from None
        if task.job.size > limits.TEMPLATE_OUTPUT_CHARACTERS:
            raise Refused(TOO_MUCH, f"more than {limits.TEMPLATE_OUTPUT_CHARACTERS:,} characters")
        if task.sign:
            task.special_text = tuple(sorted(self.specials.within(*values)))
        if task.special_text:
            task.changes.append(SPECIAL_TEXT)
        if tools and not self.template.takes_tools:
            task.changes.append(NO_TOOLS)
        return task

    def _turns(self, task: _Task, texts: list[str]) -> list[Turn | None]:
        """Every answer, None for one that is not located."""
        return [
            turn(index, texts[2 * at], texts[2 * at + 1], _says(task.said[index]), self.specials.borders)
            for at, index in enumerate(task.answers)
        ]

    def _laid_or_not(self, task: _Task, drawn: list[str] | Failed) -> list[_Layout] | Refused:
        try:
            return self._laid(task, _texts(drawn))
        except Refused as why:
            return why

    def _laid(self, task: _Task, texts: list[str]) -> list[_Layout]:
        """The whole conversation as one example, or one for each learned answer. Raises Refused."""
        turns = self._turns(task, texts)
        learned = [one for one in turns if one and one.index in task.chosen]
        lost = task.chosen - {one.index for one in learned}
        if lost:
            raise Refused(NOT_FOUND, f"message {min(lost) + 1}")
        whole = learned[-1].full
        if any(one.moved for one in learned):
            task.changes.append(AS_ASKED)
        task.changes += [
            LEFT_OUT.format(role=role)
            for role in dict.fromkeys(said["role"] for said in task.said if _missing(said, whole))
        ]
        layout = self._layout(task, whole, turns, task.chosen)
        if layout.shown >= task.chosen:
            return [layout]
        task.changes.append(PER_ANSWER)
        layouts = [self._layout(task, one.full, turns, frozenset([one.index])) for one in learned]
        for one, layout in zip(learned, layouts, strict=True):
            if one.index not in layout.shown:
                raise Refused(NOT_FOUND, f"message {one.index + 1}")
        return layouts

    def _layout(
        self, task: _Task, text: str, turns: Sequence[Turn | None], learned: frozenset[int]
    ) -> _Layout:
        """A text with the borders of every answer that it shows as it was answered."""
        layout = _Layout(text, task)
        end = 0
        for one in turns:
            found = span(one, text, self.specials.borders, self._habits.ending) if one else None
            if one and found and found[0] >= end:
                layout.spans.append((*found, one.index in learned))
                layout.shown.add(one.index)
                end = found[1]
        return layout

    def _assembled(self, layouts: Sequence[_Layout]) -> list[Encoded]:
        """Encode all parts of all layouts together."""
        cut = [self._pieces(layout, layout.spans) for layout in layouts]
        whole = [self._whole(layout, pieces) for layout, pieces in zip(layouts, cut, strict=True)]
        parts = list(dict.fromkeys(piece.part for pieces in (*cut, *whole) for piece in pieces if piece.part))
        ids = dict(zip(parts, self._parts.encode(parts), strict=True))
        return [
            _encoded(layout, own, _joined(own, ids) != _joined(other, ids), ids)
            for layout, own, other in zip(layouts, cut, whole, strict=True)
        ]

    def _pieces(self, layout: _Layout, spans: Sequence[tuple[int, int, bool]]) -> list[_Piece]:
        """Special tokens and ordinary stretches in their order, cut at the spans' borders."""
        pieces: list[_Piece] = []
        for start, stop, learned in _stretches(len(layout.text), spans):
            at = start
            for mark in self.specials.pattern.finditer(layout.text, start, stop):
                pieces += self._ordinary(layout, at, mark.start(), learned, pieces)
                pieces.append(_Piece(None, self.specials.id_of(mark[0]), learned))
                at = mark.end()
            pieces += self._ordinary(layout, at, stop, learned, pieces)
        return pieces

    def _whole(self, layout: _Layout, cut: list[_Piece]) -> list[_Piece]:
        """The pieces there were without the borders of answers, to compare with."""
        if self.specials.absorb:
            return self._pieces(layout, [])
        whole: list[_Piece] = []
        for piece in cut:
            if piece.part and whole and whole[-1].part:
                text, goes_on = whole[-1].part
                whole[-1] = _Piece((text + piece.part[0], goes_on), -1, False)
            else:
                whole.append(piece)
        return whole

    def _ordinary(
        self, layout: _Layout, start: int, stop: int, learned: bool, before: list[_Piece]
    ) -> list[_Piece]:
        """A stretch without special tokens, as one piece, or none if it is empty."""
        text = without(layout.task.sign, layout.text[start:stop])
        if not text:
            return []
        after_special = bool(before) and before[-1].part is None
        goes_on = not self._parts.marks_after_specials if after_special else bool(before)
        return [_Piece((text, goes_on), -1, learned)]


@dataclass
class _Task:
    """A conversation on its way: messages and tools as the template gets them, and which answers are learned."""

    said: Said
    tools: Said
    sign: str
    chosen: frozenset[int] = frozenset()
    changes: list[str] = field(default_factory=list)
    special_text: tuple[str, ...] = ()

    @property
    def answers(self) -> list[int]:
        """Where the assistant answers: not where it opens the conversation, since nobody asks for that."""
        return [at for at, message in enumerate(self.said) if at and message["role"] == "assistant"]

    @cached_property
    def job(self) -> Job:
        """Every answer's prompt and rendering."""
        wanted = [pair for at in self.answers for pair in ((at, True), (at + 1, False))]
        return Job(self.said, wanted, self.tools)

    def prompt_job(self) -> Job:
        """The same, and then the prompt for the next answer."""
        return Job(self.said, [*self.job.wanted, (len(self.said), True)], self.tools)


@dataclass(slots=True)
class _Layout:
    """A rendering, where answers stand in it (start, stop, learned), and which messages' answers these are."""

    text: str
    task: _Task
    spans: list[tuple[int, int, bool]] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A special token (`part` is None) or an ordinary part."""

    part: Part | None
    special: int
    learned: bool


def _no_end(template: Template, missing: Sequence[str]) -> DataError:
    others = ", ".join(other for other in names() if other != template.name)
    add = f"add {json.dumps(missing)}, with a base as model.new_tokens, else as tokenizer.special_tokens; or "
    why = f"writes {' and '.join(missing)}, which are no" if missing else "ends its answers with no special"
    return DataError(
        f"the chat template {template.name} {why} tokens of this tokenizer, so a model could not learn to stop",
        where="chat template",
        fix=f"{add if missing else ''}take another template ({others})",
    )


def _portions(tasks: Sequence[_Task | Refused]) -> Iterator[list[_Task | Refused]]:
    """The tasks in their order, so many at a time that their renderings may be held together."""
    portion: list[_Task | Refused] = []
    size = 0
    for task in tasks:
        portion.append(task)
        size += task.job.work if isinstance(task, _Task) else 0
        if size >= AT_ONCE_CHARACTERS:
            yield portion
            portion, size = [], 0
    yield portion


def _variables(tokenizer: Tokenizer) -> dict[str, str]:
    """The names of special tokens that templates use; of roles that the end of text only stands in for, none."""
    roles, tokens = tokenizer.special_ids, tokenizer.special_tokens
    return {
        f"{role}_token": tokens[index]
        for role, index in roles.items()
        if index in tokens
        and role not in tokenizer.borrowed
        and not (role == "pad" and index == roles.get("eos"))
    }


def _chosen(conversation: Conversation, loss_on: LossOn) -> frozenset[int]:
    """Indices of the answers to learn. Raises Refused if there are none."""
    answers = [at for at in conversation.answers if at]
    if not answers:
        raise Refused(NOTHING_BEFORE if conversation.answers else NO_ANSWER)
    if loss_on == "last":
        return frozenset(answers[-1:])
    if loss_on == "all":
        return frozenset(answers)
    marks = {at: conversation.messages[at].learn for at in answers}
    chosen = [at for at in answers if marks[at]] or [at for at in answers if marks[at] is None]
    if not chosen:
        raise Refused(NOTHING_TO_LEARN)
    return frozenset(chosen)


def _texts(drawn: list[str] | Failed) -> list[str]:
    if isinstance(drawn, Failed):
        raise Refused(_KINDS.get(drawn.kind, TOO_MUCH), drawn.detail)
    return drawn


def _last_line(text: str | None) -> str:
    return (text or "").strip().rpartition("\n")[2].strip()


def _says(said: dict[str, Any]) -> list[str]:
    """What an answer's rendering must hold: the end of its text, and the names of the tools it calls."""
    calls = [str(call.get("function", call).get("name", "")) for call in said.get("tool_calls", ())]
    return [text for text in (_last_line(said["content"]), *calls) if text]


def _missing(said: dict[str, Any], text: str) -> bool:
    """Whether a message that is no answer does not show in a rendering."""
    line = _last_line(said["content"])
    shown = line in text or json.dumps(line, ensure_ascii=False)[1:-1] in text
    return said["role"] != "assistant" and not shown


def _stretches(size: int, spans: Sequence[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    """All of a text in stretches (start, stop, learned): the spans and what lies between."""
    stretches, at = [], 0
    for start, stop, learned in spans:
        stretches += [(at, start, False), (start, stop, learned)]
        at = stop
    return [*stretches, (at, size, False)]


def _joined(pieces: Sequence[_Piece], ids: dict[Part, list[int]]) -> list[int]:
    joined: list[int] = []
    for piece in pieces:
        if piece.part is None:
            joined.append(piece.special)
        else:
            joined += ids[piece.part]
    return joined


def _encoded(layout: _Layout, pieces: Sequence[_Piece], differs: bool, ids: dict[Part, list[int]]) -> Encoded:
    all_ids: list[int] = []
    learned: list[bool] = []
    text_bytes = 0
    for piece in pieces:
        own = [piece.special] if piece.part is None else ids[piece.part]
        all_ids += own
        learned += [piece.learned] * len(own)
        if piece.learned and piece.part:
            text_bytes += len(piece.part[0].encode("utf-8", "surrogatepass"))
    task = layout.task
    return Encoded(
        ids=all_ids,
        learned=learned,
        text_bytes=text_bytes,
        rendered=without(task.sign, layout.text),
        differs=differs or bool(task.special_text),
        changes=tuple(task.changes),
        special_text=task.special_text,
    )
