"""A chat template that is not the one the model was, or will be, trained with."""

from __future__ import annotations

from collections.abc import Iterator

from whet.doctor.case import Case, template_of
from whet.doctor.finding import CannotLook, Check, Finding
from whet.errors import DataError
from whet.text.chat import verify
from whet.text.chat.template import built_in, own

MISMATCH = "template mismatch"


class ChatTemplate(Check):
    """Renders the fixtures beside a result again; of a recipe, compares the template it names with the base's own."""

    NAME = "template"
    SUMMARY = "a chat template that is not the one of the training"

    @staticmethod
    def findings(case: Case) -> Iterator[Finding]:
        """Needs a model that converses, or a recipe that makes one."""
        looked = False
        if case.recipe is not None and case.recipe.tuned and case.teaches_chats:
            looked = True
            yield from _named(case)
        if case.model is not None or (case.folder is not None and (case.folder / "stages").exists()):
            yield from _fixtures(case, looked=looked)
        elif not looked:
            raise CannotLook("no stage learns from conversations")


def _named(case: Case) -> Iterator[Finding]:
    assert case.recipe is not None
    name, theirs = case.recipe.chat_template, own(case.base)
    if name is not None and theirs is not None and theirs.text != built_in(name).text:
        yield Finding(
            name=MISMATCH,
            where="chat_template",
            evidence=f"the recipe names {name}, the base has a template of its own ({theirs.origin}), which is used",
            cause="the base was tuned on conversations before, in its own form",
            todo="leave chat_template out, so that nobody expects the other form",
        )


def _fixtures(case: Case, *, looked: bool) -> Iterator[Finding]:
    folder = case.result
    if not case.converses:
        if not looked:
            template_of(folder)
            raise CannotLook(
                "it was not tuned by whet, so there are no fixtures to compare its template with"
            )
        return
    try:
        verify(folder)
    except DataError as error:
        yield Finding(
            name=MISMATCH,
            where=error.where or str(folder),
            evidence=error.what,
            cause="the template or the tokenizer's files beside the model were changed after its training",
            todo=error.fix or "take back the files the model was saved with",
            explains=("stop tokens",),
        )
