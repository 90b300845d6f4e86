"""Byte-level BPE: trained here, saved so that transformers and other runtimes load it, text in and ids out.

The pre-tokenizer is Qwen2's split pattern followed by GPT-2's byte alphabet, a combination other
runtimes (llama.cpp's `qwen2`, tiktoken-style encoders) know. Special tokens are reserved at training,
so that later stages need no resizing. Text that merely *contains* a special token's string is encoded
as ordinary bytes: material never turns into control ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whet import limits, untrusted
from whet.errors import DataError
from whet.store import file_hash, write_json
from whet.text import sentinels
from whet.text.tokenizer_bounds import data_errors, require_bounded

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
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PIECE_BYTES = 64 * 2**10
"""Where a sample cannot take whole texts, it takes beginnings of about this size."""

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A tokenizer and the ids of its roles. `pad` and `bos` fall back to `eos` where a tokenizer has none (noted)."""

    backend: tokenizers.Tokenizer
    special_ids: dict[str, int]
    notes: tuple[str, ...] = ()
    borrowed: frozenset[str] = frozenset()
    """Roles that the tokenizer names no token for, and the end-of-text token plays."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included: one more than the largest (some tokenizers have gaps)."""
        return max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def special_tokens(self) -> dict[int, str]:
        """Id -> string of every special token."""
        added = self.backend.get_added_tokens_decoder().items()
        return {index: str(token.content) for index, token in added if token.special}

    def encode_documents(self, texts: Sequence[str]) -> list[list[int]]:
        """`<bos>` text `<eos>` for every text; special strings inside a text stay ordinary text."""
        bos, eos = self.special_ids["bos"], self.special_ids["eos"]
        with data_errors("tokenizer.json"):
            encoded = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[bos, *item.ids, eos] for item in encoded]

    def encode_parts(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of every text by itself, without `<bos>` and `<eos>`."""
        with data_errors("tokenizer.json"):
            encoded = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [item.ids for item in encoded]

    def encode_prompt(self, text: str) -> list[int]:
        """`<bos>` text: the same ids that a document beginning with this text is trained on."""
        with data_errors("tokenizer.json"):
            return [self.special_ids["bos"], *self.backend.encode(text, add_special_tokens=False).ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the ids, special tokens left out; bytes that are not UTF-8 become U+FFFD."""
        with data_errors("tokenizer.json"):
            return self.backend.decode(list(ids), skip_special_tokens=True)

    def token_contents(self) -> list[bytes]:
        """The bytes of text each id stands for, for bits per byte and previews; none for special tokens.

        Exact for byte-level tokenizers; in others the word mark stands for a space.
        """
        alphabet = byte_alphabet() if self._byte_level else {}
        contents = [
            _content(self.backend.id_to_token(index) or "", alphabet) for index in range(self.vocab_size)
        ]
        for index, token in self.backend.get_added_tokens_decoder().items():
            contents[index] = b"" if token.special else str(token.content).encode()
        return contents

    def token_bytes(self) -> list[int]:
        """How many bytes of text each id stands for; 0 for special tokens."""
        return [len(content) for content in self.token_contents()]

    @property
    def _byte_level(self) -> bool:
        decoder = self.backend.decoder
        return decoder is not None and b'"ByteLevel"' in decoder.__getstate__()


def _content(token: str, alphabet: dict[str, int]) -> bytes:
    if alphabet:
        return b"".join(bytes([alphabet[c]]) if c in alphabet else c.encode() for c in token)
    fallback = _BYTE_FALLBACK.fullmatch(token)
    return bytes.fromhex(fallback[1]) if fallback else token.replace("\u2581", " ").encode()


def train(texts: Iterable[str], *, vocab_size: int, special_tokens: Sequence[str] = ()) -> Tokenizer:
    """Learn the merges from `texts` (read once, streamed).

    Raises DataError if the text is too little for `vocab_size`, or if a special token cannot be told from
    ordinary text.
    """
    from tokenizers import AddedToken, processors, trainers

    names = list(dict.fromkeys([*CONTROL.values(), *RESERVED, *special_tokens]))
    _check_room(vocab_size, names)
    backend = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in names],
        initial_alphabet=sorted(byte_alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    _check_trained(backend, vocab_size, names)
    ids = {role: names.index(token) for role, token in CONTROL.items()}
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A",
        pair="<bos> $A <sep> $B",
        special_tokens=[("<bos>", ids["bos"]), ("<sep>", ids["sep"])],
    )
    backend.encode_special_tokens = True
    return Tokenizer(backend, ids)


