"""What the commands print, kept from deciding over what they do."""

import errno
import io
import os
import sys
from typing import Any

_UNHEARD = (errno.EPIPE, errno.EBADF)


class _Stream(io.FileIO):
    """Standard output or error, which may be closed before a command is through.

    A reader such as `head` that has heard enough is no failure: the command goes on in silence. So
    it does after any other fault, a full disk for instance, which `fault` holds.
    """

    fault: OSError | None = None

    def write(self, content: Any) -> int | None:  # type: ignore[override]  # as FileIO's does
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in _UNHEARD:
                self.fault = error
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, self.fileno())
            os.close(silence)
            return len(content)


def guard_streams() -> None:
    """Guard standard output and error of this process, unless something stands in for them."""
    _fill_closed()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Stream(1, "wb", closefd=False), sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Stream(2, "wb", closefd=False), sys.stderr)


def output_fault() -> OSError | None:
    """What kept standard output from being written; that nobody reads it is none."""
    if sys.stdout is None or sys.stdout.closed:
        return None
    sys.stdout.flush()
    stream = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return stream.fault if isinstance(stream, _Stream) else None


def _fill_closed() -> None:
    """Keep a closed stream's number from being given to the next file that is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _text(stream: _Stream, before: Any) -> io.TextIOWrapper:
    """As Python would make it: of the same encoding, and written at once line by line."""
    return io.TextIOWrapper(
        io.BufferedWriter(stream),
        encoding=before.encoding if before is not None else "utf-8",
        errors=before.errors if before is not None else "backslashreplace",
        line_buffering=True,
    )
