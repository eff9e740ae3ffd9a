"""Children forked after `deo` was used: in processes of their own, which can be ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import os, sys, time
import numpy as np, torch
torch.set_num_threads(2)
import deo
from deo import MODEL_BANDS
from deo.api import Extraction

folder = sys.argv[1]
array = np.random.default_rng(0).integers(1, 4000, (10, 600, 600)).astype(np.uint16)
place = dict(crs="EPSG:32633", transform=(10, 0, 500000, 0, -10, 5000000), bands=MODEL_BANDS)

def use(what, name):
    if what == "train":
        network = torch.nn.Linear(300, 300)
        for _ in range(2):
            network(torch.rand(300, 300)).sum().backward()
        return
    # a layer of 150 x 150 cells: large enough for every pool of threads to be asked
    plan = Extraction(model="test_deo_swin", untrained=True, layer=0, chip=64, offset=0.0, **place)
    deo.extract(array, f"{folder}/{name}.{what}", extraction=plan)

def child(what, name):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            use(what, name)
            status = 0
        finally:
            os._exit(status)
    for _ in range(600):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.05)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return "it waits for ever"

parent, *children = sys.argv[2:]
use(parent, "parent")
for number, what in enumerate(children):
    status = child(what, f"child{number}")
    assert status == 0, f"{what} in a child forked after {parent}: {status}"
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_fork__a_child_computes_after_its_parent_wrote_a_geotiff(tmp_path: Path) -> None:
    _run(tmp_path, {}, "tif", "tif", "train")
    parent, child = (tmp_path / f"{name}.tif" for name in ("parent", "child0"))
    assert parent.stat().st_size == child.stat().st_size


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
@pytest.mark.parametrize("parent", ["tif", "parquet", "zarr", "train"])
@pytest.mark.parametrize("environment", [{}, {"GDAL_NUM_THREADS": "2"}])
def test_fork__a_child_computes_after_any_use(
    tmp_path: Path, parent: str, environment: dict[str, str]
) -> None:
    pytest.importorskip("zarr")
    pytest.importorskip("pyarrow")
    _run(tmp_path, environment, parent, "tif", "parquet", "zarr", "train")


def _run(folder: Path, environment: dict[str, str], *uses: str) -> None:
    settings = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder), *uses],
        env=settings | environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