def _untrained() -> tokenizers.Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    backend = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    backend.decoder = decoders.ByteLevel()
    return backend


def _check_room(vocab_size: int, names: list[str]) -> None:
    if "" in names:
        raise DataError("a special token cannot be empty", where="tokenizer.special_tokens")
    if vocab_size < len(names) + 256:
        raise DataError(
            f"vocab_size {vocab_size} has no room for 256 bytes and {len(names)} special tokens",
            where="tokenizer.vocab_size",
        )


def _check_trained(backend: tokenizers.Tokenizer, vocab_size: int, names: list[str]) -> None:
    reached = backend.get_vocab_size()
    merged = {"".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]}
    for name in names:
        # BPE would give the ordinary word and the control token one id
        if name in merged or name in byte_alphabet():
            raise DataError(
                f"the special token {name!r} is ordinary text here: every such word would become it",
                where="tokenizer.special_tokens",
                fix="choose one that no text holds as a word, such as <|name|>",
            )
    if reached < vocab_size:
        raise DataError(
            f"the training text yields only {reached} tokens, vocab_size asks for {vocab_size}",
            where="tokenizer.vocab_size",
            fix=f"set tokenizer.vocab_size to {reached} or less, or add text",
        )


def save(tokenizer: Tokenizer, folder: Path, *, context: int) -> None:
    """Write tokenizer.json and tokenizer_config.json, as `transformers.AutoTokenizer` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend.save(str(folder / "tokenizer.json"), pretty=False)
    names = {
        role: tokenizer.special_tokens[index]
        for role, index in tokenizer.special_ids.items()
        if index in tokenizer.special_tokens
    }
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **{f"{role}_token": name for role, name in names.items()},
    }
    write_json(folder / "tokenizer_config.json", settings)


FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
"""What a model's tokenizer consists of."""


def copy(source: Path, folder: Path, new_tokens: Sequence[str] = ()) -> None:
    """Copy a tokenizer's files as they are into `folder`, with `new_tokens` added to its vocabulary.

    Raises DataError for a file that is missing, too large or a link to elsewhere, and for a token that is there.
    """
    home = source if source.is_dir() else source.parent
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        own = source.name if name == "tokenizer.json" and not source.is_dir() else name
        if name == "tokenizer.json" or (home / name).exists():
            with data_errors(str(home / own)):
                (folder / name).write_bytes(untrusted.read_inside(home, own, limits.TOKENIZER_BYTES))
    if new_tokens:
        _add(folder / "tokenizer.json", new_tokens)


def _add(file: Path, new_tokens: Sequence[str]) -> None:
    """Add tokens that stand for themselves wherever they are in a text."""
    from tokenizers import AddedToken

    backend = _backend(file)
    known = [name for name in new_tokens if backend.token_to_id(name) is not None]
    if known or len(set(new_tokens)) < len(new_tokens) or "" in new_tokens:
        what = f"has {known[0]!r} already" if known else "cannot be given an empty token, or one twice"
        raise DataError(f"the tokenizer {what}", where="model.new_tokens", fix="leave it out")
    backend.add_tokens([AddedToken(name, special=False, normalized=False) for name in new_tokens])
    backend.save(str(file), pretty=False)


