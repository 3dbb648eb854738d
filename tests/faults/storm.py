"""A storm: clients of all kinds, a fault every so many seconds, and what is held against it.

A window is a fault and AFTER_S seconds after it; only within one may requests of the kinds that
the fault excuses be left undone. What is acknowledged, and what is shown, is right at all times.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import httpx
from sqlalchemy import func, select

from benchmarks.rig.processes import Memory, memory_of, milvus_of
from benchmarks.soak import growth, weighed
from orm_models import OutboxEvent
from product_search.outbox.events import Operation
from tests.clock import until
from tests.faults.importing import Importing
from tests.faults.ledger import Trouble
from tests.faults.load import Load
from tests.faults.mariadb import OwnMariaDB
from tests.faults.places import Networked, Place
from tests.faults.readers import Readers, settle
from tests.faults.run_faults import finish_runs
from tests.faults.stray import stray_events
from tests.sessions import writing
from tests.wall_clock import WallClock

AFTER_S = 5.0
AWAY_S = 5.0
BACK_S = 3600
MAX_DEPTH = 500  # of the outbox in a storm
PAUSE_S = 0.05  # after each write, so that indexing keeps up on two cores
ALL_KINDS = frozenset({"write", "search", "list", "import"})
_LONG_GONE = 10**9
_READERS = 3  # and 4 that write, and one that imports


@dataclass(frozen=True)
class Window:
    """From when to when a fault was felt, and which kinds of requests it excuses."""

    fault: str
    begin: float
    end: float
    excused: frozenset[str] = ALL_KINDS

    def excuses(self, trouble: Trouble) -> bool:
        """Whether the request ran in the window, and is of such a kind."""
        meets = trouble.begin <= self.end and trouble.end >= self.begin
        return meets and trouble.kind in self.excused


Fault = Callable[[random.Random], Window]


@dataclass
class Storm:
    """A storm over a place; `faults` come in an order by chance, `once` one time in the middle."""

    place: Place
    faults: dict[str, Fault]
    chance: random.Random
    seconds: float
    period_s: float
    once: dict[str, Fault] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    samples: list[tuple[float, float, float]] = field(default_factory=list)
    imports: int = 0

    def rage(self) -> None:
        """Let the clients work and the faults happen; then all that was accepted is done."""
        place = self.place
        place.start_all()
        settled = settle(place.addresses[0], place.ledger, self.chance)
        with ExitStack() as stack:
            self.samples = stack.enter_context(weighed(self._weigh))
            stack.enter_context(Load(place.addresses, place.ledger, self.chance, PAUSE_S))
            stack.enter_context(
                Readers(place.addresses, place.ledger, self.chance, settled, _READERS)
            )
            importing = stack.enter_context(
                Importing(place.addresses[0], place.ledger, self.chance)
            )
            self._let_happen()
        finish_runs(place)
        importing.conclude()
        self.imports = importing.done

    def _weigh(self) -> Memory:
        service = self.place.processes.get("service")
        if service is None or service.pid is None:
            raise ProcessLookupError("the service is being started again")
        return memory_of(service.pid)

    def _let_happen(self) -> None:
        begin = time.monotonic()
        order = self._order(int(self.seconds / self.period_s))
        for number, (name, fault) in enumerate(order):
            time.sleep(max(0.0, begin + (number + 0.5) * self.period_s - time.monotonic()))
            self.place.start_missing()  # a worker ends that meets a store that is down as it starts
            began = time.monotonic()
            window = fault(self.chance)
            self.windows.append(Window(name, began, window.end, window.excused))
        time.sleep(max(AFTER_S, begin + self.seconds - time.monotonic()))

    def _order(self, count: int) -> Iterator[tuple[str, Fault]]:
        """Yield so many faults: all in turn, each turn in another order."""

        def turns() -> Iterator[tuple[str, Fault]]:
            while True:
                yield from self.chance.sample(list(self.faults.items()), len(self.faults))

        usual = turns()
        for number in range(count):
            is_middle = bool(self.once) and number == count // 2
            yield from self.once.items() if is_middle else itertools.islice(usual, 1)

    def wrong(self) -> dict[str, list[str]]:
        """All that was not as it has to be, a line each, by what it concerns."""
        ledger = self.place.ledger
        ledger.versions.conclude()
        unexcused = [
            one
            for one in ledger.troubles
            if not any(window.excuses(one) for window in self.windows)
        ]
        return {
            "shown otherwise": list(map(str, ledger.versions.wrong)),
            "searches": [str(one) for one in unexcused if one.kind == "search"],
            "other answers": [str(one) for one in unexcused if one.kind != "search"],
            "drift": list(self.place.drift()),
            # Over the second half; a short storm has none.
            "memory": growth(self.samples) if len(self.samples) > _LEAST_SAMPLES else [],
        }


_LEAST_SAMPLES = 60  # five minutes


def _over(begin: float, excused: frozenset[str] = ALL_KINDS) -> Window:
    return Window("", begin, time.monotonic() + AFTER_S, excused)


# The faults


def service_killed(place: Place) -> Fault:
    """The service dies, and is started again."""

    def happen(_chance: random.Random) -> Window:
        begin = time.monotonic()
        place.kill("service")
        place.wait_for_death("service")
        place.start_all()
        return _over(begin)

    return happen


def worker_killed(place: Place) -> Fault:
    """A worker dies, and is started again: no request notices."""

    def happen(chance: random.Random) -> Window:
        begin = time.monotonic()
        victim = chance.choice(place.workers)
        place.kill(victim)
        place.wait_for_death(victim)
        place.start_missing()
        return _over(begin, frozenset())

    return happen


def milvus_lite_away(place: Place) -> Fault:
    """The service's Milvus Lite is killed, or stands still for a while: writes go on."""

    def happen(chance: random.Random) -> Window:
        begin = time.monotonic()
        pid = milvus_of(place.processes["service"].pid or 0)
        assert pid is not None
        if chance.random() < 0.5:
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(AWAY_S)
            os.kill(pid, signal.SIGCONT)
        until(lambda: _searches(place), "a search")
        return _over(begin, frozenset({"search"}))

    return happen


