"""What happens between a user and the Hub; run by `test_hub.py` in a process of its own.

The endpoint and the offline switch are read when huggingface_hub is imported, hence the process.
Each case gets caches of its own; `deo_swin_b` and `deo_vit_b` are shrunk to micro size.
Prints one JSON object: case -> empty, or the traceback of what went wrong.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import socket
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hub import COMMIT, Hosted, Hub

HOME = Path(sys.argv[2])
HUB = Hub()
os.environ |= {
    "HF_ENDPOINT": HUB.url,
    "HF_HOME": str(HOME),
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1" if sys.argv[1] == "offline" else "0",
}

import huggingface_hub  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from conftest import published_layout  # noqa: E402
from huggingface_hub import constants  # noqa: E402

import deo.cli  # noqa: E402
from deo.bands import MODEL_BANDS  # noqa: E402
from deo.errors import WeightsError  # noqa: E402
from deo.models import entrypoints, registry, weight_files, weights  # noqa: E402

REPO, FILE = "SolaireTheSun/DEO", "DEO_swin_b.pth"
SWIN, VIT = "deo_swin_b", "deo_vit_b"


def shrink() -> None:
    """Make the public backbones micro; where they are published stays."""
    specs = dict(registry.SPECS)
    for name, micro in ((SWIN, "test_deo_swin"), (VIT, "test_deo_vit")):
        published = specs[name].published
        specs[name] = dataclasses.replace(specs[micro], name=name, published=published)
        timm.models._registry._model_entrypoints[name] = entrypoints._entry_point(specs[name])
    registry.SPECS = types.MappingProxyType(specs)


def use_cache(name: str) -> None:
    """A folder for each case, for the Hub's cache and for ours."""
    constants.HF_HUB_CACHE = str(HOME / name / "hub")
    os.environ["DEO_CACHE"] = str(HOME / name / "deo")


