"""What the commands show while they work, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def tile_bar(name: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal: call what it yields with (tiles finished, total tiles)."""
    from tqdm import tqdm

    with tqdm(desc=name, unit="tile", disable=quiet or None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
