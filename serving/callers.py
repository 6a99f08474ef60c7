"""Who calls: routing keys from a cookie or an input, and versions that testers ask for by a header.

A key in the header `routing.key_header`, or in the body where a protocol has a place for it, goes before these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from serinus.serving.protocols import Headers
from serinus.serving.request import InferenceRequest
from serinus.serving.settings import RoutingSettings

__all__ = ["Callers", "Settled"]

_MOST = 256


class Settled(NamedTuple):
    """The routing key and the version to answer with, None for what nobody said."""

    key: str | None
    version: str | None


class Callers:
    """What the settings say about callers, beyond the one header."""

    def __init__(self, settings: RoutingSettings) -> None:
        self._cookie = settings.key_cookie.encode("latin-1") if settings.key_cookie else None
        self._field = settings.key_input
        self._pin = settings.version_header.lower().encode("latin-1") if settings.version_header else None
        self._pinners = frozenset(settings.version_callers)

    @classmethod
    def wanted(cls, settings: RoutingSettings) -> Callers | None:
        """None where the settings say nothing, so that a request costs nothing."""
        return cls(settings) if settings.key_cookie or settings.key_input or settings.version_header else None

    def settle(self, headers: Headers, request: InferenceRequest, key: str | None, version: str | None) -> Settled:
        """Complete what header, body and address say. A version in the address holds; who is not listed gets what
        everybody gets."""
        if key is None and self._cookie is not None:
            key = _cookie(headers.get(b"cookie", b""), self._cookie)
        if key is None and self._field is not None:
            key = _first(request.inputs, self._field)
        if version is None and self._pin is not None and key in self._pinners:
            wanted = headers.get(self._pin)
            version = wanted.decode("latin-1").strip() if wanted else None
        return Settled(key, version)


def _cookie(header: bytes, name: bytes) -> str | None:
    for part in header.split(b";"):
        key, found, value = part.strip().partition(b"=")
        if found and key == name:
            text = value.strip(b'" ').decode("latin-1")
            return text if 0 < len(text) <= _MOST else None
    return None


def _first(inputs: Mapping[str, Any], name: str) -> str | None:
    """The value in the first row; a missing one is nobody's."""
    array = inputs.get(name)
    if array is None or array.size == 0:
        return None
    value = array.flat[0]
    if value is None or value != value:  # NaN
        return None
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text if 0 < len(text) <= _MOST else None
