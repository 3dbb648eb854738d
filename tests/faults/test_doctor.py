"""The service killed while it walks for `manage doctor`: the command says so, the walk goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import httpx

from product_search.bootstrap.stores import open_database
from product_search.drift import reports
from product_search.settings import Settings
from tests.clock import DEADLINE_S, until
from tests.servers import running_api, service_environment


def test_the_command_outlives_the_service_and_the_walk_goes_on_at_its_next_start(
    open_settings: Callable[[], Settings],
) -> None:
    settings = open_settings()
    folder = settings.data_dir
    with running_api(folder) as (address, service), open_database(settings) as database:
        made = httpx.post(f"{address}/product?wait=true", json={"title": "书包"})
        assert made.json()["index_status"] == "indexed"
        assert service.pid
        os.kill(service.pid, signal.SIGSTOP)  # it can't end the walk before it is killed
        command = [sys.executable, "-m", "product_search.manage", "doctor", "--json"]
        doctor = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | service_environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: database.read(reports.fetch_report).newest is not None, "the command's walk")
        service.kill()
        said, explained = doctor.communicate(timeout=DEADLINE_S)
    assert (doctor.returncode, said) == (2, "")
    assert "服务已停止" in explained
    with running_api(folder) as (address, _):
        until(lambda: httpx.get(f"{address}/system/drift").json()["last"] is not None, "its end")
        last = httpx.get(f"{address}/system/drift").json()["last"]
    assert (last["products"], last["entities"], last["left"]) == (1, 1, 0)
