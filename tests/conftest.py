"""Fixtures that every part of the suite may use."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("DEO_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real scenes and golden numbers; tests that want it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the real data folder {SHARED} (set DEO_SHARED)")
    return SHARED
