"""What every suite shares: settings over an empty folder, the real app, images to send."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from main import create_app
from nlp_models import EncoderChoice, EncoderPair, open_encoders, resolve_choice
from product_search.bootstrap import encoders
from product_search.settings import ROOT, Settings
from tests.kafka_servers import KAFKA, KAFKAS, MockKafka, running_kafka

SAMPLE = ROOT / "sample_data"
SHARED = ROOT.parent / "shared"

# The developer's own settings are not the tests'.
for _name in [name for name in os.environ if name.startswith("PRODUCT_SEARCH_")]:
    if not _name.startswith("PRODUCT_SEARCH_TEST_"):
        del os.environ[_name]


@pytest.fixture(scope="session", autouse=True)
def _shipped_encoders_are_read_once() -> Iterator[None]:
    """The services of this process share them: to read them takes half a second of each start."""
    shipped = Settings(_env_file=None).shipped_bge
    kept: dict[tuple[object, ...], EncoderPair] = {}

    def opened(choice: EncoderChoice, *, clip: Path, bge: Path, **options: Any) -> EncoderPair:
        pair = (resolve_choice(choice, clip), bge, *options.values())
        if pair[:2] != ("starter", shipped):
            return open_encoders(choice, clip=clip, bge=bge, **options)
        if pair not in kept:
            kept[pair] = open_encoders(choice, clip=clip, bge=bge, **options)
        return kept[pair]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encoders, "open_encoders", opened)
        yield


@pytest.fixture(autouse=True)
def _tracebacks_are_whole() -> Iterator[None]:
    """A service that can't start shows no traceback in its process: here, that of the tests."""
    yield
    if hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit


@pytest.fixture(scope="session")
def open_settings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Settings]:
    """Settings over a new empty data folder at each call."""

    def make() -> Settings:
        folder = tmp_path_factory.mktemp("data")
        return Settings(
            _env_file=None,
            data_dir=folder,
            encoder="starter",
            device="cpu",
            allowed_hosts=("testserver",),  # as TestClient calls itself
        )

    return make


@pytest.fixture(scope="module")
def api(open_settings: Callable[[], Settings]) -> Iterator[TestClient]:
    """The real service on an empty catalog: SQLite, Milvus Lite, the starter encoder."""
    with TestClient(create_app(open_settings()), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def mock_kafka() -> Iterator[MockKafka]:
    """A Kafka that a test may take down for a while, but leaves up."""
    with running_kafka() as kafka:
        yield kafka


@pytest.fixture(scope="session", params=KAFKAS)
def brokers(request: pytest.FixtureRequest) -> str:
    """Addresses of a Kafka, each in turn."""
    if request.param == "kafka_mock":
        kafka: MockKafka = request.getfixturevalue("mock_kafka")
        return kafka.servers
    return os.environ[KAFKA]


@pytest.fixture(scope="session")
def sample_image() -> Callable[[str], bytes]:
    """Bytes of an image of the sample catalog, by file name."""

    def read(name: str) -> bytes:
        return (SAMPLE / "images" / name).read_bytes()

    return read


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """A PNG of one colour."""

    def make(colour: str = "red", size: tuple[int, int] = (64, 48)) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", size, colour).save(buffer, "PNG")
        return buffer.getvalue()

    return make


def shared_folder(name: str) -> Path:
    """A folder of photos beside the checkout; the test is skipped where it is absent."""
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no photos at {folder}: this test needs a folder outside the project")
    return folder
