"""Processes of one run, and two runs that have ended: without and with an optical teacher."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deo.training import settings
from deo.training.config import Config
from deo.training.run.pretraining import pretrain


@pytest.fixture(scope="session")
def trained(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings.override(tiny_config, ["run.steps=2", "run.checkpoint_every=1"])
    output = tmp_path_factory.mktemp("trained")
    pretrain(config, output=output, progress=False)
    return output


@pytest.fixture(scope="session")
def distilled(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings.override(
        tiny_config, ["run.steps=1", "optical.name=test_vit", "optical.pretrained=false"]
    )
    output = tmp_path_factory.mktemp("distilled")
    pretrain(config, output=output, progress=False)
    return output


@pytest.fixture(scope="session")
def together() -> Callable[[Callable[[], object], int], None]:
    """Runs a function in so many processes at once, as torchrun starts them.

    They are forked, which spares each the seconds that its imports would take.
    """
    context = multiprocessing.get_context("fork")

    def join(function: Callable[[], object], rank: int, world_size: int, port: int) -> None:
        torch.set_num_threads(1)
        os.environ |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(world_size),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
        }
        function()

    def run(function: Callable[[], object], world_size: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = [
            context.Process(target=join, args=(function, rank, world_size, port))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * world_size

    return run
