"""How long work over tiles will take, shown or told."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

Count = Callable[[int, int], None]
"""Is told (tiles dealt with, tiles in all)."""

Progress = Count | Literal[True] | None
"""What a caller asks for: to be told, a bar on standard error, or nothing."""


@contextlib.contextmanager
def tile_bar(name: str, *, quiet: bool | None = False) -> Iterator[Count]:
    """A bar to call with (tiles dealt with, tiles in all); `quiet` None: on a terminal only."""
    from tqdm import tqdm

    with tqdm(desc=name, unit="tile", disable=quiet) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextlib.contextmanager
def shown(progress: Progress, name: str) -> Iterator[Count | None]:
    """What to tell of the work on a scene of this name, as a caller asked for it."""
    if progress is True:
        with tile_bar(name) as show:
            yield show
    else:
        yield progress or None


class Bars:
    """A bar for each of many scenes, one after the other; a context manager.

    Call it with (scene, tiles dealt with, tiles in all).
    """

    def __init__(self, *, quiet: bool | None = False, name_of: Callable[[str], str] = str) -> None:
        self._quiet, self._name_of = quiet, name_of
        self._scene: str | None = None
        self._bars = contextlib.ExitStack()
        self._show: Count

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the bar that is shown; the next scene, or the same one again, has a new one."""
        self._bars.close()
        self._scene = None

    def __call__(self, scene: str, done: int, total: int) -> None:
        if scene != self._scene:
            self.close()
            self._scene = scene
            bar = tile_bar(self._name_of(scene), quiet=self._quiet)
            self._show = self._bars.enter_context(bar)
        self._show(done, total)
