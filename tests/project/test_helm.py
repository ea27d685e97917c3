"""The chart of deploy/helm, rendered by Helm: the same as Kustomize makes of deploy/kubernetes, and valid."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from switchboard import __version__
from switchboard.config.schema import schema
from switchboard.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
VERSIONS = ("1.31", "1.34", "1.37")
OWN = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
    "checksum/config",
}
"""Labels and annotations that Helm's ways add."""

EVERYTHING = (
    "configuration.mcpServers.docs.url=https://docs.example.com/mcp",
    "image.pullPolicy=Always",
    "image.pullSecrets[0].name=registry",
    "env[0].name=HTTPS_PROXY",
    "env[0].value=http://proxy.example.com",
    "nodeSelector.disk=fast",
    "tolerations[0].operator=Exists",
    "podAnnotations.team=tools",
    "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=zone",
    "autoscaling.enabled=false",
    "ingress.tlsSecretName=",
)

Manifests = dict[tuple[str, str], dict[str, Any]]


def program(name: str) -> str:
    """What `make kubernetes` brought, or is on PATH."""
    path = os.pathsep.join((str(ROOT / ".cache" / "kubernetes"), os.environ.get("PATH", "")))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} is not installed: make kubernetes")
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def manifests(text: str) -> Manifests:
    found = [one for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def templated(*settings: str, release: str = "switchboard") -> subprocess.CompletedProcess[str]:
    options = [word for setting in settings for word in ("--set", setting)]
    return run(program("helm"), "template", release, str(CHART), "--namespace", "switchboard", *options)


def rendered(*settings: str) -> Manifests:
    done = templated(*settings)
    assert done.returncode == 0, done.stderr
    return manifests(done.stdout)


def without_own(node: Any) -> Any:
    """A manifest without what Helm's ways add, and without the hash that Kustomize adds to a name."""
    if isinstance(node, dict):
        plain = {key: without_own(value) for key, value in node.items() if key not in OWN}
        return {key: value for key, value in plain.items() if not (key in ("labels", "annotations") and not value)}
    if isinstance(node, list):
        return [without_own(value) for value in node]
    return re.sub(r"^switchboard-[a-z0-9]{10}$", "switchboard", node) if isinstance(node, str) else node


def comparable(found: Manifests) -> dict[str, Any]:
    """By kind; labels of the objects themselves, by which nothing is selected, are left out."""
    plain = {kind: without_own(manifest) for (kind, _), manifest in found.items()}
    for manifest in plain.values():
        manifest["metadata"].pop("labels", None)
    return plain


def test_the_chart_makes_what_kustomize_makes() -> None:
    built = run(program("kubectl"), "kustomize", "deploy/kubernetes")
    assert built.returncode == 0, built.stderr
    kustomized, charted = manifests(built.stdout), rendered()
    assert len(kustomized) == len(charted) == 7
    assert comparable(charted) == comparable(kustomized)


@pytest.mark.parametrize("settings", [(), EVERYTHING], ids=["as it is", "everything set"])
def test_what_the_chart_makes_is_valid_for_every_kubernetes_and_has_no_unknown_key(settings: tuple[str, ...]) -> None:
    for manifest in rendered(*settings).values():
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    done = run(program("helm"), "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def test_each_object_is_named_and_selected_by_its_release_so_that_two_stand_in_one_namespace() -> None:
    first = manifests(templated(release="first").stdout)
    second = manifests(templated(release="second").stdout)
    assert not first.keys() & second.keys()
    selected = [
        found["Deployment", name]["spec"]["selector"]["matchLabels"]
        for found, name in ((first, "first"), (second, "second"))
    ]
    assert selected[0] != selected[1]
    for found, name in ((first, "first"), (second, "second")):
        labels = found["Deployment", name]["spec"]["template"]["metadata"]["labels"]
        assert found["Service", name]["spec"]["selector"] == labels
        assert found["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"] == labels


def test_a_configuration_is_mounted_and_named_to_the_workers_which_are_replaced_when_it_changes() -> None:
    url = "configuration.mcpServers.docs.url"
    one, other = rendered(f"{url}=https://docs.example.com"), rendered(f"{url}=https://other.example.com")
    file = one["ConfigMap", "switchboard-file"]["data"]["switchboard.yaml"]
    assert yaml.safe_load(file) == {"mcpServers": {"docs": {"url": "https://docs.example.com"}}}
    assert one["ConfigMap", "switchboard"]["data"]["CONFIG_FILE"] == "/etc/switchboard/switchboard.yaml"
    pods = [found["Deployment", "switchboard"]["spec"]["template"] for found in (one, other)]
    mounts = pods[0]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "configuration", "mountPath": "/etc/switchboard", "readOnly": True} in mounts
    sums = {pod["metadata"]["annotations"]["checksum/config"] for pod in pods}
    assert len(sums) == 2


def test_without_the_autoscaler_the_deployment_has_the_replicas() -> None:
    found = rendered("autoscaling.enabled=false", "replicas=3")
    assert found["Deployment", "switchboard"]["spec"]["replicas"] == 3
    assert ("HorizontalPodAutoscaler", "switchboard") not in found


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("config.SECRET_KEY=abc", "SECRET_KEY"),
        ("config.WORKERS=2", "WORKERS"),
        ("config.BASE_URI=mcp.example.com", "BASE_URI"),
        ("replica=3", "replica"),
        ("ingress.hosts=a", "hosts"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("configuration.servers.a.url=https://a.example", "servers"),
        ("config.DRAIN_TIMEOUT=60", "terminationGracePeriodSeconds"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(setting: str, why: str) -> None:
    done = templated(setting)
    assert done.returncode != 0
    assert why in done.stderr


def test_a_worker_that_drains_longer_is_given_the_time() -> None:
    found = rendered("config.DRAIN_TIMEOUT=60", "terminationGracePeriodSeconds=80", "preStopSeconds=10")
    pod = found["Deployment", "switchboard"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 80
    assert pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1] == "import time; time.sleep(10)"
    assert found["ConfigMap", "switchboard"]["data"]["DRAIN_TIMEOUT"] == "60"


def test_what_the_chart_sets_are_settings_and_its_drain_is_that_of_a_worker() -> None:
    assert {name.lower() for name in VALUES["config"]} <= set(Settings.model_fields)
    fields = Settings.model_fields
    text = (CHART / "templates" / "deployment.yaml").read_text()
    grace, timeout = fields["drain_grace"].default, fields["drain_timeout"].default
    assert f"DRAIN_GRACE | default {grace:g}" in text
    assert f"DRAIN_TIMEOUT | default {timeout:g}" in text


def test_the_schema_knows_the_values_of_the_file_and_those_of_the_configuration() -> None:
    known = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert set(known["properties"]) == set(VALUES)
    for name in ("image", "autoscaling", "disruption", "ingress", "service"):
        assert set(known["properties"][name]["properties"]) == set(VALUES[name])
    file = set(schema()["properties"]) - {"$schema"}
    assert set(known["properties"]["configuration"]["properties"]) == file


def test_chart_image_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (image,) = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "kustomization.yaml").read_text())["images"]
    assert (chart["appVersion"], image["newTag"]) == (__version__, __version__)
