"""What is told about epochs, and to whom."""

import logging

import pytest

from deo.training.tasks.progress import Epoch, Progress, reporting

EPOCH = Epoch(3, 12, 0.5, 0.25, 0.75)
log = logging.getLogger("deo.training.tasks.plan")


def test_reporting__true_shows_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(True) as report:
        assert report is not None
        log.info("7 steps in all")
        report(1, EPOCH)
        report(1, EPOCH._replace(score=float("nan")))
    log.info("unheard")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "7 steps in all",
        "seed 1 epoch 3: loss 0.5000, validation 25.0 (best 75.0), step 12",
        "seed 1 epoch 3: loss 0.5000, no validation part, step 12",
    ]


@pytest.mark.parametrize("progress", [None, False])
def test_reporting__nothing_is_shown(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    with reporting(progress) as report:
        assert report is None
        log.info("unheard")
    assert capsys.readouterr().err == ""


def test_reporting__a_function_is_told_itself() -> None:
    told: list[tuple[int, Epoch]] = []
    with reporting(lambda seed, epoch: told.append((seed, epoch))) as report:
        assert report is not None
        report(0, EPOCH)
    assert told == [(0, EPOCH)]
