"""What a person should know of a data set once it is encoded, and the traps that give no error.

A begin-of-text token twice, answers that never end, examples that teach nothing, answers beyond the sequence's end,
ids that other programs would not make: counted over all examples, said as notices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whet.text.chat.chat import Chat, Encoded


@dataclass(slots=True)
class Findings:
    """Counts over examples: `add` each, then ask for `notices`. `sequence_length` as the stage has it, if any."""

    chat: Chat
    sequence_length: int | None = None
    examples: int = 0
    tokens: int = 0
    learned_tokens: int = 0
    answers: int = 0
    unended: int = 0
    double_bos: int = 0
    nothing_learned: int = 0
    answers_cut: int = 0
    differing: int = 0
    stops: Counter[int] = field(default_factory=Counter)
    special_text: Counter[str] = field(default_factory=Counter)

    def add(self, example: Encoded) -> None:
        """Count one example."""
        self.examples += 1
        self.tokens += len(example.ids)
        self.learned_tokens += sum(example.learned)
        self.differing += example.differs
        self.special_text.update(example.special_text)
        bos = self.chat.tokenizer.special_ids.get("bos")
        self.double_bos += bos is not None and example.ids[:2] == [bos, bos]
        ends = list(_ends(example.learned))
        self.nothing_learned += not ends
        self.answers += len(ends)
        for end in ends:
            last = example.ids[end]
            if last in self.chat.specials.ends:
                self.stops[last] += 1
            else:
                self.unended += 1
        if self.sequence_length is not None:
            self.answers_cut += any(end > self.sequence_length for end in ends)

    def as_dict(self) -> dict[str, int | dict[str, int]]:
        """The counts by name, for a record."""
        names = self.chat.specials.names
        return {
            "examples": self.examples,
            "tokens": self.tokens,
            "learned_tokens": self.learned_tokens,
            "answers": self.answers,
            "answers_without_end": self.unended,
            "double_bos": self.double_bos,
            "nothing_learned": self.nothing_learned,
            "answers_cut": self.answers_cut,
            "other_ids_in_one_go": self.differing,
            "ended_by": {names[index]: count for index, count in self.stops.most_common()},
            "special_text": dict(self.special_text.most_common()),
        }

    def notices(self) -> list[str]:
        """One sentence for each thing found."""
        return [*self._about_ends(), *self._about_examples(), *self._about_others()]

    def _about_ends(self) -> Iterator[str]:
        names, roles = self.chat.specials.names, self.chat.tokenizer.special_ids
        if self.unended:
            yield (
                f"{self.unended:,} of {self.answers:,} answers end with no special token: "
                "a model cannot learn from them to stop"
            )
        eos = roles.get("eos")
        if self.stops and eos not in self.stops:
            ends = ", ".join(names[index] for index, _ in self.stops.most_common(3))
            yield f"answers end with {ends}, never with {names.get(eos or 0, '?')}: generation must stop at the former"
        if eos is not None and roles.get("pad") == eos:
            yield "the pad token is the end-of-text token; what only fills a row is never learned, ends are"

    def _about_examples(self) -> Iterator[str]:
        if self.double_bos:
            yield f"{self.double_bos:,} of {self.examples:,} examples begin with the begin-of-text token twice"
        if self.nothing_learned:
            yield f"in {self.nothing_learned:,} of {self.examples:,} examples nothing is learned"
        if self.answers_cut:
            yield (
                f"in {self.answers_cut:,} of {self.examples:,} examples an answer ends behind the "
                f"{self.sequence_length:,} tokens of a sequence"
            )

    def _about_others(self) -> Iterator[str]:
        if self.special_text:
            shown = ", ".join(f"{name} ({count:,})" for name, count in self.special_text.most_common(5))
            yield f"messages hold strings of control tokens, kept as text; other programs may read them as control: {shown}"
        if self.differing:
            yield (
                f"{self.differing:,} of {self.examples:,} examples have other ids in programs that encode a rendered "
                "conversation in one go"
            )


def _ends(learned: list[bool]) -> Iterator[int]:
    """The index of the last id of every learned stretch."""
    for at, (here, after) in enumerate(pairwise([*learned, False])):
        if here and not after:
            yield at
