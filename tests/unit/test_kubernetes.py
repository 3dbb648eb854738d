"""The Kubernetes overlays: built by kustomize, valid, and asking for no more than they need.

No cluster is needed: nothing is applied here.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from main import VERSION
from product_search.settings import ROOT, Settings
from tests.unit.test_compose import tool

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu")
KUBERNETES = ("1.30", "1.37")  # the oldest that has all that is used, and the newest
OURS = {"api", "worker", "web", "migrate"}
DOCUMENT = (ROOT / "docs" / "deployment.md").read_text("utf-8")

Resource = dict[str, Any]


@cache
def built(folder: Path) -> list[Resource]:
    """What `kubectl apply -k` would send."""
    answer = subprocess.run(
        [tool("kubectl"), "kustomize", str(folder)], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    return list(yaml.safe_load_all(answer.stdout))


@pytest.fixture(params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    return built(FOLDER / request.param)


def of_kind(resources: list[Resource], kind: str) -> dict[str, Resource]:
    return {one["metadata"]["name"]: one for one in resources if one["kind"] == kind}


def pods(resources: list[Resource]) -> dict[str, Resource]:
    """The pods' specs by the name of what starts them."""
    return {
        name: one["spec"]["template"]["spec"]
        for kind in ("Deployment", "Job")
        for name, one in of_kind(resources, kind).items()
    }


def containers(resources: list[Resource]) -> Iterator[tuple[str, Resource]]:
    for name, pod in pods(resources).items():
        for one in [*pod.get("initContainers", []), *pod["containers"]]:
            yield name, one


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_resource_is_valid_to_the_letter(resources: list[Resource], version: str) -> None:
    for resource in resources:
        kubernetes_validate.validate(resource, version, strict=True)


