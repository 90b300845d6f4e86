"""What a model writes for prompts: each answer with how it ended. Nothing is left out.

A prompt that leaves no room for a token has an empty answer, ended for "no room". Where there is less room than an answer may
have, it is written with the room there is. Prompts of about the same length are written together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whet.models.decoder import Decoder
from whet.models.generation import DecodingSettings, before_stop, generate_all, together
from whet.progress import Task
from whet.text.tokenizer import Tokenizer

Ended = Literal["end", "stop", "length", "no room"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`ended`: by the model, at a stop text, cut at the length allowed, or never begun. `tokens`: written."""

    text: str
    ended: Ended
    tokens: int


def answers(
    decoder: Decoder,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    decoding: DecodingSettings,
    *,
    new_tokens: int,
    seed: int,
    task: Task,
) -> list[Answer]:
    """One for each prompt, in their order; at most `new_tokens` tokens each."""
    contents = tokenizer.token_contents() if decoding.stop else None
    done: dict[int, Answer] = {}
    for batch in batches([len(prompt) for prompt in prompts], decoder.context, new_tokens):
        room = min(new_tokens, decoder.context - len(prompts[batch[-1]]))
        if room < 1:
            done |= dict.fromkeys(batch, Answer("", "no room", 0))
        else:
            written = generate_all(
                decoder, [prompts[at] for at in batch], decoding, new_tokens=room, seed=seed, contents=contents
            )  # fmt: skip
            for at, one in zip(batch, written, strict=True):
                text = before_stop(tokenizer.decode(one.ids), decoding.stop)
                done[at] = Answer(text, one.ended, len(one.ids))
        task.advance(len(batch))
    return [done[at] for at in range(len(prompts))]


def batches(lengths: Sequence[int], context: int, new_tokens: int) -> list[list[int]]:
    """Places of the prompts that are written together, the longest of each last; all of a batch have the same room."""
    found: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: (lengths[at], at)):
        roomy = lengths[at] + new_tokens <= context
        size = len(found[-1]) + 1 if found else 0
        fits = size <= together(lengths[at] + new_tokens)
        if found and roomy and fits:
            found[-1].append(at)
        else:
            found.append([at])
    return found
