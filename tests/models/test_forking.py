"""Children forked from a process that computes: one thread, registered once."""

import os

import pytest
import torch

from deo.models.forking import compute_alone_when_forked


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the point of this test
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_compute_alone_when_forked__children_have_one_thread() -> None:
    compute_alone_when_forked()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        child = os.fork()
        if child == 0:
            os._exit(torch.get_num_threads())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_compute_alone_when_forked__registers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[object] = []
    monkeypatch.setattr(
        os, "register_at_fork", lambda **hooks: registered.append(hooks), raising=False
    )
    compute_alone_when_forked.cache_clear()
    compute_alone_when_forked()
    compute_alone_when_forked()
    assert len(registered) == 1
