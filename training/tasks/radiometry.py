"""Whether the numbers of a data set can be the digital numbers that they are taken for."""

import logging

import numpy as np

from deo.bands import RGB_BANDS
from deo.training.tasks.dataset import Split, Unit

log = logging.getLogger(__name__)

_LOOKED_AT = 16  # samples, evenly spread
_LARGEST_REFLECTANCE = 3.0
_ADDED = 1000.0  # by products of processing baseline 04.00 and later
_LOW, _HIGH = 1.0, 99.9  # percentiles, since single pixels may be anything


def warn_of_doubtful_numbers(split: Split, unit: Unit) -> None:
    """Say so where the numbers look like reflectance, or like digital numbers with 1000 added.

    Neither can be told for certain, so nothing is changed: snow is as bright as an offset.
    """
    if unit is Unit.BYTE or not len(split):
        return
    positions = [split.bands.names.index(band) for band in split.bands if band in RGB_BANDS]
    lowest, highest = np.inf, 0.0
    for index in range(0, len(split), max(1, len(split) // _LOOKED_AT)):
        sample = split[index]
        numbers = sample.image[..., sample.valid] * np.float32(unit.scale)
        if not numbers.size:
            continue
        highest = max(highest, float(np.percentile(numbers, _HIGH)))
        if positions:
            visible = np.percentile(numbers[..., positions, :], _LOW, axis=-1)
            lowest = min(lowest, float(visible.min()))
    if 0 < highest <= _LARGEST_REFLECTANCE:
        log.warning(
            "%s: the numbers reach no further than %.3g, as reflectance does, and are taken as "
            "digital numbers (reflectance x 10 000); if they are reflectance, give --scale 10000",
            split.root,
            highest,
        )
    elif _ADDED <= lowest < np.inf:
        log.warning(
            "%s: red, green and blue nowhere fall below %.0f; if the numbers carry the 1000 that "
            "processing baseline 04.00 adds, give --offset -1000",
            split.root,
            lowest,
        )
