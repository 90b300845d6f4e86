"""The use room: a model and a prompt in, text out, as it is generated.

    with open_model("runs/mine") as model:
        model.generate("def ").text
        model.generate_all(prompts, Sample(temperature=0.7))
        model.answer("How do I read a file?").text

A model that was tuned on conversations is asked in their form, with the ids that stood before such an answer in
training; its folder's fixtures show first that tokenizer and template still make these ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whet import hardware
from whet.errors import WhetError
from whet.models import hub
from whet.models.generation import DecodingSettings
from whet.models.hub import Say
from whet.models.tuned import base_of, is_adapter, open_result
from whet.progress import aside
from whet.text import tokenizer as tokenizers
from whet.text.chat import FIXTURES_FILE, Chat, verify
from whet.text.tokenizer import Tokenizer
from whet.use.choose import choose_model, choose_type, taught_to_fill_in
from whet.use.model import GREEDY, NEW_TOKENS, Generated, OpenModel
from whet.use.stream import OnText


def generate(
    target: str | Path,
    prompt: str,
    decoding: DecodingSettings = GREEDY,
    *,
    stage: str | None = None,
    suffix: str | None = None,
    system: str = "",
    as_chat: bool | None = None,
    new_tokens: int = NEW_TOKENS,
    seed: int = 42,
    device: str = "auto",
    on_text: OnText | None = None,
    echo: bool = False,
    say: Say = aside,
) -> Generated:
    """Open the model of a run (or in a folder), continue `prompt` or answer it once, and close it.

    `as_chat`: the prompt is a user's message, after `system` if there is one; None decides by what the model was tuned
    on. The rest as for `open_model`, `OpenModel.generate` and `OpenModel.answer`, whose errors it raises.
    """
    folder = choose_model(Path(target), stage)
    chatting = talks(folder) and suffix is None if as_chat is None else as_chat
    if chatting and suffix is not None:
        raise WhetError("--chat and --suffix are two ways to ask", where="generate", fix="keep one")
    if system and not chatting:
        raise WhetError(
            "a system message is for models that are asked as a chat", where="generate", fix="add --chat"
        )
    if suffix is not None and taught_to_fill_in(folder) is False:
        say("note: this stage was not trained to fill in middles (fill_in_the_middle)")
    asked: dict[str, Any] = {"new_tokens": new_tokens, "seed": seed, "on_text": on_text}
    with _opened(folder, device=device, precision="auto", chat=chatting, say=say) as model:
        if chatting:
            return model.answer(prompt, decoding, system=system, **asked)
        return model.generate(prompt, decoding, suffix=suffix, echo=echo, **asked)


def talks(model_folder: Path) -> bool:
    """Whether the model in this folder was tuned on conversations."""
    return (model_folder / FIXTURES_FILE).exists()


def open_model(
    target: str | Path,
    *,
    stage: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    chat: bool = False,
    say: Say = aside,
) -> OpenModel:
    """Load the model of a run (of its last finished stage, or of `stage`), or the one in a folder, for several calls.

    A model that whet tuned on conversations answers them; `chat` asks that of any whose tokenizer has a template.
    `precision`: fp32, bf16, fp16, or auto, which is what the device can do. `say` is told what a person should know.
    Raises ArtefactError if there is no finished model, WhetError if there is no template where one is asked for, and
    DataError if tokenizer and template no longer do what the model was trained with.
    """
    if precision != "auto":
        choose_type(precision, "precision")
    return _opened(choose_model(Path(target), stage), device=device, precision=precision, chat=chat, say=say)


def _opened(model_folder: Path, *, device: str, precision: str, chat: bool, say: Say) -> OpenModel:
    tuned_to_talk = talks(model_folder)
    if chat and not tuned_to_talk:
        say(f"{model_folder} was not tuned on conversations by whet; its template is taken as it is")
    home = _tokenizer_folder(model_folder, say)
    template = Chat.of(home) if chat or tuned_to_talk else None
    try:
        if template and tuned_to_talk:
            verify(model_folder, template)
        chosen = hardware.choose_device(device)
        decoder = open_result(
            model_folder, device=chosen, precision=hardware.choose_precision(precision, chosen)[0], say=say
        )
    except BaseException:
        if template:
            template.close()
        raise
    if template:
        decoder.stop_ids = tuple(dict.fromkeys([*template.stop_ids(), *decoder.stop_ids]))
    tokenizer = template.tokenizer if template else tokenizers.load(home)
    return OpenModel(decoder, tokenizer, template, model_folder)


def tokenizer_of(target: str | Path, *, stage: str | None = None, say: Say = aside) -> Tokenizer:
    """The tokenizer of a run's model, or of the one in a folder. Raises ArtefactError as `open_model`."""
    return tokenizers.load(_tokenizer_folder(choose_model(Path(target), stage), say))


def _tokenizer_folder(model_folder: Path, say: Say) -> Path:
    """Where the tokenizer lies: an adapter from elsewhere may have none beside it."""
    if (model_folder / "tokenizer.json").exists() or not is_adapter(model_folder):
        return model_folder
    return hub.of(base_of(model_folder), weights=False, say=say)
