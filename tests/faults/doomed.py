"""The real service, workers and commands, each of which may be doomed to die at a failpoint.

They are forked from a process that has imported everything: torch alone takes seconds.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["main", "product_search.worker", "product_search.manage", "uvicorn"])


@dataclass(frozen=True)
class Failpoint:
    """Where a process kills itself: around the so-manieth call of a function, `module:name`."""

    target: str
    when: Literal["before", "after"]
    passage: int

    def install(self) -> None:
        """Wrap the function in this process."""
        module, _, path = self.target.partition(":")
        *parents, name = path.split(".")
        owner: Any = functools.reduce(getattr, parents, importlib.import_module(module))
        whole, passages = getattr(owner, name), itertools.count(1)

        @functools.wraps(whole)
        def doomed(*arguments: Any, **named: Any) -> Any:
            is_last = next(passages) == self.passage
            if is_last and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = whole(*arguments, **named)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, doomed)


def start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    failpoint: Failpoint | None = None,
) -> ForkServerProcess:
    """A process of `service PORT`, `worker` or `manage …`, which logs to `log` in this folder."""
    arguments = (list(command), folder, dict(environment), failpoint)
    process = _FORKS.Process(target=_run, args=arguments, daemon=True)
    process.start()
    return process


def _end_with_the_test() -> None:
    """A test that is killed itself leaves nothing behind."""
    test = multiprocessing.parent_process()
    assert test is not None
    test.join()
    os._exit(1)


def _run(
    command: list[str], folder: Path, environment: dict[str, str], failpoint: Failpoint | None
) -> None:
    threading.Thread(target=_end_with_the_test, daemon=True).start()
    log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    os.environ.update(environment)
    if failpoint is not None:
        failpoint.install()
    name, *arguments = command
    if name == "service":
        import uvicorn

        uvicorn.run("main:app", port=int(arguments[0]), access_log=False)
    elif name == "worker":
        from product_search import worker

        sys.exit(worker.main())
    else:
        from product_search import manage

        sys.exit(manage.main(arguments))
