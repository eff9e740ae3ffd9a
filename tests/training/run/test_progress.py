"""A line about a run that people can watch."""

from pathlib import Path

from deo.training.run.progress import Progress, describe

RECORD = {
    "step": 20,
    "loss": -1.5,
    "head_cosine": 0.1,
    "effective_rank": 12.0,
    "grad_norm": 2.0,
    "samples_per_second": 100.0,
    "wait_share": 0.01,
    "eta_seconds": 3723.0,
}


def test_progress__a_plain_line_in_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as file:
        line = Progress(done=0, steps=40, stream=file)
        line.write(RECORD)
        line.close()
        file.seek(0)
        text = file.read()
    assert text.startswith("step 20/40  loss -1.500  cos 0.10  rank 12.0")
    assert text.endswith("wait 1.0%  1:02:03 left\n")


def test_describe__names_what_is_unusual() -> None:
    assert describe({**RECORD, "probe": 0.5, "skipped": 2}).endswith("kNN 50.0%  2 skipped")
