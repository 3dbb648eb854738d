"""What routes need of the running service: the only reader of `app.state`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import anyio
from fastapi import Depends, FastAPI, Request

import orm_models
from product_search.api import batches, listening, pulse, threads
from product_search.bootstrap import assemble
from product_search.bulk import uploads
from product_search.catalog import products
from product_search.fetching.fetcher import Fetcher
from product_search.generation import generations
from product_search.insights import catalog_map
from product_search.runs import executor
from product_search.search import search


@dataclass(frozen=True)
class Service:
    """What the application holds while it runs."""

    resources: assemble.Resources
    listening: listening.Listening
    search_threads: threads.RequestThreads = field(default_factory=threads.RequestThreads)
    picture_threads: threads.RequestThreads = field(
        default_factory=threads.RequestThreads.for_pictures
    )
    match_threads: threads.RequestThreads = field(
        default_factory=lambda: threads.RequestThreads.for_many_pictures("match_threads")
    )
    batch_threads: batches.BatchThreads = field(default_factory=batches.BatchThreads)
    # Their own too: a page of thumbnails that are not made yet keeps no other page waiting.
    image_threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(8))
    # Threads of its own: health answers also while every other one waits for a store.
    health_threads: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(2))

    @property
    def search(self) -> search.SearchService:
        """The searches, which run in `search_threads`.

        Their routes take the service whole: each dependency costs a request about 15 µs.
        """
        return self.resources.search

    @property
    def fetcher(self) -> Fetcher:
        """What fetches the pictures that requests name by URL."""
        return self.resources.fetcher

    database_pulse: pulse.Pulse = field(default_factory=pulse.Pulse)
    vector_store_pulse: pulse.Pulse = field(default_factory=pulse.Pulse)
    storage_pulse: pulse.Pulse = field(default_factory=pulse.Pulse)
    image_pulse: pulse.Pulse = field(default_factory=pulse.Pulse)


def provide(app: FastAPI, resources: assemble.Resources) -> Service:
    """Give the app's routes what they need, and return it."""
    is_open = resources.keyring is None
    service = Service(resources, listening.Listening(is_open=is_open))
    app.state.service = service
    return service


def service_of(app: FastAPI) -> Service:
    """Return what the app holds while it runs, for what stands before the routes."""
    service: Service = app.state.service
    return service


# Coroutines all of them: FastAPI calls plain functions in a thread, which costs more than they do.
async def _service(request: Request) -> Service:
    return service_of(request.app)


Running = Annotated[Service, Depends(_service)]


async def _catalog(service: Running) -> products.Catalog:
    return service.resources.catalog


async def _database(service: Running) -> orm_models.Database:
    return service.resources.database


async def _generations(service: Running) -> generations.Generations:
    return service.resources.generations


async def _imports(service: Running) -> uploads.Imports:
    return service.resources.imports


async def _maps(service: Running) -> catalog_map.Maps:
    return service.resources.maps


async def _runs(service: Running) -> executor.RunExecutor:
    return service.resources.run_executor


Catalog = Annotated[products.Catalog, Depends(_catalog)]
Database = Annotated[orm_models.Database, Depends(_database)]
Generations = Annotated[generations.Generations, Depends(_generations)]
Imports = Annotated[uploads.Imports, Depends(_imports)]
Maps = Annotated[catalog_map.Maps, Depends(_maps)]
Runs = Annotated[executor.RunExecutor, Depends(_runs)]
