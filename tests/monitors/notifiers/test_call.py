"""A call out of the house: what was not taken is told, it ends in time, follows nobody and believes no certificate of
its own making."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from serinus.monitors.notifiers.call import post
from serinus.monitors.notifiers.notifier import DeliveryFailed
from tests.monitors.notifiers.receiver import Receiver, receiver

__all__ = ["receiver"]


def refused(url: str, timeout_s: float = 5.0) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        post(url, b"{}", {}, timeout_s)
    return caught.value


def test_what_is_taken_is_taken(receiver: Receiver) -> None:
    """As JSON, with the path and query of the address; any 2xx will do."""
    receiver.behaviour = 204
    post(f"{receiver.url}/a/b?c=d", b"{}", {"X-More": "1"}, 5.0)
    (one,) = receiver.received
    assert (one.path, one.headers["Content-Type"], one.headers["X-More"]) == ("/a/b?c=d", "application/json", "1")


def test_a_refusal_is_told_with_its_words(receiver: Receiver) -> None:
    """On one line; the address itself stays unsaid but for its host, and the wish for a pause is kept."""
    receiver.behaviour, receiver.said, receiver.headers = 429, b"slow\x1b[31m\r\ndown", {"Retry-After": "7"}
    error = refused(f"{receiver.url}/secret")
    assert str(error) == f"{receiver.url} answered 429: slow [31m down." and error.retry_after == 7.0
    receiver.headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert refused(receiver.url).retry_after is None


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """What is signed and secret goes where it was sent, or nowhere."""
    receiver.behaviour, receiver.headers = 307, {"Location": f"{receiver.url}/elsewhere"}
    assert "redirects are not followed" in str(refused(receiver.url))
    assert len(receiver.received) == 1


def test_nobody_there() -> None:
    """The reason is the system's."""
    assert "cannot be told: Connection refused." in str(refused(Receiver().url))


def test_no_answer(receiver: Receiver) -> None:
    """A connection that is closed is told as such."""
    receiver.behaviour = "cut"
    assert "cannot be told: Remote end closed connection without response." in str(refused(receiver.url))


@pytest.mark.parametrize("behaviour", ["hang", "drip"])
def test_it_ends_in_time(receiver: Receiver, behaviour: str) -> None:
    """Whether the other end says nothing or a byte now and then."""
    receiver.behaviour = behaviour
    began = time.monotonic()
    assert "did not answer within 0.3 s." in str(refused(receiver.url, 0.3))
    assert time.monotonic() - began < 10


def test_a_certificate_of_its_own_making_is_not_believed(tmp_path: Path) -> None:
    """HTTPS is verified."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=127.0.0.1"
    subprocess.run([*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"], cwd=tmp_path, check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        assert "CERTIFICATE_VERIFY_FAILED" in str(refused(f"https://127.0.0.1:{server.server_address[1]}/"))
    finally:
        server.shutdown()
        server.server_close()


def test_the_environments_proxy_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """For hosts that no_proxy does not name; TLS goes through it by CONNECT."""
    monkeypatch.setenv("http_proxy", receiver.url)
    monkeypatch.setenv("https_proxy", receiver.url)
    monkeypatch.delenv("no_proxy", raising=False)
    post("http://hooks.example/x?y", b"{}", {}, 5.0)
    assert receiver.received[0].path == "http://hooks.example/x?y"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    post(f"{receiver.url}/direct", b"{}", {}, 5.0)
    assert receiver.received[1].path == "/direct"
