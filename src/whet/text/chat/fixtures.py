"""A few fixed conversations with the ids a tokenizer and template give them, kept beside a model.

Whoever loads the model's folder can see whether it still asks as it was trained: another template, another
tokenizer's version or another way to render changes ids, and mostly nobody notices. What a template refuses is part
of the fixtures too.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from whet import untrusted
from whet.errors import DataError
from whet.store import write_json, write_text
from whet.text.chat.chat import Chat, Encoded
from whet.text.chat.template import FILE as TEMPLATE_FILE
from whet.text.chat.written import FILE as FILE
from whet.text.conversation import Conversation, Message
from whet.text.refused import Refused
from whet.text.tokenizer_bounds import data_errors

SCHEMA = 2
SPECIAL_ONLY = 1
"""The schema of folders from when only special tokens counted as the template's; what it has is compared."""
WRITTEN = "written"

_ASKED, _ANSWERED = Message("user", "What is 2 + 2?"), Message("assistant", "4, of course.\n\nÄ 😀")
_FURTHER = (Message("user", "  And 3 + 3?\n"), Message("assistant", "\n6"))


def conversations(chat: Chat) -> dict[str, Conversation]:
    """The fixed conversations by name."""
    special = chat.tokenizer.special_tokens.values()
    control, written = ("".join(sorted(names)[:8]) for names in (special, chat.specials.ids.keys() - special))
    kinds: dict[str, tuple[Message, ...]] = {
        "single turn": (_ASKED, _ANSWERED),
        "several turns": (_ASKED, _ANSWERED, *_FURTHER),
        "system": (Message("system", "You are brief."), _ASKED, _ANSWERED),
        "empty system": (Message("system", ""), _ASKED, _ANSWERED),
        "input": (Message("user", "Add up.", input="2, 2"), _ANSWERED),
        "control": (Message("user", f"What is {control}?"), _ANSWERED),
        WRITTEN: (Message("user", f"What is {written}?"), _ANSWERED),
    }
    return {name: Conversation(messages) for name, messages in kinds.items()}


def fixtures(chat: Chat) -> dict[str, Any]:
    """Plain data for FILE: the template's SHA-256, what stops, the recipe's new tokens, and ids and masks (0 and 1) of
    every example."""
    return {
        "schema": SCHEMA,
        "template_sha256": chat.template.sha256,
        "stop_ids": chat.stop_ids(),
        "new_tokens": list(chat.new_tokens),
        "conversations": {name: _examples(chat, one) for name, one in conversations(chat).items()},
    }


def save(chat: Chat, folder: Path) -> None:
    """Write the template and the fixtures beside a tokenizer."""
    write_text(folder / TEMPLATE_FILE, chat.template.text)
    write_json(folder / FILE, fixtures(chat))


def verify(folder: Path, opened: Chat | None = None) -> None:
    """Compare a folder's tokenizer and template (`opened`, if they are) with its fixtures.

    Raises DataError that names the first difference, or the file that is missing or no such thing.
    """
    with data_errors(str(folder / FILE)):
        kept = untrusted.settings_inside(folder, FILE)
    if kept.get("schema") not in (SCHEMA, SPECIAL_ONLY):
        raise DataError(f"has schema {kept.get('schema')!r}, not {SCHEMA}", where=str(folder / FILE))
    with nullcontext(opened) if opened else Chat.of(folder) as chat:
        now = fixtures(chat)
        if kept["schema"] == SPECIAL_ONLY:
            del now["conversations"][WRITTEN]
            now["stop_ids"] = [index for index in now["stop_ids"] if index in chat.tokenizer.special_tokens]
        difference = _difference(kept, now, chat)
    if difference:
        raise DataError(
            f"tokenizer and chat template no longer do what the model was trained with: {difference}",
            where=str(folder),
            fix="take back the files the model was saved with",
        )


def _examples(chat: Chat, conversation: Conversation) -> list[dict[str, Any]] | str:
    try:
        return [_plain(example) for example in chat.encode(conversation)]
    except Refused as why:
        return str(why)


def _plain(example: Encoded) -> dict[str, Any]:
    return {"ids": example.ids, "learned": [int(one) for one in example.learned]}


def _difference(kept: dict[str, Any], now: dict[str, Any], chat: Chat) -> str:
    """The first difference in words, "" if there is none."""
    stored = kept.get("conversations")
    if not isinstance(stored, dict):
        return "the fixtures hold no conversations"
    for name, examples in now["conversations"].items():
        before = stored.get(name)
        if before != examples:
            return f"conversation {name!r}: {_first(before, examples, chat)}"
    for key in ("stop_ids", "template_sha256"):
        if kept.get(key) != now[key]:
            return f"{key} was {kept.get(key)!r}, is {now[key]!r}"
    return ""


def _first(before: Any, now: Any, chat: Chat) -> str:
    comparable = isinstance(before, list) and all(isinstance(one, dict) for one in before)
    if not (comparable and isinstance(now, list) and len(before) == len(now)):
        return f"was {_short(before)}, is {_short(now)}"
    for number, (old, new) in enumerate(zip(before, now, strict=True)):
        for key, what in (("ids", "id"), ("learned", "mask")):
            one, other = old.get(key), new[key]
            if not isinstance(one, list):
                return f"example {number} has no {key}"
            for at in range(max(len(one), len(other))):
                pair = [values[at] if at < len(values) else None for values in (one, other)]
                if pair[0] != pair[1]:
                    text = chat.tokenizer.backend.id_to_token(new["ids"][at]) if at < len(new["ids"]) else ""
                    return f"example {number}, position {at}: {what} was {pair[0]}, is {pair[1]} ({text!r})"
    return "differs"


def _short(value: Any) -> str:
    return f"{len(value)} examples" if isinstance(value, list) else repr(value)


def stop_ids(folder: Path) -> list[int]:
    """What ends an answer, as a folder's fixtures say. Raises DataError for what are no ids."""
    with data_errors(str(folder / FILE)):
        found = untrusted.settings_inside(folder, FILE).get("stop_ids")
    if not isinstance(found, list) or not all(type(one) is int and one >= 0 for one in found):
        raise DataError("stop_ids are no ids", where=str(folder / FILE))
    return found
