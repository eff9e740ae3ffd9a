"""Ending a run in order."""

import os
import signal

import pytest

from deo.training.run.distributed import Context
from deo.training.run.stopping import StopRequest


def test_stop_request__a_second_signal_does_not_wait() -> None:
    before = signal.getsignal(signal.SIGTERM)
    request = StopRequest(Context())
    with request.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.agreed() == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
