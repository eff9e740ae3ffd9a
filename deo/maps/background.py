"""Two threads around the model: one reads ahead, one writes behind. Both queues are bounded."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1


class _End:
    """Marks the end of a stream, with the error that ended it if there was one."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(source: Iterator[T], *, depth: int) -> Generator[T]:
    """Yield what `source` yields while a thread keeps up to `depth` items ready.

    An error in `source` is raised here. When this generator is closed the thread stops after
    the item at hand.
    """
    items: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: T | _End) -> None:
        while not stopped.is_set():
            try:
                items.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in source:
                put(item)
                if stopped.is_set():
                    return
            put(_End(None))
        except BaseException as error:  # handed to the consumer, who raises it
            put(_End(error))

    thread = threading.Thread(target=work, name="deo-reader", daemon=True)
    thread.start()
    try:
        while not isinstance(item := items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()


class WriteBehind(Generic[T]):
    """Calls `write(item)` in a thread, in order; the caller waits when `depth` items are due.

    Leaving the `with` block waits for the last item. An error in the thread is raised by the next
    `put` or when the block is left.
    """

    def __init__(self, write: Callable[[T], None], *, depth: int) -> None:
        self._write = write
        self._items: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="deo-writer", daemon=True)

    def __enter__(self) -> "WriteBehind[T]":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._items.put(_End(error))
        self._thread.join()
        if error is None:
            self._raise()

    def put(self, item: T) -> None:
        """Hand over one item."""
        self._raise()
        self._items.put(item)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while not isinstance(item := self._items.get(), _End):
            if self._error is not None:
                continue
            try:
                self._write(item)
            except BaseException as error:  # kept for the caller, who raises it
                self._error = error
