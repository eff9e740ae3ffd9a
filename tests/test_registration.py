"""Each case in a process of its own, since what is tested happens once per process.

The orders of importing are tried with a timm of a few lines, which loads in no time.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

STUBS = {
    "timm/__init__.py": "from timm.models import create_model, list_models\n",
    "timm/models.py": """
REGISTERED = []
def list_models():
    return REGISTERED
def create_model(name):
    assert name in REGISTERED, REGISTERED
""",
    "backbones.py": """
import time, timm.models
time.sleep(0.05)  # other threads get their chance to come too early
timm.models.REGISTERED.append("deo_swin_b")
""",
    # puts backbones.py in the place of deo.models
    "stubs.py": """
import importlib.abc, importlib.util, pathlib, sys
class Stubs(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "deo.models":
            file = pathlib.Path(__file__).with_name("backbones.py")
            return importlib.util.spec_from_file_location(name, file)
sys.meta_path.insert(0, Stubs())
""",
}
CREATED = "timm.create_model('deo_swin_b'); assert len(timm.list_models()) == 1"


def run(code: str, *, flags: tuple[str, ...] = (), before: Path | None = None) -> str:
    path = os.pathsep.join(map(str, filter(None, (before, os.environ.get("PYTHONPATH")))))
    ended = subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stubs")
    for name, code in STUBS.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(code)
    return root


def test_import__brings_neither_timm_nor_torch_nor_rasterio() -> None:
    code = "import sys, deo; print({'timm', 'torch', 'rasterio', 'click'} & set(sys.modules))"
    assert run(code) == "set()"


def test_register__the_real_timm_lists_and_creates_them() -> None:
    code = (
        "import deo, timm\n"
        "assert {'deo_swin_b', 'deo_vit_b'} <= set(timm.list_models('deo*'))\n"
        "print(type(timm.create_model('test_deo_swin')).__name__)"
    )
    assert run(code) == "DeoSwin"


@pytest.mark.parametrize(
    "code",
    [
        f"import deo, timm; {CREATED}",
        f"import timm, deo; {CREATED}",
        "import deo; from timm import create_model; create_model('deo_swin_b')",
        f"import deo, timm.models; {CREATED}",
        f"import deo; from timm.models import create_model; import timm; {CREATED}",
        f"import deo.models, timm; {CREATED}",
        # a look for timm without importing it must not use the registration up
        f"import deo, importlib.util as u; u.find_spec('timm'); import timm; {CREATED}",
        f"import deo, importlib as i; i.reload(deo); import timm; i.reload(deo); {CREATED}",
        f"import deo, importlib, timm; importlib.reload(timm); {CREATED}",
        f"import deo, deo.registration as r, importlib; importlib.reload(r); "
        f"r.register_with_timm(); import timm; {CREATED}",
    ],
)
def test_register__whatever_the_order(stubs: Path, code: str) -> None:
    run(f"import stubs; {code}", before=stubs)


def test_register__leaves_no_trace_on_timm(stubs: Path) -> None:
    code = (
        "import stubs, deo, importlib.util, inspect\n"
        "spec = importlib.util.find_spec('timm')\n"
        "assert spec.loader.get_source('timm') and spec.origin.endswith('__init__.py')\n"
        "import timm\n"
        "assert timm.__spec__.loader is timm.__loader__\n"
        "print(type(timm.__loader__).__name__, 'create_model' in inspect.getsource(timm))"
    )
    assert run(code, before=stubs) == "SourceFileLoader True"


def test_register__threads_that_import_timm_at_once_all_see_the_backbones(stubs: Path) -> None:
    code = (
        "import stubs, deo, threading\n"
        "start, failed = threading.Barrier(2), []\n"
        "def create():\n"
        "    start.wait()\n"
        "    try:\n"
        "        import timm\n"
        "        timm.create_model('deo_swin_b')\n"
        "    except BaseException as error:\n"
        "        failed.append(error)\n"
        "threads = [threading.Thread(target=create) for _ in range(2)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]\n"
        "print(failed)"
    )
    assert run(code, before=stubs) == "[]"


def test_register__nothing_happens_without_timm(stubs: Path) -> None:
    code = (
        "import sys\n"
        "class NoTimm:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'timm':\n"
        "            raise ModuleNotFoundError('No module named timm')\n"
        "sys.meta_path.insert(0, NoTimm())\n"
        "import deo\n"
        "try:\n    import timm\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    assert run(code) == "No module named timm"
