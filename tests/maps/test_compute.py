"""Killed at any moment, a run leaves nothing half-written, and resumed it gives the same bytes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# One process imports once; every run is a fork of it, so that a run can be killed.
SCRIPT = """
import os, random, signal, sys, time, torch
torch.set_num_threads(1)
import deo
from pathlib import Path
from deo.maps.spool import Spool

scene, folder = sys.argv[1], Path(sys.argv[2])
sent, kills, seed = getattr(signal, sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])

def begin(output, delay, resume):
    told, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, told
    append = Spool.append
    def slowly(self, band):
        append(self, band)
        os.write(tell, b"r")
        time.sleep(delay)
    Spool.append = slowly
    try:
        deo.extract(scene, output, model="test_deo_swin", untrained=True, layer=None, tile=64,
                    overlap=32, resume=resume)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)

def finish(output, resume):
    child, told = begin(output, 0, resume)
    assert os.waitpid(child, 0)[1] == 0
    done = len(os.read(told, 1000))
    files = sorted(folder.glob(output.stem + "_layer?.tif"))
    assert len(files) == 4, files
    assert not list(folder.glob("*.partial"))
    return [path.read_bytes() for path in files], done

wanted, rows = finish(folder / "straight.tif", False)
assert rows == 9, rows
moments = random.Random(seed)
output = folder / "killed.tif"
for number in range(kills):
    child, told = begin(output, 0.03, number > 0)
    for _ in range(moments.randrange(1, 3)):
        os.read(told, 1)
    time.sleep(moments.uniform(0, 0.04))
    os.kill(child, sent)
    status = os.waitpid(child, 0)[1]
    assert status, "it was killed before it was done"
    assert not list(folder.glob("killed_layer?.tif")), "nothing has its final name"
    assert list(folder.glob("killed*.partial"))
found, rows = finish(output, True)
assert found == wanted, "bytes differ"
assert rows < 9, "rows were kept"
print("equal")
"""


def kill_and_resume(
    scene_file: Callable[..., Path], folder: Path, *, sent: str, kills: int, seed: int
) -> None:
    scene = scene_file(300, 130, hole=(slice(0, 90), slice(0, 40)))
    arguments = [str(scene), str(folder), sent, str(kills), str(seed)]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, timeout=500
    )
    assert run.stdout == "equal\n", run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_resume__after_kills_gives_the_same_bytes(
    scene_file: Callable[..., Path], tmp_path: Path
) -> None:
    kill_and_resume(scene_file, tmp_path, sent="SIGKILL", kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("sent", ["SIGKILL", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("seed", range(5))
def test_resume__after_more_kills_gives_the_same_bytes(
    scene_file: Callable[..., Path], tmp_path: Path, sent: str, seed: int
) -> None:
    kill_and_resume(scene_file, tmp_path, sent=sent, kills=3, seed=seed)
