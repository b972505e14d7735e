"""Child processes, where those who start them are killed."""

import os
import signal
import sys

import pytest

from oatools.core.process import Children, Died


@pytest.mark.skipif(sys.platform != "linux", reason="children end with their parent on Linux alone")
def test_children_are_replaced_when_the_process_that_forks_them_is_killed():
    children = Children(str.upper)
    pair = [children.start(), children.start()]
    assert [child.do("a") for child in pair] == ["A", "A"]
    os.kill(children._pid, signal.SIGKILL)
    os.waitid(os.P_PID, children._pid, os.WEXITED | os.WNOWAIT)
    for child in pair:
        with pytest.raises(Died, match="SIGKILL"):
            child.do("b")
        assert child.do("c") == "C"
    for child in pair:
        child.close()
    children.close()
    with pytest.raises(OSError, match=r".+"):
        children.fork()
