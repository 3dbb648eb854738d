"""Batches: what shares one, in which order, what is dropped, refused, and whose error is whose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from product_search import batching
from product_search.batching import Batcher, Caller, Ticket, background, calling, gather
from product_search.errors import ClientGone, Overloaded
from tests.clock import until

PATIENCE_S = 60.0


class Machine:
    """Doubles numbers, batch by batch, and stands still while the test holds it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.is_running = threading.Event()
        self.before: Callable[[Sequence[int]], None] = lambda _batch: None
        self._may_run = threading.Event()
        self._may_run.set()

    def run(self, items: Sequence[int]) -> list[int]:
        """Double the numbers; a negative one breaks its batch."""
        self.batches.append(list(items))
        self.before(items)
        self.is_running.set()
        assert self._may_run.wait(PATIENCE_S)
        if min(items) < 0:
            raise ValueError(min(items))
        return [2 * item for item in items]

    @contextmanager
    def held(self, batcher: Batcher[int, int]) -> Iterator[None]:
        """Busy with a 0 of its own until the block ends."""
        self._may_run.clear()
        self.is_running.clear()
        batcher.submit([0])
        assert self.is_running.wait(PATIENCE_S)
        self.batches.clear()
        yield
        self._may_run.set()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def batcher_of(
    machine: Machine, max_cost: int = 100, max_waiting: int = 100, tens: bool = False
) -> Batcher[int, int]:
    """A queue before the machine, where a number costs one, or is of a key by its tens."""
    if tens:
        return Batcher(
            "test",
            machine.run,
            max_cost=max_cost,
            max_waiting=max_waiting,
            key=lambda item: item // 10,
        )
    return Batcher("test", machine.run, max_cost=max_cost, max_waiting=max_waiting)


def results_of(tickets: Sequence[Ticket[int]]) -> list[int]:
    return [ticket.result(PATIENCE_S) for ticket in tickets]


def test_each_gets_its_own_result_in_its_order(machine: Machine) -> None:
    batcher = batcher_of(machine, max_cost=3)
    with ThreadPoolExecutor(8) as threads:
        asked = [list(range(start, start + 5)) for start in range(100)]
        answers = list(threads.map(lambda items: gather(batcher.submit(items)), asked))
    assert answers == [[2 * item for item in items] for items in asked]
    assert max(map(len, machine.batches)) <= 3


def test_nothing_to_do_is_done_at_once(machine: Machine) -> None:
    assert gather(batcher_of(machine).submit([])) == []
    assert machine.batches == []


def test_what_comes_while_a_batch_runs_is_the_next_batch(machine: Machine) -> None:
    batcher = batcher_of(machine)
    with machine.held(batcher):
        tickets = [ticket for item in (1, 2, 3) for ticket in batcher.submit([item])]
    assert results_of(tickets) == [2, 4, 6]
    assert machine.batches == [[1, 2, 3]]


def test_a_batch_costs_its_dearest_item_times_their_number(machine: Machine) -> None:
    batcher = Batcher[int, int](
        "test", machine.run, max_cost=20, max_waiting=100, cost=lambda item: item
    )
    with machine.held(batcher):
        tickets = batcher.submit([4, 5, 9, 3, 50, 6, 7])
    assert results_of(tickets) == [8, 10, 18, 6, 100, 12, 14]
    # 9 would make three of it 27; the oldest of those that did not fit comes first next time.
    assert machine.batches == [[4, 5, 3], [9, 6], [50], [7]]


def test_only_items_of_one_key_share_a_batch(machine: Machine) -> None:
    batcher = batcher_of(machine, tens=True)
    with machine.held(batcher):
        tickets = batcher.submit([11, 21, 12, 31, 22, 13])
    results_of(tickets)
    assert machine.batches == [[11, 12, 13], [21, 22], [31]]


def test_searches_come_before_the_background(machine: Machine) -> None:
    batcher = batcher_of(machine, max_cost=2)
    with machine.held(batcher):
        with background():
            tickets = batcher.submit([1, 2, 3])
        tickets += batcher.submit([4, 5, 6])
    results_of(tickets)
    assert machine.batches == [[4, 5], [6], [1], [2], [3]]


