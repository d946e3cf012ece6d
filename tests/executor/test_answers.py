"""What an executor owes to who called it, seen from the wire."""

from __future__ import annotations

import os
import signal

import pytest
from gates import Marks, until
from raw_peer import call, function, rig

from nbray.core import messages as m


@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
def test_a_task_does_not_start_before_the_answers_of_earlier_ones_are_on_their_way(tmp_path, tcp):
    """Else a death would lose answers of calls that ran, and their owner would run them again, uncharged."""
    marks = Marks(tmp_path)

    def large(i):
        marks.mark(f"call{i:03}")
        return i.to_bytes(2, "little") * 30_000

    with rig(tcp) as rigged:
        connection, pid = rigged.lane(1)
        connection.send(function(1, large))
        connection.send((m.CALLS, [call(i, 1, i) for i in range(300)]))
        # Nobody reads: the answers fill the socket, and there they stop.
        until(lambda: marks.count("call000") == 1)
        before = -1
        while before != (before := len(os.listdir(marks.path))):
            until(lambda: os.path.exists(f"/proc/{pid}/stat") and _sleeps(pid))
        # With something unread in its socket its end is a reset, over TCP.
        os.kill(pid, signal.SIGSTOP)
        connection.send((m.CALLS, [call(300, 1, 300)]))
        os.kill(pid, signal.SIGKILL)
        rigged.peer.until(lambda: bool(rigged.peer.ended))
        answered = sorted(rigged.peer.answers())
        ran = sorted({int(name[4:7]) for name in os.listdir(marks.path)})
        assert len(ran) < 300, "it ran on although nobody took its answers"
        assert answered == list(range(len(answered)))
        assert ran in (answered, [*answered, len(answered)])


def _sleeps(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "S"
