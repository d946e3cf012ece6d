"""Tasks that wait keep their processes; there may be only so many."""

import pytest
from leaks import census, leaks

import nbray
from nbray.exceptions import ProcessLimitExceeded

MOST = 4


@pytest.fixture(scope="module", autouse=True)
def four_processes():
    before = census()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBRAY_MAX_PROCESSES", str(MOST))
        nbray.init(num_cpus=1)
    yield
    nbray.shutdown()
    assert not leaks(before)


@nbray.remote
def down(n):
    return 0 if n == 0 else 1 + nbray.get(down.remote(n - 1))


@nbray.remote
class Board:
    """Where tasks find each other's refs."""

    def __init__(self):
        self._refs = None

    async def fill(self, refs):
        self._refs = refs

    async def ref(self, number):
        return None if self._refs is None else self._refs[number % len(self._refs)]


def test_recursion_goes_as_deep_as_there_are_processes():
    assert nbray.get(down.remote(MOST - 1)) == MOST - 1


def test_recursion_that_goes_deeper_fails_with_who_waits_for_what():
    with pytest.raises(
        ProcessLimitExceeded, match=f"down cannot run.*at most {MOST}.*{MOST} × down waits for down"
    ):
        nbray.get(down.remote(50))
    assert nbray.get(down.remote(2)) == 2


def test_many_children_of_one_task_need_no_process_each():
    @nbray.remote
    def fan(n):
        return sum(nbray.get([down.remote(0) for _ in range(n)]))

    assert nbray.get(fan.remote(30)) == 0


def test_a_ring_of_tasks_ends_with_an_error():
    board = Board.options(num_cpus=0).remote()

    @nbray.remote(max_retries=0)
    def member(number):
        ref = None
        while ref is None:
            ref = nbray.get(board.ref.remote(number + 1))
        return nbray.get(ref)

    ring = [member.remote(number) for number in range(2 * MOST)]
    nbray.get(board.fill.remote(ring))
    with pytest.raises(ProcessLimitExceeded, match="member cannot run"):
        nbray.get(ring)
    for ref in ring:
        nbray.cancel(ref)


def test_who_catches_the_error_goes_on():
    @nbray.remote
    def careful(n):
        try:
            return nbray.get(down.remote(n))
        except ProcessLimitExceeded:
            return "too deep"

    assert nbray.get(careful.remote(50)) == "too deep"


def test_actors_are_not_counted():
    boards = [Board.options(num_cpus=0).remote() for _ in range(2 * MOST)]
    assert nbray.get([board.ref.remote(0) for board in boards]) == [None] * 2 * MOST


def test_what_is_no_number_is_refused_at_init():
    nbray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBRAY_MAX_PROCESSES", "several")
        with pytest.raises(ValueError, match=r"NBRAY_MAX_PROCESSES.*'several'"):
            nbray.init(num_cpus=1)
