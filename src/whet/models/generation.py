"""Continuing prompts: token ids in, token ids out, through transformers' own generation with a cache.

The decoding is one of the recipe's greedy | sample | beam, so settings that contradict one another cannot
be expressed. Sampling is seeded and leaves the global random state alone. Prompts of several lengths are
continued together, padded on the left and masked, and each as it would be alone; only what is drawn for one depends on
its neighbours' number.

A text ends at one of the model's end tokens (`Decoder.stop_ids`), at a stop text, or at the length asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from whet.errors import WhetError
from whet.models.decoder import Decoder

if TYPE_CHECKING:
    from transformers import LogitsProcessor, StoppingCriteria
    from transformers.generation.streamers import BaseStreamer

OnTokens = Callable[[list[int]], None]

TOGETHER = 8
"""Prompts that are continued at one time, where a caller bounds that by this."""
POSITIONS = 32_768
"""Positions of all these at most; a longer prompt is continued alone."""


class DecodingSettings(Protocol):
    """What `whet.recipe.decoding.Greedy`, `Sample` and `Beam` have in common."""

    kind: Any

    @property
    def stop(self) -> list[str]:
        """Texts that end what is written."""

    def model_dump(self) -> dict[str, Any]:
        """Plain values."""


@dataclass(frozen=True, slots=True)
class Written:
    """What follows one prompt. `ids` are without the token that ends it; a stop text may stand at their end.

    `ended`: at an end token, at a stop text, or at the length asked for.
    """

    ids: list[int]
    ended: Literal["end", "stop", "length"]


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    decoding: DecodingSettings,
    *,
    new_tokens: int,
    seed: int,
    contents: Sequence[bytes] | None = None,
    on_tokens: OnTokens | None = None,
) -> list[int]:
    """The ids that follow `prompt`, at most `new_tokens`, ending at an end token (which is left out) or a stop text.

    `on_tokens` is called with each new id as it comes (not with beams). Raises WhetError as `generate_all` does.
    """
    (written,) = generate_all(
        decoder, [prompt], decoding, new_tokens=new_tokens, seed=seed, contents=contents, on_tokens=on_tokens
    )
    return written.ids


def generate_all(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    decoding: DecodingSettings,
    *,
    new_tokens: int,
    seed: int,
    contents: Sequence[bytes] | None = None,
    on_tokens: OnTokens | None = None,
) -> list[Written]:
    """What follows each prompt. `contents` (bytes of every id) is needed for stop texts, `on_tokens` for one prompt.

    Raises WhetError if a prompt is empty or of another tokenizer, or if it and the new tokens exceed the context.
    """
    for prompt in prompts:
        _require_fits(decoder, prompt, new_tokens)
    longest = max(map(len, prompts))
    pad = decoder.stop_ids[0] if decoder.stop_ids else 0
    padding = [longest - len(prompt) for prompt in prompts]
    ids = torch.tensor([[pad] * more + list(prompt) for more, prompt in zip(padding, prompts, strict=True)])
    mask = torch.tensor([[0] * more + [1] * (longest - more) for more in padding])
    stops = _StopTexts(decoding.stop, contents, longest, decoding.kind) if decoding.stop else None
    streamed = on_tokens is not None and decoding.kind != "beam"
    decoder.model.eval()
    cuda = [decoder.device] if decoder.device.type == "cuda" else []
    padded = decoder.padded_attention() if len(prompts) > 1 else nullcontext()
    with torch.no_grad(), torch.random.fork_rng(devices=cuda), decoder.autocast(), padded:
        torch.manual_seed(seed)
        output = decoder.model.generate(
            ids.to(decoder.device),
            attention_mask=mask.to(decoder.device),
            generation_config=_config(decoder, decoding, new_tokens, pad),
            logits_processor=_against_repetition(decoding, padding),
            streamer=_streamer(on_tokens) if on_tokens is not None and streamed else None,
            stopping_criteria=[stops.criteria()] if stops else None,
        )
    written = [_written(row, decoder, new_tokens, stops) for row in output[:, longest:].tolist()]
    if on_tokens is not None and not streamed:
        on_tokens(written[0].ids)
    return written


def together(positions: int) -> int:
    """How many prompts are continued at one time that have so many positions each, what is written included."""
    return max(1, min(TOGETHER, POSITIONS // positions))


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop text in it."""
    return text[: min((at for one in stop if (at := text.find(one)) >= 0), default=len(text))]


def _require_fits(decoder: Decoder, prompt: Sequence[int], new_tokens: int) -> None:
    context, vocab_size = decoder.context, int(decoder.model.config.vocab_size)
    if not prompt:
        raise WhetError("an empty prompt, and the model has no token to begin with", where="generate")
    if len(prompt) + new_tokens > context:
        raise WhetError(
            f"{len(prompt)} prompt tokens and {new_tokens} new ones exceed the model's context of {context}",
            where="generate",
            fix=f"ask for at most {max(0, context - len(prompt))} new tokens, or shorten the prompt",
        )
    if max(prompt) >= vocab_size:
        raise WhetError(
            f"the tokenizer gave the id {max(prompt):,}, the model has {vocab_size:,}",
            where="generate",
            fix="use the tokenizer that the model was trained with",
        )


