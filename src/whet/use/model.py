"""A model in use: what it can be asked, and what it wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import numpy as np

from whet.errors import DataError, WhetError
from whet.fill_in_the_middle import prompt_ids
from whet.models.decoder import Decoder
from whet.models.generation import DecodingSettings, Written, before_stop, generate_all, together
from whet.recipe.decoding import PRESETS
from whet.text.chat import Chat
from whet.text.conversation import ROLES, Message
from whet.text.tokenizer import Tokenizer
from whet.use.stream import OnText, Stream

_ONE_AT_A_TIME = RLock()
"""Threads ask in turn: a seed sets torch's random state, of which a process has one."""
GREEDY: DecodingSettings = PRESETS["greedy"]
NEW_TOKENS = 128
"""At most so many are written where nobody says."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote after a prompt, or between it and a suffix.

    `ended`: at an end token, at a stop text (left out), or at the length asked for. `chat`: asked as a user's message.
    `seconds` are those of the whole call, of all prompts that were continued together.
    """

    prompt: str
    text: str
    ended: Literal["end", "stop", "length"]
    prompt_tokens: int
    new_tokens: int
    seconds: float
    decoding: DecodingSettings
    seed: int
    suffix: str | None = None
    chat: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "prompt": self.prompt,
            "suffix": self.suffix,
            "chat": self.chat,
            "text": self.text,
            "ended": self.ended,
            "prompt_tokens": self.prompt_tokens,
            "new_tokens": self.new_tokens,
            "seconds": round(self.seconds, 3),
            "tokens_per_s": round(self.new_tokens / max(self.seconds, 1e-9), 1),
            "decoding": self.decoding.model_dump(),
            "seed": self.seed,
        }


