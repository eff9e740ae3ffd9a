"""Tuning a network for a task: the loop, early stopping, the best and the last checkpoint."""

import contextlib
import functools
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deo.errors import ConfigError, DataError, OutputError
from deo.files.publish import make_folder
from deo.files.records import differences
from deo.training.data.identity import changed_data
from deo.training.run import checkpoint
from deo.training.run.checkpoint import Checkpoint
from deo.training.run.journal import JsonLines
from deo.training.tasks.fusion import measure_standards
from deo.training.tasks.heads import Network, least_batch
from deo.training.tasks.inference import confusions
from deo.training.tasks.objectives import LOSSES, balanced, class_weights
from deo.training.tasks.patches import Batch, Examples, batches, patch_count, training_size
from deo.training.tasks.plan import make_plan
from deo.training.tasks.progress import Epoch
from deo.training.tasks.scores import STATISTICS
from deo.training.tasks.survey import listed, survey, warn_of_unseen
from deo.training.tasks.task import Benchmark, Task
from deo.training.tasks.tuneconfig import TuneConfig, parameter_groups, set_rate

log = logging.getLogger(__name__)

LOG_NAME = "log.jsonl"
_MEASURED = 128  # patches that heads are measured on


def tune(
    network: Network,
    benchmark: Benchmark,
    train: Examples,
    valid: Examples | None,
    config: TuneConfig,
    *,
    folder: Path | None = None,
    resume: bool = False,
    origin: Mapping[str, Any] | None = None,
    keep: Callable[[float], None] | None = None,
    device: str = "cpu",
) -> Iterator[Epoch]:
    """Tune a network, one epoch per step of the iterator; it ends holding its best weights.

    Args:
        valid: chooses the best epoch; None: the last one counts.
        folder: where the last checkpoint and `log.jsonl` go; None: nothing is written.
        resume: go on from the last checkpoint that is whole; the rest of the run is what it would
            have been.
        origin: what the network began as (model, weights), plain values, compared on resuming.
        keep: told the score after each epoch that is the best so far, while the network holds it.

    Raises:
        ConfigError: `resume` meets other settings, samples, inputs or another origin; a batch is
            too small for the network; the loss grew beyond all bounds.
        DataError: there are too few samples for a step, or their pixels are not finite.
        OutputError: the checkpoint is missing or cannot be written.
        WeightsError: no checkpoint to resume from is whole.
    """
    run = _Run(network.to(device), benchmark, train, valid, config, origin or {}, device)
    if resume:
        run.restore(_needed(folder))
    with contextlib.ExitStack() as stack:
        journal = None
        if folder is not None:
            path = make_folder(folder) / LOG_NAME
            journal = JsonLines(path, resume_at=run.epoch, counter="number")
            stack.callback(journal.close)
        while run.epoch < run.plan.epochs and not run.exhausted:
            loss = run.learn()
            score = run.judge()
            steps = run.epoch * run.plan.passes * run.plan.steps
            epoch = Epoch(run.epoch, steps, loss, score, run.best_score)
            if keep is not None and run.stale == 0:
                keep(run.best_score)
            if folder is not None and journal is not None:
                run.save(folder)
                journal.write(epoch._asdict())
            yield epoch
    network.load_state_dict(run.best_state, strict=True)


def _check_size(train: Examples, config: TuneConfig, least: int) -> None:
    """Refuse what leaves no step that the network can learn from."""
    if config.batch < least:
        raise ConfigError(
            f"a batch of {config.batch} is too small: batch normalisation in the head or the "
            f"backbone needs {least} samples a step; raise --batch-size, or take --head linear "
            "and --frozen"
        )
    count = patch_count(train, config.crop)
    if count < least:
        raise DataError(
            f"{count} training sample(s): batch normalisation in the head or the backbone needs "
            f"{least} at once; give more training samples, hold none out (--valid 0), cut patches "
            "from them (--crop), or take --head linear and --frozen"
        )


def _refuse_divergence(
    epoch: int, samples: Sequence[tuple[str, ...]], losses: Tensor, norms: Tensor
) -> None:
    """Refuse to go on after a step whose loss or gradient was not finite."""
    finite = losses.isfinite() & norms.isfinite()
    if finite.all():
        return
    step = int(finite.int().argmin())
    names = listed(list(samples[step]))
    raise ConfigError(
        f"epoch {epoch}, step {step + 1} of {len(samples)}: the loss is {float(losses[step]):g} "
        f"and its gradient {float(norms[step]):g}, with the samples {names}. Nothing of this epoch "
        "is kept. Lower --rate, or look at these samples"
    )


def _needed(folder: Path | None) -> Path:
    if folder is None:
        raise ConfigError("resume needs the folder of the run")
    return folder


