"""Each case in a process of its own: what is tested happens once per process."""

import subprocess
import sys
from pathlib import Path

import pytest

CREATED = "assert type(timm.create_model('test_deo_swin')).__name__ == 'DeoSwin'"


def run(code: str, *, flags: tuple[str, ...] = ()) -> str:
    ended = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_import__brings_neither_timm_nor_torch_nor_numpy() -> None:
    code = "import sys, deo; print({'timm', 'torch', 'numpy', 'rasterio'} & set(sys.modules))"
    assert run(code) == "set()"


@pytest.mark.parametrize(
    "code",
    [
        f"import deo, timm; {CREATED}",
        f"import timm, deo; {CREATED}",
        "import deo; from timm import create_model; create_model('test_deo_swin')",
        f"import deo, timm.models; {CREATED}",
        f"import deo; from timm.models import create_model; import timm; {CREATED}",
        "import deo, timm; assert {'deo_swin_b', 'deo_vit_b'} <= set(timm.list_models('deo*'))",
        f"import deo.models, timm; {CREATED}",
        f"import deo, deo.models.registry, timm; {CREATED}",
        # a look for timm without importing it must not use the registration up
        f"import deo, importlib.util as u; u.find_spec('timm'); import timm; {CREATED}",
        f"import deo, importlib as i; i.reload(deo); import timm; i.reload(deo); {CREATED}",
        f"import deo, importlib, timm; importlib.reload(timm); {CREATED}",
        f"import deo, deo.registration as r, importlib; importlib.reload(r); "
        f"r.register_with_timm(); import timm; {CREATED}",
    ],
)
def test_register__whatever_the_order(code: str) -> None:
    run(code)


def test_register__leaves_no_trace_on_timm() -> None:
    code = (
        "import deo, importlib.util, inspect\n"
        "spec = importlib.util.find_spec('timm')\n"
        "assert spec.loader.get_source('timm') and spec.origin.endswith('__init__.py')\n"
        "import timm\n"
        "assert timm.__spec__.loader is timm.__loader__\n"
        "print(type(timm.__loader__).__name__, 'create_model' in inspect.getsource(timm))"
    )
    assert run(code) == "SourceFileLoader True"


def test_register__threads_that_import_timm_at_once_all_see_the_backbones() -> None:
    code = (
        "import deo, threading\n"
        "start, failed = threading.Barrier(2), []\n"
        "def create():\n"
        "    start.wait()\n"
        "    try:\n"
        "        import timm\n"
        "        timm.create_model('test_deo_swin')\n"
        "    except BaseException as error:\n"
        "        failed.append(error)\n"
        "threads = [threading.Thread(target=create) for _ in range(2)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]\n"
        "print(failed)"
    )
    assert run(code) == "[]"


def test_register__nothing_happens_without_timm(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    (tmp_path / "deo").symlink_to(root / "deo")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import importlib.metadata; importlib.metadata.version = lambda name: '0'\n"
        "import deo\n"
        "try:\n    import timm\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    assert run(code, flags=("-I", "-S")) == "No module named 'timm'"
