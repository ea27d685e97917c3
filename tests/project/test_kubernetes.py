"""The manifests of deploy/kubernetes: against Kubernetes' own schemas, and against what a worker needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from switchboard.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS = ("1.31", "1.34", "1.37")


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return loaded


KUSTOMIZATION = load("kustomization.yaml")


def test_the_kustomization_names_every_manifest_of_the_folder() -> None:
    files = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", KUSTOMIZATION["resources"])
def test_a_manifest_is_valid_against_the_schema_of_kubernetes_and_has_no_unknown_key(name: str, version: str) -> None:
    kubernetes_validate.validate(load(name), version, strict=True)


def test_every_selector_is_that_of_the_workers_pods() -> None:
    labels = load("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    spread = load("deployment.yaml")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [one["labelSelector"]["matchLabels"] for one in spread] == [labels]
    assert load("deployment.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert load("disruption.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert load("service.yaml")["spec"]["selector"] == labels
    assert load("autoscaler.yaml")["spec"]["scaleTargetRef"]["name"] == load("deployment.yaml")["metadata"]["name"]


def test_a_pod_has_longer_to_end_than_a_worker_needs_to_drain_and_is_asked_whether_it_wants_requests() -> None:
    pod = load("deployment.yaml")["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    fields = Settings.model_fields
    drain = fields["drain_grace"].default + fields["drain_timeout"].default
    before = worker["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert before == "import time; time.sleep(5)"
    assert pod["terminationGracePeriodSeconds"] > drain + 5
    assert worker["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert worker["livenessProbe"]["httpGet"]["path"] == worker["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_what_the_manifests_set_are_settings_of_a_worker() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    names = {line.partition("=")[0].lower() for line in generated["literals"]}
    assert names <= set(Settings.model_fields)


def test_streams_are_not_sent_to_one_worker_and_no_request_is_told_to_wait_shorter_than_a_sign_of_life() -> None:
    assert load("service.yaml")["spec"]["sessionAffinity"] == "None"
    annotations = load("ingress.yaml")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) >= 60
