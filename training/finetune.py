"""Tuning a network for a task: the loop, early stopping, the best and the last checkpoint."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deo.atomic import open_unlinked
from deo.errors import ConfigError, OutputError
from deo.training import checkpoint
from deo.training.checkpoint import Checkpoint
from deo.training.heads import Network
from deo.training.patches import Examples, batches
from deo.training.predictions import confusions
from deo.training.scores import STATISTICS
from deo.training.tasks import Benchmark, Task
from deo.training.tuning import LOSSES, TuneConfig, class_weights, parameter_groups, set_rate


class Epoch(NamedTuple):
    """What one epoch came to; `score` is the benchmark's metric on the validation part."""

    number: int
    loss: float
    score: float
    best: float


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
        resume: go on from the last checkpoint; the rest of the run is what it would have been.
        origin: what the network began as (model, weights), plain values, compared on resuming.
        keep: told the score after each epoch that is the best so far, while the network holds it.

    Raises:
        ConfigError: `resume` meets other settings, samples, inputs or another origin.
        OutputError: the checkpoint is missing or cannot be written.
    """
    run = _Run(network.to(device), benchmark, train, config, origin or {}, device)
    if resume:
        run.restore(_needed(folder))
    while run.epoch < config.epochs and not run.exhausted:
        loss = run.learn()
        score = run.judge(valid)
        epoch = Epoch(run.epoch, loss, score, run.best_score)
        if keep is not None and run.stale == 0:
            keep(run.best_score)
        if folder is not None:
            run.save(folder)
            with open_unlinked(folder / "log.jsonl", append=True) as file:
                file.write(f"{json.dumps(epoch._asdict())}\n".encode())
        yield epoch
    network.load_state_dict(run.best_state, strict=True)


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
        config: TuneConfig,
        origin: Mapping[str, Any],
        device: str,
    ) -> None:
        self.origin = origin
        self.network, self.train, self.config, self.device = network, train, config, device
        self.benchmark, self.multilabel = benchmark, benchmark.task is Task.MULTILABEL
        self.optimiser = torch.optim.AdamW(parameter_groups(network, config), lr=config.rate)
        self.epoch, self.stale = 0, 0
        self.best_score = math.nan
        self.best_state = self._state()
        self.weights = None
        if config.balance and not self.multilabel:
            self.weights = class_weights(train, benchmark.class_count).to(device)

    @property
    def exhausted(self) -> bool:
        return self.config.patience is not None and self.stale > self.config.patience

    def learn(self) -> float:
        """One epoch; returns its mean loss."""
        config, losses = self.config, []
        loss_of = LOSSES["bce" if self.multilabel else config.loss]
        parts = list(
            batches(
                self.train,
                size=config.batch,
                crop=config.crop,
                flips=True,
                seed=config.seed,
                epoch=self.epoch,
            )
        )
        self.network.train()
        torch.manual_seed(config.seed * 100_003 + self.epoch)  # stochastic depth, on resume too
        for number, batch in enumerate(parts):
            set_rate(self.optimiser, config, self.epoch + number / len(parts))
            scores = self.network(batch.images.to(self.device))
            loss = loss_of(scores, batch.targets.to(self.device), self.weights)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimiser.step()
            losses.append(loss.detach())
        self.epoch += 1
        return float(torch.stack(losses).mean())

    def judge(self, valid: Examples | None) -> float:
        """Score the epoch on the validation part.

        Without one, or as long as the score is undefined, every epoch is the best so far.
        """
        score = math.nan
        if valid is not None:
            matrices = confusions(
                self.network, valid, self.benchmark, crop=self.config.crop, device=self.device
            )
            score = STATISTICS[self.benchmark.metric](matrices.sum(0))
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

    def _data(self) -> dict[str, Any]:
        names = self.train.split.names
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
        return {"samples": len(names), "first": names[0], "names_sha256": digest}

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
        saved = Checkpoint(self.epoch, self._settings(), self._data(), state, [])
        checkpoint.save(folder, saved, keep=1)

    def restore(self, folder: Path) -> None:
        found = checkpoint.saved(folder)
        if not found:
            raise OutputError(f"{folder} holds no checkpoint to resume from; start without resume")
        epoch, config, data, state, _ = checkpoint.load(found[-1])
        if data != self._data():
            raise ConfigError(f"{found[-1]} was trained on other samples: {data}")
        wanted = self._settings()
        keys = (wanted | config).keys() - {"patience"}
        changed = sorted(key for key in keys if config.get(key) != wanted.get(key))
        if changed:
            listed = "; ".join(f"{key} {config.get(key)}, now {wanted.get(key)}" for key in changed)
            raise ConfigError(
                f"{found[-1]} was made with other settings: {listed}. Repeat those to resume, or "
                "start without resume"
            )
        self.network.load_state_dict(state["network"], strict=True)
        self.optimiser.load_state_dict(state["optimiser"])
        self.best_state, self.best_score = state["best_state"], state["best_score"]
        self.epoch, self.stale = epoch, state["stale"]
