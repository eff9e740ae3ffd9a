import threading
import time
from collections.abc import Iterator

import pytest

from deo.maps.background import WriteBehind, read_ahead


def test_read_ahead__keeps_order_and_runs_in_another_thread() -> None:
    threads: list[str] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            threads.append(threading.current_thread().name)
            yield number

    assert list(read_ahead(numbers(), depth=2)) == list(range(20))
    assert set(threads) == {"deo-reader"}


def test_read_ahead__is_bounded() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    stream = read_ahead(numbers(), depth=2)
    next(stream)
    time.sleep(0.1)
    assert len(made) <= 4
    stream.close()
    assert not [t for t in threading.enumerate() if t.name == "deo-reader"]


def test_read_ahead__raises_what_the_source_raised_after_what_came_before() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    stream = read_ahead(numbers(), depth=3)
    assert next(stream) == 1
    with pytest.raises(KeyError, match="broken"):
        next(stream)


def test_write_behind__writes_all_in_order_before_the_block_ends() -> None:
    written: list[int] = []

    def write(number: int) -> None:
        time.sleep(0.002)
        written.append(number)

    with WriteBehind(write, depth=1) as writer:
        for number in range(10):
            writer.put(number)
    assert written == list(range(10))


def test_write_behind__raises_an_error_of_the_thread() -> None:
    def write(number: int) -> None:
        raise OSError(f"no room for {number}")

    def write_all() -> None:
        with WriteBehind(write, depth=1) as writer:
            for number in range(100):
                writer.put(number)

    with pytest.raises(OSError, match="no room for 0"):
        write_all()


def test_write_behind__does_not_hide_the_error_of_the_block() -> None:
    with pytest.raises(KeyError), WriteBehind(print, depth=1):
        raise KeyError("from the block")
