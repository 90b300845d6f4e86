"""A base model by name: a folder as it is, or a hub repository through huggingface_hub and its cache.

Only files of settings, tokenizers and safetensors weights are asked for, and of the weights exactly those that
`whet.models.saved` reads: no code, no pickles, no second copy in another format. What is missing or refused is
found from the list of files, before a weight is downloaded. Nothing is written outside the hub's cache; where that
lies, which hub is asked, with which token, and whether at all, is huggingface_hub's own doing (HF_HOME,
HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE). Imports no torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from whet import store, untrusted
from whet.errors import ArtefactError, WhetError
from whet.progress import amount

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
    "chat_fixtures.json",  # of a model that whet tuned: which tokens its users must not write
)
SETTINGS = (CONFIG, "generation_config.json", *TOKENIZER)
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
TOO_MANY = 429
"""What a hub answers when it is asked too often."""
ANSWER_S = 10.0
"""How long the hub may take to answer a question (not to send weights)."""
BESIDES_BYTES = 100_000_000
"""Free space beyond the files themselves that a download must leave."""

Say = Callable[[str], None]


class Base(Protocol):
    """Which base a recipe names (`whet.recipe.schema.Tuned`)."""

    @property
    def base(self) -> str:
        """A folder, or a repository as owner/name."""

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit."""

    @property
    def cache_dir(self) -> str | None:
        """Where downloads are kept, if not where the hub's library keeps them."""


def silent(text: str) -> None:
    """A `Say` that nobody hears."""


def find(
    name: str | Path,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    weights: bool = True,
    say: Say = silent,
) -> Path:
    """The folder of a base model: `name` itself if it is one, else the hub's repository in the local cache.

    `revision` is a branch, tag or commit of the hub's repository. Without `weights` settings and tokenizer are enough;
    that the repository has weights is still looked at. `say` hears of sizes and of what is used instead.
    Raises ArtefactError with the step to take, before anything is downloaded, and CannotWrite for a full disk.
    """
    folder = _local(name, revision)
    if folder is not None:
        return folder
    return _Repository(str(name), revision, cache_dir, say).download(weights=weights)


def of(settings: Base, *, weights: bool = True, say: Say = silent) -> Path:
    """`find` for what a recipe names."""
    return find(
        settings.base, revision=settings.revision, cache_dir=_cache(settings), weights=weights, say=say
    )


def config_of(settings: Base) -> dict[str, Any]:
    """`config` for what a recipe names."""
    return config(settings.base, revision=settings.revision, cache_dir=_cache(settings))


def _cache(settings: Base) -> Path | None:
    return Path(settings.cache_dir) if settings.cache_dir else None


def config(
    name: str | Path, *, revision: str | None = None, cache_dir: Path | None = None, say: Say = silent
) -> dict[str, Any]:
    """The config.json of a base model as plain values, for planning before its weights are there. Raises as `find`."""
    folder = _local(name, revision)
    if folder is None:
        folder = _Repository(str(name), revision, cache_dir, say).settings_only()
    return untrusted.settings_inside(folder, CONFIG)


def _local(name: str | Path, revision: str | None) -> Path | None:
    """`name` as a folder; None if it can only be a repository. Raises ArtefactError for what is neither."""
    path = Path(os.path.expanduser(name))
    if os.path.isdir(path):
        if revision is not None:
            raise ArtefactError(
                f"is a folder on this machine, which has no revision {revision!r}",
                where=str(path),
                fix="leave the revision out, or name a repository of the hub",
            )
        return path
    if os.path.lexists(path):
        raise ArtefactError(
            "is a file; a base model is a folder with config.json and its weights",
            where=str(path),
            fix=f"give the folder: {path.parent}",
        )
    text = str(name)
    if text.startswith((".", "/", "~")) or "\\" in text or text.count("/") > 1:
        raise ArtefactError(
            f"there is no such folder (looked for {path.absolute()}), and no repository is named like this",
            where=text,
            fix="give the path of a saved model's folder, or a repository as owner/name",
        )
    return None


