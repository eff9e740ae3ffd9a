"""One file of a repository on the Hugging Face Hub: fetched, and verified against its hash."""

import hashlib
import os
import re
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import tqdm as hf_tqdm

from deo.errors import WeightsError
from deo.models import weight_files

_PATIENCE = 3
"""How often a transfer may start over."""


class Download(NamedTuple):
    """A file in the Hub's cache, and the commit that it belongs to."""

    path: Path
    repo: str
    commit: str
    file: str

    def __str__(self) -> str:
        return f"hub:{self.repo}@{self.commit}/{self.file}"


class _Bar(hf_tqdm):
    """A progress bar that gives up on a download that keeps starting over.

    huggingface_hub starts over, for ever, where a server breaks off early and cannot resume; it
    tells the bar by a negative step.
    """

    starts_over = 0

    def update(self, n: float | None = 1) -> bool | None:
        if n is not None and n < 0:
            self.starts_over += 1
        if self.starts_over > _PATIENCE:
            raise ConnectionError(f"the transfer broke off {self.starts_over} times, unresumed")
        shown: bool | None = super().update(n)
        return shown


def download(repo: str, revision: str, file: str, cache_dir: str | Path | None) -> Download:
    """Bring a file into the Hub's cache, or find it there.

    Raises:
        WeightsError: it is not there, or the Hub cannot be reached.
    """
    known = signature(huggingface_hub.hf_hub_download).parameters
    bar: dict[str, Any] = {"tqdm_class": _Bar} if "tqdm_class" in known else {}  # newer ones
    try:
        path = Path(
            huggingface_hub.hf_hub_download(
                repo, file, revision=revision, cache_dir=cache_dir, library_name="deo", **bar
            )
        )
    except Exception as error:  # the HTTP library behind it differs between versions
        raise unreachable(error, repo, revision, file) from error
    commit = path.parts[-1 - len(Path(file).parts)]  # .../snapshots/<commit>/<file>
    return Download(path=path, repo=repo, commit=commit, file=file)


def verify(downloaded: Download, remembered: str | None) -> str:
    """The file's SHA-256, proved against the Hub's word; a file that fails is removed.

    The Hub's ETag is the SHA-256 of a large file and the git blob hash of a small one.

    Args:
        downloaded: the file.
        remembered: the hash that it had before; None asks the Hub.

    Raises:
        WeightsError: the hashes differ, or the Hub gives none.
    """
    wanted = remembered or _hub_hash(downloaded)
    digest = weight_files.sha256(downloaded.path)
    if re.fullmatch(r"[0-9a-f]{64}", wanted):
        actual = digest
    elif re.fullmatch(r"[0-9a-f]{40}", wanted):
        actual = _git_blob_sha1(downloaded.path)
    else:
        raise WeightsError(
            f"{constants.ENDPOINT} gives no usable hash for {downloaded} (ETag {wanted!r}), "
            "so the file cannot be verified and is not used"
        )
    if actual == wanted:
        return digest
    size = downloaded.path.stat().st_size
    downloaded.path.resolve().unlink(missing_ok=True)
    downloaded.path.unlink(missing_ok=True)
    raise WeightsError(
        f"{downloaded} is damaged ({size} bytes): its hash is {actual}, the Hub says {wanted}. "
        "It was removed from the cache; try again"
    )


def _hub_hash(downloaded: Download) -> str:
    """The ETag: the name that the Hub's cache gives the blob, or else asked for once more."""
    if downloaded.path.is_symlink():
        return Path(os.readlink(downloaded.path)).name
    url = huggingface_hub.hf_hub_url(downloaded.repo, downloaded.file, revision=downloaded.commit)
    try:
        return huggingface_hub.get_hf_file_metadata(url).etag or ""
    except Exception as error:  # as in `download`
        raise unreachable(error, downloaded.repo, downloaded.commit, downloaded.file) from error


def _git_blob_sha1(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def unreachable(error: Exception, repo: str, revision: str, file: str) -> WeightsError:
    """What went wrong with a request, in words, and how to do without it."""
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        what = f"is not there ({constants.ENDPOINT} answered 404)"
    elif constants.HF_HUB_OFFLINE:
        what = "is not in the cache and HF_HUB_OFFLINE forbids to fetch it"
    else:
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
        reason = f"{type(cause or error).__name__}: {str(cause or error).strip()}".splitlines()[0]
        what = f"could not be fetched from {constants.ENDPOINT} ({reason})"
    return WeightsError(
        f"hub:{repo}@{revision}/{file} {what}. Connect once, or bring the file from "
        f"https://huggingface.co/{repo} and pass it as weights=FILE (--weights FILE)"
    )