def load(path: Path) -> Tokenizer:
    """Read a folder with tokenizer.json (and tokenizer_config.json), or such a file itself.

    What would cut, pad or randomise documents is switched off, and what begins and ends a text, or marks a gap in
    it, can no longer be written in it; the files stay as they are.
    Raises DataError if it is missing, damaged, or names no end-of-text token.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    backend = _backend(file)
    ids = _roles(backend, file.with_name("tokenizer_config.json"))
    if "eos" not in ids:
        raise DataError(
            "the tokenizer names no eos token",
            where=str(file.parent),
            fix="set eos_token in tokenizer_config.json",
        )
    notes = _make_inert(backend, ids)
    borrowed = {role for role in ("bos", "pad") if role not in ids}
    if "bos" not in ids:
        ids["bos"] = ids["eos"]
        notes.append("the tokenizer has no beginning-of-text token; texts begin with its end-of-text token")
    if "pad" not in ids:
        ids["pad"] = ids["eos"]
        notes.append(
            "the tokenizer has no pad token; "
            "positions that only fill a row hold the end-of-text token and are never learned"
        )
    return Tokenizer(backend, ids, tuple(notes), frozenset(borrowed))


def with_special(tokenizer: Tokenizer, names: Sequence[str]) -> Tokenizer:
    """A copy for which these added tokens are special, so that their strings in a text stay text."""
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    backend.encode_special_tokens = True
    return replace(tokenizer, backend=backend)


def _backend(file: Path) -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer as Backend

    if not file.is_file():
        raise DataError(
            "no tokenizer.json here",
            where=str(file),
            fix="point tokenizer.path at a saved tokenizer's folder",
        )
    with data_errors(str(file)):
        raw = untrusted.read_inside(file.parent, file.name, limits.TOKENIZER_BYTES)
    if raw.count(b",") > limits.TOKENIZER_VALUES:
        raise DataError(f"more than {limits.TOKENIZER_VALUES:,} values", where=str(file))
    with data_errors(str(file)):
        try:
            backend = Backend.from_buffer(raw)
        except Exception as error:  # the Rust side raises bare ones
            raise DataError(f"not a tokenizer: {error}", where=str(file)) from error
        require_bounded(backend, str(file))
    return backend


def _make_inert(backend: tokenizers.Tokenizer, ids: dict[str, int]) -> list[str]:
    """Nothing cut, padded or random, and no control id from text; what had to be changed for that."""
    from tokenizers import AddedToken

    notes = []
    if backend.truncation or backend.padding:
        backend.no_truncation()
        backend.no_padding()
        notes.append("the tokenizer cuts or pads texts to a length; that is switched off here")
    if getattr(backend.model, "dropout", None):
        backend.model.dropout = None
        notes.append("the tokenizer drops merges at random (BPE dropout); that is switched off here")
    special = {index for index, token in backend.get_added_tokens_decoder().items() if token.special}
    control = set(ids.values()) | _sentinels(backend)
    plain = [str(backend.id_to_token(index)) for index in sorted(control - special)]
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in plain])
    backend.encode_special_tokens = True
    return notes


def _sentinels(backend: tokenizers.Tokenizer) -> set[int]:
    """Ids of the tokens for fill-in-the-middle, of every triple that is there whole."""
    found = [[backend.token_to_id(name) for name in triple] for triple in sentinels.KNOWN]
    return {index for ids in found if None not in ids for index in ids if index is not None}


def _roles(backend: tokenizers.Tokenizer, config: Path) -> dict[str, int]:
    names = _settings(config)
    ids = {}
    for role, default in CONTROL.items():
        named = names.get(f"{role}_token", default)
        token = named.get("content") if isinstance(named, dict) else named
        index = backend.token_to_id(token) if isinstance(token, str) else None
        if index is not None:
            ids[role] = index
    return ids


def _settings(config: Path) -> dict[str, Any]:
    if not config.exists():
        return {}
    with data_errors(str(config)):
        values = untrusted.settings_inside(config.parent, config.name)
    if values.get("auto_map"):
        raise DataError("auto_map names code of the tokenizer's own, which is never run", where=str(config))
    return values


def fingerprint(path: Path) -> str:
    """Hash of an existing tokenizer's files."""
    file = path / "tokenizer.json" if path.is_dir() else path
    files = (file, file.with_name("tokenizer_config.json"))
    return "-".join(file_hash(item) for item in files if item.is_file())


def sampled(texts: Iterable[tuple[str, int]], total_bytes: int, budget_bytes: int) -> Iterator[str]:
    """Every text while they fit the budget; else an even share of them, never more than the budget.

    `texts` has (text, bytes), `total_bytes` is their sum. A text that is larger than the share due to it is
    left for later or, from a piece of PIECE_BYTES (or a hundredth of the budget) on, cut to it.
    """
    share = min(1.0, budget_bytes / max(1, total_bytes))
    piece = min(PIECE_BYTES, max(1, budget_bytes // 100))
    due = 0.0
    for text, size in texts:
        due += share * size
        if size <= due:
            due -= size
            yield text
        elif due >= piece:
            part = text.encode("utf-8", "surrogatepass")[: int(due)]
            due -= len(part)
            yield part.decode("utf-8", "ignore")


@cache
def byte_alphabet() -> dict[str, int]:
    """Character -> byte of GPT-2's alphabet: printable Latin-1 stands for itself, the rest from U+0100 on."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(256 + at): byte for at, byte in enumerate(others)}
