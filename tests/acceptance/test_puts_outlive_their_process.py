"""What a task or actor has put and returned refs to stays, also when its process is killed."""

from __future__ import annotations

import os
import signal

import numpy
import pytest
from gates import until

import nbray
from nbray import _runtime
from nbray.owner.serving import StoreServer
from nbray.store.store import Store

pytestmark = pytest.mark.usefixtures("pool")

SIZE = 300_000


@nbray.remote
def putter():
    return [nbray.put(numpy.ones(SIZE)), os.getpid()]


@nbray.remote(max_retries=0)
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@nbray.remote(num_cpus=0)
class Holder:
    def put(self):
        return [nbray.put(numpy.ones(SIZE))]

    def total(self, refs):
        return float(nbray.get(refs[0]).sum())


def ended(pid):
    os.kill(pid, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid))


def _is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return True


def files():
    directory = _runtime.current().owner.values.store.directory
    return [name for name in os.listdir(directory) if "-" in name]


def test_a_put_outlives_the_crash_of_a_later_task_in_its_process():
    ref, pid = nbray.get(putter.remote())
    ended(pid)
    assert nbray.get(ref, timeout=10).sum() == SIZE


def test_a_put_outlives_its_actor():
    actor = Holder.remote()
    (ref,) = nbray.get(actor.put.remote())
    nbray.kill(actor)
    with pytest.raises(nbray.exceptions.RayActorError):
        nbray.get(actor.put.remote())
    assert nbray.get(ref, timeout=10).sum() == SIZE


def test_it_can_be_passed_on_when_its_owner_is_gone():
    ref, pid = nbray.get(putter.remote())
    ended(pid)
    other = Holder.remote()
    assert nbray.get(other.total.remote([ref]), timeout=20) == SIZE


def test_its_file_goes_with_the_last_ref_here():
    ref, pid = nbray.get(putter.remote())
    before = files()
    ended(pid)
    inheritance, owner = _runtime.current().owner.inheritance, ref.owner_id
    until(lambda: not inheritance.expects(owner))
    assert files() == before
    del ref
    until(lambda: len(files()) < len(before))


def test_what_nobody_takes_over_goes_and_the_rest_stays(tmp_path):
    store = Store(str(tmp_path))
    try:
        dead, living = b"\x01" * 8, b"\x02" * 8
        orphan = store.write(dead + bytes(8), b"x" * 10, ())
        adopted = store.write(dead + bytes(7) + b"\x01", b"x" * 10, ())
        other = store.write(living + bytes(8), b"x" * 10, ())
        server = StoreServer(store)
        server.adopted((21, [(dead + bytes(7) + b"\x01", adopted.name)]))
        server.remove_heirless({dead})
        assert [store.has(segment.name) for segment in (orphan, adopted, other)] == [False, True, True]
        with pytest.raises(ValueError, match="process id"):
            server.remove_heirless({b""})  # of an executor that never came up: all names begin with that
    finally:
        store.close()
