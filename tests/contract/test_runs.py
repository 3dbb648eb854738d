"""Runs on every database: one holder at a time, progress that survives, loops that go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from orm_models import Database, Run
from product_search.errors import IN_THE_LOG, DatabaseUnavailable
from product_search.runs import executor, queue
from product_search.runs.executor import RunContext, RunExecutor, RunFailed, RunInterrupted, execute
from product_search.runs.queue import Problem, RunClaim, RunKind, RunLost, RunState
from tests.sessions import reading, writing

LEASE = timedelta(seconds=30)
START = datetime(2026, 1, 2, tzinfo=UTC)


def at(seconds: float) -> Callable[[Session], datetime]:
    return lambda _session: START + timedelta(seconds=seconds)


def queued(database: Database, kind: RunKind = RunKind.import_) -> int:
    return database.write(lambda session: queue.enqueue(session, kind, {"file": "a.csv"}).id)


def claimed(database: Database, seconds: float = 0, kind: RunKind = RunKind.import_) -> RunClaim:
    found = database.write(queue.claim, [kind], LEASE, clock=at(seconds))
    assert found is not None
    return found


def row(database: Database, run_id: int) -> Run:
    with reading(database) as session:
        run = session.get(Run, run_id)
        assert run is not None
        return run


def test_a_run_is_held_by_one_until_its_lease_ends(database: Database) -> None:
    run_id = queued(database)
    first = claimed(database)
    assert (first.id, first.options, first.progress) == (run_id, {"file": "a.csv"}, {})
    with writing(database) as session:
        assert queue.claim(session, [RunKind.import_], LEASE, clock=at(29)) is None
        queue.save(session, first, {"rows": 200}, LEASE, clock=at(29))
    with writing(database) as session:
        assert queue.claim(session, [RunKind.import_], LEASE, clock=at(58)) is None
    second = claimed(database, seconds=60)
    assert (second.id, second.progress) == (run_id, {"rows": 200})
    for change in (
        lambda session: queue.save(session, first, {"rows": 400}, LEASE, clock=at(61)),
        lambda session: queue.renew(session, first, LEASE, clock=at(61)),
        lambda session: queue.finish(session, first, RunState.done, clock=at(61)),
    ):
        with pytest.raises(RunLost):
            database.write(change)
    assert row(database, run_id).progress == {"rows": 200}


def test_a_process_that_is_alone_frees_the_runs_of_the_one_before(database: Database) -> None:
    run_id, local = queued(database), queued(database, RunKind.local_import)
    first, ours = claimed(database), claimed(database, kind=RunKind.local_import)
    with writing(database) as session:
        queue.release_all(session, [RunKind.import_])
    again = claimed(database, seconds=1)
    assert (again.id, first.id, ours.id) == (run_id, run_id, local)
    with pytest.raises(RunLost):
        database.write(queue.save, first, {}, LEASE)
    database.write(queue.save, ours, {}, LEASE)


def test_runs_of_other_kinds_and_other_ids_are_left_alone(database: Database) -> None:
    doctor, first, second = queued(database, RunKind.doctor), queued(database), queued(database)
    with writing(database) as session:
        taken = queue.claim(session, [RunKind.import_], LEASE, run_id=second, clock=at(0))
        assert taken is not None
        assert taken.id == second
    assert claimed(database).id == first
    with writing(database) as session:
        assert queue.claim(session, [RunKind.import_], LEASE, clock=at(1)) is None
    assert claimed(database, kind=RunKind.doctor).id == doctor


def test_a_lease_begun_before_the_clock_was_set_back_ends_with_it(database: Database) -> None:
    run_id = queued(database)
    lost = claimed(database, seconds=300)
    with writing(database) as session:
        assert queue.has_claimable(session, [RunKind.import_], clock=at(0))
    assert claimed(database).id == run_id
    with writing(database) as session, pytest.raises(RunLost):
        queue.renew(session, lost, LEASE, clock=at(1))


def test_a_run_that_has_ended_is_taken_by_nobody(database: Database) -> None:
    run_id = queued(database)
    taken = claimed(database)
    with writing(database) as session:
        queue.finish(session, taken, RunState.failed, "坏" * 600, clock=at(5))
    with writing(database) as session:
        assert not queue.has_claimable(session, list(RunKind))
        assert queue.claim(session, list(RunKind), LEASE, clock=at(99)) is None
        assert not queue.cancel(session, run_id)
    ended = row(database, run_id)
    assert (ended.state, ended.error, ended.claim_token) == (RunState.failed, "坏" * 500, None)
    assert (ended.started_at, ended.finished_at) == (START, START + timedelta(seconds=5))


def test_a_cancelled_run_stops_at_its_next_save(database: Database) -> None:
    run_id = queued(database)
    taken = claimed(database)
    assert database.write(queue.cancel, run_id)
    with pytest.raises(RunLost):
        database.write(queue.save, taken, {"rows": 1}, LEASE)
    assert row(database, run_id).state == RunState.cancelled


def test_problems_are_read_in_pages(database: Database) -> None:
    run_id, other = queued(database), queued(database)
    with writing(database) as session:
        queue.add_problems(session, other, [Problem("bad_row", "1", "别人的")])
        queue.add_problems(
            session, run_id, [Problem("bad_row", str(n), f"第 {n} 行") for n in range(5)]
        )
        queue.add_problems(session, run_id, [])
    with reading(database) as session:
        page = queue.fetch_problems(session, run_id, 0, 3)
        rest = queue.fetch_problems(session, run_id, page[-1].id, 3)
    assert [one.subject for one in [*page, *rest]] == ["0", "1", "2", "3", "4"]


def test_latest_is_the_newest_run_of_the_kind_in_these_states(database: Database) -> None:
    old, new = queued(database), queued(database)
    with reading(database) as session:
        newest = queue.find_latest(session, RunKind.import_)
        assert newest is not None
        assert newest.id == new
        assert queue.find_latest(session, RunKind.doctor) is None
    database.write(lambda session: queue.finish(session, claimed_in(session, old), RunState.done))
    with reading(database) as session:
        done = queue.find_latest(session, RunKind.import_, RunState.done)
        assert done is not None
        assert done.id == old


def claimed_in(session: Session, run_id: int) -> RunClaim:
    taken = queue.claim(session, list(RunKind), LEASE, run_id=run_id)
    assert taken is not None
    return taken


def context(database: Database) -> RunContext:
    queued(database)
    return RunContext(database, claimed(database), threading.Event())


def test_a_run_ends_as_its_handler_does(database: Database) -> None:
    def refuse(_context: RunContext) -> None:
        raise RunFailed("文件不见了")

    def break_down(_context: RunContext) -> None:
        raise KeyError("a bug")

    ends = []
    for handler in (lambda _context: None, refuse, break_down):
        ours = context(database)
        state = execute(ours, handler)
        ends.append((state, row(database, ours.claim.id).error))
    assert ends == [
        (RunState.done, None),
        (RunState.failed, "文件不见了"),
        (RunState.failed, IN_THE_LOG),
    ]


def test_a_run_is_given_back_where_a_store_is_down_or_the_process_ends(database: Database) -> None:
    def no_store(_context: RunContext) -> None:
        raise DatabaseUnavailable("数据库暂时不可用")

    ours = context(database)
    with pytest.raises(DatabaseUnavailable):
        execute(ours, no_store)
    with writing(database) as session:
        again = queue.claim(session, list(RunKind), LEASE, run_id=ours.claim.id)
    assert again is not None
    ours = RunContext(database, again, threading.Event())
    ours.stopping.set()
    with pytest.raises(RunInterrupted):
        execute(ours, RunContext.check)
    given_back = row(database, ours.claim.id)
    assert (given_back.state, given_back.claim_token) == (RunState.running, None)


def test_the_lease_is_kept_however_long_a_step_takes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "LEASE", timedelta(milliseconds=30))
    ours = context(database)
    before = row(database, ours.claim.id).lease_until
    moved = threading.Event()

    def wait(_context: RunContext) -> None:
        for _ in range(2000):
            if row(database, ours.claim.id).lease_until != before:
                moved.set()
                return

    assert execute(ours, wait) is RunState.done
    assert moved.is_set()


def test_a_loop_carries_out_what_is_queued_and_stops_between_steps(database: Database) -> None:
    queued(database)
    queued(database)
    seen: list[int] = []
    both = threading.Event()

    def handle(context: RunContext) -> None:
        seen.append(context.claim.id)
        if len(seen) == 2:
            both.set()
            assert context.stopping.wait(30)
            context.check()

    loop = RunExecutor(database, {RunKind.import_: handle})
    loop.start()
    assert both.wait(30)
    loop.stop()
    assert [row(database, run_id).state for run_id in seen] == [RunState.done, RunState.running]
    assert row(database, seen[1]).claim_token is None  # the next start goes on with it at once
