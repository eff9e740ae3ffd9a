"""What a tuned network is compared with: baselines on its samples, and its random twin."""

from collections.abc import Mapping
from dataclasses import replace

from deo.errors import require
from deo.training.tasks.baselines import fit_baselines
from deo.training.tasks.dataset import Split
from deo.training.tasks.fit import fit, judged_part
from deo.training.tasks.outcome import Units
from deo.training.tasks.progress import Report
from deo.training.tasks.request import Request


def check_rivals(request: Request) -> None:
    """Refuse before anything is tuned what would fail afterwards.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if request.baselines:
        require("sklearn", extra="eval")


def fit_rivals(
    request: Request, parts: Mapping[str, Split], *, report: Report | None = None
) -> dict[str, Units]:
    """Fit what a request says that its network is compared with, on the same samples.

    Args:
        request: `baselines` and `twin` say which.
        parts: nothing is fitted where no part is there to be judged.
        report: is told about every epoch of the twin.

    Raises:
        DeoError: as `fit` and `fit_baselines` do.
    """
    part = judged_part(parts)
    if part is None:
        return {}
    rivals: dict[str, Units] = {}
    if request.twin:
        twin = replace(request, untrained=True, weights=None)
        units = fit(twin, parts, report=report).units
        assert units is not None  # there is a part to be judged
        rivals[f"{request.model}, random twin"] = units
    if request.baselines:
        rivals |= fit_baselines(
            request.benchmark, parts["train"], parts[part], seed=request.tuning.seed
        )
    return rivals
