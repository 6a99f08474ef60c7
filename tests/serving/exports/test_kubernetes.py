"""Kubernetes resources: held to Kubernetes' own schemas, and to what the server needs to run and to end well."""

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

from serinus.serving.exports import Installation, kubernetes
from serinus.serving.settings import Settings

ALONE = Installation(name="churn", image="registry.example/churn:1")
MANY = ALONE._replace(least=2, most=6, workers=4, port=8080)
COPIED = MANY._replace(log_url="s3://bucket/log")
CHOICES = pytest.mark.parametrize("chosen", [ALONE, MANY, COPIED], ids=["one pod", "many pods", "copied log"])


def resources(chosen: Installation) -> dict[str, dict[str, Any]]:
    """By kind, those that kustomization.yaml lists."""
    files = kubernetes(chosen)
    listed = yaml.safe_load(files["kustomization.yaml"])["resources"]
    assert set(listed) == set(files) - {"kustomization.yaml"}
    found = [yaml.safe_load(files[name]) for name in listed]
    return {each["kind"]: each for each in found}


def container(chosen: Installation) -> dict[str, Any]:
    (found,) = resources(chosen)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


@CHOICES
@pytest.mark.parametrize("version", ["1.28", kubernetes_validate.latest_version()])
def test_resources_fit_the_schemas(chosen: Installation, version: str) -> None:
    """Of an older and of the newest Kubernetes, with no field that they do not know."""
    found = resources(chosen)
    assert {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceMonitor"} <= set(found)
    for kind, resource in found.items():
        if kind != "ServiceMonitor":  # the Prometheus operator's, not Kubernetes'
            kubernetes_validate.validate(resource, version, strict=True)


def test_the_schemas_are_asked_strictly() -> None:
    """A field that was mistyped is found."""
    wrong = resources(ALONE)["Deployment"]
    wrong["spec"]["template"]["spec"]["terminationGraceSeconds"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.28", strict=True)


@CHOICES
def test_everything_speaks_of_the_same_pods(chosen: Installation) -> None:
    """Selectors, names and ports of all resources meet."""
    found = resources(chosen)
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (found["Deployment"]["spec"]["selector"]["matchLabels"], found["Service"]["spec"]["selector"],
                     found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    (endpoint,), (port,) = found["ServiceMonitor"]["spec"]["endpoints"], found["Service"]["spec"]["ports"]
    watched = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert watched.items() <= found["Service"]["metadata"]["labels"].items()
    assert endpoint["port"] == port["name"] and endpoint["path"] == "/metrics"
    (open_port,) = container(chosen)["ports"]
    assert port["targetPort"] == open_port["name"] and open_port["containerPort"] == chosen.port
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == chosen.name
    assert {each["metadata"]["name"] for each in found.values()} == {"churn"}


@CHOICES
def test_a_pod_may_do_little(chosen: Installation) -> None:
    """No root, nothing to write to but home and scratch, no capability, no account of the cluster."""
    pod, inner = resources(chosen)["Deployment"]["spec"]["template"]["spec"], container(chosen)
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert not pod["automountServiceAccountToken"]
    assert inner["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                        "capabilities": {"drop": ["ALL"]}}
    writable = {mount["mountPath"] for mount in inner["volumeMounts"]}
    values = {each["name"]: each.get("value", "") for each in inner["env"]}
    assert writable == {"/var/lib/serinus", "/tmp"} and values["SERINUS_HOME"] in writable
    assert values["HOME"] in writable and values["BENTOML_HOME"].startswith("/tmp/")


@CHOICES
def test_a_pod_has_time_to_end(chosen: Installation) -> None:
    """For the load balancer to notice, for requests under way, for the last spans."""
    pod, inner = resources(chosen)["Deployment"]["spec"]["template"]["spec"], container(chosen)
    (_, lingers) = inner["lifecycle"]["preStop"]["exec"]["command"]
    drains = inner["args"][inner["args"].index("--timeout-graceful-shutdown") + 1]
    assert pod["terminationGracePeriodSeconds"] > int(lingers) + int(drains) + 3


def test_probes_ask_what_they_are_for() -> None:
    """A worker that loads models is not killed; one that cannot answer gets no request."""
    inner = container(ALONE)
    assert inner["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert inner["readinessProbe"]["httpGet"]["path"] == inner["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert inner["startupProbe"]["periodSeconds"] * inner["startupProbe"]["failureThreshold"] >= 300


@CHOICES
def test_settings_are_ours(chosen: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable is a setting that exists, and control calls need a token, which is a secret."""
    for name in [name for name in os.environ if name.startswith("SERINUS_")]:
        monkeypatch.delenv(name)
    given = {each["name"]: each.get("value", "x") for each in container(chosen)["env"]}
    settings = Settings.resolve(environ=given)
    assert (settings.server.host, settings.server.workers) == ("0.0.0.0", chosen.workers)
    assert "churn.$(NAMESPACE).svc" in settings.control.allowed_hosts
    (token,) = [each for each in container(chosen)["env"] if each["name"] == "SERINUS_CONTROL_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "churn", "key": "token", "optional": True}


def test_one_pod_keeps_its_home_and_more_have_one_each() -> None:
    """Two pods never write to one volume; the autoscaler, not the file, says how many there are."""
    alone, many = resources(ALONE), resources(MANY)
    assert alone["Deployment"]["spec"]["strategy"]["type"] == "Recreate"
    assert alone["HorizontalPodAutoscaler"]["spec"]["maxReplicas"] == 1
    (home, _) = alone["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert home["persistentVolumeClaim"]["claimName"] == alone["PersistentVolumeClaim"]["metadata"]["name"]
    assert "PersistentVolumeClaim" not in many and "replicas" not in many["Deployment"]["spec"]
    scaled = many["HorizontalPodAutoscaler"]["spec"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (2, 6)


def test_copies_of_the_log_have_a_secret_of_their_own() -> None:
    """What it takes to write them stands in no file; a pod whose cloud knows it needs no secret."""
    inner, text = container(COPIED), kubernetes(COPIED)["kustomization.yaml"]
    assert inner["envFrom"] == [{"secretRef": {"name": "churn-log", "optional": True}}]
    given = {each["name"]: each.get("value", "x") for each in inner["env"]}
    assert Settings.resolve(environ=given).log.url == "s3://bucket/log"
    assert "kubectl create secret generic churn-log" in text and "--package s3fs" in text
    assert "envFrom" not in container(ALONE) and "churn-log" not in str(kubernetes(ALONE))


def test_what_is_not_there_yet_is_said() -> None:
    """Shared state has no setting, so none is written, and what pods do not share is named."""
    assert re.search(r"PostgreSQL.*no such\n# setting yet", kubernetes(ALONE)["kustomization.yaml"])
    assert "share no state yet" in kubernetes(MANY)["deployment.yaml"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on the path")
def test_kustomize_builds_the_base(tmp_path: Path) -> None:
    """As `kubectl apply -k` would, without a cluster."""
    for name, text in kubernetes(ALONE).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(list(yaml.safe_load_all(done.stdout))) == 6


def test_the_example_is_what_the_export_writes(checkout: Path) -> None:
    """Renew it by the third line of its README."""
    base = checkout / "examples" / "kubernetes" / "base"
    written = {path.name: path.read_text("utf-8") for path in base.iterdir()}
    assert written == kubernetes(Installation("iris", "registry.example/iris:2"))