def test_no_search_waits_for_more_than_a_small_batch_of_the_background(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = batcher_of(machine, max_cost=8)
    with machine.held(batcher), background():  # what holds it is a search
        tickets = batcher.submit(range(1, 7))
    results_of(tickets)
    assert machine.batches == [[1, 2], [3, 4], [5, 6]]
    monkeypatch.setattr(batching, "BUSY_S", 0.0)  # as long after it
    with machine.held(batcher), background():
        tickets = batcher.submit(range(1, 7))
    results_of(tickets)
    assert machine.batches == [[1, 2, 3, 4, 5, 6]]


def test_the_background_never_has_the_last_thread() -> None:
    begun, ending = list[int](), threading.Event()

    def run(items: Sequence[int]) -> Sequence[int]:
        begun.extend(items)
        if items[0] < 9:
            assert ending.wait(PATIENCE_S)
        return items

    batcher = Batcher[int, int]("test", run, max_cost=1, max_waiting=9, threads=2)
    with background():
        tickets = batcher.submit([1, 2])
    until(lambda: begun, "the first")
    assert (begun, batcher._may_take_background()) == ([1], False)
    assert results_of(batcher.submit([9, 10])) == [9, 10]
    assert begun == [1, 9, 10]
    ending.set()
    assert results_of(tickets) == [1, 2]


def test_the_background_has_its_turn_although_searches_always_wait(machine: Machine) -> None:
    batcher = batcher_of(machine, max_cost=1)
    turn = batching.BACKGROUND_TURN
    with machine.held(batcher):
        with background():
            tickets = batcher.submit([1, 2])
        tickets += batcher.submit(range(100, 130))
    results_of(tickets)
    order = [item for (item,) in machine.batches]
    assert turn - 1 <= order.index(1) <= turn
    assert order.index(2) == order.index(1) + turn + 1


def test_a_full_queue_refuses_at_once_and_takes_nothing_of_it(machine: Machine) -> None:
    batcher = batcher_of(machine, max_waiting=3)
    with machine.held(batcher):
        tickets = batcher.submit([1, 2])
        with pytest.raises(Overloaded):
            batcher.submit([3, 4])
        tickets += batcher.submit([5])
    assert results_of(tickets) == [2, 4, 10]
    assert machine.batches == [[1, 2, 5]]


def test_the_background_is_never_refused(machine: Machine) -> None:
    batcher = batcher_of(machine, max_waiting=1)
    with background():
        assert gather(batcher.submit([1, 2, 3])) == [2, 4, 6]


def test_an_item_breaks_no_other_of_its_batch(machine: Machine) -> None:
    batcher = batcher_of(machine)
    with machine.held(batcher):
        tickets = batcher.submit([1, -2, 3])
    good, bad, other = tickets
    assert results_of([good, other]) == [2, 6]
    assert isinstance(bad.exception(PATIENCE_S), ValueError)
    assert machine.batches == [[1, -2, 3], [1], [-2], [3]]


def test_no_search_waits_while_the_items_of_a_bad_batch_are_run_one_by_one(
    machine: Machine,
) -> None:
    batcher = batcher_of(machine)
    late: list[Ticket[int]] = []

    def submit_a_search(batch: Sequence[int]) -> None:
        if batch == [1]:
            late.extend(batcher.submit([9]))

    machine.before = submit_a_search
    with machine.held(batcher), background():
        tickets = batcher.submit([1, -2, 3])
    assert results_of([tickets[0], tickets[2]]) == [2, 6]
    assert results_of(late) == [18]
    assert machine.batches == [[1, -2, 3], [1], [9], [-2], [3]]


def test_where_failing_took_long_nothing_is_run_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "RETRY_WITHIN_S", 0.0)
    batcher = batcher_of(machine)
    with machine.held(batcher):
        tickets = batcher.submit([1, -2])
    assert all(isinstance(one.exception(PATIENCE_S), ValueError) for one in tickets)
    assert machine.batches == [[1, -2]]


def test_too_few_results_are_an_error_of_the_batch() -> None:
    batcher = Batcher[int, int]("test", lambda _: [], max_cost=1, max_waiting=9)
    with pytest.raises(ValueError, match="shorter"):
        gather(batcher.submit([1]))


def test_what_nobody_waits_for_is_not_run(machine: Machine) -> None:
    batcher, gone = batcher_of(machine), Caller()
    with machine.held(batcher):
        with calling(gone):
            dropped = batcher.submit([1, 2])
        kept = batcher.submit([3])
        gone.is_gone = True
    assert results_of(kept) == [6]
    assert all(isinstance(one.exception(PATIENCE_S), ClientGone) for one in dropped)
    assert machine.batches == [[3]]


def test_what_has_waited_too_long_is_not_run_unless_it_is_of_the_background(
    machine: Machine,
) -> None:
    batcher = batcher_of(machine)
    with machine.held(batcher):
        batcher._patience_s = 0.0
        late = batcher.submit([1, 2])
        with background():
            patient = batcher.submit([3])
    assert results_of(patient) == [6]
    assert all(isinstance(one.exception(PATIENCE_S), TimeoutError) for one in late)
    assert machine.batches == [[3]]


def test_a_caller_that_has_gone_submits_nothing(machine: Machine) -> None:
    with calling(Caller(is_gone=True)), pytest.raises(ClientGone):
        batcher_of(machine).submit([1])


def test_a_thread_without_work_ends_and_another_begins(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "IDLE_S", 0.001)
    batcher = Batcher[int, int]("ending", machine.run, max_cost=1, max_waiting=9)
    for item in range(3):
        assert gather(batcher.submit([item])) == [2 * item]
        for thread in [one for one in threading.enumerate() if one.name == "ending"]:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_several_threads_run_batches_at_the_same_time() -> None:
    meeting = threading.Barrier(2)

    def run(items: Sequence[int]) -> Sequence[int]:
        meeting.wait(PATIENCE_S)
        return items

    batcher = Batcher[int, int]("test", run, max_cost=1, max_waiting=9, threads=2)
    assert gather(batcher.submit([1, 2])) == [1, 2]


def test_the_wait_before_the_work_is_told_apart(machine: Machine) -> None:
    batcher = batcher_of(machine)
    before = batching.waited_s()
    with machine.held(batcher):
        (ticket,) = batcher.submit([1])
    gather([ticket])
    assert ticket.started > ticket.submitted
    assert batching.waited_s() >= before
