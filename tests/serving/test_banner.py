"""What `serinus serve` prints: a request that works, and what is open to whom."""

from __future__ import annotations

import asyncio
import json
import shlex
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from serinus.models import register, wrap
from serinus.serving import Settings, create_app
from serinus.serving.banner import banner, curl_line
from serinus.serving.settings import ControlSettings, MonitorSettings, ServerSettings


def people() -> Any:
    frame = pd.DataFrame({"city": ["Bern", "Lyon", "Bern"], "age": [40.0, 30.0, 20.0]})
    encoder = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    return make_pipeline(encoder, LogisticRegression()).fit(frame, [0, 1, 0])


def numbers() -> Any:
    return LogisticRegression().fit(np.eye(3), [0, 1, 1])


@pytest.mark.parametrize("made", [people, numbers])
def test_the_line_to_try_works(made: Any) -> None:
    """Its body is one row that the model answers; columns by name, a matrix as a list."""
    model = wrap(made())
    words = shlex.split(curl_line("http://here", "m", model.signature))
    assert words[:3] == ["curl", "-s", "http://here/predict/m"]

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app({"m": model}))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(words[2], content=words[4])

    answer = asyncio.run(send())
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == len(json.loads(words[4])["rows"]) == 1


@pytest.mark.parametrize(("server", "control", "words"), [
    ({}, {}, "open to this host"),
    ({"host": "0.0.0.0"}, {}, "closed: not bound to loopback and no token"),
    ({}, {"behind_proxy": True}, "closed: behind a proxy and no token"),
    ({"host": "0.0.0.0"}, {"token": "s3cret"}, "with a token that is set"),
])
def test_it_says_what_is_open(server: dict[str, Any], control: dict[str, Any], words: str, tmp_path: Any) -> None:
    """By the address and the settings, never by who is looking."""
    settings = Settings(home=tmp_path, server=ServerSettings(**server), control=ControlSettings(**control))
    text = banner(settings)
    assert words in text and "s3cret" not in text


@pytest.mark.parametrize(("monitors", "words"), [
    ({}, "plain:1 has no reference: its first 5,000 rows will be taken for normal, WHATEVER THEY ARE."),
    ({"learn_rows": 0}, "plain:1 has no reference: it is NOT watched."), ({"enabled": False}, "Monitors: off")])
def test_it_says_what_is_not_watched(monitors: dict[str, Any], words: str, tmp_path: Any) -> None:
    """Loudly, with the command that helps; a model with a reference is not mentioned."""
    frame = pd.DataFrame({"a": np.arange(300.0), "b": np.arange(300.0) % 7})
    fitted = LogisticRegression().fit(frame, [0, 1, 1] * 100)
    register(fitted, "plain", home=tmp_path)
    register(fitted, "known", home=tmp_path, reference=frame)
    text = banner(Settings(home=tmp_path, monitors=MonitorSettings(**monitors)))
    assert words in text and "known:1 has no reference" not in text