def _written(row: list[int], decoder: Decoder, new_tokens: int, stops: _StopTexts | None) -> Written:
    """One row of the output without its end and what pads it."""
    ids = list(takewhile(lambda index: index not in decoder.stop_ids, row))
    if stops is not None:
        end = stops.end(ids)
        if end is not None:
            return Written(ids[:end], "stop")
    return Written(ids, "end" if len(ids) < len(row) else "length")


def _config(decoder: Decoder, decoding: DecodingSettings, new_tokens: int, pad: int) -> Any:
    from transformers import GenerationConfig

    given = decoding.model_dump()
    kind = given.pop("kind")
    for elsewhere in ("stop", "no_repeat_ngram", "repetition_penalty"):
        given.pop(elsewhere)
    common = {
        "max_new_tokens": new_tokens,
        "min_new_tokens": min(given.pop("min_new_tokens"), new_tokens) or None,
        "no_repeat_ngram_size": 0,  # `_against_repetition` sees to both; left out, a model's own might come in
        "repetition_penalty": 1.0,
        "use_cache": True,
        "eos_token_id": list(decoder.stop_ids) or None,
        "pad_token_id": pad,
        "bos_token_id": decoder.model.config.bos_token_id,
    }
    if kind == "beam":
        return GenerationConfig(**common, do_sample=False, num_beams=given.pop("beams"), **given)
    if kind == "sample":
        return GenerationConfig(**common, do_sample=True, **{**given, "top_k": given["top_k"] or 0})
    return GenerationConfig(**common, do_sample=False, **given)


def _against_repetition(decoding: DecodingSettings, padding: list[int]) -> list[LogitsProcessor]:
    """What makes tokens that were there before less likely, or impossible; `padding` is how many pad each prompt."""
    from transformers import NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

    given = decoding.model_dump()
    found: list[Any] = []
    if given["repetition_penalty"] != 1:
        found.append(RepetitionPenaltyLogitsProcessor(given["repetition_penalty"]))
    if given["no_repeat_ngram"]:
        found.append(NoRepeatNGramLogitsProcessor(given["no_repeat_ngram"]))
    return [_unpadded(processor, padding) for processor in found]


def _unpadded(processor: LogitsProcessor, padding: list[int]) -> LogitsProcessor:
    """The processor row by row without what pads it, which it would take for a part of the text."""
    from transformers import LogitsProcessor

    class Unpadded(LogitsProcessor):  # type: ignore[misc]
        """Rows of one prompt (with beams there are several) stand side by side."""

        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            each = len(input_ids) // len(padding)
            rows = [
                processor(input_ids[row : row + 1, padding[row // each] :], scores[row : row + 1])
                for row in range(len(input_ids))
            ]
            return torch.cat(rows)

    return Unpadded()


class _StopTexts:
    """Looks for texts in what is written, as bytes, so that a character in several tokens is no obstacle."""

    def __init__(self, texts: list[str], contents: Sequence[bytes] | None, begin: int, kind: str) -> None:
        if contents is None:
            raise WhetError("stop texts need the tokenizer's bytes", where="generate")
        self.texts = [text.encode() for text in texts]
        self.contents, self.begin, self.kind = contents, begin, kind

    def end(self, ids: Sequence[int]) -> int | None:
        """How many of these ids hold the first stop text and all before it; None if there is none."""
        whole = b"".join(self._bytes(index) for index in ids)
        found = [(at, at + len(text)) for text in self.texts if (at := whole.find(text)) >= 0]
        if not found:
            return None
        _, until = min(found)
        size = 0
        for count, index in enumerate(ids, 1):
            size += len(self._bytes(index))
            if size >= until:
                return count
        return len(ids)

    def _bytes(self, index: int) -> bytes:
        return self.contents[index] if index < len(self.contents) else b""

    def _ends(self, ids: Sequence[int]) -> bool:
        """Whether one stands in the newest tokens: each holds at least a byte, or is special."""
        tail: list[bytes] = []
        longest = max(map(len, self.texts))
        for index in reversed(ids):
            if sum(map(len, tail[1:])) >= longest:
                break
            tail.insert(0, self._bytes(index))
        return any(text in b"".join(tail) for text in self.texts)

    def criteria(self) -> StoppingCriteria:
        """For transformers: which rows are done."""
        from transformers import StoppingCriteria

        ends, begin = self._ends, self.begin

        class Criteria(StoppingCriteria):  # type: ignore[misc]
            """Asks after every token."""

            def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
                done = [ends(row[begin:]) for row in input_ids.tolist()]
                return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

        return Criteria()


def _streamer(on_tokens: OnTokens) -> BaseStreamer:
    from transformers.generation.streamers import BaseStreamer

    class Streamer(BaseStreamer):  # type: ignore[misc]
        """Passes on what comes after the prompt."""

        def __init__(self) -> None:
            self.prompt_seen = False

        def put(self, value: torch.Tensor) -> None:
            if self.prompt_seen:
                on_tokens(value.flatten().tolist())
            self.prompt_seen = True

        def end(self) -> None:
            pass

    return Streamer()
