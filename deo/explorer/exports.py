"""What the page gives away: a class map, and the command that makes it of the labels again."""

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from deo.maps.classify import classify
from deo.maps.stack import FeatureMap

LABELS_NAME, MAP_NAME = "labels.geojson", "map.tif"


@contextlib.contextmanager
def exported_map(features: Sequence[FeatureMap], labels: str) -> Iterator[Path]:
    """The map that `deo classify` makes, in a file that is deleted when the context ends.

    Args:
        labels: GeoJSON.

    Raises:
        DataError: the labels are too few.
    """
    with tempfile.TemporaryDirectory(prefix="deo-explore-") as folder:
        file = Path(folder, LABELS_NAME)
        file.write_text(labels, encoding="utf-8")
        classify(features, Path(folder, MAP_NAME), labels=file)
        yield Path(folder, MAP_NAME)


def command(features: Sequence[FeatureMap]) -> str:
    """What makes the exported map of the exported labels again; maps in memory have no name."""
    names = [
        shlex.quote(os.fspath(one)) if isinstance(one, str | os.PathLike) else "FEATURES.tif"
        for one in features
    ]
    return f"deo classify {' '.join(names)} --labels {LABELS_NAME} -o {MAP_NAME}"