@dataclass(slots=True, eq=False)
class OpenModel:
    """A model in use; a context manager, since a chat template runs in a process of its own.

    Every way to ask takes a decoding (default: greedy), how many tokens are written at most, a seed, and raises
    WhetError if prompt and new tokens exceed the context, or if what is asked is no text. Threads are served in turn.
    """

    decoder: Decoder = field(repr=False)
    tokenizer: Tokenizer = field(repr=False)
    chat: Chat | None = field(repr=False)
    folder: Path
    _contents: list[bytes] = field(default_factory=list, repr=False)

    def __enter__(self) -> OpenModel:
        return self

    def __exit__(self, *about: object) -> None:
        if self.chat:
            self.chat.close()

    def generate(
        self,
        prompt: str,
        decoding: DecodingSettings = GREEDY,
        *,
        suffix: str | None = None,
        new_tokens: int = NEW_TOKENS,
        seed: int = 42,
        on_text: OnText | None = None,
        echo: bool = False,
    ) -> Generated:
        """Continue a text; with a `suffix`, write what stands between both.

        `on_text` receives what is written piece by piece; with `echo` also the prompt before it and the suffix after.
        Raises DataError if the tokenizer cannot mark a middle.
        """
        _require_text(prompt, suffix or "")
        if suffix is None:
            ids = self.tokenizer.encode_prompt(prompt)
        else:
            ids = prompt_ids(self.tokenizer, prompt, suffix, str(self.folder))
        began = time.perf_counter()
        around = (prompt, suffix or "") if echo else ("", "")
        written, text = self.write(
            ids, decoding, new_tokens=new_tokens, seed=seed, on_text=on_text, around=around
        )
        return _generated(prompt, ids, written, text, decoding, seed, began, suffix=suffix)

    def generate_all(
        self,
        prompts: Sequence[str],
        decoding: DecodingSettings = GREEDY,
        *,
        new_tokens: int = NEW_TOKENS,
        seed: int = 42,
        batch_size: int = 8,
    ) -> list[Generated]:
        """Continue several texts, `batch_size` of them together. What is sampled for one depends on the others."""
        if isinstance(prompts, str):
            raise WhetError(
                "one string is not several prompts", where="prompts", fix="give a list, or use generate"
            )
        if batch_size < 1:
            raise WhetError(f"must be at least 1, not {batch_size}", where="batch_size")
        _require_text(*prompts)
        began = time.perf_counter()
        found: list[tuple[tuple[str, list[int]], Written]] = []
        waiting = iter([(prompt, self.tokenizer.encode_prompt(prompt)) for prompt in prompts])
        while batch := list(islice(waiting, batch_size)):
            settings: Any = {"new_tokens": new_tokens, "seed": seed, "contents": self._bytes(decoding)}
            written = self._write([ids for _, ids in batch], decoding, **settings)
            found += zip(batch, written, strict=True)
        return [
            _generated(prompt, ids, one, self._text(one, decoding), decoding, seed, began)
            for (prompt, ids), one in found
        ]

    def answer(
        self,
        messages: str | Sequence[Message],
        decoding: DecodingSettings = GREEDY,
        *,
        system: str = "",
        tools: Sequence[dict[str, Any]] = (),
        new_tokens: int = NEW_TOKENS,
        seed: int = 42,
        on_text: OnText | None = None,
    ) -> Generated:
        """Answer a user's message, or the last of several, after `system` if there is one.

        `on_text` receives the answer piece by piece. Raises WhetError if the model was not opened as a chat, DataError
        if its template refuses the messages.
        """
        given = [Message("user", messages)] if isinstance(messages, str) else list(messages)
        ids = self.asked([*([Message("system", system)] if system else []), *given], tools)
        began = time.perf_counter()
        written, text = self.write(ids, decoding, new_tokens=new_tokens, seed=seed, on_text=on_text)
        said = given[-1].content if given else ""
        return _generated(said, ids, written, text, decoding, seed, began, chat=True)

    def asked(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> list[int]:
        """The ids before the answer to these messages, as they stood before such an answer in training."""
        if self.chat is None:
            raise WhetError(
                "was not tuned on conversations by whet, and not opened as a chat",
                where=str(self.folder),
                fix="open it with chat=True if its tokenizer has a chat template",
            )
        if not messages:
            raise WhetError("nothing is asked", where="messages", fix="give at least one message")
        for message in messages:
            _require_message(message)
        with _ONE_AT_A_TIME:
            return self.chat.prompt_ids(messages, tools)

    def write(
        self,
        ids: Sequence[int],
        decoding: DecodingSettings,
        *,
        new_tokens: int,
        seed: int,
        on_text: OnText | None = None,
        around: tuple[str, str] = ("", ""),
    ) -> tuple[Written, str]:
        """What follows these ids, and as text up to a stop text. Raises WhetError as `generate_all` does."""
        stream = Stream(self.tokenizer, on_text, decoding.stop, around) if on_text else None
        (written,) = self._write(
            [ids],
            decoding,
            new_tokens=new_tokens,
            seed=seed,
            contents=self._bytes(decoding),
            on_tokens=stream.put if stream else None,
        )
        if stream:
            stream.end()
        return written, self._text(written, decoding)

    def write_several(
        self, ids: Sequence[int], decoding: DecodingSettings, count: int, *, new_tokens: int, seed: int
    ) -> Iterator[tuple[Written, str]]:
        """So many texts that follow these ids, drawn a few together, as they are asked for; `write` says the rest.

        The first few are drawn with the seed, the next ones with others that follow from it.
        """
        most = together(len(ids) + new_tokens)
        for number, done in enumerate(range(0, count, most)):
            settings: Any = {"new_tokens": new_tokens, "contents": self._bytes(decoding)}
            several = [ids] * min(most, count - done)
            for one in self._write(several, decoding, seed=_following(seed, number), **settings):
                yield one, self._text(one, decoding)

    def _write(
        self,
        prompts: list[Sequence[int]],
        decoding: DecodingSettings,
        *,
        new_tokens: int,
        seed: int,
        **more: Any,
    ) -> list[Written]:
        if new_tokens < 1:
            raise WhetError(f"must be at least 1, not {new_tokens}", where="new_tokens")
        if not -(2**63) <= seed < 2**64:
            raise WhetError(f"needs more than 64 bits: {seed}", where="seed")
        with _ONE_AT_A_TIME:
            return generate_all(self.decoder, prompts, decoding, new_tokens=new_tokens, seed=seed, **more)

    def _text(self, written: Written, decoding: DecodingSettings) -> str:
        return before_stop(self.tokenizer.decode(written.ids), decoding.stop)

    def _bytes(self, decoding: DecodingSettings) -> list[bytes] | None:
        """What every id stands for, where stop texts are looked for."""
        if decoding.stop and not self._contents:
            self._contents = self.tokenizer.token_contents()
        return self._contents if decoding.stop else None


def _following(seed: int, number: int) -> int:
    """The seed itself, then others."""
    return int(np.random.PCG64([seed % 2**64, number]).random_raw()) if number else seed


def _require_text(*texts: str) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise WhetError(f"a prompt is text, not {type(text).__name__}", where="prompt")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"not valid Unicode: {error}", where="prompt") from error


def _require_message(message: Message) -> None:
    if not isinstance(message, Message):
        example = 'whet.Message("user", "How?")'
        raise WhetError(f"a message is no {type(message).__name__}", where="messages", fix=f"write {example}")
    if message.role not in ROLES.values():
        known = ", ".join(dict.fromkeys(ROLES.values()))
        raise WhetError(f"there is no role {message.role!r}", where="messages", fix=f"there are: {known}")
    _require_text(message.content)


def _generated(
    prompt: str,
    ids: Sequence[int],
    written: Written,
    text: str,
    decoding: DecodingSettings,
    seed: int,
    began: float,
    *,
    suffix: str | None = None,
    chat: bool = False,
) -> Generated:
    seconds = time.perf_counter() - began
    return Generated(
        prompt, text, written.ended, len(ids), len(written.ids), seconds, decoding, seed, suffix, chat
    )
