"""A server that speaks S3's protocol, on a free port of this machine: moto's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import boto3
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from product_search.images.files.bucket import Bucket

KEY_ID, SECRET = "the-key-of-tests", "the-secret-of-tests"
REGION = "us-east-1"
_ACCOUNT = "123456789012"


class S3Server:
    """The server, which keeps its buckets while it is stopped."""

    def __init__(self) -> None:
        self._server: Any = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve, at the same port as before."""
        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def stop(self) -> None:
        """Answer nobody any more."""
        self._server.stop()
        self._server._server.server_close()

    def make_bucket(self, name: str, prefix: str = "") -> Bucket:
        """A new bucket, and how it is reached."""
        bucket = Bucket(f"s3://{name}/{prefix}", self.address, REGION, KEY_ID, SECRET)
        self.client().create_bucket(Bucket=name)
        return bucket

    def client(self) -> Any:
        """Whoever else has the key."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.address,
            region_name=REGION,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )

    def age(self, bucket: Bucket, name_end: str) -> None:
        """As if the object had been written two days ago."""
        keys = s3_backends[_ACCOUNT]["aws"].buckets[bucket.name].keys
        (one,) = [one for name, one in keys.items() if name.endswith(name_end)]
        one.last_modified -= timedelta(days=2)


@contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server for as long as this lasts."""
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        server.stop()
