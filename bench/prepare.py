"""Preparing data: whet against Hugging Face datasets, and tokenizers against tiktoken; text per second of processor time.

    python bench/prepare.py                # five rounds, a few minutes
    python bench/prepare.py --rounds 3

*End to end*: one .jsonl file in, stored token ids out, with one ready-made tokenizer and one thread.
datasets reads with `load_dataset("json")`, tokenizes in `map(batched=True)` by the same tokenizers call whet makes
(transformers' wrapper around it is slower), drops the text and saves to disk. `whet, encoding only` does no
more than that, apart from its split and manifest; `whet` also cleans, finds exact and near duplicates.

*Encoding*: the ids of whole documents, `<bos>` and `<eos>` around them. tiktoken gets the same vocabulary and split
pattern; its ids must be equal, or this stops.

Contenders take turns, each turn of the first part in a process of its own (imports not counted). Material:
the standard library's code and English. Left out: training a tokenizer, several processes, Parquet.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rounds
from whet.cleaning.base import FILTERS
from whet.prepare import run as room
from whet.progress import Reporter
from whet.recipe import yaml12
from whet.recipe.load import validate
from whet.records import Document
from whet.sources.base import Source
from whet.sources.stdlib import StdlibSource
from whet.sources.stdlib_english import StdlibEnglishSource
from whet.text import tokenizer as tokenizers

VOCAB_SIZE = 32_000
ONE_THREAD = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
ALONE: dict[str, Any] = {
    "cleaning": {kind.NAME: False for kind in FILTERS},
    "exact_duplicates": "keep",
    "near_duplicate_similarity": None,
}


def texts(source: Source) -> list[str]:
    """All of a source's texts."""
    return [item.text for item in source.documents() if isinstance(item, Document)]


def size_mb(some: Sequence[str]) -> float:
    """UTF-8 megabytes."""
    return sum(len(text.encode()) for text in some) / 1e6


def whet(folder: Path, work: Path, settings: dict[str, Any]) -> int:
    """The prepare room; tokens stored."""
    values = {
        "name": "bench",
        "model": {"size": "tiny"},
        "tokenizer": {"path": str(folder / "tokenizer")},
        "prepare": settings,
        "stages": [{"name": "s", "data": [{"source": "text", "path": str(folder / "text.jsonl")}]}],
    }
    record = room.run(validate(yaml12.Tree(values, name="bench"), Path.cwd()), work, Reporter()).record
    return sum(split["tokens"] for split in record["stages"][0]["splits"].values())


def datasets(folder: Path, work: Path) -> int:
    """load_dataset, map, save_to_disk; tokens stored."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    tokenizer = tokenizers.load(folder / "tokenizer")

    def tokenize(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"ids": tokenizer.encode_documents(batch["text"])}

    read = load_dataset(
        "json", data_files=str(folder / "text.jsonl"), split="train", cache_dir=str(work / "cache")
    )
    done = read.map(tokenize, batched=True, remove_columns=["text"])
    done.save_to_disk(str(work / "saved"))
    return sum(len(ids) for batch in done.iter(1000) for ids in batch["ids"])


CONTENDERS: dict[str, Callable[[Path, Path], int]] = {
    "whet": lambda folder, work: whet(folder, work, {}),
    "whet, encoding only": lambda folder, work: whet(folder, work, ALONE),
    "datasets": datasets,
}


def turn(name: str, folder: Path) -> dict[str, float]:
    """One contender, once, in this process."""
    if name == "datasets":
        import datasets  # noqa: F401  (not counted)
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as work:
        wall, cpu = time.perf_counter(), time.process_time()
        tokens = CONTENDERS[name](folder, Path(work))
        return {"cpu_s": time.process_time() - cpu, "s": time.perf_counter() - wall, "tokens": tokens}


def apart(name: str, folder: Path) -> dict[str, float]:
    """`turn` in a process of its own, with one thread and without the network."""
    env = {**os.environ, **ONE_THREAD, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    command = [sys.executable, __file__, "--turn", name, "--folder", str(folder)]
    answer = subprocess.run(command, env=env, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(answer.stderr)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def tiktoken_of(tokenizer: tokenizers.Tokenizer) -> Any:
    """The same vocabulary and split pattern in tiktoken: a byte-level token's id is its rank."""
    import tiktoken

    special = {name: index for index, name in tokenizer.special_tokens.items()}
    contents = enumerate(tokenizer.token_contents())
    ranks = {content: index for index, content in contents if index not in tokenizer.special_tokens}
    return tiktoken.Encoding(
        "whet", pat_str=tokenizers.SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens=special
    )


