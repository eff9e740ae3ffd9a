"""Kill a run at a random step, start it again: every number as if nothing had happened."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deo.errors import BusyError, ConfigError
from deo.files.lock import CLAIM, claim
from deo.training import settings
from deo.training.config import Config
from deo.training.data.shards import Shards, write_shards
from deo.training.pretrain import EXIT_REQUEUE
from deo.training.run import checkpoint as checkpoints
from deo.training.run.checkpoint import CHECKPOINTS_NAME, Checkpoint
from deo.training.run.pretraining import pretrain
from deo.training.run.stopping import Stopped

FORK = multiprocessing.get_context("fork")


def train(config: Config, output: Path) -> None:
    """What a child process does; its exit status is that of the command line."""
    torch.set_num_threads(1)
    try:
        pretrain(config, output=output, progress=False)
    except Stopped:
        os._exit(EXIT_REQUEUE)


def start(config: Config, output: Path) -> BaseProcess:
    process = FORK.Process(target=train, args=(config, output))
    process.start()
    return process


def finish(config: Config, output: Path) -> dict[str, Any]:
    process = start(config, output)
    process.join()
    assert process.exitcode == 0
    return newest(output).state


def newest(output: Path) -> Checkpoint:
    return checkpoints.load(checkpoints.saved(output / CHECKPOINTS_NAME)[-1])


def kill_after(step: int, number: int, config: Config, output: Path) -> int | None:
    """Start a run, signal it once `step` steps are recorded, return its exit status."""
    process = start(config, output)
    metrics = output / "metrics.jsonl"
    while process.is_alive() and (not metrics.exists() or metrics.read_text().count("\n") < step):
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    return process.exitcode


def assert_equal(left: Any, right: Any, path: str = "") -> None:
    """Bitwise, through nested containers."""
    assert type(left) is type(right), path
    if isinstance(left, dict):
        assert left.keys() == right.keys(), path
        for key in left:
            assert_equal(left[key], right[key], f"{path}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), path
        for number, pair in enumerate(zip(left, right, strict=True)):
            assert_equal(*pair, f"{path}[{number}]")
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right), path
    else:
        assert left == right, path


def losses(output: Path) -> list[tuple[int, float, float]]:
    lines = (output / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [(record["step"], record["loss"], record["grad_norm"]) for record in records]


def test_resume__killed_anywhere_equals_straight_through(
    tiny_config: Config, tmp_path: Path
) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    expected = finish(tiny_config, straight)
    seed = random.randrange(2**32)
    print(f"kill steps are drawn with seed {seed}")  # shown when the test fails
    draw = random.Random(seed)
    step = draw.randint(1, 5)
    assert kill_after(step, signal.SIGTERM, tiny_config, killed) == EXIT_REQUEUE
    stopped_at = newest(killed).step
    assert step <= stopped_at < 8
    with_workers = settings.override(tiny_config, ["run.workers=1"])
    status = kill_after(draw.randint(stopped_at + 1, 7), signal.SIGKILL, with_workers, killed)
    assert status == -signal.SIGKILL
    assert_equal(finish(tiny_config, killed), expected)
    assert losses(killed) == losses(straight)
    assert newest(killed).randomness[0]["torch"].equal(newest(straight).randomness[0]["torch"])


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(6))
def test_resume__killed_again_and_again(attempt: int, tiny_config: Config, tmp_path: Path) -> None:
    config = settings.override(tiny_config, ["run.steps=30", "run.checkpoint_every=4"])
    expected = finish(config, tmp_path / "straight")
    draw, killed = random.Random(attempt), tmp_path / "killed"
    for _ in range(3):
        workers = settings.override(config, [f"run.workers={draw.randint(0, 2)}"])
        number = draw.choice([signal.SIGTERM, signal.SIGKILL])
        kill_after(draw.randint(1, 25), number, workers, killed)
    assert_equal(finish(config, killed), expected)
    assert losses(killed) == losses(tmp_path / "straight")


def test_resume__a_finished_run_stays_as_it_is(tiny_config: Config, tmp_path: Path) -> None:
    config = settings.override(tiny_config, ["run.steps=2"])
    pretrain(config, output=tmp_path, progress=False)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert pretrain(config, output=tmp_path, progress=False).step == 2
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_resume__a_changed_configuration_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    config = settings.override(tiny_config, ["run.steps=2"])
    pretrain(config, output=tmp_path, progress=False)
    changed = settings.override(
        config, ["optim.lr=0.5", "run.seed=9", "run.log_every=2", "model.drop_path=0.1"]
    )
    with pytest.raises(ConfigError) as caught:
        pretrain(changed, output=tmp_path, progress=False)
    message = str(caught.value)
    assert "optim.lr: 0.02 -> 0.5" in message
    assert "run.seed: 0 -> 9" in message
    assert message.count(" -> ") == 4  # the heading's and three changes
    assert "log_every" not in message
    assert newest(tmp_path).step == 2


def test_resume__other_data_are_refused(tiny_config: Config, tmp_path: Path) -> None:
    pretrain(settings.override(tiny_config, ["run.steps=1"]), output=tmp_path, progress=False)
    path = checkpoints.saved(tmp_path / CHECKPOINTS_NAME)[-1]
    saved = checkpoints.load(path)
    assert saved.data["samples"] == 24
    data = {"samples": 23, "fingerprint": "0" * 16}
    checkpoints.save(path.parent, saved._replace(data=data), keep=1)
    with pytest.raises(ConfigError, match="data, fingerprint: '0000000000000000' ->"):
        pretrain(settings.override(tiny_config, ["run.steps=1"]), output=tmp_path, progress=False)


def test_resume__the_same_data_elsewhere_go_on_and_others_do_not(
    tiny_config: Config, tmp_path: Path
) -> None:
    source, moved, other = Path(tiny_config.data.source), tmp_path / "moved", tmp_path / "other"
    shutil.copytree(source, moved)
    samples = [np.array(sample) for sample in Shards(source)]
    samples[11][0, 0, 0] += 1
    write_shards(other, samples, per_shard=10)
    output = tmp_path / "run"

    def go(folder: Path, steps: int) -> None:
        changes = [f"data.source={folder}", f"run.steps={steps}"]
        pretrain(settings.override(tiny_config, changes), output=output, progress=False)

    go(source, 1)
    go(moved, 1)
    with pytest.raises(ConfigError, match=r"what differs: shard-00001.bin \(other content\)"):
        go(other, 1)


def test_resume__from_the_one_before_a_damaged_checkpoint(
    tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    straight, harmed = tmp_path / "straight", tmp_path / "harmed"
    pretrain(tiny_config, output=straight, progress=False)
    shutil.copytree(straight, harmed)
    *_, before, last = checkpoints.saved(harmed / CHECKPOINTS_NAME)
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    pretrain(tiny_config, output=harmed, progress=False)
    assert str(before) in caplog.text
    assert str(last) in caplog.text
    assert_equal(newest(harmed).state, newest(straight).state)
    assert losses(harmed) == losses(straight)


def test_run__a_second_one_in_the_folder_is_refused(tiny_config: Config, tmp_path: Path) -> None:
    other = settings.override(tiny_config, ["run.seed=5"])
    with claim(tmp_path), pytest.raises(BusyError, match="another run is writing"):
        pretrain(other, output=tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [CLAIM]
    process = start(settings.override(tiny_config, ["run.steps=500"]), tmp_path)
    while not (tmp_path / "metrics.jsonl").exists():
        time.sleep(0.01)
    with pytest.raises(BusyError):
        pretrain(other, output=tmp_path, progress=False)
    process.kill()
    process.join()
    assert settings.load(tmp_path / "config.toml").run.seed == tiny_config.run.seed


def test_checkpoint__does_not_hold_the_optical_teacher(tiny_config: Config, tmp_path: Path) -> None:
    config = settings.override(
        tiny_config,
        ["run.steps=1", "optical.name=test_vit", "optical.pretrained=false"],
    )
    pretrain(config, output=tmp_path, progress=False)
    assert newest(tmp_path).state.keys() == {"step", "student", "teacher", "optimizer", "scaler"}
