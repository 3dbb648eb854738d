"""HTTP door: `fastapi run main.py`; the application is `main:app`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute

from product_search import tracing
from product_search.api import (
    access,
    dependencies,
    documentation,
    errors,
    incoming,
    metrics,
    uploads,
)
from product_search.api.doors.front import FrontDoor
from product_search.api.doors.rates import RateDoor
from product_search.api.openapi import App
from product_search.api.routes import (
    generation,
    health,
    imports,
    insights,
    matching,
    products,
    search,
    system,
)
from product_search.bootstrap import logs
from product_search.bootstrap.assemble import open_resources
from product_search.context import SERVICE, acting_as
from product_search.errors import AppError, StartError
from product_search.heap import rare_collections
from product_search.settings import Settings, load_log_format, load_settings

VERSION = "0.1.0"
DESCRIPTION = f"""
商品目录与四种搜索：以文搜文、以文搜图、以图搜图、以图搜文。

出错时的回答都是 `{{code, message, fields?}}`；`code` 是稳定的，可据以编程：

{errors.code_table()}
"""

# In the order of the documentation; /product/import is no /product/{product_id}. A request tries
# them one after the other: what is asked for most comes first.
_ROUTES = (
    search,
    imports,
    insights,
    products,
    matching,
    generation,
    system,
    health,
)


def create_app(settings: Settings | None = None) -> App:
    """Return the application; stores and models are opened when it starts, not here."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        logs.configure("service", settings.log_format if settings else load_log_format())
        try:
            chosen = settings or load_settings()
            with (
                acting_as(SERVICE),
                rare_collections(),
                tracing.sending_to(chosen.otlp_endpoint, "api"),
                open_resources(chosen, chosen.api_url, is_service=True) as resources,
            ):
                service = dependencies.provide(app, resources)
                service.listening.note(app.bound_host)
                app.doors.open(chosen, resources.keyring)
                resources.imports.clean()
                resources.generations.drop_old()
                resources.start_runs()
                yield
        except (AppError, StartError):
            sys.tracebacklimit = 0  # the message says what is wrong and what to do
            raise

    app = App(
        title="商品检索与图文匹配",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        docs_url=None,
        redoc_url=None,
    )
    _put_doors_before(app)
    errors.install(app)
    for routes in _ROUTES:
        app.include_router(routes.router)
    documentation.install(app)
    return app


def _put_doors_before(app: App) -> None:
    """Have each request pass what counts it and what may refuse it; the last is the outermost."""
    app.add_middleware(incoming.IncomingBodies, own_limits={imports.PATH: uploads.KEPT})
    app.add_middleware(RateDoor, doors=app.doors)
    app.add_middleware(access.Access, refusals=app.doors.refusals)
    app.add_middleware(FrontDoor, doors=app.doors)
    app.add_middleware(metrics.RequestMetrics)


def _operation_id(route: APIRoute) -> str:
    """Return the name of the route's function, by which client generators call its method."""
    return route.name


app = create_app()
