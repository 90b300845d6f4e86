"""Answers that do not end: end tokens that were never learned, or that generation does not stop at."""

from __future__ import annotations

from collections.abc import Iterator

from whet.doctor.case import Case, template_of
from whet.doctor.finding import CannotLook, Check, Finding
from whet.models.saved import stop_ids_in
from whet.text import tokenizer as tokenizers
from whet.text.chat import Chat, stop_ids

STOPS = "stop tokens"
UNENDED_SHARE, CUT_SHARE = 0.01, 0.1
"""Above this share of answers without an end token, or of examples cut before it, a model learns to go on."""


class Stops(Check):
    """Compares what ends the template's answers with generation_config.json, and counts answers without an end."""

    NAME = "stops"
    SUMMARY = "stop tokens that are missing or never learned"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs prepared conversations, or a model with a chat template."""
        if case.recipe is not None and not case.teaches_chats:
            raise CannotLook("no stage learns from conversations")
        if case.teaches_chats:
            yield from _unended(case)
        try:
            folder = case.result
        except CannotLook:
            if not case.teaches_chats:
                raise
            return
        ends = stop_ids(folder) if case.converses else _of_the_template(case)
        stopping = stop_ids_in(folder) or (stop_ids_in(case.base) if case.is_adapter else ())  # as in use
        if not stopping and not case.converses:
            raise CannotLook("no generation_config.json says where it stops")
        missing = [one for one in ends if one not in stopping]
        if missing:
            names = tokenizers.load(folder).special_tokens
            yield _finding(
                str(folder / "generation_config.json"),
                f"answers end with {', '.join(names.get(one, str(one)) for one in missing)}, which eos_token_id does not name",
                "the generation settings are those of the base, or were changed",
                f"add {', '.join(map(str, missing))} to eos_token_id",
            )


def _unended(case: Case) -> Iterator[Finding]:
    for stage, record in case.prepared_stages():
        chat = record.get("chat")
        if chat and stage.overflow == "truncate_right" and chat["answers_cut"] > CUT_SHARE * chat["examples"]:
            yield _finding(
                f"stage {stage.name}",
                f"in {chat['answers_cut']:,} of {chat['examples']:,} examples an answer is cut before its end",
                f"they are longer than sequence_length ({stage.sequence_length:,}), and overflow is truncate_right",
                "a longer sequence_length, or overflow: drop",
            )
        if chat and chat["answers_without_end"] > UNENDED_SHARE * chat["answers"]:
            yield _finding(
                f"stage {stage.name}",
                f"{chat['answers_without_end']:,} of {chat['answers']:,} answers end with no special token",
                "the chat template writes none behind an answer",
                "take a template that ends answers (chat_template: chatml, with model.new_tokens where the base lacks them)",
            )


def _of_the_template(case: Case) -> list[int]:
    """Of a model from elsewhere. Raises CannotLook where it may be a base that only has a template beside it."""
    template_of(case.result)
    with Chat.of(case.result) as chat:
        ends, eos = list(chat.stop_ids()), chat.tokenizer.special_ids["eos"]
    if ends[0] != eos:
        raise CannotLook("its template ends answers otherwise than its tokenizer ends texts: is it a base?")
    return ends


def _finding(where: str, evidence: str, cause: str, todo: str) -> Finding:
    return Finding(
        name=STOPS, where=where, evidence=evidence, cause=cause, todo=todo, explains=("looping output",)
    )
