"""BentoML's own client finds our schema and gets our answers."""

import asyncio
import urllib.error
from collections.abc import Iterator
from typing import Any

import bentoml
import pandas as pd
import pytest

from tests.conformance import zoo
from tests.conformance.conftest import ask

IRIS = pd.DataFrame(zoo.IRIS_ROWS, columns=zoo.IRIS_COLUMNS)
ROWS = IRIS.to_dict(orient="records")


@pytest.fixture(scope="module")
def address(base_url: str, own_server: bool) -> str:
    """Address of a server that has BentoML's schema, and answers a bare `/predict` with the model `iris`."""
    try:
        ask(f"{base_url}/schema.json")
        answer = ask(f"{base_url}/predict", b'{"rows": [%s]}' % IRIS.head(1).to_json(orient="records")[1:-1].encode())
    except urllib.error.HTTPError as error:
        assert not own_server, error.read()
        pytest.skip(f"{error.url} answers {error.code}: no BentoML server, or `iris` is not its default model")
    if answer["model"] != "iris":
        pytest.skip(f"{base_url}/predict asks the model {answer['model']}, not `iris`")
    return base_url


@pytest.fixture
def client(address: str) -> Iterator[Any]:
    with bentoml.SyncHTTPClient(address) as found:
        yield found


def check(answer: dict[str, Any]) -> None:
    expected = zoo.direct("iris", IRIS)
    assert [row["predict"] for row in answer["predictions"]] == expected["predict"].tolist()
    assert [row["predict_proba"] for row in answer["predictions"]] == expected["predict_proba"].tolist()


def test_the_client_that_waits(client: Any) -> None:
    """Ready, then rows in and predictions out, as often as asked."""
    assert client.is_ready()
    for _ in range(3):
        check(client.predict(rows=ROWS))


def test_the_client_that_does_not_wait(address: str) -> None:
    """Eight requests at once."""
    async def ask_all() -> list[dict[str, Any]]:
        async with bentoml.AsyncHTTPClient(address) as client:
            return list(await asyncio.gather(*(client.predict(rows=ROWS) for _ in range(8))))

    for answer in asyncio.run(ask_all()):
        check(answer)


def test_an_error_is_a_sentence(client: Any) -> None:
    """The client's own exception carries what the server said."""
    from bentoml.exceptions import BentoMLException

    with pytest.raises(BentoMLException) as caught:
        client.predict(rows=[{**ROWS[0], "sepal_width": "wide"}])
    assert "sepal_width" in str(caught.value)
    assert "Traceback" not in str(caught.value)
