"""Who may make control calls: this host's own people, or whoever has the token."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.serving.auth import authorise, is_loopback
from serinus.serving.errors import ControlRefused
from serinus.serving.settings import ControlSettings, ServerSettings, Settings

JSON = {b"host": b"127.0.0.1:3000", b"content-type": b"application/json"}
LOCAL = Settings()
OPEN = Settings(server=ServerSettings(host="0.0.0.0"))
GUARDED = Settings(server=ServerSettings(host="0.0.0.0"), control=ControlSettings(token="s3cret"))


def allowed(settings: Settings, headers: dict[bytes, bytes], method: str = "POST") -> None:
    authorise(settings, JSON | headers, method)


def refused(settings: Settings, headers: dict[bytes, Any], method: str = "POST") -> str:
    with pytest.raises(ControlRefused) as caught:
        authorise(settings, {name: value for name, value in (JSON | headers).items() if value is not None}, method)
    return caught.value.kind


def test_a_call_from_outside_needs_a_token_wherever_the_settings_say_we_listen() -> None:
    """BentoML binds where it was told to; `Host: localhost` is what the caller says."""
    outside = ("10.1.2.3", 3000)
    with pytest.raises(ControlRefused, match="no token is set"):
        authorise(LOCAL, JSON, "POST", server=outside)
    for inside in (("127.0.0.1", 3000), ("::1", 3000), ("/run/serinus.sock", None), None):
        authorise(LOCAL, JSON, "POST", server=inside)
    tokened = Settings(control=ControlSettings(token="s3cret"))
    authorise(tokened, JSON | {b"authorization": b"Bearer s3cret"}, "POST", server=outside)


@pytest.mark.parametrize("host", [b"127.0.0.1:3000", b"localhost", b"localhost:3000", b"[::1]:3000", b"127.0.0.9"])
def test_this_host_may(host: bytes) -> None:
    """Without a token, as long as the server is bound to loopback."""
    allowed(LOCAL, {b"host": host})
    allowed(LOCAL, {b"host": host, b"content-type": b"text/plain"}, "GET")


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example:3000",
        b"localhost.evil.example",
        b"127.0.0.1.evil.example",
        b"",
        None,
        b"8.8.8.8",
        b"[2001:db8::1]:3000",
    ],
)
def test_a_foreign_host_may_not(host: bytes | None) -> None:
    """A name that resolves to loopback (DNS rebinding) is still a foreign name; the right token does not help."""
    assert refused(LOCAL, {b"host": host}) == "forbidden"
    assert refused(LOCAL, {b"host": host}, "GET") == "forbidden"
    assert refused(GUARDED, {b"host": host, b"authorization": b"Bearer s3cret"}) == "forbidden"


def test_a_named_host_may() -> None:
    """Settings can add names, and the bind address is one."""
    named = Settings(
        server=ServerSettings(host="10.0.0.7"), control=ControlSettings(token="t", allowed_hosts=("models.example",))
    )
    for host in (b"models.example:443", b"10.0.0.7:3000"):
        allowed(named, {b"host": host, b"authorization": b"Bearer t"})


@pytest.mark.parametrize(
    "origin", [b"http://evil.example", b"null", b"http://127.0.0.1:4000", b"http://localhost:3000"]
)
def test_a_page_of_another_origin_may_not(origin: bytes) -> None:
    """A browser says where a page comes from; reading is left to the browser's own rules."""
    assert refused(LOCAL, {b"origin": origin}) == "forbidden"
    allowed(LOCAL, {b"origin": origin}, "GET")


def test_a_page_of_the_same_origin_may() -> None:
    """The dashboard."""
    allowed(LOCAL, {b"origin": b"http://127.0.0.1:3000"})


@pytest.mark.parametrize(
    "kind", [b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data", None, b""]
)
def test_a_form_may_not(kind: bytes | None) -> None:
    """What a page can send without asking first changes nothing."""
    assert refused(LOCAL, {b"content-type": kind}) == "unsupported"


def test_json_with_a_charset_may() -> None:
    """Spelled in any case."""
    allowed(LOCAL, {b"content-type": b"Application/JSON; charset=utf-8"})


@pytest.mark.parametrize("header", [b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"])
def test_a_forwarded_call_needs_a_token(header: bytes) -> None:
    """Behind a proxy, loopback is everybody."""
    assert refused(LOCAL, {header: b"203.0.113.1"}) == "forbidden"
    assert refused(LOCAL, {header: b"203.0.113.1"}, "GET") == "forbidden"


def test_a_proxy_that_adds_no_header_is_told_by_the_settings() -> None:
    """Every caller looks like this host then, so that loopback proves nothing; the token does."""
    proxied = Settings(control=ControlSettings(behind_proxy=True))
    assert refused(proxied, {}) == "forbidden"
    guarded = Settings(control=ControlSettings(behind_proxy=True, token="s3cret"))
    allowed(guarded, {b"authorization": b"Bearer s3cret"})
    assert refused(guarded, {}) == "unauthorised"


def test_an_open_address_needs_a_token() -> None:
    """Without one the control plane is closed, and the sentence says which setting opens it."""
    with pytest.raises(ControlRefused, match="SERINUS_CONTROL_TOKEN"):
        allowed(OPEN, {})
    allowed(GUARDED, {b"authorization": b"Bearer s3cret"})
    allowed(GUARDED, {b"authorization": b"Bearer s3cret", b"x-forwarded-for": b"203.0.113.1"})


@pytest.mark.parametrize("given", [None, b"", b"Bearer", b"Bearer wrong", b"Bearer s3cretx", b"Basic s3cret", b"\xff"])
def test_a_wrong_token_is_refused(given: bytes | None) -> None:
    """Also on loopback, once there is one."""
    assert refused(GUARDED, {b"authorization": given}) == "unauthorised"
    assert refused(Settings(control=ControlSettings(token="s3cret")), {b"authorization": given}) == "unauthorised"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
    ],
)
def test_loopback_is_this_host_alone(host: str, local: bool) -> None:
    """All interfaces are not."""
    assert is_loopback(host) is local


def test_a_call_without_any_content_type_will_do_where_clients_send_none() -> None:
    """A page of another origin can leave it out too, but not its Origin; a form's type is refused as ever."""
    untyped = {b"host": b"127.0.0.1:3000"}
    authorise(LOCAL, untyped, "POST", untyped=True)
    for headers in ({b"content-type": b"text/plain"}, {b"content-type": b""}, {b"origin": b"https://evil.example"}):
        with pytest.raises(ControlRefused):
            authorise(LOCAL, untyped | headers, "POST", untyped=True)
    with pytest.raises(ControlRefused):
        authorise(LOCAL, untyped, "POST")
