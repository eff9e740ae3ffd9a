"""What is to be made of a scene, what of it is lacking, and whether it can be written."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deo.contracts import InputContract
from deo.errors import OutputError
from deo.files.publish import check_space
from deo.files.records import differences
from deo.maps.metadata import MapInfo
from deo.maps.pair import joined
from deo.maps.rows import Shape
from deo.maps.runner import FeatureModel
from deo.maps.sinks import Sink, check_target
from deo.maps.spool import SOURCE_ID
from deo.maps.windows import Tiling
from deo.scene.inputs import Inputs
from deo.scene.scene import Scene


@dataclass(frozen=True, kw_only=True)
class Output:
    """One file to write: the layer at `position` of the model's list, described by `info`."""

    path: Path
    position: int
    info: MapInfo
    sink: Sink


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that decides what is written.

    Args:
        scenes: one, or two dates of one grid, whose bands follow each other.
        outputs: at least one; the rows of a run that is under way wait beside the first.
        batch_size: tiles per call of the model.
        inputs: the files that the scenes are read from, which a resumed run must share.

    Raises:
        SceneError: the scenes do not share a grid.
    """

    scenes: tuple[Scene, ...]
    model: FeatureModel
    contract: InputContract
    tiling: Tiling
    outputs: tuple[Output, ...]
    batch_size: int
    inputs: Inputs

    def __post_init__(self) -> None:
        joined(self.scenes)

    @property
    def scene(self) -> Scene:
        """The first one, which says where the map lies."""
        return self.scenes[0]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        sizes = zip(self.model.channels, self.model.reductions, strict=True)
        scene = self.scene
        return tuple(
            Shape(channels, -(-scene.height // stride), -(-scene.width // stride))
            for channels, stride in sizes
        )

    @property
    def folder(self) -> Path:
        """Where finished rows wait: beside the first output."""
        first = self.outputs[0].path
        return first.with_name(f"{first.name}.partial")

    def record(self) -> dict[str, object]:
        """What two runs share when one may finish the other's work."""
        return {
            **{key: value for output in self.outputs for key, value in output.info.tags.items()},
            "source": self.inputs.record(),
            # each once: the same rows serve any number of outputs
            "layers": list(dict.fromkeys(output.info.layer for output in self.outputs)),
            "height": self.scene.height,
            "width": self.scene.width,
            "batch_size": self.batch_size,
            "device": self.model.device.type,
        }


class Lack(NamedTuple):
    """An output that is still to be made; `reason` is None where there is no file."""

    path: Path
    reason: str | None


def lacking(job: Job) -> list[Lack]:
    """The outputs that are absent, damaged, or made before the input changed.

    Raises:
        OutputError: one was made with other settings, or is none of ours.
    """
    lacks = []
    for output in job.outputs:
        if not output.path.exists():
            lacks.append(Lack(output.path, None))
            continue
        lack, tags = output.sink.damage(output.path), output.sink.read_tags(output.path)
        if tags is None and lack is None:
            raise OutputError(
                f"{output.path} exists and was not made by deo as a {output.sink.title}; it is "
                "left alone"
            )
        changed = [] if tags is None else differences(tags, output.info.tags)
        refused = [one for one in changed if one.name != SOURCE_ID]
        if refused:
            raise OutputError(
                f"{output.path} exists and was made otherwise ("
                + "; ".join(map(str, refused[:3]))
                + ("; ..." if len(refused) > 3 else "")
                + "); --overwrite replaces it"
            )
        if lack is not None:
            lacks.append(Lack(output.path, f"is damaged ({lack})"))
        elif changed and job.inputs.known:
            lacks.append(Lack(output.path, "was made of another state of its input"))
    return lacks


def check_job(job: Job) -> None:
    """Refuse before anything is computed outputs that could not be written afterwards.

    Raises:
        DeoError: one could not.
    """
    for output in job.outputs:
        check_target(
            output.path,
            output.info,
            output.sink,
            height=job.scene.height,
            width=job.scene.width,
        )


def check_room(job: Job, *, kept: int) -> None:
    """Refuse to begin where the disk cannot take the rows and the outputs.

    Args:
        kept: bytes of finished rows that it holds already.

    Raises:
        OutputError: it cannot at the fullest moment, while the last output is written.
    """
    needed = peak = sum(shape.bytes for shape in job.shapes)
    for output in job.outputs:
        more = output.sink.room(job.shapes[output.position], output.info)
        needed += more.output
        peak = max(peak, needed + more.scratch)
    check_space(job.outputs[0].path, peak - kept)
