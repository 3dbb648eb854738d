"""What carries out runs: one run to its end, or all that are enqueued, in background loops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial

from orm_models import Database
from product_search.errors import IN_THE_LOG, AppError
from product_search.runs import queue
from product_search.runs.background import Loop, keep_lease
from product_search.runs.changes import as_started_by
from product_search.runs.queue import RunClaim, RunKind, RunLost, RunState

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
POLL_S = 1.0  # runs that other processes enqueue are seen this late; our own wake the loop


class RunFailed(Exception):
    """The run can't be carried out; the message, for whoever asked for it, says why."""


class RunInterrupted(Exception):
    """The process is ending: the run is released, and goes on from its saved progress later."""


class RunContext:
    """What a handler gets: the claim on its run, and whether to go on.

    A handler saves its progress through `claim`, and calls `check` between two saved steps.
    """

    def __init__(self, database: Database, claim: RunClaim, stopping: threading.Event) -> None:
        """Bind the claim to its database; `stopping` is set when the process is to end."""
        self.database = database
        self.claim = claim
        self.stopping = stopping
        self._is_lost = False
        self._on_finish: list[Callable[[], object]] = []

    def on_finish(self, callback: Callable[[], object]) -> None:
        """Register a callback for after the run has finished; releasing a run does not call it.

        Nor does a process that dies in between: whatever must be cleaned up has to be cleaned up
        at the next start too.
        """
        self._on_finish.append(callback)

    def run_finish_callbacks(self) -> None:
        """Call what `on_finish` has registered, in order."""
        for callback in self._on_finish:
            callback()

    def lose(self) -> None:
        """Have the next check raise RunLost: the lease could not be renewed."""
        self._is_lost = True

    def check(self) -> None:
        """Raise RunInterrupted where the process is to end, RunLost where the claim is gone.

        A lost claim is seen where progress is saved; here within a third of the lease, for work
        that saves none for long.
        """
        if self._is_lost:
            raise RunLost(f"run {self.claim.id} is no longer held")
        if self.stopping.is_set():
            raise RunInterrupted


Handler = Callable[[RunContext], None]


def execute(context: RunContext, handler: Handler) -> RunState:
    """Call the handler, renew the run's lease meanwhile, and finish the run; return its state.

    Raises:
        RunInterrupted: the process is ending; the run was released.
        RunLost: another process holds the run now, or it was cancelled.
        AppError: a store is down; the run was released and goes on later.
    """
    with as_started_by(context.claim.origin):
        return _execute(context, handler)


def _execute(context: RunContext, handler: Handler) -> RunState:
    database, claim = context.database, context.claim
    state, reason = RunState.done, None
    try:
        with keep_lease(partial(_renew, context), LEASE):
            handler(context)
    except RunFailed as error:
        state, reason = RunState.failed, str(error)
    except (RunInterrupted, AppError, KeyboardInterrupt):
        _release(context)
        raise
    except RunLost:
        raise
    except Exception:  # a bug must not make the run start again for ever
        log.exception("run %d failed", claim.id)
        state, reason = RunState.failed, IN_THE_LOG
    database.write(queue.finish, claim, state, reason)
    context.run_finish_callbacks()
    return state


def _renew(context: RunContext) -> None:
    try:
        context.database.write(queue.renew, context.claim, LEASE)
    except RunLost as error:
        log.warning("%s", error)
        context.lose()


def _release(context: RunContext) -> None:
    try:
        context.database.write(queue.release, context.claim)
    except (AppError, RunLost) as error:
        log.warning("run %d stays claimed until its lease ends: %s", context.claim.id, error)


class RunExecutor:
    """Carries out enqueued runs until it is stopped; while a store is down they wait.

    Each kind has a loop of its own, so that a reindexing of hours holds up no import.
    """

    def __init__(self, database: Database, handlers: Mapping[RunKind, Handler]) -> None:
        """Prepare a loop for each kind that has a handler; `start` starts them."""
        self._database = database
        self._handlers = handlers
        self._stopping = threading.Event()
        self._loops = {kind: self._loop(kind) for kind in handlers}

    def _loop(self, kind: RunKind) -> Loop:
        return Loop(
            f"the executor of {kind} runs",
            partial(self._execute_next, kind),
            idle_s=POLL_S,
            max_pause_s=POLL_S,
            wakes_from_pause=True,
            stopping=self._stopping,
        )

    def start(self, *kinds: RunKind) -> None:
        """Carry out runs of these kinds, or of all kinds where none is named."""
        for kind in kinds or self._handlers:
            if kind in self._loops:
                self._loops[kind].start()

    def wake(self) -> None:
        """Look for runs now: one was enqueued, no need to wait for the next poll."""
        for loop in self._loops.values():
            loop.wake()

    def stop(self) -> None:
        """Finish the steps in hand and end the threads; unfinished runs are released."""
        for loop in self._loops.values():
            loop.stop()

    def _execute_next(self, kind: RunKind) -> int:
        """Claim the oldest run of the kind and execute it; return how many runs were claimed."""
        if not self._database.read(queue.has_claimable, [kind]):
            return 0
        claim = self._database.write(queue.claim, [kind], LEASE)
        if claim is None:
            return 0
        context = RunContext(self._database, claim, self._stopping)
        with suppress(RunInterrupted, RunLost):
            execute(context, self._handlers[kind])
        return 1
