"""Held-out prompts and how the model continues them, beside how the text really goes on."""

from __future__ import annotations

from typing import Any

import numpy as np

from whet.models.decoder import Decoder
from whet.models.generation import generate
from whet.recipe.schema import Evaluate
from whet.text.tokenizer import Tokenizer
from whet.tokenstore import TokenStore


def continuations(
    decoder: Decoder, tokenizer: Tokenizer, store: TokenStore, domain: str, settings: Evaluate, seed: int
) -> list[dict[str, Any]]:
    """Up to `settings.samples` prompts from different documents, each continued in every decoding."""
    context = int(decoder.model.config.max_position_embeddings)
    new_tokens = min(settings.new_tokens, context // 2)
    prompt_tokens = min(settings.prompt_tokens, context - new_tokens)
    origins = [about["origin"] for about in store.origins()]
    result = []
    for document, end in _places(store, tokenizer, settings.samples, prompt_tokens, new_tokens, seed):
        ids = store.document(document).tolist()
        prompt = ids[max(0, end - prompt_tokens) : end]
        outputs = [
            {
                "decoding": _name(decoding.model_dump()),
                "text": tokenizer.decode(
                    generate(decoder, prompt, decoding, new_tokens=new_tokens, seed=seed)
                ),
            }
            for decoding in settings.decoding
        ]
        reference = tokenizer.decode(ids[end : end + new_tokens])
        result.append(
            {
                "domain": domain,
                "origin": origins[document],
                "prompt": tokenizer.decode(prompt),
                "reference": reference,
                "outputs": outputs,
            }
        )
    return result


def _places(
    store: TokenStore, tokenizer: Tokenizer, count: int, prompt_tokens: int, new_tokens: int, seed: int
) -> list[tuple[int, int]]:
    """(document, end of prompt): long enough documents, shuffled; the prompt ends after a line break where there is one."""
    needed = min(prompt_tokens, 16) + min(new_tokens, 16)
    generator = np.random.default_rng([seed, 7])
    chosen = [int(d) for d in generator.permutation(len(store)) if store.lengths[d] > needed][:count]
    places = []
    for document in chosen:
        ids = store.document(document).tolist()
        low = min(prompt_tokens, len(ids) - min(new_tokens, 16))
        end = int(generator.integers(low, max(low + 1, len(ids) - new_tokens)))
        breaks = [
            at
            for at in range(end, min(end + 64, len(ids) - 1))
            if tokenizer.decode(ids[at - 1 : at]).endswith("\n")
        ]
        places.append((document, breaks[0] if breaks else end))
    return places


def _name(decoding: dict[str, Any]) -> str:
    kind = decoding.pop("kind")
    told = [f"{name} {value}" for name, value in decoding.items() if value not in (None, 1.0)]
    return f"{kind} ({', '.join(told)})" if told else str(kind)