def encoding(tokenizer: tokenizers.Tokenizer, some: list[str], count: int) -> dict[str, list[float]]:
    """Megabytes per processor second, turn by turn; the ids are compared first."""
    other = tiktoken_of(tokenizer)
    bos, eos = tokenizer.special_ids["bos"], tokenizer.special_ids["eos"]
    contenders = {
        "tokenizers": lambda: tokenizer.encode_documents(some),
        "tiktoken": lambda: [[bos, *other.encode_ordinary(text), eos] for text in some],
    }
    if contenders["tokenizers"]() != contenders["tiktoken"]():
        raise SystemExit("tiktoken's ids differ")
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(count):
        for name, encode in contenders.items():
            began = time.process_time()
            encode()
            found[name].append(size_mb(some) / (time.process_time() - began))
    return found


def ratios(rates: dict[str, list[float]], base: str) -> dict[str, list[float]]:
    """Each contender's rate over `base`'s of the same round."""
    return {
        name: [one / other for one, other in zip(values, rates[base], strict=True)]
        for name, values in rates.items()
    }


def material(folder: Path) -> tuple[dict[str, list[str]], tokenizers.Tokenizer]:
    """Write text.jsonl and a tokenizer trained on it."""
    domains = {
        "code": texts(StdlibSource(source="stdlib")),
        "English": texts(StdlibEnglishSource(source="stdlib_english")),
    }
    together = [text for some in domains.values() for text in some]
    with (folder / "text.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in together)
    tokenizer = tokenizers.train(together, vocab_size=VOCAB_SIZE)
    tokenizers.save(tokenizer, folder / "tokenizer", context=256)
    return domains, tokenizer


def main() -> None:
    """Measure, print the tables, write bench/results/prepare.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.turn:
        print(json.dumps(turn(asked.turn, Path(asked.folder))))
        return
    os.environ.update(ONE_THREAD)  # before the first batch is encoded
    with tempfile.TemporaryDirectory(prefix="whet-bench-") as name:
        domains, tokenizer = material(Path(name))
        megabytes = sum(map(size_mb, domains.values()))
        turns = [{who: apart(who, Path(name)) for who in CONTENDERS} for _ in range(asked.rounds)]
    rates = {who: [megabytes / one[who]["cpu_s"] for one in turns] for who in CONTENDERS}
    whole = ratios(rates, "datasets")
    encoded = {domain: encoding(tokenizer, some, asked.rounds) for domain, some in domains.items()}
    rows = [[who, rounds.spread(whole[who]), f"{statistics.median(rates[who]):.2f}"] for who in CONTENDERS]
    print(rounds.table(["end to end", "of datasets' speed", "MB per CPU s"], rows))
    rows = [
        [domain, rounds.spread(ratios(found, "tokenizers")["tiktoken"])]
        + [f"{statistics.median(found[who]):.2f}" for who in found]
        for domain, found in encoded.items()
    ]
    print(rounds.table(["encoding", "tiktoken / tokenizers", "tokenizers, MB/s", "tiktoken, MB/s"], rows))
    machine = rounds.machine("tokenizers", "tiktoken", "datasets", "pyarrow", "numpy")
    result = {"end_to_end": rates, "ratios_to_datasets": whole, "turns": turns, "encoding": encoded}
    rounds.write("prepare", {"machine": machine, "text_mb": megabytes, **result})


if __name__ == "__main__":
    main()
