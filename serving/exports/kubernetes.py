"""A kustomize base for a Bento's image: one file for each resource, to keep in version control and lay overlays over.

Pods share no state yet: the store is a file of SQLite's. So the base is one pod with a volume of its own. With more
(`most` above 1) each has its own rollouts, ground truth, monitors, alerts and log, in a folder that ends with it.
Copies of the log (`log_url`) go to one place from all of them: its files are named by who wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from serinus.serving.exports.yaml_text import yaml_text

__all__ = ["Installation", "kubernetes"]

_HOME = "/var/lib/serinus"
_SCRATCH = "/tmp"
_USER = 1034
"""The user of BentoML's images; a name alone would not tell Kubernetes that it is not root."""
_LINGER_S = 5
_DRAIN_S = 10
_TELEMETRY_S = 3
_MARGIN_S = 12
_PORT = "http"


class Installation(NamedTuple):
    """What is chosen by hand; the rest follows, or is an overlay's business."""

    name: str = "serinus"
    image: str = "serinus_service:latest"
    workers: int = 2
    least: int = 1
    most: int = 1
    port: int = 3000
    storage: str = "20Gi"
    log_url: str | None = None

    @property
    def is_alone(self) -> bool:
        """Whether there is one pod at most, whose home outlives it."""
        return self.most == 1


def kubernetes(chosen: Installation) -> dict[str, str]:
    """The files by name."""
    resources = {"deployment.yaml": (_deployment(chosen), _about_deployment(chosen)),
                 "service.yaml": (_service(chosen), ""),
                 **({"volume.yaml": (_volume(chosen), _ABOUT_VOLUME)} if chosen.is_alone else {}),
                 "autoscaler.yaml": (_autoscaler(chosen), _about_autoscaler(chosen)),
                 "disruption.yaml": (_disruption(chosen), ""),
                 "monitor.yaml": (_monitor(chosen), _ABOUT_MONITOR)}
    return {name: yaml_text(document, comment) for name, (document, comment) in resources.items()} | {
        "kustomization.yaml": yaml_text(_kustomization(list(resources)), _about(chosen))}


def _about(chosen: Installation) -> str:
    return (f"kubectl create secret generic {chosen.name} --from-literal=token=$(openssl rand -hex 32)\n"
            "kubectl apply -k .\n"
            "\n"
            "The image: serinus bento build NAME:VERSION …; bentoml containerize serinus_service:latest; push it, and\n"
            "name it under `images` in an overlay. State that pods share (PostgreSQL) is to come; there is no such\n"
            f"setting yet.{_about_copies(chosen) if chosen.log_url else ''}")


def _about_copies(chosen: Installation) -> str:
    return (f"\n\nCopies of the log in {chosen.log_url}: the image needs the library for it (`serinus bento build\n"
            "--package s3fs`, or gcsfs), and the pod the right to write there: by the account that your cloud gives\n"
            "it, or by a secret whose keys become variables, such as\n"
            f"kubectl create secret generic {_copies(chosen)} --from-literal=AWS_ACCESS_KEY_ID=… \\\n"
            "  --from-literal=AWS_SECRET_ACCESS_KEY=…")


def _about_deployment(chosen: Installation) -> str:
    if chosen.is_alone:
        return ("One pod, replaced by stopping it first: two must not write to one volume. Requests wait or fail for\n"
                "the seconds between.")
    return ("Pods share no state yet: each has rollouts, ground truth, monitors, alerts and a log of its own, which\n"
            "end with it. A rollback, a truth or an acknowledgement reaches one of them. To change versions, ship\n"
            "another image.")


_ABOUT_VOLUME = "Prediction log, rollouts, ground truth. `log.cap_bytes` (10 GB) and the versions have to fit in."
_ABOUT_MONITOR = ("For the Prometheus operator. Without it, take this file out of kustomization.yaml, and have\n"
                  "/metrics of the service scraped otherwise.")


def _about_autoscaler(chosen: Installation) -> str:
    if chosen.is_alone:
        return ("Held at one pod: see deployment.yaml. With --max-replicas N pods come and go by load, each with\n"
                "rollouts and a log of its own.")
    return "By CPU alone: requests are answered by the processor, not by waiting."


def _copies(chosen: Installation) -> str:
    """The secret with what it takes to write copies of the log."""
    return f"{chosen.name}-log"


def _labels(chosen: Installation) -> dict[str, str]:
    return {"app.kubernetes.io/name": "serinus", "app.kubernetes.io/instance": chosen.name}


def _resource(version: str, kind: str, chosen: Installation, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": chosen.name, "labels": _labels(chosen)},
            "spec": dict(spec)}


