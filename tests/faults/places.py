"""Where the faults happen: two stores, a service and perhaps workers, which are made and killed."""

from __future__ import annotations

import random
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from nlp_models import EncoderPair
from orm_models import Database, OutboxEvent, Product
from product_search.access.addresses import OPEN
from product_search.bootstrap.encoders import EncoderLoader
from product_search.catalog.rows import product_out
from product_search.drift import reports
from product_search.drift.reconciler import Reconciler
from product_search.images.store import ImageStore
from product_search.milvus.schema import collection_name
from product_search.runs import exclusive
from product_search.runs.executor import LEASE, RunContext, execute
from product_search.runs.queue import RunKind
from product_search.settings import Settings
from tests.clock import DEADLINE_S, until
from tests.contract.conftest import empty_tables
from tests.faults import checks, doomed
from tests.faults.doomed import Failpoint
from tests.faults.ledger import Ledger
from tests.milvus_servers import NetworkMilvus
from tests.servers import free_port
from tests.sessions import reading
from tests.unit.checkpoints import write_clip
from vector_db import MilvusDatabase


def _nothing() -> None:
    """There is nothing left to do."""


class Place(ABC):
    """A catalog in two stores, and the processes on it, by name."""

    name: str
    services: tuple[str, ...] = ("service",)
    workers: tuple[str, ...] = ()

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.settings = Settings(
            _env_file=None, data_dir=folder, encoder="chinese-clip", device="cpu", **settings
        )
        self._environment = {
            f"PRODUCT_SEARCH_{name.upper()}": str(value)
            for name, value in self.settings.model_dump(exclude_unset=True).items()
        }
        self.processes: dict[str, ForkServerProcess] = {}
        self._ports = {name: free_port() for name in self.services}
        self.encoders: EncoderPair = EncoderLoader(self.settings).load_chosen()
        self.images = ImageStore(self.settings.images_dir)
        self.database = Database(self.settings.sqlalchemy_url)
        self.ledger = Ledger()
        self.afterwards: Callable[[], None] = _nothing  # what a fault leaves to do without a load

    @property
    def addresses(self) -> list[str]:
        """The services'."""
        return [f"http://127.0.0.1:{port}" for port in self._ports.values()]

    @property
    def collection(self) -> str:
        """The one that searches read."""
        return collection_name(self.encoders.fingerprint)

    def offer_other_encoders(self, seed: int) -> None:
        """New weights, which a reindexing goes over to, before those of the active collection.

        Every process is down.
        """
        folder = self.settings.clip_dir
        assert folder is not None
        shutil.copytree(folder, self.settings.downloaded_clip, dirs_exist_ok=True)
        offered = write_clip(self.settings.data_dir / f"clip {seed}", seed)
        self.settings = self.settings.model_copy(update={"clip_dir": offered})
        self._environment["PRODUCT_SEARCH_CLIP_DIR"] = str(offered)

    def take_over_encoders(self) -> None:
        """The offered ones are those of the active collection now."""
        self.encoders = EncoderLoader(self.settings).load_chosen()

    def start(self, name: str, failpoint: Failpoint | None = None) -> None:
        """Start a service or a worker; one that runs is ended first."""
        self._stop([name])
        command = ["service", str(self._ports[name])] if name in self._ports else ["worker"]
        self.processes[name] = self.process(command, failpoint)

    def process(self, command: list[str], failpoint: Failpoint | None = None) -> ForkServerProcess:
        """A process of a command, which the caller ends."""
        return doomed.start(command, self.settings.data_dir, self._environment, failpoint)

    def start_missing(self) -> None:
        """Start what does not run."""
        for name in (*self.services, *self.workers):
            if name not in self.processes or not self.processes[name].is_alive():
                self.start(name)

    def start_all(self) -> None:
        """Start what does not run, and wait until every service answers."""
        self.start_missing()
        for name, address in zip(self.services, self.addresses, strict=True):
            until(partial(self._answers, name, address), f"the start of {name}")

    def _answers(self, name: str, address: str) -> bool:
        assert self.processes[name].is_alive(), f"{name} has ended"
        with suppress(httpx.TransportError):
            return httpx.get(f"{address}/health").status_code == 200
        return False

    def kill(self, name: str) -> None:
        """As a crash ends it."""
        self.processes[name].kill()

    def wait_for_death(self, name: str) -> None:
        """The process has been killed, by itself or by us."""
        process = self.processes[name]
        process.join(DEADLINE_S)
        assert process.exitcode == -9, f"{name} ended with {process.exitcode}"

    def stop_all(self) -> None:
        """End every process, gently."""
        self._stop(list(self.processes))

    def _stop(self, names: Sequence[str]) -> None:
        ended = [self.processes.pop(name) for name in names if name in self.processes]
        for process in ended:
            process.terminate()
        for process in ended:
            process.join(DEADLINE_S)
        stuck = [process for process in ended if process.is_alive()]
        for process in stuck:
            process.kill()
        assert not stuck, "a process that was told to end goes on"

    @contextmanager
    def explained(self) -> Iterator[None]:
        """A failure in here shows what the processes said."""
        try:
            yield
        except AssertionError as error:
            error.add_note(self.log())
            raise

    def log(self) -> str:
        """The end of what the processes said."""
        return self.whole_log()[-6_000:]

    def whole_log(self) -> str:
        """What the processes said."""
        path = self.settings.data_dir / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _is_quiet(self) -> bool:
        """Nothing waits, and every service is well."""
        event = select(OutboxEvent.id).limit(1)
        if self.database.read(lambda session: session.scalars(event).first()) is not None:
            return False
        healths = [httpx.get(f"{address}/health", timeout=60) for address in self.addresses]
        return all(health.json()["status"] == "ok" for health in healths)

    def drift(self) -> list[str]:
        """After all is indexed: what was acknowledged and is lost, and where the stores differ."""
        afterwards, self.afterwards = self.afterwards, _nothing
        afterwards()
        until(self._is_quiet, "the end of the indexing")
        wrong = self._http_differences()
        with self.opened_vectors() as vector_database, reading(self.database) as session:
            rows = session.scalars(select(Product)).all()
            wrong += self.ledger.lost_writes(rows)
            client, _ = vector_database.connection.client()  # the one that can read vectors
            wrong += checks.drift(session, client, self.images, self.encoders)
            return wrong + self._doctors_verdict(vector_database)

    def _doctors_verdict(self, vector_database: MilvusDatabase) -> list[str]:
        doctor = Reconciler(self.database, vector_database, self.images)
        claimed = exclusive.start(self.database, RunKind.doctor, {}, LEASE)
        execute(RunContext(self.database, claimed, threading.Event()), doctor.handle)
        found = self.database.read(reports.fetch_run, claimed.id)
        return [f"the doctor: {one.kind} {one.subject}: {one.reason}" for one in found.examples]

    def _http_differences(self) -> list[str]:
        """Products that the service shows otherwise than the database has them."""
        shown: dict[int, Any] = {}
        wrong: list[str] = []
        with httpx.Client(base_url=self.addresses[0], timeout=60) as http:
            while page := self._page(http, max(shown, default=0)):
                shown |= {item["product_id"]: item for item in page}
            for product_id in random.Random(0).sample(sorted(shown), min(10, len(shown))):
                if http.get(f"/product/{product_id}").json() != shown[product_id]:
                    wrong.append(f"product {product_id} is not as the list shows it")
        with reading(self.database) as session:
            rows = {
                row.id: product_out(row, OPEN).model_dump(mode="json")
                for row in session.scalars(select(Product))
            }
        different = [key for key in rows | shown if rows.get(key) != shown.get(key)]
        return wrong + [f"product {key} is shown as {shown.get(key)}" for key in different]

    def _page(self, http: httpx.Client, after: int) -> list[dict[str, Any]]:
        parameters = {"after_id": after, "page_size": 100}
        answer = http.get("/product/list", params=parameters)
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    @abstractmethod
    @contextmanager
    def opened_vectors(self) -> Iterator[MilvusDatabase]:
        """Milvus, for this process to read; the service is ended first where it must be."""
        yield NotImplemented

    def close(self) -> None:
        """End everything."""
        self.stop_all()
        self.database.close()


