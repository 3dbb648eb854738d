"""A MariaDB of the test's own, which can be killed and started again."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from tests.clock import until
from tests.servers import free_port

_SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


class OwnMariaDB:
    """A server on a free port of this machine, its data in a folder, with one empty database."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "mariadb"
        self._port = free_port()
        password = secrets.token_hex(8)
        self.url = f"mysql+pymysql://test:{password}@127.0.0.1:{self._port}/faults?charset=utf8mb4"
        # As whoever runs the test, who alone may look into its folders.
        self._common = [
            "--no-defaults",
            f"--user={pwd.getpwuid(os.getuid()).pw_name}",
            f"--datadir={self._data}",
        ]
        install = [_program("mariadb-install-db"), *self._common, "--skip-test-db"]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        self._first = folder / "first.sql"
        self._first.write_text(
            "CREATE DATABASE IF NOT EXISTS faults CHARACTER SET utf8mb4;\n"
            f"CREATE USER IF NOT EXISTS test@'127.0.0.1' IDENTIFIED BY '{password}';\n"
            "GRANT ALL ON faults.* TO test@'127.0.0.1';\n"
        )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._server = subprocess.Popen(
            [
                _program("mariadbd"),
                *self._common,
                f"--init-file={self._first}",
                f"--port={self._port}",
                f"--socket={self._data / 'socket'}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=32M",
            ],
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, "MariaDB's start")

    def _answers(self) -> bool:
        assert self._server.poll() is None, "MariaDB does not start"
        engine = create_engine(self.url)
        try:
            engine.connect().close()
        except OperationalError:
            return False
        finally:
            engine.dispose()
        return True

    def kill(self) -> None:
        """End it as a crash would."""
        self._server.kill()
        self._server.wait()

    def pause(self) -> None:
        """Let it answer nothing, as a machine that swaps does."""
        self._server.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._server.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        self._server.terminate()
        self._server.wait()


def _program(name: str) -> str:
    found = shutil.which(name, path=_SEARCHED)
    if found is None:
        reason = f"{name} is not installed: there is no server to kill"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI is set")
        pytest.skip(reason)
    return found
