"""The background threads that take queued runs and carry them to their end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from orm_models import Database
from product_search.errors import AppError
from product_search.runs import leases, queue
from product_search.runs.queue import RunClaim, RunKind, RunLost, RunState

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
POLL_S = 1.0  # runs that other processes queue are seen this late; our own wake the loop


class RunFailed(Exception):
    """The run can't be carried out; the message says why, to whoever asked for it."""


class RunInterrupted(Exception):
    """The process is ending: the run is given back, to go on where its progress was saved."""


class RunContext:
    """What a handler gets: the claimed run, and whether to go on."""

    def __init__(self, database: Database, claim: RunClaim, stopping: threading.Event) -> None:
        self.database = database
        self.claim = claim
        self.stopping = stopping
        self._at_end: list[Callable[[], None]] = []

    def on_finish(self, tidy: Callable[[], None]) -> None:
        """Call this once the run has ended for good, not where it is given back.

        A process that dies in between does not: it has to be done at the next start too.
        """
        self._at_end.append(tidy)

    def tidy(self) -> None:
        """The run has ended for good."""
        for tidy in self._at_end:
            tidy()

    def check(self) -> None:
        """Raise Stopping where the process is to end; ask between two steps that are saved."""
        if self.stopping.is_set():
            raise RunInterrupted


Handler = Callable[[RunContext], None]


def execute(context: RunContext, handler: Handler) -> RunState:
    """Run the handler to its end, and say of the run how it ended.

    An AppError is a store that is down: the run is given back, and goes on later.

    Raises:
        Stopping, RunLost, AppError: the run has not ended.
    """
    database, claimed = context.database, context.claim
    state, reason = RunState.done, None

    def renew() -> None:
        try:
            database.write(queue.renew, claimed, LEASE)
        except RunLost as error:  # the next save notices
            log.warning("%s", error)

    try:
        with leases.keep_lease(renew, LEASE):
            handler(context)
    except RunFailed as error:
        state, reason = RunState.failed, str(error)
    except (RunInterrupted, AppError, KeyboardInterrupt):
        _give_back(context)
        raise
    except RunLost:
        raise
    except Exception as error:  # a bug must not make the run start again for ever
        log.exception("run %d failed", claimed.id)
        state, reason = RunState.failed, f"{type(error).__name__}: {error}"
    database.write(queue.finish, claimed, state, reason)
    context.tidy()
    return state


def _give_back(context: RunContext) -> None:
    try:
        context.database.write(queue.release, context.claim)
    except (AppError, RunLost) as error:
        log.warning("run %d stays claimed until its lease ends: %s", context.claim.id, error)


class RunExecutor:
    """Carries out queued runs until stopped; while a store is down they wait.

    Each kind has a thread of its own, so that a reindexing of hours holds up no import.
    """

    def __init__(self, database: Database, handlers: Mapping[RunKind, Handler]) -> None:
        self._database = database
        self._handlers = handlers
        self._wake = {kind: threading.Event() for kind in handlers}
        self._stopping = threading.Event()
        self._threads = {
            kind: threading.Thread(target=self._run, args=[kind], name=f"{kind} runs", daemon=True)
            for kind in handlers
        }

    def start(self, *kinds: RunKind) -> None:
        """Take runs of these kinds, or of all."""
        for kind, thread in self._threads.items():
            if not kinds or kind in kinds:
                thread.start()

    def wake(self) -> None:
        """There is a run: don't wait for the next poll."""
        for event in self._wake.values():
            event.set()

    def stop(self) -> None:
        """Finish the step in hand, and end; the run goes on at the next start."""
        self._stopping.set()
        self.wake()
        for thread in self._threads.values():
            if thread.ident is not None:
                thread.join()

    def _run(self, kind: RunKind) -> None:
        wake = self._wake[kind]
        while not self._stopping.is_set():
            wake.clear()
            try:
                if self._carry_out_next(kind):
                    continue
            except (RunInterrupted, RunLost):
                continue
            except AppError as error:
                log.warning("%s runs wait: %s", kind, error)
            except Exception:  # a dead thread would leave every later run queued
                log.exception("%s runs wait", kind)
            wake.wait(POLL_S)

    def _carry_out_next(self, kind: RunKind) -> bool:
        if not self._database.read(queue.has_claimable, [kind]):
            return False
        claimed = self._database.write(queue.claim, [kind], LEASE)
        if claimed is None:
            return False
        execute(RunContext(self._database, claimed, self._stopping), self._handlers[kind])
        return True
