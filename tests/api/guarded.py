"""A service that requires keys, and short words for who asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fastapi.testclient import TestClient

from main import create_app
from product_search.access.keys import create_key
from product_search.context import Scope
from product_search.settings import Settings
from tests.api.helpers import resources


@contextmanager
def guarded_service(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """The real service on an empty catalog, which lets nobody in without a key."""
    settings = open_settings().model_copy(update={"require_keys": True})
    with TestClient(create_app(settings), raise_server_exceptions=False) as api:
        yield api


def key_of(api: TestClient, scope: Scope, origins: Sequence[str] = ()) -> str:
    """The text of a new key."""
    return resources(api).database.write(create_key, f"of a {scope}", scope, origins).text


def shown(key: str) -> dict[str, str]:
    """The header that shows the key."""
    return {"Authorization": f"Bearer {key}"}
