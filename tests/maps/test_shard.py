"""Which scenes are this process's share, and which variables of a launcher are believed."""

import pytest

from deo.errors import ConfigError
from deo.maps.entries import Entry
from deo.maps.shard import Shard
from deo.maps.worklist import pair


def test_shard__parts_are_disjoint_and_whole() -> None:
    whole = pair([Entry(f"{number}.tif") for number in range(11)], "{name}.tif", None)
    parts = [Shard.parse(f"{index}/4").of(whole) for index in range(4)]
    assert sorted(item for part in parts for item in part) == sorted(whole)


@pytest.mark.parametrize("text", ["4/4", "1", "a/b", "1/0", "-1/3", ""])
def test_shard__refuses_nonsense(text: str) -> None:
    with pytest.raises(ConfigError, match="shard"):
        Shard.parse(text)


TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "host", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
SRUN = {"SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, Shard()),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, Shard()),
        (
            {"SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "4"},
            Shard(index=2, count=4),
        ),
        (SRUN, Shard(index=2, count=4)),
        (TORCHRUN, Shard(index=3, count=4)),
        ({**SRUN, **TORCHRUN}, Shard(index=3, count=4)),
    ],
)
def test_shard__from_slurm_and_torchrun(environment: dict[str, str], wanted: Shard) -> None:
    assert Shard.from_environment(environment) == wanted


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "29500"},
        {**TORCHRUN, "RANK": "4"},
        {**TORCHRUN, "RANK": "0"},
        {**TORCHRUN, "WORLD_SIZE": "many"},
        {**TORCHRUN, "LOCAL_RANK": ""},
        {**SRUN, "SLURM_PROCID": "4"},
        {**SRUN, "SLURM_PROCID": "x"},
        {**SRUN, "SLURM_STEP_ID": "4294967290"},
        {**SRUN, "SLURM_PTY_PORT": "40000"},
    ],
)
def test_shard__variables_left_in_a_shell_are_not_believed(
    environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert Shard.from_environment(environment) == Shard()
    assert "all scenes are this process's" in caplog.text