class _Run:
    """The moving parts of one run: optimiser, position, best weights."""

    def __init__(
        self,
        network: Network,
        benchmark: Benchmark,
        train: Examples,
        valid: Examples | None,
        config: TuneConfig,
        origin: Mapping[str, Any],
        device: str,
    ) -> None:
        self.origin, self.valid = origin, valid
        self.network, self.train, self.config, self.device = network, train, config, device
        self.benchmark, self.multilabel = benchmark, benchmark.task is Task.MULTILABEL
        self.least = least_batch(network)
        _check_size(train, config, self.least)
        surveyed = survey(train, benchmark)
        warn_of_unseen(surveyed.counts, benchmark)
        self.identity = surveyed.identity
        self.plan = make_plan(config, patches=patch_count(train, config.crop), least=self.least)
        self.size = training_size(train, config.crop).side
        self.optimiser = torch.optim.AdamW(parameter_groups(network, config), lr=config.rate)
        measure_standards(network, self._measured())
        self.epoch, self.stale = 0, 0
        self.best_score = math.nan
        self.best_state = self._state()
        self.weights = None
        if not self.multilabel and balanced(config.balance, surveyed.counts):
            self.weights = class_weights(surveyed.counts).to(device)
            shown = ", ".join(f"{weight:.2f}" for weight in self.weights.tolist())
            log.info("weights of the classes, the rare ones more (--balance): %s", shown)
        log.info("%s", self.plan)

    def _measured(self) -> Iterator[Tensor]:
        """What the heads that standardise are measured on."""
        config = self.config
        parts = batches(
            self.train, size=config.batch, crop=config.crop, flips=False, seed=config.seed, epoch=0
        )
        for batch in itertools.islice(parts, -(-_MEASURED // config.batch)):
            yield batch.images.to(self.device)

    @property
    def exhausted(self) -> bool:
        return self.config.patience is not None and self.stale > self.config.patience

    def learn(self) -> float:
        """One epoch; returns its mean loss."""
        config, losses, norms = self.config, [], []
        loss_of = LOSSES["bce" if self.multilabel else config.loss]
        steps, names = self.plan.passes * self.plan.steps, []
        self.network.train()
        torch.manual_seed(config.seed * 100_003 + self.epoch)  # stochastic depth, on resume too
        for number, batch in enumerate(self._batches()):
            done = self.epoch + number / steps
            set_rate(self.optimiser, config, done, epochs=self.plan.epochs)
            scores = self.network(batch.images.to(self.device))
            loss = loss_of(scores, batch.targets.to(self.device), self.weights)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            norms.append(nn.utils.clip_grad_norm_(self.network.parameters(), 1.0))
            self.optimiser.step()
            losses.append(loss.detach())
            names.append(batch.names)
        # looked at once an epoch: the device is not waited for after every step
        _refuse_divergence(self.epoch + 1, names, torch.stack(losses), torch.stack(norms))
        self.epoch += 1
        return float(torch.stack(losses).mean())

    def _batches(self) -> Iterator[Batch]:
        """Those of one epoch, which may pass over the samples more than once."""
        first = self.epoch * self.plan.passes
        for number in range(first, first + self.plan.passes):
            yield from batches(
                self.train,
                size=self.config.batch,
                crop=self.config.crop,
                flips=True,
                seed=self.config.seed,
                epoch=number,
                least=self.least,
            )

    def judge(self) -> float:
        """Score the epoch on the validation part.

        Without one, or as long as the score is undefined, every epoch is the best so far.
        """
        score = math.nan
        if self.valid is not None:
            units = confusions(
                self.network, self.valid, self.benchmark, size=self.size, device=self.device
            )
            score = STATISTICS[self.benchmark.metric](units.matrices.sum(0))
        if math.isnan(self.best_score) or score > self.best_score:
            self.best_score, self.stale, self.best_state = score, 0, self._state()
        else:
            self.stale += 1
        return score

    def _state(self) -> dict[str, Tensor]:
        return {
            name: tensor.detach().cpu().clone()
            for name, tensor in self.network.state_dict().items()
        }

    @functools.cached_property
    def _data(self) -> dict[str, Any]:
        """What is learned from, and what chooses the best epoch."""
        valid = {} if self.valid is None else survey(self.valid, self.benchmark).identity
        return {"train": self.identity, "valid": valid}

    def _settings(self) -> dict[str, Any]:
        """All that a run depends on but its samples; the contract's record names the bands."""
        contract = self.train.contract.record()
        return {
            "dataset": self.benchmark.name,
            "classes": list(self.benchmark.class_names),
            **self.origin,
            **{f"contract.{key}": value for key, value in contract.items()},
            **asdict(self.config),
        }

    def save(self, folder: Path) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "best_state": self.best_state,
            "best_score": self.best_score,
            "stale": self.stale,
        }
        saved = Checkpoint(self.epoch, self._settings(), self._data, state, [])
        checkpoint.save(folder, saved, keep=checkpoint.LEAST_KEPT)

    def restore(self, folder: Path) -> None:
        newest = checkpoint.newest(folder)
        if newest is None:
            raise OutputError(f"{folder} holds no checkpoint to resume from; start without resume")
        path, (epoch, config, data, state, *_) = newest
        wanted = self._settings()
        changed = [one for one in differences(config, wanted) if one.name != "patience"]
        if changed:
            listed = "; ".join(map(str, changed))
            raise ConfigError(
                f"{path} was made with other settings: {listed}. Repeat those to resume, or "
                "start without resume"
            )
        lines = [
            f"{part} {line}"
            for part, now in self._data.items()
            for line in changed_data(data.get(part, {}), now)
        ]
        if lines:
            listed_lines = "".join(f"\n  {line}" for line in lines)
            raise ConfigError(
                f"{path} was trained on other samples (saved -> given):{listed_lines}\n"
                "Give those to resume, or start without resume"
            )
        self.network.load_state_dict(state["network"], strict=True)
        self.optimiser.load_state_dict(state["optimiser"])
        self.best_state, self.best_score = state["best_state"], state["best_score"]
        self.epoch, self.stale = epoch, state["stale"]
