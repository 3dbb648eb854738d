"""Milvus Lite's process, which shares no folder with another one's; imported only for a file."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # milvus-lite imports the deprecated pkg_resources
    from milvus_lite.server import Server

_ERRORS_ONLY = 2  # of glog


class LiteProcess(Server):  # type: ignore[misc]  # milvus-lite has no types
    """Milvus Lite on a file, as a child of this process, with a home folder beside the file.

    It makes ~/.cache/milvus when it starts and removes it when it ends: those with one home take
    it from each other, and without a home none starts. Of each search it would write five lines
    into a file in the temporary folder, which nobody would remove.
    """

    def __init__(self, path: Path, address: str | None = None) -> None:
        """Prepare it on the file; it listens at the address, else on a Unix socket."""
        super().__init__(str(path), address)
        self._home = path.absolute().with_name(path.name + ".home")

    @property
    def args(self) -> list[str]:
        """Return the command, to which milvus-lite gives this process's environment."""
        command = [str(argument) for argument in super().args]
        return ["env", f"HOME={self._home}", f"GLOG_minloglevel={_ERRORS_ONLY}", *command]

    def stop(self) -> None:
        """End it; does nothing where it does not run."""
        has_run = self._p is not None
        super().stop()
        if has_run:
            shutil.rmtree(self._home, ignore_errors=True)