class Embedded(Place):
    """SQLite and Milvus Lite in one process with the service."""

    name = "SQLite, Milvus Lite"

    @contextmanager
    def opened_vectors(self) -> Iterator[MilvusDatabase]:
        """See Place."""
        self.stop_all()  # Milvus Lite's file admits one process
        vector_database = MilvusDatabase(self.settings.milvus_path, "test")
        try:
            yield vector_database
        finally:
            vector_database.close()


class Networked(Place):
    """MariaDB and Milvus over the network, a service that only takes writes, and two workers."""

    name = "MariaDB, Milvus"
    workers: tuple[str, ...] = ("worker 1", "worker 2")
    index_in_process = False

    def __init__(self, folder: Path, settings: dict[str, Any], database_url: str) -> None:
        self.milvus = NetworkMilvus(folder)
        on_network = {
            "database_url": database_url,
            "milvus_uri": self.milvus.place.uri,
            "milvus_index_type": "FLAT",  # its HNSW is not known to it
            "index_in_process": self.index_in_process,
            "index_lease_s": 3.0,
        }
        super().__init__(folder, settings | on_network)
        empty_tables(self.database)

    @contextmanager
    def opened_vectors(self) -> Iterator[MilvusDatabase]:
        """See Place."""
        vector_database = MilvusDatabase(self.milvus.place, "test")
        try:
            yield vector_database
        finally:
            vector_database.close()

    def close(self) -> None:
        """See Place."""
        try:
            super().close()
        finally:
            self.milvus.kill()


class TwoServices(Networked):
    """MariaDB and Milvus over the network, and two services that both index."""

    name = "the same, two services"
    services = ("service", "service 2")
    workers = ()
    index_in_process = True
