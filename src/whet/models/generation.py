"""Continuing a prompt: token ids in, token ids out, through transformers' own generation with a cache.

The decoding is one of the recipe's greedy | sample | beam, so settings that contradict one another cannot
be expressed. Sampling is seeded and leaves the global random state alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

import torch

from whet.errors import WhetError
from whet.models.decoder import Decoder

if TYPE_CHECKING:
    from transformers.generation.streamers import BaseStreamer


class DecodingSettings(Protocol):
    """What `whet.recipe.schema.Greedy`, `Sample` and `Beam` have in common."""

    kind: Any

    def model_dump(self) -> dict[str, Any]:
        """Plain values."""


def generate(
    decoder: Decoder,
    prompt: Sequence[int],
    decoding: DecodingSettings,
    *,
    new_tokens: int,
    seed: int,
    on_tokens: Callable[[list[int]], None] | None = None,
) -> list[int]:
    """The ids that follow `prompt`, at most `new_tokens`, ending at end-of-text (which is left out).

    `on_tokens` is called with each new id as it comes (not with beams). Raises WhetError if prompt and new
    tokens together exceed the model's context.
    """
    context = int(decoder.model.config.max_position_embeddings)
    if len(prompt) + new_tokens > context:
        raise WhetError(
            f"{len(prompt)} prompt tokens and {new_tokens} new ones exceed the model's context of {context}",
            where="generate",
            fix=f"ask for at most {max(0, context - len(prompt))} new tokens, or shorten the prompt",
        )
    if max(prompt) >= decoder.model.config.vocab_size:
        raise WhetError(
            f"the tokenizer gave the id {max(prompt):,}, the model has {decoder.model.config.vocab_size:,}",
            where="generate",
            fix="use the tokenizer that the model was trained with",
        )
    ids = torch.tensor([list(prompt)], device=decoder.device)
    decoder.model.eval()
    cuda = [decoder.device] if decoder.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices=cuda), decoder.autocast():
        torch.manual_seed(seed)
        output = decoder.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=_config(decoder, decoding, new_tokens),
            streamer=_streamer(on_tokens) if on_tokens and decoding.kind != "beam" else None,
        )
    new = output[0, len(prompt) :].tolist()
    end = decoder.model.config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    result: list[int] = list(takewhile(lambda index: index not in ends, new))
    if on_tokens and decoding.kind == "beam":
        on_tokens(result)
    return result


def _config(decoder: Decoder, decoding: DecodingSettings, new_tokens: int) -> Any:
    from transformers import GenerationConfig

    given = decoding.model_dump()
    kind = given.pop("kind")
    common = {
        "max_new_tokens": new_tokens,
        "use_cache": True,
        "eos_token_id": decoder.model.config.eos_token_id,
        "pad_token_id": decoder.model.config.pad_token_id,
        "bos_token_id": decoder.model.config.bos_token_id,
    }
    if kind == "beam":
        return GenerationConfig(**common, do_sample=False, num_beams=given.pop("beams"), **given)
    if kind == "sample":
        return GenerationConfig(**common, do_sample=True, **{**given, "top_k": given["top_k"] or 0})
    return GenerationConfig(**common, do_sample=False, **given)


def _streamer(on_tokens: Callable[[list[int]], None]) -> BaseStreamer:
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