def milvus_away(place: Networked) -> Fault:
    """Milvus is down, or stands still, for a while: writes go on."""

    def happen(chance: random.Random) -> Window:
        begin = time.monotonic()
        if chance.random() < 0.5:
            place.milvus.kill()
            time.sleep(AWAY_S)
            place.milvus.start()
        else:
            place.milvus.pause()
            time.sleep(AWAY_S)
            place.milvus.resume()
        until(lambda: _searches(place), "a search")
        return _over(begin, frozenset({"search"}))

    return happen


def mariadb_away(place: Place, mariadb: OwnMariaDB) -> Fault:
    """MariaDB is down, or stands still, for a while."""

    def happen(chance: random.Random) -> Window:
        begin = time.monotonic()
        if chance.random() < 0.5:
            mariadb.kill()
            time.sleep(AWAY_S)
            mariadb.start()
        else:
            mariadb.pause()
            time.sleep(AWAY_S)
            mariadb.resume()
        place.database.engine.dispose()  # the test's own connections, which were cut
        until(lambda: _searches(place), "a search")
        return _over(begin)

    return happen


def outbox_full(place: Place) -> Fault:
    """Twice as many events wait as the outbox holds; they change nothing."""

    def happen(chance: random.Random) -> Window:
        begin = time.monotonic()
        events = [*stray_events(place), *_of_nothing(2 * MAX_DEPTH)]
        with writing(place.database) as session:
            session.add_all(chance.sample(events, len(events)))
        until(lambda: _waiting(place) < MAX_DEPTH // 4, "room in the outbox")
        return _over(begin, frozenset({"write", "import"}))

    return happen


def _of_nothing(count: int) -> list[OutboxEvent]:
    """Events of so many products that are long gone: those of one product are done together."""
    return [
        OutboxEvent(
            product_id=_LONG_GONE + number,
            milvus_id=_LONG_GONE + number,
            operation=Operation.delete,
            revision=1,
        )
        for number in range(count)
    ]


def clock_set_back(clock: WallClock) -> Fault:
    """Every process's wall clock goes back by an hour."""

    def happen(_chance: random.Random) -> Window:
        begin = time.monotonic()
        clock.set_back(BACK_S)
        return _over(begin, frozenset({"search"}))

    return happen


def _waiting(place: Place) -> int:
    count = select(func.count(OutboxEvent.id))
    return place.database.read(lambda session: session.scalar(count)) or 0


def _searches(place: Place) -> bool:
    body = {"mode": "text_to_text", "text": "红色书包"}
    answers: Sequence[httpx.Response] = [
        httpx.post(f"{address}/search", json=body, timeout=60) for address in place.addresses
    ]
    return all(one.is_success and not one.json().get("degraded") for one in answers)
