"""Who calls: keys from cookies and inputs, and versions that only the listed may ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serinus.serving.callers import Callers
from serinus.serving.request import InferenceRequest
from serinus.serving.settings import RoutingSettings


def callers(**settings: Any) -> Callers:
    found = Callers.wanted(RoutingSettings(**settings))
    assert found is not None
    return found


def request(**inputs: Any) -> InferenceRequest:
    columns = {name: np.array(values) for name, values in inputs.items()}
    return InferenceRequest(columns, max((len(column) for column in columns.values()), default=0))


def test_without_settings_nobody_is_asked() -> None:
    """The default costs nothing: there is no object to call."""
    assert Callers.wanted(RoutingSettings()) is None


def test_a_key_that_was_given_goes_before_all_others() -> None:
    """Header and body beat the cookie, and the cookie beats the input."""
    both = callers(key_cookie="uid", key_input="customer")
    headers = {b"cookie": b"theme=dark; uid=u1"}
    assert both.settle(headers, request(customer=["c1"]), "h1", None).key == "h1"
    assert both.settle(headers, request(customer=["c1"]), None, None).key == "u1"
    assert both.settle({}, request(customer=["c1", "c2"]), None, None).key == "c1"
    assert both.settle({}, request(age=[1.0]), None, None).key is None


@pytest.mark.parametrize(("header", "key"), [
    (b"uid=a", "a"), (b'uid="a b"', "a b"), (b"xuid=1;uid=2", "2"), (b"uid", None), (b"uid=", None), (b"", None),
    (b"UID=1", None), (b";;=;uid=\xe4;", "ä"), (b"uid=" + b"x" * 300, None),
])
def test_cookies(header: bytes, key: str | None) -> None:
    """Names are compared exactly, empty and endless values are nobody's, and strange headers break nothing."""
    assert callers(key_cookie="uid").settle({b"cookie": header}, request(), None, None).key == key


@pytest.mark.parametrize(("values", "key"), [
    ([7, 8], "7"), ([2.5], "2.5"), (["é"], "é"), ([float("nan")], None), ([None], None), ([], None), ([True], "True"),
    (["x" * 300], None), ([1e300], "1e+300"), ([b"raw"], "raw"), ([[4, 5]], "4"),
])
def test_inputs(values: list[Any], key: str | None) -> None:
    """The first row's value as text; missing and endless ones are nobody's."""
    assert callers(key_input="who").settle({}, request(who=values), None, None).key == key


def test_only_the_listed_may_ask_for_a_version() -> None:
    """A tester's header pins a version; anybody else's is ignored, and a version in the address holds."""
    pinning = callers(version_header="X-Version", version_callers=("tester",), key_cookie="uid")
    headers = {b"x-version": b" 2 "}
    assert pinning.settle(headers, request(), "tester", None).version == "2"
    assert pinning.settle({**headers, b"cookie": b"uid=tester"}, request(), None, None).version == "2"
    assert pinning.settle(headers, request(), "stranger", None).version is None
    assert pinning.settle(headers, request(), None, None).version is None
    assert pinning.settle(headers, request(), "tester", "1").version == "1"
    assert pinning.settle({b"x-version": b""}, request(), "tester", None).version is None