class _Repository:
    """One repository at one revision, and the cache that it goes to."""

    def __init__(self, name: str, revision: str | None, cache_dir: Path | None, say: Say) -> None:
        from huggingface_hub import constants
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id

        self.name, self.revision, self.say = name, revision, say
        self.cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
        try:
            validate_repo_id(name)
        except HFValidationError as error:
            raise ArtefactError(
                f"is no folder (looked for {Path(name).absolute()}) and no name a repository can have: letters, digits, "
                "'-', '_' and '.', as owner/name",
                where=name[:200],
                fix="look at the spelling",
            ) from error

    def download(self, *, weights: bool) -> Path:
        """The snapshot's folder with everything that is needed in it."""
        from huggingface_hub import snapshot_download

        listed = self._listed()
        if listed is None:
            return self._cached(weights=weights)
        wanted = [file for file in self._wanted(listed) if weights or file in SETTINGS]
        self._require_room({file: listed[file] for file in wanted}, quiet=not weights)
        patterns = [_literally(file) for file in wanted]
        with self._explained():
            folder = snapshot_download(
                self.name, revision=self.revision, cache_dir=self.cache, allow_patterns=patterns
            )
        return Path(folder)

    def settings_only(self) -> Path:
        """A snapshot's folder with config.json in it, and perhaps nothing else."""
        listed = self._listed()  # asked first: it fails at once where a download would try for half a minute
        if listed is not None and CONFIG not in listed:
            raise self._error(f"has no {CONFIG}, so it is no model", self._others(listed))
        return self._file(CONFIG, local_only=listed is None).parent

    def _file(self, name: str, *, local_only: bool = False) -> Path:
        from huggingface_hub import hf_hub_download

        with self._explained(name):
            return Path(
                hf_hub_download(
                    self.name,
                    name,
                    revision=self.revision,
                    cache_dir=self.cache,
                    etag_timeout=ANSWER_S,
                    local_files_only=local_only,
                )
            )

    def _listed(self) -> dict[str, int] | None:
        """Files of the repository and their sizes in bytes; None if the hub cannot be asked and the cache may do."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HfHubHTTPError

        if constants.HF_HUB_OFFLINE:
            return None
        try:
            about = HfApi().model_info(
                self.name, revision=self.revision, files_metadata=True, timeout=ANSWER_S
            )
        except HfHubHTTPError as error:
            status = getattr(getattr(error, "response", None), "status_code", None) or 0
            if (status < 500 and status != TOO_MANY) or not self._has_snapshot():
                raise self._refusal(error, None) from error
            self.say(
                f"base {self.name}: {constants.ENDPOINT} answers {status}, the copy in {self.cache} is used"
            )
            return None
        except (_network_error(), OSError) as error:
            if not self._has_snapshot():
                raise self._unreachable(error) from error
            self.say(
                f"base {self.name}: {constants.ENDPOINT} cannot be reached, the copy in {self.cache} is used"
            )
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise self._error(
                f"cannot be asked for: {constants.ENDPOINT} answers, but not as a hub does",
                "is HF_ENDPOINT a hub? Does a network's sign-in page answer in its place?",
            ) from error
        return {sibling.rfilename: sibling.size or 0 for sibling in about.siblings or ()}

    def _wanted(self, listed: dict[str, int]) -> list[str]:
        """The files to download. Raises ArtefactError if they make no model that whet reads."""
        if CONFIG not in listed:
            raise self._error(f"has no {CONFIG}, so it is no model", self._others(listed))
        settings = [file for file in SETTINGS if file in listed]
        if WEIGHTS in listed:
            return [*settings, WEIGHTS]
        if INDEX in listed:
            shards = _shards(self._file(INDEX))
            missing = [file for file in shards if file not in listed]
            if missing:
                raise self._error(
                    f"lacks {missing[0][:80]}, which its {INDEX} names", "ask its owner for the missing file"
                )
            return [*settings, INDEX, *shards]
        raise self._error(*self._no_weights(listed))

    def _no_weights(self, listed: dict[str, int]) -> tuple[str, str]:
        pickles = [file for file in listed if file.endswith(PICKLES)]
        if pickles:
            what = (
                f"has its weights as pickles only ({pickles[0][:80]}), which can run code when they are read"
            )
            fix = "its pull requests may have a safetensors version (refs/pr/N); or convert it on a machine you can lose"
            return what, fix
        return f"has neither {WEIGHTS} nor {INDEX}", self._others(listed)

    def _others(self, listed: dict[str, int]) -> str:
        if any(file.endswith(".gguf") for file in listed):
            return "GGUF is for running models; name the repository that it was made from"
        if "adapter_config.json" in listed:
            return "this is an adapter; name the base model that its adapter_config.json names"
        return "name a repository of a causal language model in transformers' format"

    def _require_room(self, files: dict[str, int], *, quiet: bool) -> None:
        """Say what will be downloaded. Raises ArtefactError if it does not fit on the disk."""
        from huggingface_hub import try_to_load_from_cache

        there = [
            file
            for file in files
            if isinstance(
                try_to_load_from_cache(self.name, file, cache_dir=self.cache, revision=self.revision), str
            )
        ]
        needed = sum(size for file, size in files.items() if file not in there)
        if not needed and quiet:
            return
        if not needed:
            self.say(f"base {self.name}: {amount(sum(files.values()), 'B')}, in {self.cache} already")
            return
        self.say(f"base {self.name}: {amount(needed, 'B')} to download to {self.cache}")
        place = next(parent for parent in (self.cache, *self.cache.absolute().parents) if parent.exists())
        free = shutil.disk_usage(place).free
        if needed + BESIDES_BYTES > free:
            raise self._error(
                f"takes {amount(needed, 'B')} more, and {amount(free, 'B')} are free in {self.cache}",
                "free some space, or set HF_HUB_CACHE to a folder on a larger disk",
            )

    def _cached(self, *, weights: bool) -> Path:
        """The snapshot in the cache, without asking anybody."""
        from huggingface_hub import snapshot_download

        with self._explained():
            folder = Path(
                snapshot_download(
                    self.name,
                    revision=self.revision,
                    cache_dir=self.cache,
                    local_files_only=True,
                    allow_patterns=[_literally(file) for file in SETTINGS],
                )
            )
        if not (folder / CONFIG).exists() or (weights and not _has_weights(folder)):
            raise self._error(f"is only partly in {self.cache}", self._fetch_beforehand())
        return folder

    def _has_snapshot(self) -> bool:
        from huggingface_hub.file_download import repo_folder_name

        name: str = repo_folder_name(repo_id=self.name, repo_type="model")
        return (self.cache / name / "snapshots").is_dir()

    @contextmanager
    def _explained(self, file: str | None = None) -> Iterator[None]:
        """Around calls of huggingface_hub: what goes wrong there says what to do."""
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            with store.writing(self.cache):
                yield
        except WhetError:
            raise
        except HfHubHTTPError as error:
            raise self._refusal(error, file) from error
        except LocalEntryNotFoundError as error:
            raise self._not_cached(error, file) from error
        except (_network_error(), OSError) as error:
            raise self._unreachable(error) from error

    def _refusal(self, error: Exception, file: str | None) -> ArtefactError:
        from huggingface_hub import constants, errors

        page = f"{constants.ENDPOINT}/{self.name}"
        if isinstance(error, errors.GatedRepoError):
            return self._error(
                "is gated: its owner wants a licence accepted first",
                f"accept it on {page}, then `hf auth login` (or set HF_TOKEN) with an account that has access",
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return self._error(
                f"has no revision {self.revision!r}",
                f"see {page}/refs for branches and tags, or leave it out",
            )
        if isinstance(error, errors.EntryNotFoundError):
            return self._error(f"has no {file or 'such file'}", f"see {page}/tree/main for what is there")
        if isinstance(error, errors.RepositoryNotFoundError):
            return self._error(
                f"is neither a folder here (looked for {Path(self.name).absolute()}) nor a repository at {page}",
                "look at the spelling and the folder you are in; a private repository needs `hf auth login` or HF_TOKEN",
            )
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            return self._error(
                f"is refused by the hub ({status})",
                f"the token is wrong or lacks access to {page}: `hf auth login`, or another HF_TOKEN",
            )
        return self._error(
            f"cannot be had from {constants.ENDPOINT} now ({status or str(error)[:200]})", "try again later"
        )

    def _not_cached(self, error: Exception, file: str | None) -> ArtefactError:
        from huggingface_hub import constants

        if file is None and self._has_snapshot():
            return self._error(f"is only partly in {self.cache}", self._fetch_beforehand())
        cause = error.__cause__
        if cause is not None and not constants.HF_HUB_OFFLINE:
            return self._unreachable(cause)
        what = f"{file} of it is" if file else "is"
        return self._error(f"{what} not in {self.cache}, and HF_HUB_OFFLINE is set", self._fetch_beforehand())

    def _unreachable(self, error: BaseException) -> ArtefactError:
        from huggingface_hub import constants

        return self._error(
            f"cannot be asked for: {constants.ENDPOINT} does not answer ({type(error).__name__}: {str(error)[:200]}), "
            f"and {self.cache} has no copy",
            f"look at the network, HTTPS_PROXY and HF_ENDPOINT; or {self._fetch_beforehand()}",
        )

    def _fetch_beforehand(self) -> str:
        revision = f" --revision {self.revision}" if self.revision else ""
        return (
            f"fetch it where there is a network, `hf download {self.name}{revision}`, and bring that cache here "
            "(HF_HOME), or name a local folder"
        )

    def _error(self, what: str, fix: str) -> ArtefactError:
        at = f" at {self.revision}" if self.revision else ""
        return ArtefactError(what, where=f"base model {self.name}{at}", fix=fix)


def _network_error() -> type[Exception]:
    """What the client library of huggingface_hub raises for connections; which library that is changes with versions."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


def _literally(name: str) -> str:
    """A pattern that is this very name."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _shards(index: Path) -> list[str]:
    """The files of weights that an index names. Raises ArtefactError if it names none, or other things."""
    names = untrusted.settings_inside(index.parent, index.name).get("weight_map")
    values = names.values() if isinstance(names, dict) else ()
    files = sorted({name for name in values if isinstance(name, str)})
    bad = [name for name in files if not name.endswith(".safetensors") or "/" in name or "\\" in name]
    if not files or bad:
        what = f"names {bad[0][:80]!r}, which is no .safetensors file beside it" if bad else "names no files"
        raise ArtefactError(what, where=str(index))
    return files


def _has_weights(folder: Path) -> bool:
    if (folder / WEIGHTS).exists():
        return True
    return (folder / INDEX).exists() and all((folder / name).exists() for name in _shards(folder / INDEX))
