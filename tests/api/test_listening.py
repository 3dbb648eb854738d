"""The warning of a service that others than this machine reach, and that requires no key."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from fastapi.testclient import TestClient
from uvicorn import Config
from uvicorn.lifespan.on import LifespanOn

from main import create_app
from product_search.api.listening import EXPOSED, Listening
from product_search.context import Scope
from product_search.settings import Settings
from tests.api.guarded import key_of, shown


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "", "::", "192.168.1.5", "10.0.0.1", "2001:db8::1", "fe80::1%eth0"]
)
def test_an_address_that_others_reach_is_told_once(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    listening = Listening(is_open=True)
    assert listening.warnings == []
    listening.note(host)
    listening.note(host)
    assert listening.warnings == [EXPOSED]
    assert caplog.text.count(EXPOSED) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", None])
def test_what_this_machine_alone_reaches_is_no_matter(host: str | None) -> None:
    listening = Listening(is_open=True)
    listening.note(host)
    listening.note("localhost")  # a name may be anything: the connections will tell
    assert listening.warnings == []


def test_where_keys_are_required_nobody_is_warned() -> None:
    listening = Listening(is_open=False)
    listening.note("0.0.0.0")
    assert listening.warnings == []


@pytest.mark.parametrize(("host", "warnings"), [("0.0.0.0", [EXPOSED]), ("127.0.0.1", [])])
def test_what_uvicorn_was_told_is_known_at_the_start(
    open_settings: Callable[[], Settings], host: str, warnings: list[str]
) -> None:
    """No socket is opened: Uvicorn's lifespan alone runs, with its configuration."""
    app = create_app(open_settings())

    async def run() -> list[str]:
        config = Config(app, host=host, lifespan="on", log_config=None)
        config.load()
        lifespan = LifespanOn(config)
        await lifespan.startup()
        told = app.state.service.listening.warnings
        await lifespan.shutdown()
        return list(told)

    assert anyio.run(run) == warnings


def test_a_request_from_outside_tells_where_the_server_could_not(
    open_settings: Callable[[], Settings],
) -> None:
    with TestClient(create_app(open_settings()), base_url="http://127.0.0.1") as api:
        assert api.get("/health").json()["warnings"] == []
        outside = TestClient(api.app, base_url="http://192.168.1.5")
        body = outside.get("/health").json()
        assert (body["status"], body["warnings"]) == ("ok", [EXPOSED])


def test_a_service_that_requires_keys_gives_no_warning(
    open_settings: Callable[[], Settings],
) -> None:
    settings = open_settings().model_copy(update={"require_keys": True})
    with TestClient(create_app(settings), base_url="http://192.168.1.5") as api:
        answer = api.get("/health", headers=shown(key_of(api, Scope.read)))
        assert answer.json()["warnings"] == []
