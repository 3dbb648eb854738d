"""The real service, workers and commands, each of which may be doomed to die at a failpoint."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

from tests.servers import forked


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
    prepare = None if failpoint is None else failpoint.install
    return forked(command, folder, environment, folder / "log", prepare)
