"""A backbone tuned for a task into a folder: `deo finetune` and `deo.training.finetune`."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deo.errors import ConfigError, OutputError, did_you_mean
from deo.files.lock import claim
from deo.files.publish import make_folder, write_file
from deo.training.run import checkpoint
from deo.training.tasks.backbones import BASELINES
from deo.training.tasks.comparison import Comparison, compared
from deo.training.tasks.dataset import Split
from deo.training.tasks.fit import SCORES, fit, judged_part, remains
from deo.training.tasks.progress import Progress, reporting
from deo.training.tasks.request import Request, request_from_settings
from deo.training.tasks.rivals import check_rivals, fit_rivals
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tuned import BEST, Tuned, load_tuned

TASKS: Mapping[str, tuple[Task, ...]] = {
    "classify": (Task.CLASSIFY, Task.MULTILABEL),
    "segment": (Task.SEGMENT,),
    "change": (Task.CHANGE,),
}
"""What a network is tuned for, and the tasks of benchmarks that fit."""


class Finished(NamedTuple):
    """A finished run.

    `path`: the best network's file.
    `tuned`: that network, loaded; `tuned.description.score` is its validation score.
    `metric`: what the scores are.
    `test`: score on the test part between 0 and 1; None where there is none.
    `comparison`: the network beside baselines on the same samples, also in `scores.json`; None
    where no part is there to be scored.
    """

    path: Path
    tuned: Tuned
    metric: str
    test: float | None
    comparison: Comparison | None

    @property
    def summary(self) -> str:
        """The scores in one line."""
        best = self.tuned.description.score
        text = "last epoch" if best is None else f"validation {self.metric} {100 * best:.1f} %"
        if self.test is None:
            return text
        return f"{text}, test {self.metric} {100 * self.test:.1f} %"


def finetune(
    task: str,
    *,
    dataset: str,
    data: str | Path,
    output: str | Path,
    model: str = "deo_swin_n",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = None,
    **settings: Any,
) -> Finished:
    """Tune a backbone for a task; the best epoch is kept, for `deo.predict`.

        finished = deo.training.finetune(
            "segment", dataset="folder", data="fields/", classes=("ground", "field"), output="run"
        )
        print(finished.path, finished.summary)

    Args:
        task: `classify`, `segment` or `change`.
        dataset: a benchmark's name, or `folder` for data of one's own.
        data: the folder that holds the data.
        output: the folder of the run: `best.safetensors`, `scores.json`, the last
            checkpoints, `log.jsonl`.
        model: a backbone of deo, or any timm model that gives maps.
        resume: go on with the run in the folder.
        overwrite: replace the run in the folder.
        progress: True shows the samples, the steps and each epoch on standard error; a function
            is told the seed and the epoch after each epoch; None: nothing is shown.
        settings: further ones by name: of the request (`weights`, `untrained`, `bands`,
            `contract`, `fraction`, `test`, `valid`, `device`; see `Request`), of the data
            (`classes`, `stored_bands`, `band_keys`, `partition`, `scale`, `offset`; see
            `choose_benchmark`), and of tuning, `seed` among them (see `TuneConfig`).

    Raises:
        ConfigError: a setting is unknown, task and data do not fit, or `resume` meets other
            settings or data.
        OutputError: the folder holds a run already, or cannot be written.
        BusyError: another run is writing to the folder.
    """
    if task not in TASKS:
        raise ConfigError(f"no task {task!r}; {did_you_mean(task, TASKS)}")
    request: Request = request_from_settings(
        Request, Task(task), dataset=dataset, data=data, settings={**settings, "model": model}
    )
    bench, folder = request.benchmark, Path(output)
    _check_task(bench, task, model)
    check_rivals(request)
    with (
        _claimed(folder, resume=resume, overwrite=overwrite),
        reporting(progress) as report,
    ):
        parts = _parts(request)
        rivals = fit_rivals(request, parts, report=report)
        fitted = fit(request, parts, folder=folder, resume=resume, report=report)
        test, comparison, part = None, None, judged_part(parts)
        if fitted.units is not None and part is not None:
            network = (request.model, [fitted.units.matrices])
            others = {name: [units.matrices] for name, units in rivals.items()}
            comparison = compared(bench.metric, part, network, others)
            write_file(folder / SCORES, json.dumps(comparison.record(), indent=2) + "\n")
            if part == "test":
                test = comparison.rows[0].score.value
    return Finished(folder / BEST, load_tuned(folder / BEST), bench.metric, test, comparison)


def _check_task(bench: Benchmark, task: str, model: str) -> None:
    if bench.task not in TASKS[task]:
        raise ConfigError(f"{bench.name} is made for {bench.task.value}, not for {task}")
    if model in BASELINES:
        raise ConfigError(f"{model} is no network and cannot be tuned")


@contextlib.contextmanager
def _claimed(folder: Path, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder, and keep other runs out of it and an earlier run in it."""
    with claim(make_folder(folder)):
        if remains(folder) and not resume and not overwrite:
            going_on = "--resume to go on, " if checkpoint.saved(folder) else ""
            raise OutputError(f"{folder} holds a run; use {going_on}--overwrite to replace it")
        checkpoint.remove_unfinished(folder)
        yield


def _parts(request: Request) -> dict[str, Split]:
    """Open and arrange the splits; unsplit data without named test samples all train.

    They are tuned for use, not for a score: unlike in an evaluation, nothing need be held out.
    """
    splits, seed = request.open(), request.tuning.seed
    if "all" in splits and not request.test:
        splits = {"train": splits["all"]}
    return request.divide(splits, seed=seed, share=request.fraction)
