"""Released weights through a stand-in for the Hub; the cases are in `hub_cases.py`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("hub_cases.py")
ONLINE = re.findall(r"^def (case_\w+)", SCRIPT.read_text(), re.MULTILINE)
OFFLINE = re.findall(r"^def (offline_\w+)", SCRIPT.read_text(), re.MULTILINE)


def run(mode: str, home: Path) -> dict[str, str]:
    command = [sys.executable, str(SCRIPT), mode, str(home)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr
    outcome: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return outcome


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def online(home: Path) -> dict[str, str]:
    return run("online", home)


@pytest.fixture(scope="module")
def offline(home: Path, online: dict[str, str]) -> dict[str, str]:
    return run("offline", home)


@pytest.mark.parametrize("case", ONLINE)
def test_released__online(online: dict[str, str], case: str) -> None:
    assert online[case] == ""


@pytest.mark.parametrize("case", OFFLINE)
def test_released__offline(offline: dict[str, str], case: str) -> None:
    assert offline[case] == ""


@pytest.mark.slow
def test_released__full_size(tmp_path: Path) -> None:
    assert run("full", tmp_path) == {"full_size_swin_b": ""}
