"""Kafkas that are reached over the network: librdkafka's mock cluster in a process of its own, and
a real one where the environment names it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import files
from typing import Any
from uuid import uuid4

from product_search.outbox.kafka import KafkaTopic
from product_search.settings import ROOT

# Brokers of a real Kafka that makes topics by itself; the suites leave some there.
KAFKA = "PRODUCT_SEARCH_TEST_KAFKA"
KAFKAS = ["kafka_mock"] + ["kafka_given"] * (KAFKA in os.environ)

BROKER = 1
PRODUCE = 0  # Kafka's number of the request


class MockKafka:
    """One broker with topics that appear on first use; it can be down for a while, and lost.

    What is started after `stop` is another cluster, elsewhere and without any topic.
    """

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new cluster; `servers` is its address."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kafka_servers"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.servers = self._answer()

    def down(self) -> None:
        """Every connection ends and none is taken; what the topics hold stays."""
        self._tell("down")

    def up(self) -> None:
        """As before `down`."""
        self._tell("up")

    def fail(self, request: int, *codes: int) -> None:
        """The next requests of this kind are answered with these error codes."""
        self._tell("fail", request, *codes)

    def stop(self) -> None:
        """End it as a crash would; what it held is lost."""
        self._process.kill()
        self._process.communicate()

    def _tell(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def running_kafka() -> Iterator[MockKafka]:
    """A mock cluster, gone at the end."""
    kafka = MockKafka()
    try:
        yield kafka
    finally:
        kafka.stop()


def new_topic(servers: str) -> KafkaTopic:
    """A topic and a group that nobody else uses; the dead are noticed soon."""
    session_ms = 6000 if servers == os.environ.get(KAFKA) else 2000  # a broker takes no less
    options = {
        "session.timeout.ms": session_ms,
        "heartbeat.interval.ms": 500,
        "message.timeout.ms": 3000,
    }
    return KafkaTopic(servers, f"products-{uuid4().hex}", f"indexers-{uuid4().hex}", options)


def _library() -> Any:
    """The librdkafka inside confluent-kafka, whose Python API can start a mock but not steer it."""
    inside = [path for path in files("confluent-kafka") or [] if path.name.startswith("librdkafka")]
    library = ctypes.CDLL(str(inside[0].locate()))
    for name in ("conf_new", "new", "handle_mock_cluster"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


def _carry_out(library: Any, cluster: ctypes.c_void_p, words: Sequence[str]) -> None:
    if words[0] == "down":
        library.rd_kafka_mock_broker_set_down(cluster, BROKER)
    elif words[0] == "up":
        library.rd_kafka_mock_broker_set_up(cluster, BROKER)
    else:
        request, *codes = map(int, words[1:])
        errors = (ctypes.c_int * len(codes))(*codes)
        push = library.rd_kafka_mock_push_request_errors_array
        push(cluster, ctypes.c_int16(request), ctypes.c_size_t(len(codes)), errors)


def main() -> None:
    """Print the address, then do what the lines on standard input say, until they end."""
    library = _library()
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    reason = ctypes.create_string_buffer(512)
    for name, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"0")):
        assert library.rd_kafka_conf_set(configuration, name, value, reason, 512) == 0, reason.value
    handle = ctypes.c_void_p(library.rd_kafka_new(0, configuration, reason, 512))
    cluster = ctypes.c_void_p(library.rd_kafka_handle_mock_cluster(handle))
    # A group waits so long for more members before it begins.
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 100)
    print(library.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)  # noqa: T201
    for line in sys.stdin:
        _carry_out(library, cluster, line.split())
        print("done", flush=True)  # noqa: T201 (its parent reads this)


if __name__ == "__main__":
    main()
