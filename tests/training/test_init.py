"""What `deo.training` offers, in processes that have imported nothing before."""

import subprocess
import sys

import pytest

import deo.training

NAMES = ["Config", "evaluate", "export", "finetune", "pretrain"]


def test_names__are_all_there_and_no_other() -> None:
    assert dir(deo.training) == NAMES == deo.training.__all__
    for name in NAMES:
        assert callable(getattr(deo.training, name))
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        deo.training.train  # noqa: B018


def test_pretrain__is_a_module_that_can_be_called_whichever_way_it_came() -> None:
    # one process in which `deo.training` alone is imported: each child goes on in a way of its own.
    # What others made is imported once for all of them, which takes most of the time
    code = """
import os, sys, h5py, rasterio, timm, torch.distributed.checkpoint.state_dict
import torch.distributed.fsdp, torch.utils.flop_counter
import deo.training
ways = ["import deo.training.pretrain", "from deo.training import pretrain",
        "from deo.training.pretrain import command", "deo.training.pretrain", "deo.training.export"]
for way in ways:
    if not (child := os.fork()):
        exec(way)
        from deo.training.run.pretraining import pretrain as function
        assert deo.training.pretrain.__call__ is function
        assert deo.training.pretrain.command.name == "command"
        try:
            deo.training.pretrain()
        except TypeError as error:
            assert "pretrain() missing" in str(error), error
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        sys.exit(way)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
