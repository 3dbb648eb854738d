"""The dashboard, the alert rules and their Compose profile: well-formed, and about what exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from product_search.settings import ROOT
from tests.unit.test_compose import FILES, composed

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "product-search.json"
PROMETHEUS = ROOT / "deploy" / "prometheus"
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_panel_has_a_place_of_its_own_and_asks_the_provisioned_prometheus() -> None:
    source = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text("utf-8"))
    places = set()
    for panel in panels():
        assert panel["datasource"]["uid"] == source["datasources"][0]["uid"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        places.add((place["x"], place["y"]))
    assert len(places) == len(panels())
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)


def test_every_alert_waits_and_says_what_it_is_about() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_brackets_are_closed_in_every_expression() -> None:
    for expression in expressions():
        for opened, closed in ("()", "{}", "[]"):
            assert expression.count(opened) == expression.count(closed), expression


def expressions() -> Iterator[str]:
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    yield from (rule["expr"] for rule in rules())


def test_the_profile_starts_both_with_what_they_read() -> None:
    assert "grafana" not in yaml.safe_load(composed(FILES["cpu"]).stdout)["services"]
    answer = composed(FILES["cpu"], COMPOSE_PROFILES="monitoring")
    assert answer.returncode == 0, answer.stderr
    services = yaml.safe_load(answer.stdout)["services"]
    for name in ("prometheus", "grafana"):
        service = services[name]
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
        assert service["healthcheck"]["test"][0] == "CMD"
        assert [port["host_ip"] for port in service["ports"]] == ["127.0.0.1"]
    mounts = [mount for name in ("prometheus", "grafana") for mount in services[name]["volumes"]]
    assert all((ROOT / one["source"]).is_dir() for one in mounts if one["type"] == "bind")
    provider = yaml.safe_load(
        (PROVISIONING / "dashboards" / "product-search.yml").read_text("utf-8")
    )["providers"][0]
    assert provider["options"]["path"] in {mount["target"] for mount in mounts}
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    assert scraped["rule_files"] == ["alerts.yml"]
    (api,) = scraped["scrape_configs"]
    assert api["static_configs"][0]["targets"] == ["api:8000"]
    key = PROMETHEUS / api["authorization"]["credentials_file"]
    assert str(key.relative_to(ROOT)) in (ROOT / ".gitignore").read_text("utf-8").splitlines()
