"""Released weights on the Hugging Face Hub: found, verified, converted once and remembered."""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import huggingface_hub
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from huggingface_hub.utils.tqdm import tqdm as hf_tqdm

from deo.errors import WeightsError
from deo.models import cache, convert, weight_files

if TYPE_CHECKING:
    from deo.models.registry import Published

SAVED_NAMES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm's `save_for_hf` gives weights, the preferred one first."""

_PATIENCE = 3
_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


class Fetched(NamedTuple):
    """A complete backbone on disk.

    `path` is our safetensors file, `sha256` belongs to the file as it was released, and `source`
    reads `hub:repo@commit/file`.
    """

    path: Path
    sha256: str
    source: str


class _Download(NamedTuple):
    path: Path
    repo: str
    commit: str
    file: str

    def __str__(self) -> str:
        return f"hub:{self.repo}@{self.commit}/{self.file}"


def fetch(
    name: str,
    published: "Published",
    expected: Callable[[], Mapping[str, convert.Shape]],
    *,
    cache_dir: str | Path | None = None,
) -> Fetched:
    """The released weights of a backbone as a local safetensors file with our names.

    The first call downloads the file, checks its hash against the Hub's, converts it and writes
    a note; later calls read the note and make no request.

    Args:
        name: the backbone.
        published: where its weights are.
        expected: gives names and shapes of the backbone with both stems; called when converting.
        cache_dir: instead of the Hub's own cache folder; ours is `deo` inside it.

    Raises:
        WeightsError: not found, not reachable, not what the Hub says it is, or of another model.
        OutputError: the cache cannot be written.
    """
    asked = f"{published.repo}@{published.revision}/{published.filename or published.pattern}"
    place = cache.folder(cache_dir)
    note = cache.recall(place, name, asked)
    if note is None or not cache.is_intact(place, name, note):
        download = _download(published, note, cache_dir)
        digest = _verify(download, None if note is None else note.sha256)
        note = cache.store(
            place,
            name,
            _converted(download, name, expected()),
            asked=asked,
            commit=download.commit,
            file=download.file,
            sha256=digest,
        )
    return Fetched(
        path=place / note.converted,
        sha256=note.sha256,
        source=f"hub:{published.repo}@{note.commit}/{note.file}",
    )


def fetch_saved(
    hub_id: str, file: str | None = None, *, cache_dir: str | Path | None = None
) -> Fetched:
    """Weights that timm's `push_to_hf_hub` stored, downloaded and verified, as they are.

    Args:
        hub_id: `owner/name` or `owner/name@revision`.
        file: default: the first of `SAVED_NAMES` that the repository holds.
        cache_dir: instead of the Hub's own cache folder.

    Raises:
        WeightsError: not found, not reachable or not what the Hub says it is.
    """
    repo, _, revision = hub_id.partition("@")
    names = (file,) if file else SAVED_NAMES
    for name in names:
        try:
            download = _obtain(repo, revision or "main", name, cache_dir)
            break
        except WeightsError as error:
            if name == names[-1] or not isinstance(error.__cause__, EntryNotFoundError):
                raise
    return Fetched(path=download.path, sha256=_verify(download, None), source=str(download))


def _download(
    published: "Published", note: cache.Note | None, cache_dir: str | Path | None
) -> _Download:
    """The released file in the Hub's cache; what a note says is kept."""
    if note is not None:
        file, revision = note.file, note.commit
    elif published.filename is not None:
        file, revision = published.filename, published.revision or "main"
    else:
        file, revision = _find_file(published)
    return _obtain(published.repo, revision, file, cache_dir)


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


def _obtain(repo: str, revision: str, file: str, cache_dir: str | Path | None) -> _Download:
    known = signature(huggingface_hub.hf_hub_download).parameters
    bar: dict[str, Any] = {"tqdm_class": _Bar} if "tqdm_class" in known else {}  # newer ones
    try:
        path = Path(
            huggingface_hub.hf_hub_download(
                repo, file, revision=revision, cache_dir=cache_dir, library_name="deo", **bar
            )
        )
    except Exception as error:  # the HTTP library behind it differs between versions
        raise _explained(error, repo, revision, file) from error
    commit = path.parts[-1 - len(Path(file).parts)]  # .../snapshots/<commit>/<file>
    return _Download(path=path, repo=repo, commit=commit, file=file)


def _find_file(published: "Published") -> tuple[str, str]:
    """The one weights file that the pattern means, and the revision that holds it.

    The pinned revision is searched first, then the newest: the file may be younger than the pin.
    """
    pattern = (published.pattern or "").lower()
    weights: list[str] = []
    for revision in dict.fromkeys((published.revision or "main", "main")):
        try:
            listed = huggingface_hub.list_repo_files(published.repo, revision=revision)
        except Exception as error:  # as above
            raise _explained(error, published.repo, revision, f"*{pattern}*") from error
        weights = sorted(name for name in listed if name.lower().endswith(_SUFFIXES))
        chosen = [name for name in weights if pattern in Path(name).name.lower()]
        if len(chosen) == 1:
            return chosen[0], revision
        if chosen:
            break
    raise WeightsError(
        f"hub:{published.repo} should hold one weights file whose name says {pattern}, and holds "
        f"{len(chosen)}; weights files there: {', '.join(weights) or 'none'}. "
        "Download the right one and pass it as weights=FILE (--weights FILE)"
    )


def _verify(download: _Download, remembered: str | None) -> str:
    """The file's SHA-256, proved against the Hub's word; a file that fails is removed.

    The Hub's ETag is the SHA-256 of a large file and the git blob hash of a small one.
    """
    wanted = remembered or _hub_hash(download)
    digest = weight_files.sha256(download.path)
    if re.fullmatch(r"[0-9a-f]{64}", wanted):
        found = digest
    elif re.fullmatch(r"[0-9a-f]{40}", wanted):
        found = _git_blob_sha1(download.path)
    else:
        raise WeightsError(
            f"{constants.ENDPOINT} gives no usable hash for {download} (ETag {wanted!r}), "
            "so the file cannot be verified and is not used"
        )
    if found == wanted:
        return digest
    size = download.path.stat().st_size
    download.path.resolve().unlink(missing_ok=True)
    download.path.unlink(missing_ok=True)
    raise WeightsError(
        f"{download} is damaged ({size} bytes): its hash is {found}, the Hub says {wanted}. "
        "It was removed from the cache; try again"
    )


def _hub_hash(download: _Download) -> str:
    """The ETag: the name that the Hub's cache gives the blob, or else asked for once more."""
    if download.path.is_symlink():
        return Path(os.readlink(download.path)).name
    url = huggingface_hub.hf_hub_url(download.repo, download.file, revision=download.commit)
    try:
        return huggingface_hub.get_hf_file_metadata(url).etag or ""
    except Exception as error:  # as above
        raise _explained(error, download.repo, download.commit, download.file) from error


def _git_blob_sha1(path: Path) -> str:
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _converted(
    download: _Download, name: str, expected: Mapping[str, convert.Shape]
) -> dict[str, torch.Tensor]:
    try:
        content = weight_files.read(download.path, verified=True).content
        return convert.to_deo(content, expected, model=name).tensors
    except WeightsError as error:
        raise WeightsError(f"{download}: {error}") from error


def _explained(error: Exception, repo: str, revision: str, file: str) -> WeightsError:
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
