"""Which methods an address takes: all that 405 names in `Allow`."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope


def allowed_methods(app: FastAPI, scope: Scope) -> set[str]:
    """Return the methods of the request's address, whatever the request's own.

    Where a route has just this path, it is that one's address alone, though it would fit the
    template of another: /product/list is no /product/{product_id}.
    """
    routes = [
        route
        for route in iter_route_contexts(app.routes)
        if route.methods and route.matches(scope)[0] is not Match.NONE
    ]
    named = [route for route in routes if not route.param_convertors]
    return {method for route in named or routes for method in route.methods or ()}
