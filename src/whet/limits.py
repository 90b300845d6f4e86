"""Every bound on work and memory that does not belong to one recipe, in one place."""

from __future__ import annotations

RECIPE_BYTES = 1_000_000
"""A recipe file larger than this is refused unread."""

RECIPE_DEPTH = 20
"""Nesting beyond this in a recipe is refused (the deepest real recipe has five levels)."""

DECOMPRESSED_BYTES = 8 * 2**30
"""One compressed input file may not unfold into more than this."""

DECOMPRESSION_RATIO = 500
"""A compressed input that unfolds by more than this factor is a bomb (real text stays below 50)."""

DECOMPRESSED_FREE_BYTES = 2**20
"""Up to this size the ratio is not looked at: a small file of equal lines is no bomb."""

SOURCE_FILE_BYTES = 64 * 2**20
"""A file that is one document is not read beyond this; it is dropped as "file too large"."""

JSONL_LINE_BYTES = 64 * 2**20
"""One line of a .jsonl file may not be longer than this."""

MANIFEST_BYTES = 256 * 2**20
"""A manifest larger than this is refused unread."""

SETTINGS_BYTES = 4 * 2**20
"""A model's or tokenizer's file of settings (config.json, an index of shards) larger than this is refused."""

SETTINGS_DEPTH = 16
"""Nesting beyond this in such a file, or in the header of weights, is refused."""

TOKENIZER_BYTES = 64 * 2**20
"""A tokenizer.json larger than this is refused unread (those of 262,000 tokens have 34 MB)."""

TOKENIZER_VALUES = 4_000_000
"""A tokenizer.json with more values (counted by commas) is refused: each takes more memory than its text."""

TOKENIZER_IDS = 1_000_000
"""A tokenizer with a larger id is refused, as a recipe with a larger vocabulary is."""

STOP_IDS = 64
"""A generation_config.json with more ids that end a text is refused."""

TOKENIZER_GROWTH = 10_000
"""A tokenizer whose replacement rules could make a text this many times longer is refused."""

WEIGHTS_HEADER_BYTES = 4 * 2**20
"""A safetensors header larger than this is refused (1,000 layers have about 2 MB)."""

WEIGHTS_TENSORS = 100_000
"""A safetensors file with more tensors is refused."""

WEIGHTS_FILES = 500
"""A model in more files of weights is refused."""

FLOOR_TOKENS = 20_000_000
"""The n-gram floors count at most this many training tokens (about 2 GB of working memory)."""

NPY_BYTES = 1 << 40
"""Largest .npy token array that is mapped."""

ADAPTER_BYTES = 8 * 2**30
"""An adapter of more bytes is refused unread (rank 256 on every layer of 8 B parameters in fp32 takes 2.7 GB)."""

TOKENS_ADDED = 65_536
"""An adapter from elsewhere that asks for a larger vocabulary than this beyond its base's is refused."""

TEMPLATE_BYTES = 2**20
"""A chat template larger than this is refused unread (the longest of well-known models have 20 kB)."""

TEMPLATE_SECONDS = 2.0
"""Processor time that the process with a chat template may take for one request, whatever its size; then it ends."""

TEMPLATE_CHARACTERS_PER_SECOND = 2_000_000
"""For so many characters of messages, counted in every rendering, it may take a second more."""

TEMPLATE_PATIENCE_SECONDS = 300.0
"""Real time after which this process is given up though it has processor time left: it is stopped or starved."""

TEMPLATE_MEMORY_BYTES = 256 * 2**20
"""Memory that this process may take on top of what it had when it was ready."""

TEMPLATE_OUTPUT_CHARACTERS = 16 * 2**20
"""What a chat template may write for one conversation; what a rendering shares with the one before counts once."""

CONVERSATION_RENDERED_CHARACTERS = 64 * 2**20
"""The same with every rendering counted in full. There are two for each answer, so this grows with the square of the
turns: 1,000 turns of some 100 characters reach it."""

CONVERSATION_DEPTH = 32
"""Tools and tool calls that are nested deeper are dropped: "nested too deeply"."""

NPM_SECONDS = 300.0
"""npm may take this long to fetch one package."""

NPM_PACKAGE_BYTES = 64 * 2**20
"""A package of npm larger than this is refused (the largest compiler has 11 MB)."""

NPM_UNPACKED_BYTES = 256 * 2**20
"""Nor may the files that are kept of it take more than this."""

SOLC_SECONDS = 300.0
"""A compiler may take this long for one request."""

SOLC_MEMORY_BYTES = 3 * 2**30
"""A compiler's process with more than this in memory is ended."""

SOLC_ANSWER_BYTES = 2**30
"""Nor may its answer be longer than this."""

EXPORT_BYTES = 512 * 2**20
"""A build-info, standard-JSON input or export of verified sources larger than this is left out by name."""

EXPORT_DEPTH = 400
"""So is one that is nested deeper (a build-info holds the compiler's syntax trees)."""

FOUNDRY_BYTES = 2**20
"""Of a larger foundry.toml no remapping is read, which is said."""

FOUNDRY_DOTS = 256
"""Nor of one with more dots on a line (the time that a dotted key takes grows with the square of its parts)."""

CODE_BYTES = 2**20
"""EVM code larger than this is refused (a contract has at most 24,576 bytes, creation code 49,152)."""

ARTIFACT_BYTES = 128 * 2**20
"""A compiler's artifact, or any other file with EVM code, larger than this is refused."""

RPC_SECONDS = 60.0
"""An Ethereum node may take this long for one answer, from the first byte to the last."""

RPC_BYTES = 4 * 2**20
"""Nor may its answer be longer (code of CODE_BYTES takes half of it)."""

DECOMPILE_INPUTS = 100_000
"""Files that one `whet decompile` takes, those in folders counted."""

WRITTEN_CHARACTERS = 2**16
"""A text that should be one function of Solidity, which a model wrote, is not read if it is longer."""
