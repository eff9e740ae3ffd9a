"""What a pretraining run would take: built in full, two steps taken, nothing written."""

import dataclasses
from contextlib import closing
from typing import Any

from deo.training.config import Config
from deo.training.data.loading import batches
from deo.training.method.optical import fetched_with_timm
from deo.training.run import distributed
from deo.training.run.monitors import Speedometer, memory_gib
from deo.training.run.pretraining import prepare
from deo.training.run.state import State
from deo.training.run.step import fit


def dry_run(config: Config) -> str:
    """Build everything, take two steps, write nothing; what it took, in words.

    Raises:
        DeoError: the data or the configuration cannot be used.
    """
    with distributed.connect(config.run.device) as context:
        # what a run takes does not depend on the teacher's weights, which a run may have to fetch
        random = config.optical.pretrained and fetched_with_timm(config.optical)
        if random:
            optical = dataclasses.replace(config.optical, pretrained=False)
            config = dataclasses.replace(config, optical=optical)
        state, samples, order, _ = prepare(config, None, context)
        speed = Speedometer(samples_per_step=config.run.batch_size * context.world_size)
        seconds: list[float] = []

        def time_step(state: State, batch: Any, record: Any) -> None:
            float(record.loss)  # waits for the device
            seconds.append(speed.read(steps_left=0).step_seconds)

        steps = min(2, state.steps)
        with closing(batches(samples, order, start=0, stop=steps)) as reading:
            fit(state, reading, [time_step])
        hours = seconds[-1] * state.steps / 3600
        parameters = sum(parameter.numel() for parameter in state.student.parameters())
        return (
            f"dry run: {len(samples)} samples, {order.steps_per_epoch} steps per epoch, "
            f"{state.steps} steps in all, {context.world_size} process(es) on {context.device}\n"
            f"student: {config.model.name}, {parameters / 1e6:.2f} M parameters with heads\n"
            f"steps took {', '.join(f'{value:.2f} s' for value in seconds)} (the first one warms "
            f"up); at the last one's speed the run takes {hours:.2f} h\n"
            f"memory: {memory_gib(context.device):.2f} GiB "
            f"({'device' if context.device.type == 'cuda' else 'resident'}, this process)"
            + f"\n{config.optical.name}: weights were not fetched, which a run does"
            * random
        )
