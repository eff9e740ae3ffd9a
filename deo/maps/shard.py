"""Which of many scenes are this process's share, as its caller or its launcher says."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deo.errors import ConfigError
from deo.maps.worklist import Item

log = logging.getLogger(__name__)

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID")
"""torchrun sets all of these; RANK and WORLD_SIZE alone are what somebody left in a shell."""
_SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
"""Slurm sets a rank and the job's SLURM_NTASKS in a batch script too, where one process runs; only
`srun` sets the number of tasks of a step."""
_ONE_PROCESS_STEPS = ("4294967290", "4294967291", "4294967292")
"""Slurm's steps that run a shell or a script once: interactive, batch, external."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Every `count`th scene, from number `index` on (both count from 0).

    Args:
        origin: what said so, for people.

    Raises:
        ConfigError: the index is not below the count.
    """

    index: int = 0
    count: int = 1
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(
                f"shard {self.index}/{self.count} does not exist; shards of {self.count} are "
                f"0/{self.count} to {max(self.count, 1) - 1}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `i/n`."""
        index, slash, count = text.partition("/")
        if not slash or not index.strip().isdecimal() or not count.strip().isdecimal():
            raise ConfigError(f"shard {text!r} is not of the form i/n, for instance 0/4")
        return cls(index=int(index), count=int(count), origin="--shard")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Shard":
        """From what torchrun or Slurm (`srun`) set for this process; all of it without either.

        Where torchrun runs inside of `srun` its ranks count. Variables that contradict each other
        or lack their companions were left by something else: they are not believed, which is said.
        """
        if all(name in environment for name in _TORCHRUN):
            names, believable = _TORCHRUN[:2], _is_torchrun(environment)
        elif all(name in environment for name in _SLURM):
            names, believable = _SLURM, _is_srun(environment)
        else:
            names, believable = _TORCHRUN[:2], False
        said = {name: environment[name] for name in names if name in environment}
        if believable:
            rank, size = (int(number) for number in said.values())
            return cls(index=rank, count=size, origin=_settings(said))
        if len(said) == len(names) and said[names[1]] != "1":
            log.warning(
                "%s: set, but not as torchrun or srun set them for one of their processes, so "
                "all scenes are this process's; --shard i/n shares them out",
                _settings(said),
            )
        return cls()

    def of(self, items: Sequence[Item]) -> list[Item]:
        """This process's share."""
        return list(items[self.index :: self.count])


def _numbers(environment: Mapping[str, str], names: Sequence[str]) -> list[int] | None:
    """Whole numbers that are all there, or None."""
    texts = [environment.get(name, "") for name in names]
    return [int(text) for text in texts] if all(map(str.isdecimal, texts)) else None


def _is_torchrun(environment: Mapping[str, str]) -> bool:
    numbers = _numbers(environment, _TORCHRUN[:3])
    if numbers is None:
        return False
    rank, size, local_rank = numbers
    return local_rank <= rank < size


def _is_srun(environment: Mapping[str, str]) -> bool:
    numbers = _numbers(environment, _SLURM)
    if numbers is None or any(name.startswith("SLURM_PTY_") for name in environment):
        return (
            False  # with a terminal (srun --pty) it is a shell, in which only the first task runs
        )
    steps = {environment.get(name) for name in ("SLURM_STEP_ID", "SLURM_STEPID")}
    return numbers[0] < numbers[1] and not steps & {*_ONE_PROCESS_STEPS}


def _settings(variables: Mapping[str, str]) -> str:
    return " and ".join(f"{name}={value}" for name, value in variables.items())
