"""Who is measured: the service, an earlier state of it, and its peers, each with its requests."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.rig import peer_data, processes
from benchmarks.rig.catalogue import Checkout, imported
from benchmarks.rig.folders import BENCH, copy, kept
from benchmarks.rig.processes import Request, Server
from product_search.settings import ROOT

BARE = "bare route"
MODES = ("text_to_text", "text_to_image", "image_to_image", "hybrid")
TXTAI = ("txtai==9.14.0", "fastapi-mcp==0.4.0", "aiohttp==3.14.5")
INFINITY = ("infinity-emb[server,torch]==0.0.78",)
_INSTRUCTION = "为这个句子生成表示以用于检索相关文章："
Asking = Callable[[str, Any], Request]  # of a mode, and a text or a picture


@dataclass
class Contender:
    """A server that is measured, in the modes that it has; `server` while it runs."""

    name: str
    modes: Sequence[str]
    asking: Asking
    command: Sequence[str]
    environment: Mapping[str, str]
    key: str = ""  # where it requires one
    server: Server | None = field(default=None)

    def start(self) -> AbstractContextManager[Server]:
        """Start the server; its first query is in its first mode, or a text."""
        first = self.asking(self.modes[0], "红色双肩包")
        log = BENCH / "logs" / f"{self.name}.log"
        log.parent.mkdir(exist_ok=True)
        return processes.serving(self.name, self.command, self.environment, first, log, self.key)


def search_request(mode: str, item: Any) -> Request:
    """Return the request of the service, which the afternoon build takes too."""
    if isinstance(item, bytes):
        return "POST", "/search", {"mode": mode, "image_base64": base64.b64encode(item).decode()}
    return "POST", "/search", {"mode": mode, "text": item}


def _txtai_search(_mode: str, text: str) -> Request:
    return "GET", f"/search?query={quote(text)}&limit=10", None


def _infinity_embed(_mode: str, text: str) -> Request:
    body = {"model": "bge", "input": [_INSTRUCTION + text], "encoding_format": "base64"}
    return "POST", "/embeddings", body


def service(name: str, checkout: Checkout, products: int) -> Contender:
    """Return the service of a checkout on a copy of its own catalogue; this one requires keys."""
    data = copy(imported(checkout, products), f"data-{name}")
    command, environment = processes.service_command(checkout), checkout.environment(data)
    if checkout != Checkout():  # an earlier one, which may have none
        return Contender(name, MODES, search_request, command, environment)
    key = checkout.run(data, "-m", "product_search.manage", "keys", "create", "benchmark").strip()
    environment |= {"PRODUCT_SEARCH_REQUIRE_KEYS": "true"}
    return Contender(name, MODES, search_request, command, environment, key)


def bare(answers: Path) -> Contender:
    """Return the route that gives answers that are there already."""
    environment = processes.this_checkout(BARE_ANSWERS=str(answers))
    command = processes.uvicorn_command("benchmarks.rig.bare:app")
    return Contender(BARE, MODES, search_request, command, environment)


def peers(source: Path) -> Iterator[tuple[str, Callable[[], Contender]]]:
    """Yield each peer's name, and how it is made ready; making it ready may fail."""
    yield "afternoon", partial(_afternoon, source)
    yield "txtai", partial(_txtai, source)
    yield "infinity", partial(_infinity, source)


@cache
def _filled(source: Path) -> Path:
    """Return the afternoon build's folder, which has the float32 weights for the others too."""
    code = Path(peer_data.__file__).read_text("utf-8")

    def make(folder: Path) -> None:
        # In a process of its own: pymilvus leaves its Milvus Lite running.
        Checkout().run(ROOT, "-m", "benchmarks.rig.peer_data", str(source), str(folder))

    return kept("afternoon", code + source.name, make)


def _afternoon(source: Path) -> Contender:
    environment = processes.this_checkout(AFTERNOON_DATA=str(copy(_filled(source), "afternoon")))
    command = processes.uvicorn_command("benchmarks.afternoon:app")
    return Contender("afternoon", MODES, search_request, command, environment)


def _txtai(source: Path) -> Contender:
    python, bge = peer_data.environment("txtai", TXTAI), _filled(source) / "bge"
    make = partial(peer_data.fill_txtai, source, python=python, bge=bge)
    folder = kept("txtai", f"{TXTAI}{bge}{source.name}", make)
    (folder / "app.yml").write_text(f"path: {folder / 'index'}\nembeddings: {{path: {bge}}}\n")
    environment = processes.this_checkout(CONFIG=str(folder / "app.yml"))
    command = processes.uvicorn_command("txtai.api:app", str(python))
    return Contender("txtai", MODES[:1], _txtai_search, command, environment)


def _infinity(source: Path) -> Contender:
    python, bge = peer_data.environment("infinity", INFINITY), _filled(source) / "bge"
    command = [str(python.with_name("infinity_emb")), "v2", "--host=127.0.0.1", "--port=PORT"]
    command += [f"--model-id={bge}", "--served-model-name=bge", "--engine=torch", "--device=cpu"]
    command += ["--dtype=float32", "--no-model-warmup"]
    quiet = {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "HF_HUB_OFFLINE": "1"}
    return Contender(
        "infinity", MODES[:1], _infinity_embed, command, processes.this_checkout(**quiet)
    )