@functools.cache
def backbone(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return timm.create_model(name).state_dict()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def stored(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def released(name: str = SWIN, change: Callable[[dict], Any] = lambda state: None) -> bytes:
    state = published_layout(backbone(name))
    change(state)
    return stored(state)


def host(files: dict[str, Hosted]) -> None:
    """Fill the public repository, with nothing fetched from it yet."""
    HUB.repos = {REPO: files}
    use_cache(sys._getframe(1).f_code.co_name)
    HUB.asked()


def is_whole(model: torch.nn.Module, name: str) -> bool:
    own, wanted = model.state_dict(), backbone(name)
    return own.keys() <= wanted.keys() and all(torch.equal(own[k], wanted[k]) for k in own)


def load(name: str = SWIN) -> weights.LoadedBackbone:
    loaded = weights.load_backbone(name, features_only=False)
    assert is_whole(loaded.model, name)
    return loaded


def refused(*words: str, name: str = SWIN) -> str:
    """Every way to the weights ends in one WeightsError with these words; return its message."""
    message = ""
    for attempt in (
        lambda: timm.create_model(name, pretrained=True),
        lambda: timm.create_model(name, pretrained=True, features_only=True, num_classes=3),
        lambda: weights.load_backbone(name),
    ):
        try:
            attempt()
        except WeightsError as error:
            message = str(error)
            assert all(word in message for word in words), message
            assert "\n" not in message, message
        else:
            raise AssertionError("a model came back")
    return message


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Retry without waiting."""
    sleep, time.sleep = time.sleep, lambda seconds: None
    try:
        yield
    finally:
        time.sleep = sleep


def converted() -> Path:
    return note().with_name(json.loads(note().read_text())["converted"])


def note() -> Path:
    return Path(os.environ["DEO_CACHE"]) / f"{SWIN}.json"


def case_cold_then_warm() -> None:
    content = released()
    host({FILE: Hosted(content=content)})
    loaded = load()
    path = f"{REPO}/resolve/{COMMIT}/{FILE}"
    assert HUB.asked() == [f"HEAD {path}", f"GET {path}"]
    record = loaded.weights
    assert record.source == f"hub:{REPO}@{COMMIT}/{FILE}"
    assert record.sha256 == sha256(content)
    assert load().weights == record
    assert is_whole(timm.create_model(SWIN, pretrained=True), SWIN)
    assert is_whole(timm.create_model(f"{SWIN}.fmow", pretrained=True, in_chans=3), SWIN)
    assert HUB.asked() == []


def case_warm_load_reads_the_converted_file_alone() -> None:
    host({FILE: Hosted(content=released())})
    load()
    read, hashed = [], []
    originals = weight_files.read, weight_files.sha256
    weight_files.read = lambda path, **kw: read.append(path) or originals[0](path, **kw)
    weight_files.sha256 = lambda path: hashed.append(path) or originals[1](path)
    try:
        load()
    finally:
        weight_files.read, weight_files.sha256 = originals
    assert read == [converted()]
    assert hashed == []


def case_hub_cache_filled_by_another_program() -> None:
    host({FILE: Hosted(content=released())})
    huggingface_hub.hf_hub_download(REPO, FILE, revision=COMMIT)
    HUB.asked()
    load()
    assert HUB.asked() == []


def case_converted_file_truncated_is_rebuilt() -> None:
    host({FILE: Hosted(content=released())})
    load()
    HUB.asked()
    for damage in (
        lambda c: c[: len(c) // 2],
        lambda c: c[:-9] + bytes([c[-9] ^ 1]) + c[-8:],
        lambda c: b"",
    ):
        whole = converted().read_bytes()
        converted().write_bytes(damage(whole))
        os.utime(converted(), (1, 1))  # the clock may not have ticked since it was written
        load()
        assert converted().stat().st_size == len(whole)
    converted().unlink()
    load()
    note().write_text("{")
    load()
    assert HUB.asked() == []


def case_converted_file_copied_elsewhere_is_kept() -> None:
    host({FILE: Hosted(content=released())})
    load()
    os.utime(converted(), (1, 1))
    before = converted().stat().st_ino
    load()
    assert converted().stat().st_ino == before


def case_hub_cache_damaged_later() -> None:
    host({FILE: Hosted(content=released())})
    load()
    blob = Path(huggingface_hub.hf_hub_download(REPO, FILE, revision=COMMIT)).resolve()
    blob.write_bytes(b"\0" + blob.read_bytes()[1:])
    converted().unlink()
    try:
        load()
    except WeightsError as error:
        assert "damaged" in str(error)  # noqa: PT017
    load()


def case_missing_file() -> None:
    host({"README.md": Hosted(content=b"hello")})
    refused(REPO, FILE, "is not there", "--weights FILE")


def case_missing_repository() -> None:
    host({})
    HUB.repos = {}
    refused(REPO, FILE, "could not be fetched")


def case_truncated_upload() -> None:
    whole = released()
    etag = sha256(whole)
    host({FILE: Hosted(content=whole[: len(whole) // 2], etag=etag)})
    message = refused(REPO, "damaged", etag)
    assert "try again" in message


def case_truncated_transfer() -> None:
    whole = released()
    host({FILE: Hosted(content=whole, sent=whole[: len(whole) // 2])})
    chunk = constants.DOWNLOAD_CHUNK_SIZE
    for size in (chunk, 1000):  # nothing arrives, or some of it, each time anew
        constants.DOWNLOAD_CHUNK_SIZE = size
        with impatient():
            refused(REPO, FILE, "could not be fetched")
    constants.DOWNLOAD_CHUNK_SIZE = chunk


def case_bit_flipped() -> None:
    whole = released()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    host({FILE: Hosted(content=whole, sent=bytes(flipped))})
    refused(REPO, "damaged", sha256(whole), sha256(bytes(flipped)))
    HUB.repos[REPO][FILE] = Hosted(content=whole)
    load()


def case_hash_that_says_nothing() -> None:
    host({FILE: Hosted(content=released(), etag="abc-2")})
    refused(REPO, "no usable hash", "abc-2")


def case_small_file_has_a_git_hash() -> None:
    whole = released()
    etag = hashlib.sha1(b"blob %d\0" % len(whole) + whole).hexdigest()
    host({FILE: Hosted(content=whole, etag=etag)})
    load()


def case_wrong_architecture() -> None:
    host({FILE: Hosted(content=released(VIT))})
    refused(f"hub:{REPO}@{COMMIT}/{FILE}", f"do not fit {SWIN}", "missing", "not part")


def case_one_key_missing() -> None:
    gone = "features.4.1.mlp.3.weight"
    content = released(change=lambda state: state.pop(gone))
    host({FILE: Hosted(content=content)})
    refused("1 missing (layers.2.blocks.1.mlp.fc2.weight)")


def case_one_key_extra() -> None:
    content = released(change=lambda state: state.update({"neck.weight": torch.zeros(2)}))
    host({FILE: Hosted(content=content)})
    refused("1 not part of the model (neck.weight)")


class Malice:
    def __reduce__(self) -> tuple:
        return os.mkdir, (str(HOME / "executed"),)


def case_pickled_object_inside() -> None:
    content = released(change=lambda state: state.update({"epoch": Malice()}))
    host({FILE: Hosted(content=content)})
    refused(REPO, "holds more than tensors", "mkdir")
    assert not (HOME / "executed").exists()


def case_vit_is_found_by_its_name() -> None:
    content = released(VIT)
    names = {"DEO_swin_b.pth": b"", "DEO_ViT_b.pth": content, "vit.md": b"", "config.json": b"{}"}
    host({name: Hosted(content=body) for name, body in names.items()})
    assert load(VIT).weights.source == f"hub:{REPO}@{COMMIT}/DEO_ViT_b.pth"
    assert HUB.asked()[0] == f"GET api/models/{REPO}/tree/{COMMIT}"
    load(VIT)
    assert HUB.asked() == []


def case_vit_is_ambiguous_or_absent() -> None:
    host({name: Hosted(content=b"") for name in ("a_vit.pth", "b_vit.pth")})
    refused("holds 2", "a_vit.pth, b_vit.pth", name=VIT)
    host({FILE: Hosted(content=b"")})
    refused("holds 0", FILE, name=VIT)


def case_unreachable() -> None:
    host({})
    endpoint = HUB.url
    with socket.socket() as free:  # bound, not listening: connections are refused
        free.bind(("127.0.0.1", 0))
        constants.ENDPOINT = f"http://127.0.0.1:{free.getsockname()[1]}"
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        constants.HUGGINGFACE_CO_URL_TEMPLATE = template.replace(endpoint, constants.ENDPOINT)
        try:
            with impatient():
                refused("could not be fetched", constants.ENDPOINT, "--weights FILE")
        finally:
            constants.ENDPOINT, constants.HUGGINGFACE_CO_URL_TEMPLATE = endpoint, template


def case_hub_folder_of_timm() -> None:
    """`hf-hub:` with both stems, verified like the rest."""
    from timm.models import save_for_hf

    host({})
    folder = HOME / "exported"
    model = timm.create_model(SWIN)
    save_for_hf(model, folder, safe_serialization=True)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    HUB.repos["case/folder"] = {n: Hosted(content=body) for n, body in contents.items()}
    again = timm.create_model("hf-hub:case/folder", pretrained=True)
    assert {k: v.sum() for k, v in again.state_dict().items()} == {
        k: v.sum() for k, v in model.state_dict().items()
    }
    flipped = bytearray(contents["model.safetensors"])
    flipped[-3] ^= 1
    HUB.repos["case/flipped"] = HUB.repos["case/folder"] | {
        "model.safetensors": Hosted(content=contents["model.safetensors"], sent=bytes(flipped))
    }
    try:
        timm.create_model("hf-hub:case/flipped", pretrained=True)
    except WeightsError as error:
        assert "damaged" in str(error)  # noqa: PT017
    else:
        raise AssertionError("a model came back")


def case_own_mirror() -> None:
    host({})
    HUB.repos["me/mirror"] = {"renamed.pth": Hosted(content=released())}
    overlay = {"hf_hub_id": f"me/mirror@{COMMIT}", "hf_hub_filename": "renamed.pth"}
    model = timm.create_model(SWIN, pretrained=True, pretrained_cfg_overlay=overlay)
    assert is_whole(model, SWIN)


def case_command_line_fails_with_one_message() -> None:
    host({})
    bad = HOME / "bad.pth"
    bad.write_bytes(released(change=lambda state: state.pop("norm.bias")))
    out, tif = HOME / "out.safetensors", HOME / "out.tif"
    for arguments in (
        ["convert", str(bad), str(out), "--model", SWIN],
        ["convert", str(HOME / "absent.pth"), str(out), "--model", SWIN],
        ["extract", str(scene()), "-o", str(tif), "--model", SWIN, "--quiet"],
        ["extract", str(scene()), "-o", str(tif), "--model", SWIN, "--weights", str(bad)],
        ["extract", str(scene()), "-o", str(tif), "--model", "deo_swin_s"],
    ):
        sys.argv = ["deo", *arguments]
        stderr = io.StringIO()
        try:
            with contextlib.redirect_stderr(stderr):
                deo.cli.main()
        except SystemExit as end:
            assert end.code == 1  # noqa: PT017
        else:
            raise AssertionError("it went well")
        *warnings, message = stderr.getvalue().splitlines()
        assert message.startswith("Error: ")
        assert len(warnings) <= (arguments[0] == "extract"), warnings  # on the scene's radiometry
    assert not out.exists()
    assert not tif.exists()


def scene() -> Path:
    import numpy as np
    import rasterio

    path = HOME / "scene.tif"
    shape = {"count": 10, "height": 64, "width": 64, "dtype": "uint16"}
    place = {"crs": "EPSG:32643", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as file:
        file.write(np.full((10, 64, 64), 1000, np.uint16))
        file.descriptions = MODEL_BANDS.names
    return path


def offline_cached() -> None:
    use_cache("case_cold_then_warm")
    assert load().weights.source == f"hub:{REPO}@{COMMIT}/{FILE}"
    use_cache("case_vit_is_found_by_its_name")
    load(VIT)
    assert HUB.asked() == []


def offline_uncached() -> None:
    use_cache("offline")
    refused("is not in the cache", "HF_HUB_OFFLINE", "--weights FILE")
    refused("is not in the cache", "HF_HUB_OFFLINE", "--weights FILE", name=VIT)
    assert HUB.asked() == []


def full_size_swin_b() -> None:
    """All 379 tensors of the released file; the backbone in its true size."""
    content = released()
    state = torch.load(io.BytesIO(content), weights_only=True)
    assert (len(state), state["features.0.0.attn.relative_position_bias_table"].shape[0]) == (
        379,
        529,
    )
    host({FILE: Hosted(content=content)})
    load()
    assert len(HUB.asked()) == 2
    start = time.perf_counter()
    weights.load_backbone(SWIN)
    print(f"second load {time.perf_counter() - start:.2f} s", file=sys.stderr)
    assert HUB.asked() == []


def main() -> None:
    prefix = {"online": "case_", "offline": "offline_", "full": "full_"}[sys.argv[1]]
    if prefix != "full_":
        shrink()
    outcome = {}
    for name, run in [(n, f) for n, f in globals().items() if n.startswith(prefix)]:
        try:
            run()
        except BaseException:  # each case is judged by itself
            outcome[name] = traceback.format_exc()
        else:
            outcome[name] = ""
    print(json.dumps(outcome))


main()
