"""Who speaks: the resource attributes of a process of ours."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from serinus import __version__
from serinus.serving.telemetry.names import DEFAULT_SERVICE_NAME, SERVICE_INSTANCE, SERVICE_NAME, SERVICE_VERSION

__all__ = ["resource_of"]


def resource_of(process: str) -> Mapping[str, str]:
    """What OpenTelemetry's own variables leave open. `process` tells this one from all others of the host."""
    given = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = {} if given else {SERVICE_NAME: DEFAULT_SERVICE_NAME}
    return named | {SERVICE_VERSION: __version__, SERVICE_INSTANCE: f"{socket.gethostname()}-{process}"}
