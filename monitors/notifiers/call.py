"""One HTTP call out of the house: certificates are verified, redirects are not followed, and it ends in time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from serinus import __version__
from serinus.monitors.notifiers.notifier import DeliveryFailed, NotifierMisconfigured

__all__ = ["check_timeout", "checked_address", "origin", "post"]

_SAID = 100
_LONGEST_PAUSE_S = 3600.0
_LONGEST_CALL_S = 60.0


def checked_address(url: str) -> str:
    """The address, if it is one. Raises `NotifierMisconfigured`, without repeating it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, fits = SplitResult("", "", "", "", ""), False
    if not fits or not url.isascii() or any(letter <= " " for letter in url):
        raise NotifierMisconfigured("Option url: expected http://HOST/… or https://HOST/…, got something else.")
    if parts.username is not None:
        raise NotifierMisconfigured("Option url: expected an address without a user and password; give them as "
                                    "authorization_file or authorization_env.")
    return url


def check_timeout(seconds: float) -> None:
    """Raises `NotifierMisconfigured` for a time that no call should take."""
    if not 0 < seconds <= _LONGEST_CALL_S:
        raise NotifierMisconfigured(f"Option timeout_seconds: expected more than 0 and at most {_LONGEST_CALL_S:g}, "
                                    f"got {seconds!r}.")


def origin(url: str) -> str:
    """Scheme, host and port of an address: what may be shown of it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
    """POST JSON, and return when it was taken (2xx). Raises `DeliveryFailed`.

    Proxies of the environment are used. The answer's time is bounded as a whole, not only between two bytes.
    """
    sent = {"Content-Type": "application/json", "User-Agent": f"serinus/{__version__}", "Connection": "close",
            **headers}
    parts, where = urlsplit(url), origin(url)
    connection, path = _connection(parts, timeout_s)
    late = threading.Event()
    cut = threading.Timer(timeout_s, _cut, [connection, late])
    cut.daemon = True
    cut.start()
    try:
        connection.request("POST", path, body, sent)
        answer = connection.getresponse()
        said = answer.read(_SAID * 4).decode("utf-8", "replace") if answer.status >= 300 else ""
    except TimeoutError:
        raise DeliveryFailed(f"{where} did not answer within {timeout_s:g} s.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = f"did not answer within {timeout_s:g} s" if late.is_set() else f"cannot be told: {_reason(error)}"
        raise DeliveryFailed(f"{where} {reason}.") from None
    finally:
        cut.cancel()
        connection.close()
    if answer.status >= 300:
        raise DeliveryFailed(_refusal(where, answer.status, said), _retry_after(answer.getheader("Retry-After")))


def _connection(parts: SplitResult, timeout_s: float) -> tuple[http.client.HTTPConnection, str]:
    """A connection, direct or through the environment's proxy, and what stands in its request line."""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host, port = parts.hostname or "", parts.port
    proxy = getproxies().get(parts.scheme) if not proxy_bypass(host) else None
    via = urlsplit(proxy if "//" in proxy else f"http://{proxy}") if proxy else None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if via is None:
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context), path
        tunnel = http.client.HTTPSConnection(via.hostname or "", via.port, timeout=timeout_s, context=context)
        tunnel.set_tunnel(host, port or 443)
        return tunnel, path
    if via is None:
        return http.client.HTTPConnection(host, port, timeout=timeout_s), path
    plain = http.client.HTTPConnection(via.hostname or "", via.port, timeout=timeout_s)
    return plain, f"{origin(parts.geturl())}{path}"


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(OSError, AttributeError):  # not connected yet, or closed by now
        connection.sock.shutdown(socket.SHUT_RDWR)


def _refusal(where: str, status: int, said: str) -> str:
    if status < 400:
        return f"{where} answered {status}: redirects are not followed. Correct the address."
    words = _on_one_line(said)
    return f"{where} answered {status}{f': {words}' if words else ''}."


def _retry_after(value: str | None) -> float | None:
    """Seconds; the form with a date is left alone."""
    return min(float(value), _LONGEST_PAUSE_S) if value is not None and value.isdecimal() else None


def _reason(error: Exception) -> str:
    return _on_one_line(str(getattr(error, "strerror", None) or error)) or type(error).__name__


def _on_one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_SAID]
