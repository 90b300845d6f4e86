"""The hostile model folders of `test_model_files`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.attack.folders import (
    CONFIG,
    INDEX,
    WEIGHTS,
    Case,
    code,
    config,
    edit,
    header,
    joined,
    link,
    pickled,
    shards,
    sparse,
    special,
    split,
    tensors,
    text,
    zipped,
)  # fmt: skip

FIRST = "model.embed_tokens.weight"
NORM = "model.norm.weight"
MAP = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"}


def only_pickle(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickled(folder))


def npy_in_disguise(folder: Path) -> None:
    import numpy as np

    np.save(folder / "weights.npy", np.array([pickled(folder)], object), allow_pickle=True)
    (folder / "weights.npy").rename(folder / WEIGHTS)


def adapter(folder: Path) -> None:
    edit(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path="someone/model", r=1)


def cut(count: int) -> Any:
    def spoil(folder: Path) -> None:
        raw = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(raw[:count] if count > 0 else raw + bytes(-count))

    return spoil


def huge_length(length: int) -> Any:
    def spoil(folder: Path) -> None:
        raw = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(length.to_bytes(8, "little") + raw[8:])

    return spoil


def offsets(name: str, change: Any) -> Any:
    def edit_header(found: dict[str, Any]) -> None:
        found[name]["data_offsets"] = change(found[name]["data_offsets"])

    return header(edit_header)


def swap_entry(key: str, value: Any) -> Any:
    return header(lambda found: found[FIRST].__setitem__(key, value))


def twice(found: dict[str, Any]) -> bytes:
    entry = json.dumps({NORM: found[NORM]})[1:-1]
    return json.dumps(found)[:-1].encode() + b", " + entry.encode() + b"}"


def with_number(value: float) -> Any:
    def change(found: dict[str, Any]) -> None:
        found[NORM] = found[NORM].clone()
        found[NORM][3] = value

    return tensors(change)


def as_integers(found: dict[str, Any]) -> None:
    import torch

    found[NORM] = found[NORM].to(torch.int32)


def other_head(found: dict[str, Any]) -> None:
    found["lm_head.weight"] = found[FIRST] + 1


def many_layers(folder: Path) -> None:
    edit(folder / CONFIG, num_hidden_layers=1_000)


def bomb_of_objects(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(joined(b'{"a":' + b'{"b":1},"c":' * 300_000 + b"{}}", b""))


def long_config(folder: Path) -> None:
    sparse(folder / CONFIG, 100_000_000, b'{"model_type": "llama", "x": "')


def large_model(folder: Path) -> None:
    """A file of holes that is as long as its header says: 16 TB of zeros on no disk at all."""
    found, _ = split((folder / WEIGHTS).read_bytes())
    found.pop("__metadata__", None)
    edit(
        folder / CONFIG,
        vocab_size=1_000_000,
        hidden_size=65_536,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
    )
    at = 0
    for entry in found.values():
        entry["shape"] = [{420: 1_000_000, 32: 65_536}.get(side, side) for side in entry["shape"]]
    for name, entry in found.items():
        if "self_attn" in name:
            entry["shape"] = [65_536, 32] if "o_proj" in name else [32, 65_536]
        size = 4
        for side in entry["shape"]:
            size *= side
        entry["data_offsets"] = [at, at + size]
        at += size
    start = joined(found, b"")
    sparse(folder / WEIGHTS, len(start) + at, start)


def outside(weight_map: dict[str, str], name: str) -> None:
    weight_map[NORM] = name


def loop(folder: Path, weight_map: dict[str, str]) -> None:
    outside(weight_map, "loop.safetensors")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")


def shard_elsewhere(folder: Path, weight_map: dict[str, str]) -> None:
    outside(weight_map, "linked.safetensors")
    (folder / "linked.safetensors").symlink_to("/etc/passwd")


def long_index(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_bytes(
        b'{"weight_map": {' + b'"t": "0.safetensors", ' * 10**6 + b'"t": "1.safetensors"}}'
    )


def both(folder: Path) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {}}))


CASES = [
    Case("only a pickle", only_pickle, "no config.json with safetensors"),
    Case("a pickle in disguise", lambda folder: text(WEIGHTS, pickled(folder))(folder), "not safetensors"),
    Case("a zip in disguise", zipped, "not safetensors"),
    Case("an .npy of objects in disguise", npy_in_disguise, "not safetensors"),
    Case("an empty file of weights", text(WEIGHTS, b""), "not safetensors"),
    Case("code in config.json", code(CONFIG, auto_map=MAP), "auto_map"),
    Case(
        "code in tokenizer_config.json",
        code("tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_x.X", None]}),
        "auto_map",
    ),
    Case("code in generation_config.json", code("generation_config.json", auto_map=MAP), "auto_map"),
    Case("code that generates", code("generation_config.json", custom_generate="."), "custom_generate"),
    Case("a type of its own", code(CONFIG, model_type="x", auto_map=MAP), "no family"),
    Case("a type that is no text", config(model_type=["llama"]), "no family"),
    Case("an encoder", config(model_type="t5"), "no family"),
    Case(
        "quantized by bitsandbytes",
        config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "quantization_config",
    ),
    Case(
        "quantized by code",
        code(CONFIG, quantization_config={"quant_method": "custom", "modules": "modeling_x"}),
        "quantization_config",
    ),
    Case(
        "attention from elsewhere",
        config(_attn_implementation="kernels-community/flash-attn"),
        "attention is whet's own",
    ),
    Case(
        "attention from elsewhere, newer key",
        config(attn_implementation="someone/kernel:evil"),
        "attention is whet's own",
    ),
    Case("weights elsewhere", config(transformers_weights="../other.safetensors"), "transformers_weights"),
    Case("an adapter", adapter, "adapter"),
    Case("config.json is no JSON", text(CONFIG, "model_type: llama"), "not JSON"),
    Case("config.json is no UTF-8", text(CONFIG, b'{"model_type": "\xff"}'), "not JSON"),
    Case("config.json is a list", text(CONFIG, '["model_type"]'), "no settings by name"),
    Case("config.json of 100 MB", long_config, "larger than"),
    Case(
        "config.json nested deeply",
        text(CONFIG, '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
        "not JSON|nested deeper",
    ),
    Case("config.json nested somewhat", text(CONFIG, '{"a":' + "[" * 50 + "]" * 50 + "}"), "nested deeper"),
    Case(
        "config.json with a key twice",
        text(CONFIG, '{"model_type": "llama", "model_type": "llama"}'),
        "twice",
    ),
    Case("config.json with NaN", config(rms_norm_eps=float("nan")), "NaN is no number"),
    Case(
        "config.json with a number of 5,000 digits",
        text(CONFIG, '{"vocab_size": 1' + "0" * 5000 + "}"),
        "not JSON",
    ),
    Case("a width of 1e9", config(hidden_size=10**9), "hidden_size"),
    Case("1e6 layers", config(num_hidden_layers=10**6), "num_hidden_layers"),
    Case("more layers than tensors", many_layers, "1,000 layers, the files hold"),
    Case("a vocabulary of 2**40", config(vocab_size=2**40), "vocab_size"),
    Case("no layers", config(num_hidden_layers=0), "num_hidden_layers"),
    Case("a negative width", config(hidden_size=-32), "hidden_size"),
    Case("text for a number", config(hidden_size="32"), "hidden_size"),
    Case("a fraction for a count", config(num_attention_heads=2.5), "num_attention_heads"),
    Case("true for a count", config(num_hidden_layers=True), "num_hidden_layers"),
    Case("a negative epsilon", config(rms_norm_eps=-1.0), "rms_norm_eps"),
    Case("dropout of 2", config(attention_dropout=2.0), "attention_dropout"),
    Case("text for a switch", config(tie_word_embeddings="false"), "tie_word_embeddings"),
    Case(
        "heads that do not divide",
        config(num_attention_heads=5, head_dim=None),
        "num_attention_heads|num_key_value_heads",
    ),
    Case("an id beyond the vocabulary", config(eos_token_id=420), "eos_token_id"),
    Case("an activation nobody knows", config(hidden_act="os.system"), "makes no model"),
    Case(
        "a kind of rotation nobody knows",
        config(rope_parameters={"rope_type": "evil", "rope_theta": 1e4}),
        "makes no model",
    ),
    Case(
        "rotation by nothing",
        config(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 0}),
        "not finite|makes no model",
    ),
    Case("an encoder-decoder", config(is_encoder_decoder=True), "decoders only"),
    Case("a smaller vocabulary than the weights'", config(vocab_size=400), "shape"),
    Case("another width than the weights'", config(intermediate_size=65), "shape"),
    Case("a tensor is missing", tensors(lambda found: found.pop(NORM)), f"lacks {NORM}"),
    Case(
        "a tensor too many",
        tensors(lambda found: found.update({"model.evil": found[NORM].clone()})),
        "model.evil",
    ),
    Case("a layer too many", config(num_hidden_layers=1), "layers.1"),
    Case("another shape", tensors(lambda found: found.update({NORM: found[NORM][:16].clone()})), "shape"),
    Case("whole numbers for weights", tensors(as_integers), "holds I32"),
    Case("a second head that differs", tensors(other_head), "lm_head.weight differs"),
    Case("a weight is NaN", with_number(float("nan")), f"{NORM} holds numbers that are not finite"),
    Case("a weight is infinite", with_number(float("-inf")), f"{NORM} holds numbers that are not finite"),
    Case("a header of 2**63 bytes", huge_length(2**63), "a header of 9,223,372,036,854,775,808"),
    Case("a header longer than the file", huge_length(10**7), "a header of 10,000,000"),
    Case(
        "a header of 100 MB",
        lambda folder: sparse(folder / WEIGHTS, 120_000_000, (110_000_000).to_bytes(8, "little") + b"{"),
        "the most is",
    ),
    Case("a header of many objects", bomb_of_objects, "more than"),
    Case(
        "a header nested deeply",
        header(lambda found: b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
        "not JSON|nested",
    ),
    Case("a header that is a list", header(lambda found: b"[]"), "not safetensors"),
    Case(
        "a header that is no UTF-8",
        header(lambda found: json.dumps(found).encode().replace(b"norm", b"n\xffrm")),
        "not JSON",
    ),
    Case("a name twice", header(twice), "twice"),
    Case(
        "metadata that is no text",
        header(lambda found: found.update({"__metadata__": {"a": 1}})),
        "__metadata__",
    ),
    Case("overlapping tensors", offsets(NORM, lambda at: [at[0] - 4, at[1] - 4]), "overlap|hole"),
    Case(
        "tensors on one place",
        header(lambda found: found.__setitem__(NORM, found["model.layers.0.input_layernorm.weight"])),
        "overlap|hole",
    ),
    Case("offsets beyond the file", offsets(NORM, lambda at: [2**40, 2**40 + 128]), "not into the file"),
    Case("negative offsets", offsets(NORM, lambda at: [-128, 0]), "no whole numbers"),
    Case("offsets the wrong way", offsets(NORM, lambda at: [at[1], at[0]]), "do not fit"),
    Case("fractions for offsets", offsets(NORM, lambda at: [at[0] + 0.5, at[1] + 0.5]), "no whole numbers"),
    Case("three offsets", offsets(NORM, lambda at: [*at, 9]), "no whole numbers"),
    Case("a shape whose product overflows", swap_entry("shape", [2**32, 2**32]), "do not fit"),
    Case("a shape of 1e6 sides", swap_entry("shape", [1] * 10**5), "no whole numbers"),
    Case("a type nobody knows", swap_entry("dtype", "PICKLE"), "unknown type"),
    Case("an entry with more", swap_entry("code", "x"), "and nothing else"),
    Case("the data is cut", cut(4000), "do not fit|file has"),
    Case("bytes left over", cut(-64), "the file has"),
    Case("16 TB of holes", large_model, "this machine has"),
    Case(
        "the index leaves its folder",
        shards(lambda folder, at: outside(at, "../evil.safetensors")),
        "outside of its folder",
    ),
    Case(
        "the index has an absolute path",
        shards(lambda folder, at: outside(at, "/etc/passwd.safetensors")),
        "outside of its folder",
    ),
    Case(
        "the index names a pickle",
        shards(lambda folder, at: outside(at, "pytorch_model.bin")),
        "no .safetensors",
    ),
    Case("the index names a linked shard", shards(shard_elsewhere), "link out of its folder"),
    Case("the index names a loop", shards(loop), "no such file"),
    Case(
        "the index names a missing shard",
        shards(lambda folder, at: outside(at, "model-00002-of-00002.safetensors")),
        "no such file",
    ),
    Case("the index names 1e6 shards", long_index, "larger than"),
    Case(
        "the index names 1,000 shards",
        shards(lambda folder, at: at.update({f"t{n}": f"{n}.safetensors" for n in range(1000)})),
        "the most is",
    ),
    Case(
        "the index misses a tensor",
        shards(lambda folder, at: at.pop(NORM) and None),
        "do not agree on model.norm",
    ),
    Case("the index names no file", shards(lambda folder, at: at.update({NORM: 7})), "no weight_map"),
    Case("weights and an index", both, "which of them"),
    Case("weights linked to a secret", link(WEIGHTS, "/etc/passwd"), "link out of its folder"),
    Case("weights linked to zeros", link(WEIGHTS, "/dev/zero"), "link out of its folder"),
    Case("config.json linked to a secret", link(CONFIG, "/etc/passwd"), "link out of its folder"),
    Case("weights linked to nothing", link(WEIGHTS, "nothing"), "no such file"),
    Case("weights are a pipe", special(WEIGHTS, os.mkfifo), "no regular file"),
    Case("config.json is a pipe", special(CONFIG, os.mkfifo), "no regular file"),
    Case("tokenizer_config.json is a pipe", special("tokenizer_config.json", os.mkfifo), "no regular file"),
    Case("weights are a folder", special(WEIGHTS, Path.mkdir), "no regular file"),
    Case("config.json is a folder", special(CONFIG, Path.mkdir), "no regular file"),
]
