"""The compose files and the Dockerfile, checked by Docker Compose, hadolint and their invariants.

No container engine is needed: nothing is built, pulled or started here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from product_search.settings import ROOT, Settings

FILES = {
    "cpu": ["docker-compose.yml"],
    "gpu": ["docker-compose.yml", "docker-compose.gpu.yml"],
    "stores": ["docker-compose.yml", "docker-compose.stores.yml"],
}
PASSWORDS = ["MYSQL_ROOT_PASSWORD", "MYSQL_PASSWORD", "MINIO_PASSWORD", "MILVUS_ROOT_PASSWORD"]
OURS = {"migrate", "api", "worker", "web"}
STORES = {"mysql", "etcd", "minio", "milvus", "kafka"}
MONITORING = {"prometheus", "grafana"}
WRITES_BESIDE_ITS_VOLUME = {"milvus", "kafka"}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def tool(name: str) -> str:
    """A program of requirements-dev.txt, which has it for Linux on x86-64 alone."""
    folders = [Path(sys.executable).parent]
    if (
        compose := find_spec("compose")
    ) is not None:  # whose script in bin/ forgets the exit status
        folders = [*map(Path, compose.submodule_search_locations or []), *folders]
    found = shutil.which(name, path=os.pathsep.join(map(str, folders)))
    if found is None and sys.platform == "linux" and os.uname().machine == "x86_64":
        pytest.fail(f"{name} is missing: pip install -r requirements-dev.txt")
    return found or pytest.skip(f"{name} is not to be had on this platform")


def composed(
    files: list[str], without: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """What Docker Compose makes of the files, with every password but one."""
    named = [part for file in files for part in ("-f", str(ROOT / file))]
    given = {name: f"given{name}" for name in PASSWORDS if name != without} | variables
    return subprocess.run(
        [tool("docker-compose"), "--env-file", os.devnull, *named, "config"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **given},
        capture_output=True,
        text=True,
    )


@pytest.fixture(params=FILES)
def services(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The services as Docker Compose understands them."""
    answer = composed(FILES[request.param])
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = yaml.safe_load(answer.stdout)["services"]
    return found


def test_the_files_have_the_services_and_every_image_is_pinned(services: dict[str, Any]) -> None:
    assert set(services) == OURS | STORES
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert re.search(r"\d+[.-]\d+[.-]\d+", tag), f"{name}: {service['image']}"


@pytest.mark.parametrize("password", PASSWORDS)
def test_without_a_password_compose_refuses_and_names_it(password: str) -> None:
    answer = composed(FILES["cpu"], without=password)
    assert answer.returncode != 0
    assert password in answer.stderr
    assert ".env" in answer.stderr


def test_no_password_is_written_into_the_files() -> None:
    for file in {file for files in FILES.values() for file in files}:
        for line in (ROOT / file).read_text("utf-8").splitlines():
            name, _, value = line.strip().partition(": ")
            if re.search("PASSWORD|SECRET|TOKEN", name):
                assert re.search(r"\$\{[A-Z_]+:\?", value), line


def example() -> dict[str, str]:
    """What .env.example says, line by line."""
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")


@pytest.mark.parametrize("password", PASSWORDS)
def test_the_example_as_it_is_starts_nothing(password: str) -> None:
    values = example()
    assert password in values
    given = {name: f"given{name}" for name in PASSWORDS} | {password: values[password]}
    answer = composed(FILES["cpu"], **given)
    assert answer.returncode != 0
    assert password in answer.stderr


def test_the_example_shows_the_defaults_of_the_files() -> None:
    texts = [(ROOT / file).read_text("utf-8") for files in FILES.values() for file in files]
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]+)\}", "".join(texts)))
    shown = {name: value for name, value in example().items() if name in defaults and value}
    assert shown == {name: defaults[name] for name in shown}
    assert {"PUBLISH_ADDRESS", "API_MEMORY", "GPU_MEMORY"} <= set(shown)


