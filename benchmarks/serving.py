"""Searches under load, beside their peers and the ceiling of their parts, in one run: `make bench`.

python -m benchmarks.serving [--rounds 3] [--seconds 8] [--products 10000] [--before COMMIT]

All servers run at the same time, and are loaded by turns, so that a busy moment of the machine
meets all. Each stretch of load has queries that no stretch before it had. Writes
docs/benchmarks.json and docs/benchmarks.md; what was made once is kept in .bench.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from benchmarks.http_load import Order, run_load, write_requests
from benchmarks.rig import contenders, machine, parts, pictures, report, words
from benchmarks.rig.catalogue import Checkout, earlier, imported
from benchmarks.rig.contenders import MODES, Contender
from benchmarks.rig.folders import BENCH, copy, fresh, say

SEED = 23
CLIENTS = (1, 8, 40)
CROWD = CLIENTS[-1]
BEFORE, EARLIER = "before", "4ea560d"  # the state before searches shared batches
RATES = (10, 20, 40, 80, 160, 320)  # of the open loop, requests a second
# Queries a second that a stretch is given: more would be repeated, which is told.
MOST_PER_S = dict.fromkeys(MODES, 600) | {"image_to_image": 250}
ZIPF_QUERIES = 10_000
ENCODER_TEXTS = 4096
ASKED = 25  # queries that a mode's usual answer is taken from
# What a peer that breaks may raise: it is left out, and the report says so.
_BROKEN = (OSError, RuntimeError, ValueError, subprocess.SubprocessError, httpx.HTTPError)


@dataclass
class Pool:
    """Queries and pictures, each given out once."""

    texts: Iterator[str]
    pictures: Iterator[bytes]

    def take(self, mode: str, count: int) -> list[Any]:
        """Return so many that were not given out before."""
        source: Iterator[Any] = self.pictures if mode == "image_to_image" else self.texts
        taken = list(islice(source, count))
        if len(taken) < count:
            raise RuntimeError("the pool of queries is empty")
        return taken


@dataclass
class Results:
    """All that was measured, as docs/benchmarks.json has it."""

    made: dict[str, Any]
    loads: list[dict[str, Any]] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """One run over all rounds."""

    options: argparse.Namespace
    pool: Pool
    results: Results
    running: list[Contender] = field(default_factory=list)

    def load(self, one: Contender, about: dict[str, Any], items: Sequence[Any], **how: Any) -> Any:
        """Load a contender, keep what came out, and return it; None where it broke."""
        requests = [one.asking(about["mode"], item) for item in items]
        path = write_requests(BENCH / "requests.jsonl", requests)
        assert one.server is not None
        try:
            load = run_load(Order(one.server.port, path, key=one.key, **how))
        except _BROKEN as error:
            self._fail(one, error)
            return None
        entry = about | {"contender": one.name} | asdict(load)
        self.results.loads.append(entry)
        say(f"  {one.name} {about}: {load.qps:.1f}/s, p50 {load.p50_ms:.1f} ms {load.statuses}")
        return load

    def _fail(self, one: Contender, error: Exception) -> None:
        say(f"  {one.name} failed: {error}")
        self.results.failures[one.name] = str(error)[-500:]
        self.running.remove(one)

    def round(self, number: int) -> None:
        """Measure all once; contenders take turns, and in who comes first as well."""
        seconds = self.options.seconds
        for mode in MODES:
            for clients in CLIENTS:
                items = self.pool.take(mode, int((seconds + 1) * MOST_PER_S[mode]))
                about = {"round": number, "list": "new", "mode": mode, "clients": clients}
                for one in self._turn(number, mode, clients):
                    stages = clients == 1 and one.name == "service"
                    how = {"seconds": seconds, "clients": clients, "stages": stages}
                    self.load(one, about, items, **how)
        self._repeated_traffic(number)
        self._open_loop(number)
        self._bare(number)
        self._parts(number)

    def _turn(self, number: int, mode: str, clients: int | None = None) -> list[Contender]:
        """Return who is loaded in this mode; the earlier state by the crowd alone, for brevity."""
        left_out = {contenders.BARE} if clients == CROWD else {contenders.BARE, BEFORE}
        able = [one for one in self.running if mode in one.modes and one.name not in left_out]
        first = number % max(1, len(able))
        return able[first:] + able[:first]

    def _repeated_traffic(self, number: int) -> None:
        seconds = 2 * self.options.seconds
        once = self.pool.take("text_to_text", ZIPF_QUERIES)
        drawn = words.zipf(number, once, int(seconds * 3 * MOST_PER_S[MODES[0]]))
        about = {"round": number, "list": "zipf", "mode": "text_to_text", "clients": CROWD}
        for one in self._turn(number, "image_to_image"):  # infinity and txtai search no pictures
            self.load(one, about, drawn, seconds=seconds, clients=CROWD, warm_s=0)

    def _open_loop(self, number: int) -> None:
        for one in self._turn(number, "image_to_image"):
            for rate in RATES:
                items = self.pool.take("text_to_text", int((self.options.seconds + 1) * rate) + 1)
                about = {"round": number, "list": "open", "mode": "text_to_text", "rate": rate}
                load = self.load(one, about, items, seconds=self.options.seconds, rate=rate)
                if load is None or load.errors or load.qps < 0.9 * rate:
                    self._settle(one)
                    break

    def _settle(self, one: Contender) -> None:
        """Wait until the contender has answered what it was asked before."""
        if one in self.running and one.server is not None:
            request = one.asking("text_to_text", self.pool.take("text_to_text", 1)[0])
            for _ in range(10):
                try:
                    one.server.ask(request)
                except httpx.HTTPStatusError:  # it is still too busy to take it
                    time.sleep(1)
                else:
                    break

    def _bare(self, number: int) -> None:
        for one in [one for one in self.running if one.name == contenders.BARE]:
            for mode in MODES:
                about = {"round": number, "list": "bare", "mode": mode, "clients": CROWD}
                items = self.pool.take(mode, 50)
                self.load(one, about, items, seconds=self.options.seconds / 2, clients=CROWD)

    def _parts(self, number: int) -> None:
        texts = self.pool.take("text_to_text", ENCODER_TEXTS)
        images = self.pool.take("image_to_image", 128)
        seconds = self.options.seconds / 2
        data = copy(imported(Checkout(), self.options.products), "data-parts")
        for part in ("encoder", "store"):
            try:
                rates = parts.measure(part, data, seconds, texts, images)
            except _BROKEN as error:
                self.results.failures[part] = str(error)[-500:]
                continue
            self.results.parts.append({"round": number, "part": part, "rates": rates})
            say(f"  {part}: {rates}")

    def start(self, stack: ExitStack, one: Contender) -> None:
        """Start a contender so often as there are rounds, for its first answer, and keep the last.

        Failing, it is left out of the run.
        """
        firsts = []
        try:
            for _ in range(self.options.rounds - 1):
                with one.start() as server:
                    firsts.append(server.first_answer_s)
            one.server = stack.enter_context(one.start())
            firsts.append(one.server.first_answer_s)
            rest = asdict(one.server.memory())
        except _BROKEN as error:
            say(f"{one.name} does not start: {error}")
            self.results.failures[one.name] = str(error)[-500:]
            return
        say(f"{one.name}: first answer after {firsts} s, memory {rest}")
        self.results.servers[one.name] = {"first_answer_s": firsts, "memory_at_rest_mb": rest}
        self.running.append(one)

    def warm_up(self) -> None:
        """Load each contender shortly in each mode; keep how many hits its answers have."""
        for mode in MODES:
            for one in self._turn(0, mode, CROWD):
                items = self.pool.take(mode, ASKED)
                assert one.server is not None
                hits = []
                for item in items:
                    answer = one.server.ask(one.asking(mode, item)).json()
                    found = answer.get("hits", []) if isinstance(answer, dict) else answer
                    hits.append(len(found))
                kept = self.results.servers[one.name].setdefault("hits_per_answer", {})
                kept[mode] = sum(hits) / len(hits)

    def usual_answers(self, service: Contender) -> Path:
        """Write the service's answer of middle length in each mode, for the bare route."""
        folder = fresh("answers")
        assert service.server is not None
        for mode in MODES:
            asked = [service.asking(mode, item) for item in self.pool.take(mode, ASKED)]
            answers = sorted((service.server.ask(one).content for one in asked), key=len)
            (folder / f"{mode}.json").write_bytes(answers[ASKED // 2])
        return folder

    def finish(self, service: Contender) -> None:
        """Measure what a repeated query costs, and the memory of all after their load."""
        about = {"round": 0, "list": "repeated", "mode": "text_to_text", "clients": 1}
        items = self.pool.take("text_to_text", 1)
        self.load(service, about, items, seconds=2, clients=1, stages=True)
        for one in self.running:
            if one.server is not None:
                memory = asdict(one.server.memory())
                self.results.servers[one.name]["memory_after_mb"] = memory


def _texts_needed(options: argparse.Namespace) -> int:
    stretch = int((options.seconds + 1) * MOST_PER_S[MODES[0]])
    open_loop = int(3 * (options.seconds + 1) * sum(RATES))
    each_round: int = 9 * stretch + open_loop + ZIPF_QUERIES + ENCODER_TEXTS + 1000
    rounds: int = options.rounds
    return rounds * each_round + 2000


def _others(
    options: argparse.Namespace, source: Path
) -> Iterator[tuple[str, Callable[[], Contender]]]:
    """Yield the earlier state and the peers: name, and how it is made ready."""
    yield BEFORE, lambda: contenders.service(BEFORE, earlier(options.before), options.products)
    yield from contenders.peers(source)


def _measure(options: argparse.Namespace) -> Results:
    source = imported(Checkout(), options.products)
    pool = Pool(iter(words.queries(SEED, _texts_needed(options))), pictures.pictures(SEED, 10**9))
    catalogue = {"products": options.products, "with_picture": options.products * 3 // 10}
    made = machine.describe() | {"catalogue": catalogue, "rounds": options.rounds}
    results = Results(made | {"seconds": options.seconds, "keys": True})
    run = Run(options, pool, results)
    with ExitStack() as stack:
        service = contenders.service("service", Checkout(), options.products)
        run.start(stack, service)
        for name, prepare in _others(options, source):
            try:
                run.start(stack, prepare())
            except _BROKEN as error:
                results.failures[name] = str(error)[-500:]
        run.start(stack, contenders.bare(run.usual_answers(service)))
        run.warm_up()
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            run.round(number)
        run.finish(service)
    return results


def main() -> None:
    """Measure, and write the documents."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--before", default=EARLIER, help="a commit whose state is measured too")
    begun = time.perf_counter()
    results = _measure(parser.parse_args())
    results.made["minutes"] = round((time.perf_counter() - begun) / 60, 1)
    report.FIGURES.write_text(json.dumps(asdict(results), ensure_ascii=False, indent=1) + "\n")
    report.write()


if __name__ == "__main__":
    main()
