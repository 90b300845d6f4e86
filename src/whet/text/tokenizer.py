"""Byte-level BPE: trained here, saved so that transformers and other runtimes load it, text in and ids out.

The pre-tokenizer is Qwen2's split pattern followed by GPT-2's byte alphabet, a combination other
runtimes (llama.cpp's `qwen2`, tiktoken-style encoders) know. Special tokens are reserved at training,
so that later stages need no resizing. Text that merely *contains* a special token's string is encoded
as ordinary bytes: material never turns into control ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet import limits
from whet.errors import DataError
from whet.store import file_hash, write_json

if TYPE_CHECKING:
    import tokenizers

CONTROL = {"pad": "<pad>", "unk": "<unk>", "bos": "<bos>", "eos": "<eos>", "sep": "<sep>"}
"""Role -> token; ids 0 to 4 in a tokenizer trained here."""

RESERVED = (
    "### Language:",
    "### Code:",
    "### End",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<fim_prefix>",
    "<fim_middle>",
    "<fim_suffix>",
    "<fim_pad>",
)
"""Kept free for later stages: tagged code, tools, fill-in-the-middle."""

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer and the ids of its roles. `pad` falls back to `eos` where a tokenizer has none (noted)."""

    backend: tokenizers.Tokenizer
    special_ids: dict[str, int]
    notes: tuple[str, ...] = ()

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @property
    def special_tokens(self) -> dict[int, str]:
        """Id -> string of every special token."""
        return {index: str(token.content) for index, token in self.backend.get_added_tokens_decoder().items()}

    def encode_documents(self, texts: Sequence[str]) -> list[list[int]]:
        """`<bos>` text `<eos>` for every text; special strings inside a text stay ordinary text."""
        bos, eos = self.special_ids["bos"], self.special_ids["eos"]
        encoded = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[bos, *item.ids, eos] for item in encoded]

    def encode_prompt(self, text: str) -> list[int]:
        """`<bos>` text: the same ids that a document beginning with this text is trained on."""
        return [self.special_ids["bos"], *self.backend.encode(text, add_special_tokens=False).ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out; bytes that are not UTF-8 become U+FFFD."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def token_bytes(self) -> list[int]:
        """Bytes of text each id stands for (0 for special tokens), for bits per byte and previews."""
        special = self.special_tokens
        alphabet = _byte_alphabet()
        return [
            0 if index in special else sum(1 if c in alphabet else len(c.encode()) for c in self.backend.id_to_token(index) or "")
            for index in range(self.vocab_size)
        ]


def train(texts: Iterable[str], *, vocab_size: int, special_tokens: Sequence[str] = ()) -> Tokenizer:
    """Learn the merges from `texts` (read once, streamed). Raises DataError if the text is too little for `vocab_size`."""
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors, trainers
    from tokenizers import Tokenizer as Backend

    names = list(dict.fromkeys([*CONTROL.values(), *RESERVED, *special_tokens]))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(names) + len(alphabet):
        raise DataError(f"vocab_size {vocab_size} has no room for {len(alphabet)} bytes and {len(names)} special tokens", where="tokenizer.vocab_size")
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in names],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    if backend.get_vocab_size() < vocab_size:
        raise DataError(
            f"the training text yields only {backend.get_vocab_size()} tokens, vocab_size asks for {vocab_size}",
            where="tokenizer.vocab_size",
            fix=f"set tokenizer.vocab_size to {backend.get_vocab_size()} or less, or add text",
        )
    ids = {role: backend.token_to_id(token) for role, token in CONTROL.items()}
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <sep> $B", special_tokens=[("<bos>", ids["bos"]), ("<sep>", ids["sep"])]
    )
    backend.encode_special_tokens = True
    return Tokenizer(backend, ids)


def save(tokenizer: Tokenizer, folder: Path, *, context: int) -> None:
    """Write tokenizer.json and tokenizer_config.json, as `transformers.AutoTokenizer` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend.save(str(folder / "tokenizer.json"), pretty=False)
    names = {role: tokenizer.special_tokens[index] for role, index in tokenizer.special_ids.items() if index in tokenizer.special_tokens}
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **{f"{role}_token": name for role, name in names.items()},
    }
    write_json(folder / "tokenizer_config.json", settings)


def load(path: Path) -> Tokenizer:
    """Read a folder with tokenizer.json (and tokenizer_config.json), or such a file itself.

    Raises DataError if it is missing, damaged, or names no beginning- and end-of-text tokens.
    """
    from tokenizers import Tokenizer as Backend

    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file() or file.stat().st_size > limits.MANIFEST_BYTES:
        raise DataError("no tokenizer.json here (or it is too large)", where=str(file), fix="point tokenizer.path at a saved tokenizer's folder")
    try:
        backend = Backend.from_file(str(file))
    except Exception as error:  # noqa: BLE001 (the Rust side raises bare Exception)
        raise DataError(f"not a tokenizer: {error}", where=str(file)) from error
    backend.encode_special_tokens = True
    ids = _roles(backend, file.with_name("tokenizer_config.json"))
    notes = []
    for role in ("bos", "eos"):
        if role not in ids:
            raise DataError(f"the tokenizer names no {role} token", where=str(file.parent), fix=f"set {role}_token in tokenizer_config.json")
    if "pad" not in ids:
        ids["pad"] = ids["eos"]
        notes.append("the tokenizer has no pad token; positions that only fill a row hold the end-of-text token and are never learned")
    return Tokenizer(backend, ids, tuple(notes))


def _roles(backend: tokenizers.Tokenizer, config: Path) -> dict[str, int]:
    names: dict[str, Any] = {}
    if config.is_file():
        try:
            names = json.loads(config.read_text("utf-8"))
        except ValueError as error:
            raise DataError(f"not JSON: {error}", where=str(config)) from error
    ids = {}
    for role, default in CONTROL.items():
        named = names.get(f"{role}_token", default)
        token = named.get("content") if isinstance(named, dict) else named
        index = backend.token_to_id(token) if isinstance(token, str) else None
        if index is not None:
            ids[role] = index
    return ids


def fingerprint(path: Path) -> str:
    """Hash of an existing tokenizer's files."""
    folder = path if path.is_dir() else path.parent
    return "-".join(file_hash(folder / name) for name in ("tokenizer.json", "tokenizer_config.json") if (folder / name).is_file())


def sampled(texts: Iterable[tuple[str, int]], total_bytes: int, budget_bytes: int) -> Iterator[str]:
    """Every text while they fit the budget; else texts spread evenly over the stream. `texts` has (text, bytes)."""
    share = min(1.0, budget_bytes / max(1, total_bytes))
    owed = taken = 0.0
    for text, size in texts:
        owed += share * size
        if taken < owed:
            taken += size
            yield text


def _byte_alphabet() -> frozenset[str]:
    from tokenizers import pre_tokenizers

    return frozenset(pre_tokenizers.ByteLevel.alphabet())
