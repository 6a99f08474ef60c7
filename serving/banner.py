"""What `serinus serve` prints when the server is ready: where it is, what is on, a line that works."""

from __future__ import annotations

import json
import shlex

from serinus.models.examples import example_rows
from serinus.models.registry import Registry
from serinus.models.signature import Signature
from serinus.serving.home import Home
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.references import attached
from serinus.serving.served_models import open_registry, served
from serinus.serving.settings import Settings
from serinus.serving.snapshot import read_snapshot
from serinus.serving.telemetry.variables import destination

__all__ = ["banner", "curl_line"]


def banner(settings: Settings) -> str:
    """A few plain lines."""
    registry = open_registry(settings)
    records = read_snapshot(settings.home / "run" / "snapshot.json").records
    url = _url(settings)
    names = sorted(served(settings, registry))
    lines = [f"Serinus answers at {url} ({settings.server.workers} workers, home {settings.home})."]
    stable = {}
    for name in names:
        record = records.get(name)
        stable[name] = (record.stable if record else None) or registry.versions(name)[0]
        lines.append(f"  {name}: version {stable[name]} is stable; registered: {', '.join(registry.versions(name))}.")
    if not names:
        lines.append("  No model is registered yet: `serinus models register NAME PATH`.")
    lines += [f"  Page:    {url}/ui",
              f"  Infer:   POST {url}/predict (rows, columns, CSV, Parquet), /v2/models/NAME/infer (Open Inference "
              "Protocol),",
              "           /invocations (MLflow, SageMaker), /v1/models/NAME:predict (KServe V1)",
              f"  Look:    {url}/docs in a browser, /openapi.json, /metrics, /api/models, /api/rollouts/NAME",
              f"  Log:     {_log(settings)}", *_monitors(settings, registry, stable),
              f"  Traces:  {_traces(settings)}", f"  Control: {_control(settings)}"]
    if names:
        first = registry.get(names[0], registry.versions(names[0])[0])
        lines.append(f"  Try:     {curl_line(url, names[0], first.signature)}")
    return "\n".join(lines)


def curl_line(url: str, name: str, signature: Signature) -> str:
    """A request that the model can answer, made from its signature."""
    row = {field: array.tolist()[0] if is_rows else array.tolist() for (field, array), is_rows in zip(
        example_rows(signature, 1).items(), [field.shape[:1] == (-1,) for field in signature.inputs], strict=True)}
    matrix = len(signature.inputs) == 1 and len(signature.inputs[0].shape) == 2
    body = shlex.quote(json.dumps({"rows": list(row.values()) if matrix else [row]}))
    return f"curl -s {url}/predict/{name} -d {body}"


def _url(settings: Settings) -> str:
    host = settings.server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.server.port}"


def _log(settings: Settings) -> str:
    if not settings.log.enabled:
        return "off (log.enabled)"
    return f"every answer, before it is sent, in {settings.home}/log; at most {settings.log.cap_bytes / 1e9:g} GB"


def _monitors(settings: Settings, registry: Registry, stable: dict[str, str]) -> list[str]:
    """Whether live rows are compared with anything, and a line for each model that has no reference."""
    if not settings.monitors.enabled:
        return ["  Monitors: off (monitors.enabled)"]
    files = MonitorFiles(Home(settings.home).monitors)
    lines = [f"  Monitors: at most one false alarm in {settings.monitors.run_length:,} rows on average; "
             "`serinus monitor status`, /api/monitors"]
    for name, version in stable.items():
        view = files.view(name, version)
        if not attached(registry, registry.get(name, version)) and (view is None or view.digest is None):
            lines.append(f"    {name}:{version} has no reference: {_learning(settings)} Better give one: serinus "
                         f"monitor reference {name}:{version} --set FILE")
    return lines


def _learning(settings: Settings) -> str:
    if not settings.monitors.learn_rows or not settings.log.enabled:
        return "it is NOT watched."
    return f"its first {settings.monitors.learn_rows:,} rows will be taken for normal, WHATEVER THEY ARE."


def _traces(settings: Settings) -> str:
    if settings.telemetry.traces == "off":
        return "off (telemetry.traces)"
    found = destination("traces")
    if found.exporter == "none":
        return f"not exported ({found.source}); set OTEL_EXPORTER_OTLP_ENDPOINT"
    return f"every request, to {found.endpoint or 'the console'} ({found.source})"


def _control(settings: Settings) -> str:
    from serinus.serving.auth import is_loopback

    if settings.control.token or settings.control.tokens:
        return "with a token that is set"
    if is_loopback(settings.server.host) and settings.control.behind_proxy:
        return "closed: behind a proxy and no token; set SERINUS_CONTROL_TOKEN"
    if is_loopback(settings.server.host):
        return "open to this host (loopback is a convenience, not authentication)"
    return "closed: not bound to loopback and no token; set SERINUS_CONTROL_TOKEN"