def _deployment(chosen: Installation) -> dict[str, Any]:
    return _resource("apps/v1", "Deployment", chosen, {
        **({"replicas": 1} if chosen.is_alone else {}),  # else the autoscaler's business
        "strategy": {"type": "Recreate"} if chosen.is_alone else {
            "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": _labels(chosen)},
        "template": {"metadata": {"labels": _labels(chosen)}, "spec": _pod(chosen)}})


def _pod(chosen: Installation) -> dict[str, Any]:
    home = ({"persistentVolumeClaim": {"claimName": chosen.name}} if chosen.is_alone
            else {"emptyDir": {"sizeLimit": chosen.storage}})
    return {
        "terminationGracePeriodSeconds": _LINGER_S + _DRAIN_S + _TELEMETRY_S + _MARGIN_S,
        "automountServiceAccountToken": False,  # nothing here asks the cluster
        "enableServiceLinks": False,  # a service called `serinus` would set SERINUS_PORT, which is no setting of ours
        "securityContext": {"runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER,
                            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [_container(chosen)],
        "volumes": [{"name": "home", **home}, {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}]}


def _container(chosen: Installation) -> dict[str, Any]:
    return {
        "name": "serinus", "image": chosen.image,
        "args": ["serve", "--host", "0.0.0.0", "--port", str(chosen.port),
                 "--timeout-graceful-shutdown", str(_DRAIN_S)],
        "ports": [{"name": _PORT, "containerPort": chosen.port}],
        "env": _environment(chosen),
        **({"envFrom": [{"secretRef": {"name": _copies(chosen), "optional": True}}]} if chosen.log_url else {}),
        "startupProbe": _probe("/readyz", every_s=2, failures=150),  # models may take minutes to load
        "readinessProbe": _probe("/readyz", every_s=5, failures=2),
        "livenessProbe": _probe("/livez", every_s=10, failures=6),
        # The pod is taken out of the service while it still answers.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_LINGER_S)]}}},
        # No limit on the CPU: it would slow answers although the processor is free.
        "resources": {"requests": {"cpu": "1", "memory": f"{384 + 192 * chosen.workers}Mi"},
                      "limits": {"memory": f"{768 + 384 * chosen.workers}Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "home", "mountPath": _HOME}, {"name": "scratch", "mountPath": _SCRATCH}]}


def _environment(chosen: Installation) -> list[dict[str, Any]]:
    hosts = [chosen.name, *(f"{chosen.name}.$(NAMESPACE){end}" for end in ("", ".svc", ".svc.cluster.local"))]
    return [
        {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "HOME", "value": _SCRATCH},
        {"name": "BENTOML_HOME", "value": f"{_SCRATCH}/bentoml"},
        {"name": "BENTOML_DO_NOT_TRACK", "value": "True"},
        {"name": "SERINUS_HOME", "value": _HOME},
        {"name": "SERINUS_SERVER_HOST", "value": "0.0.0.0"},  # so that control calls need the token
        {"name": "SERINUS_SERVER_WORKERS", "value": str(chosen.workers)},
        {"name": "SERINUS_CONTROL_ALLOWED_HOSTS", "value": ",".join(hosts)},
        {"name": "SERINUS_TELEMETRY_LOG_FORMAT", "value": "json"},
        *([{"name": "SERINUS_LOG_URL", "value": chosen.log_url}] if chosen.log_url else []),
        {"name": "SERINUS_CONTROL_TOKEN",  # without it control calls are closed
         "valueFrom": {"secretKeyRef": {"name": chosen.name, "key": "token", "optional": True}}}]


def _probe(path: str, *, every_s: int, failures: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": _PORT}, "periodSeconds": every_s, "timeoutSeconds": 3,
            "failureThreshold": failures}


def _service(chosen: Installation) -> dict[str, Any]:
    return _resource("v1", "Service", chosen, {
        "selector": _labels(chosen), "ports": [{"name": _PORT, "port": 80, "targetPort": _PORT}]})


def _volume(chosen: Installation) -> dict[str, Any]:
    return _resource("v1", "PersistentVolumeClaim", chosen, {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": chosen.storage}}})


def _autoscaler(chosen: Installation) -> dict[str, Any]:
    return _resource("autoscaling/v2", "HorizontalPodAutoscaler", chosen, {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": chosen.name},
        "minReplicas": chosen.least, "maxReplicas": chosen.most,
        "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}}})


def _disruption(chosen: Installation) -> dict[str, Any]:
    return _resource("policy/v1", "PodDisruptionBudget", chosen, {
        "maxUnavailable": 1, "selector": {"matchLabels": _labels(chosen)}})


def _monitor(chosen: Installation) -> dict[str, Any]:
    return _resource("monitoring.coreos.com/v1", "ServiceMonitor", chosen, {
        "selector": {"matchLabels": _labels(chosen)},
        "endpoints": [{"port": _PORT, "path": "/metrics", "interval": "15s"}]})


def _kustomization(files: list[str]) -> dict[str, Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": files}
