"""Held-out prompts and how the model continues them, beside how the text really goes on.

Of a text the prompt is a stretch of it; of a conversation, all that comes before its last answer.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from whet.models.decoder import Decoder
from whet.models.generation import before_stop, generate
from whet.recipe.decoding import AnyDecoding
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
    stops = any(decoding.stop for decoding in settings.decoding)
    contents = tokenizer.token_contents() if stops else None
    result = []
    if store.learned is not None:
        places = _before_answers(store, settings.samples, context - new_tokens, seed)
    else:
        places = _places(store, tokenizer, settings.samples, prompt_tokens, new_tokens, seed)
    for document, begin, end in places:
        ids = store.document(document).tolist()
        prompt = ids[begin:end]
        outputs = [
            {
                "decoding": _name(decoding),
                "text": before_stop(
                    tokenizer.decode(
                        generate(
                            decoder, prompt, decoding, new_tokens=new_tokens, seed=seed, contents=contents
                        )
                    ),
                    decoding.stop,
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
) -> list[tuple[int, int, int]]:
    """(document, begin and end of prompt): long enough documents, shuffled; it ends after a line break where there is one."""
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
        end = breaks[0] if breaks else end
        places.append((document, max(0, end - prompt_tokens), end))
    return places


def _before_answers(store: TokenStore, count: int, longest: int, seed: int) -> list[tuple[int, int, int]]:
    """(document, 0, begin of its last answer) of shuffled conversations whose prompt has at most `longest` tokens."""
    shuffled = np.random.default_rng([seed, 7]).permutation(len(store)).tolist()
    answers = ((document, last_answer(store, document)) for document in shuffled)
    return list(islice(((document, 0, at) for document, at in answers if 0 < at <= longest), count))


def last_answer(store: TokenStore, document: int) -> int:
    """Where the last stretch of learned tokens begins; 0 if there is none."""
    mask = store.learned_of(document)
    begins = np.flatnonzero((mask[1:] == 1) & (mask[:-1] == 0)) + 1
    return int(begins[-1]) if len(begins) else 0


def _name(decoding: AnyDecoding) -> str:
    """The kind, and in parentheses what it has; settings that change nothing are left out."""
    values = decoding.model_dump()
    kind, idle = values.pop("kind"), AnyDecoding().model_dump()
    told = [
        f"{name} {value}"
        for name, value in values.items()
        if value is not None and value != idle.get(name, 1.0)
    ]
    return f"{kind} ({', '.join(told)})" if told else str(kind)