def test_an_unknown_field_is_no_valid_resource(resources: list[Resource]) -> None:
    pod = of_kind(resources, "Deployment")["api"] | {"spec": {"replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES[-1], strict=True)


def test_there_are_the_pods_of_compose_and_what_keeps_them_up(resources: list[Resource]) -> None:
    assert set(pods(resources)) == OURS
    assert set(of_kind(resources, "Job")) == {"migrate"}
    assert set(of_kind(resources, "Service")) == {"api", "web"}
    assert set(of_kind(resources, "PodDisruptionBudget")) == OURS - {"migrate"}
    scaled = of_kind(resources, "HorizontalPodAutoscaler")
    assert set(scaled) == {"api", "worker"}
    for name, one in scaled.items():
        assert one["spec"]["scaleTargetRef"]["name"] == name
        assert [metric["resource"]["name"] for metric in one["spec"]["metrics"]] == ["cpu"]
        # Else each `apply` would undo what the autoscaler has chosen.
        assert "replicas" not in of_kind(resources, "Deployment")[name]["spec"]
    assert scaled["api"]["spec"]["minReplicas"] > 1  # a budget of one pod lets no node be drained


def test_what_selects_pods_selects_those_of_its_name(resources: list[Resource]) -> None:
    for kind in ("Deployment", "Job"):
        for name, one in of_kind(resources, kind).items():
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/name"] == name
    for kind in ("Deployment", "PodDisruptionBudget"):
        for name, one in of_kind(resources, kind).items():
            assert one["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}
    for name, one in of_kind(resources, "Service").items():
        assert one["spec"]["selector"] == {"app.kubernetes.io/name": name}


def test_all_lies_in_one_namespace_that_refuses_privileged_pods(resources: list[Resource]) -> None:
    (namespace,) = of_kind(resources, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for one in resources:
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == namespace["metadata"]["name"]


def test_a_pod_may_no_more_than_it_needs(resources: list[Resource]) -> None:
    for name, pod in pods(resources).items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == 10001  # of the Dockerfile
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= {"persistentVolumeClaim", "emptyDir"}


def test_a_container_may_no_more_than_it_needs(resources: list[Resource]) -> None:
    for name, container in containers(resources):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, name
        assert security["readOnlyRootFilesystem"] is True, name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
        assert not security.get("privileged"), name
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_every_container_has_limits(resources: list[Resource]) -> None:
    for name, container in containers(resources):
        assert {"memory", "ephemeral-storage"} <= set(container["resources"]["limits"]), name
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
    for pod in pods(resources).values():
        for volume in pod["volumes"]:
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]


def test_who_serves_is_asked_whether_it_lives(resources: list[Resource]) -> None:
    for name in of_kind(resources, "Service"):
        (container,) = pods(resources)[name]["containers"]
        paths = {
            probe: container[f"{probe}Probe"]["httpGet"]["path"]
            for probe in ("startup", "liveness", "readiness")
        }
        if name == "api":
            assert paths["startup"] == paths["liveness"] == "/health/live"
            assert paths["readiness"] == "/health/ready"


def test_images_are_of_this_release_and_for_their_kind_of_machine() -> None:
    for overlay in OVERLAYS:
        kind = {"cpu": "cpu", "gpu": "cuda"}[overlay]
        for _, container in containers(built(FOLDER / overlay)):
            assert container["image"].endswith(f"/product-search:{VERSION}-{kind}")


def test_gpus_are_for_what_encodes() -> None:
    for name, container in containers(built(FOLDER / "gpu")):
        limits = container["resources"]["limits"]
        assert ("nvidia.com/gpu" in limits) == (name in ("api", "worker")), name
    for _, container in containers(built(FOLDER / "cpu")):
        assert "nvidia.com/gpu" not in container["resources"]["limits"]
    (settings,) = of_kind(built(FOLDER / "gpu"), "ConfigMap").values()
    assert settings["data"]["PRODUCT_SEARCH_DEVICE"] == "cuda"


def given(resources: list[Resource]) -> dict[str, str]:
    """The settings of all pods."""
    (settings,) = of_kind(resources, "ConfigMap").values()
    return dict(settings["data"])


def test_the_settings_exist_and_keep_strangers_out(resources: list[Resource]) -> None:
    values = given(resources)
    for _, container in containers(resources):
        assert [one["configMapRef"]["name"] for one in container["envFrom"]] == list(
            of_kind(resources, "ConfigMap")
        )
        values |= {one["name"]: "" for one in container.get("env", [])}
    named: dict[str, Any] = {
        name.removeprefix("PRODUCT_SEARCH_").lower(): value for name, value in values.items()
    }
    assert set(named) <= set(Settings.model_fields)
    chosen = Settings(_env_file=None, **{name: value for name, value in named.items() if value})
    assert chosen.require_keys
    assert chosen.allowed_hosts
    assert chosen.rate_limit
    assert not chosen.index_in_process


def references(resources: list[Resource]) -> dict[str, dict[str, Resource]]:
    """What each pod takes of secrets: the setting, and which key of which secret."""
    return {
        name: {
            one["name"]: one["valueFrom"]["secretKeyRef"]
            for one in container.get("env", [])
            if "valueFrom" in one
        }
        for name, container in containers(resources)
    }


def test_no_secret_is_in_the_files_and_each_is_told_of(resources: list[Resource]) -> None:
    assert of_kind(resources, "Secret") == {}
    for text in (path.read_text("utf-8") for path in FOLDER.rglob("*") if path.is_file()):
        assert not re.search(r"(?i)password|://[^/\s]*@", text)
    for taken in references(resources).values():
        for reference in taken.values():
            row = rf"^\| `{reference['name']}` \| `{reference['key']}` \|"
            assert re.search(row, DOCUMENT, re.MULTILINE), reference
    values = given(resources)
    assert not [name for name in values if re.search("PASSWORD|TOKEN|KEY$|DATABASE_URL", name)]


def test_the_page_gets_its_own_key_and_nothing_else_that_is_secret(
    resources: list[Resource],
) -> None:
    taken = references(resources)
    assert set(taken["web"]) == {"PRODUCT_SEARCH_API_KEY"}
    assert set(taken["migrate"]) == {"PRODUCT_SEARCH_DATABASE_URL"}
    for name in ("api", "worker"):
        assert "PRODUCT_SEARCH_API_KEY" not in taken[name]
        assert {"PRODUCT_SEARCH_DATABASE_URL", "PRODUCT_SEARCH_MILVUS_TOKEN"} <= set(taken[name])


def test_nobody_reaches_anybody_but_for_what_is_told(resources: list[Resource]) -> None:
    policies = {name: one["spec"] for name, one in of_kind(resources, "NetworkPolicy").items()}
    assert policies["nobody"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (to_api,) = policies["web"]["egress"]
    assert to_api["to"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "api"}}}]
    assert [port["port"] for port in to_api["ports"]] == [8000]
    (selected,) = policies["stores"]["podSelector"]["matchExpressions"]
    assert set(selected["values"]) == OURS - {"web"}
    for name in ("api", "web"):
        (served,) = policies[name]["ingress"]
        (container,) = pods(resources)[name]["containers"]
        assert [port["port"] for port in served["ports"]] == [
            port["containerPort"] for port in container["ports"]
        ]
    every = [rule for one in policies.values() for rule in one.get("egress", [])]
    assert all(rule.get("to") and rule.get("ports") for rule in every)


def test_the_way_outside_leads_to_no_private_address(tmp_path: Path) -> None:
    base, outside = (os.path.relpath(FOLDER / name, tmp_path) for name in ("cpu", "outside"))
    kustomization = {"namespace": "mine", "resources": [base], "components": [outside]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    policies = of_kind(built(tmp_path), "NetworkPolicy")
    (rule,) = policies["outside"]["spec"]["egress"]
    assert [port["port"] for port in rule["ports"]] == [443]
    excepted = rule["to"][0]["ipBlock"]["except"]
    assert {"10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"} <= set(excepted)
    assert "outside" not in of_kind(built(FOLDER / "cpu"), "NetworkPolicy")