def test_everything_that_stays_up_says_whether_it_is_healthy(services: dict[str, Any]) -> None:
    one_shot = {name for name, service in services.items() if service.get("restart") == "no"}
    assert one_shot == {"migrate"}
    for name in set(services) - one_shot:
        assert services[name]["healthcheck"]["test"][0].startswith("CMD"), name
        assert services[name]["restart"] == "unless-stopped", name


def test_the_start_goes_from_the_stores_to_the_page(services: dict[str, Any]) -> None:
    waits = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    healthy = dict.fromkeys(("mysql", "milvus", "kafka"), "service_healthy")
    assert waits["milvus"] == dict.fromkeys(("etcd", "minio"), "service_healthy")
    assert waits["migrate"] == {"mysql": "service_healthy"}
    assert waits["api"] == healthy | {"migrate": "service_completed_successfully"}
    assert waits["worker"] == healthy | {"api": "service_healthy"}
    assert waits["web"] == {"api": "service_healthy"}


def test_the_services_settings_exist(services: dict[str, Any]) -> None:
    known = {f"PRODUCT_SEARCH_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        given = set(services[name]["environment"])
        assert given <= known, name
    for name in ("api", "worker"):
        environment = services[name]["environment"]
        assert environment["PRODUCT_SEARCH_INDEX_IN_PROCESS"] == "false"
        values = {
            key.removeprefix("PRODUCT_SEARCH_").lower(): value for key, value in environment.items()
        }
        chosen = Settings(_env_file=None, **values)
        assert chosen.milvus_server == "http://milvus:19530"
        assert "givenMYSQL_PASSWORD@mysql:3306" in chosen.sqlalchemy_url


def test_the_api_and_its_worker_share_the_data_and_the_models_are_mounted(
    services: dict[str, Any],
) -> None:
    for name in ("api", "worker"):
        mounts = {mount["target"]: mount for mount in services[name]["volumes"]}
        assert mounts["/data"]["source"] == "data"
        assert (mounts["/app/models"]["type"], mounts["/app/models"]["read_only"]) == ("bind", True)
        assert services[name]["environment"]["PRODUCT_SEARCH_DATA_DIR"] == "/data"
    assert "volumes" not in services["web"]
    for name in STORES:
        assert [mount["type"] for mount in services[name]["volumes"]] == ["volume"], name


def published(services: dict[str, Any]) -> dict[str, set[str]]:
    """The addresses of the host on which each service is to be had."""
    return {
        name: {port["host_ip"] for port in service["ports"]}
        for name, service in services.items()
        if service.get("ports")
    }


def test_only_this_machine_reaches_what_is_published() -> None:
    found = {
        name: published(yaml.safe_load(composed(files).stdout)["services"])
        for name, files in FILES.items()
    }
    assert set(found["cpu"]) == set(found["gpu"]) == {"api", "web"}
    assert set(found["stores"]) == {"api", "web", "mysql", "milvus", "kafka"}
    for shown in found.values():
        assert all(addresses == {"127.0.0.1"} for addresses in shown.values())
    opened = composed(FILES["stores"], PUBLISH_ADDRESS="0.0.0.0").stdout
    shown = published(yaml.safe_load(opened)["services"])
    assert {name for name, addresses in shown.items() if "0.0.0.0" in addresses} == {"api", "web"}


def everything() -> dict[str, Any]:
    """What Docker Compose makes of the main file, with the monitoring."""
    found: dict[str, Any] = yaml.safe_load(
        composed(FILES["cpu"], COMPOSE_PROFILES="monitoring").stdout
    )
    assert set(found["services"]) == OURS | STORES | MONITORING
    return found


@pytest.mark.parametrize("name", sorted(OURS | STORES | MONITORING))
def test_a_container_may_no_more_than_it_needs(name: str) -> None:
    service = everything()["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["mem_limit"]) >= 512 * 1024**2
    assert service["pids_limit"] > 0
    assert service.get("read_only", False) == (name not in WRITES_BESIDE_ITS_VOLUME)
    if name in OURS:
        assert any(place.startswith("/tmp:") for place in service["tmpfs"])


def test_the_page_reaches_the_api_and_no_store() -> None:
    project = everything()
    reached: dict[str, set[str]] = {}
    for name, service in project["services"].items():
        for network in service["networks"]:
            reached.setdefault(network, set()).add(name)
    assert reached["front"] == {"api", "web"}
    assert reached["monitoring"] == {"api", *MONITORING}
    assert reached["stores"] == STORES | (OURS - {"web"})
    assert project["networks"]["stores"]["internal"] is True
    assert set(project["services"]["web"]["networks"]) == {"front"}


def test_a_key_is_required_and_the_page_has_no_password() -> None:
    services = yaml.safe_load(composed(FILES["cpu"], PRODUCT_SEARCH_API_KEY="k").stdout)["services"]
    for name in ("api", "worker"):
        assert services[name]["environment"]["PRODUCT_SEARCH_REQUIRE_KEYS"] == "true"
        assert "PRODUCT_SEARCH_API_KEY" not in services[name]["environment"]
    web = services["web"]["environment"]
    assert web["PRODUCT_SEARCH_API_KEY"] == "k"
    assert not [value for value in web.values() if "given" in value]


def test_the_gpu_is_for_what_encodes() -> None:
    services = yaml.safe_load(composed(FILES["gpu"]).stdout)["services"]
    for name in OURS:
        assert services[name]["build"]["target"] == "cuda"
        devices = services[name].get("deploy", {}).get("resources", {}).get("reservations")
        assert bool(devices) == (name in ("api", "worker")), name
    assert services["worker"]["environment"]["PRODUCT_SEARCH_DEVICE"] == "cuda"
    assert services["worker"]["environment"]["PRODUCT_SEARCH_INDEX_IN_PROCESS"] == "false"


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/kubernetes/Dockerfile"])
def test_hadolint_finds_nothing_wrong_with_the_dockerfile(file: str) -> None:
    answer = subprocess.run([tool("hadolint"), str(ROOT / file)], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (0, "")


def test_both_targets_run_without_root_from_pinned_images() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)", DOCKERFILE, re.MULTILINE)
    parents = {stage: parent for parent, stage in stages}
    assert {"cpu", "cuda"} <= set(parents)
    for target in ("cpu", "cuda"):
        assert parents[target] == "service"
    after_service = DOCKERFILE.split("AS service", 1)[1]
    assert re.findall(r"^USER (\S+)", after_service, re.MULTILINE) == ["10001"]
    outside = {parent for parent, _ in stages} - set(parents)
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", image) for image in outside)


def test_what_is_pinned_is_pinned_exactly() -> None:
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.\[\]-]+==[\w.]+", line), line


def in_the_image(path: str) -> bool:
    """By .dockerignore: the last pattern that fits the path, or a folder above it, decides."""
    ignored = False
    above = [Path(path), *Path(path).parents][:-1]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.removeprefix("!").rstrip("/")
        if "**/" in pattern:
            fits = any(fnmatch(part.name, pattern.removeprefix("**/")) for part in above)
        else:  # a star fits no slash
            depth = len(Path(pattern).parts)
            fits = any(fnmatch(str(p), pattern) for p in above if len(p.parts) == depth)
        if fits:
            ignored = not line.startswith("!")
    return not ignored


def test_the_image_has_what_runs_and_neither_weights_nor_secrets() -> None:
    needed = [
        *(str(path.relative_to(ROOT)) for path in ROOT.glob("*.py")),
        *(str(path.relative_to(ROOT)) for path in (ROOT / "migrations").rglob("*.py")),
        "product_search/manage.py",
        "product_search/cli/maintenance.py",
        "pages/catalogue.py",
        ".streamlit/config.toml",
        "sample_data/catalog.csv",
        "requirements.txt",
        "NOTICE",
    ]
    assert [path for path in needed if not (ROOT / path).is_file()] == []
    assert [path for path in needed if not in_the_image(path)] == []
    unwanted = [".env", "models/starter/image.onnx", "data/catalog.sqlite3", "tests/conftest.py"]
    unwanted += [".git/config", "product_search/training/starter/__main__.py", "shared/a"]
    assert [path for path in unwanted if in_the_image(path)] == []
