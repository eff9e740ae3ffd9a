"""Released weights on the Hugging Face Hub: found, converted once and remembered."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import huggingface_hub
import torch
from huggingface_hub.errors import EntryNotFoundError

from deo.errors import WeightsError
from deo.models import cache, convert, weight_files
from deo.models.download import Download, download, unreachable, verify

if TYPE_CHECKING:
    from deo.models.registry import Published

SAVED_NAMES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm's `save_for_hf` gives weights, the preferred one first."""

_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


class Fetched(NamedTuple):
    """A complete backbone on disk.

    `path` is our safetensors file, `sha256` belongs to the file as it was released, and `source`
    reads `hub:repo@commit/file`.
    """

    path: Path
    sha256: str
    source: str


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
        downloaded = _released_file(published, note, cache_dir)
        digest = verify(downloaded, None if note is None else note.sha256)
        note = cache.store(
            place,
            name,
            _converted(downloaded, name, expected()),
            asked=asked,
            commit=downloaded.commit,
            file=downloaded.file,
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
            downloaded = download(repo, revision or "main", name, cache_dir)
            break
        except WeightsError as error:
            if name == names[-1] or not isinstance(error.__cause__, EntryNotFoundError):
                raise
    return Fetched(path=downloaded.path, sha256=verify(downloaded, None), source=str(downloaded))


def _released_file(
    published: "Published", note: cache.Note | None, cache_dir: str | Path | None
) -> Download:
    """The released file in the Hub's cache; what a note says is kept."""
    if note is not None:
        file, revision = note.file, note.commit
    elif published.filename is not None:
        file, revision = published.filename, published.revision or "main"
    else:
        file, revision = _find_file(published)
    return download(published.repo, revision, file, cache_dir)


def _find_file(published: "Published") -> tuple[str, str]:
    """The one weights file that the pattern means, and the revision that holds it.

    The pinned revision is searched first, then the newest: the file may be younger than the pin.
    """
    pattern = (published.pattern or "").lower()
    weights: list[str] = []
    for revision in dict.fromkeys((published.revision or "main", "main")):
        try:
            listed = huggingface_hub.list_repo_files(published.repo, revision=revision)
        except Exception as error:  # whatever the HTTP library behind it raises
            raise unreachable(error, published.repo, revision, f"*{pattern}*") from error
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


def _converted(
    downloaded: Download, name: str, expected: Mapping[str, convert.Shape]
) -> dict[str, torch.Tensor]:
    try:
        content = weight_files.read(downloaded.path, verified=True).content
        return convert.to_deo(content, expected, model=name).tensors
    except WeightsError as error:
        raise WeightsError(f"{downloaded}: {error}") from error
