"""Standard output that nobody reads, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import deo.cli

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX streams")

_STREAMS = str(Path(deo.cli.__file__).with_name("streams.py"))
_MAIN = "from deo.cli import main; main()"
_ALONE = f"""
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("streams", {_STREAMS!r})
streams = importlib.util.module_from_spec(spec)  # alone, since importing torch takes seconds
spec.loader.exec_module(streams)
streams.guard_streams()
for _ in range(1000):
    print("unheard" * 100)
file = open(os.devnull)
assert file.fileno() > 2, file.fileno()
sys.exit(streams.output_fault() is not None)
"""


def _run(code: str, redirection: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = f'set -o pipefail; (sleep 0.2; exec "$@") {redirection}'  # the reader goes first
    return subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("redirection", "status"),
    [
        ("| true", 0),
        ("2>&1 | true", 0),
        (">&-", 0),
        (">&- 2>&- <&-", 0),
        (">/dev/full", 1),
        ("2>/dev/full", 0),
    ],
)
def test_guard_streams__goes_on_without_a_reader(redirection: str, status: int) -> None:
    result = _run(_ALONE, redirection)
    assert (result.returncode, result.stderr) == (status, "")


def test_main__says_that_its_output_cannot_be_written() -> None:
    result = _run(_MAIN, ">/dev/full", "models")
    assert result.returncode == 1
    assert result.stderr == "Error: standard output cannot be written: No space left on device\n"
