"""The OpenAPI document: every address that exists, and nothing that does not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from serinus.models import Field, Signature, wrap
from serinus.serving.app import _PROTOCOLS
from serinus.serving.openapi.inference import FORMS
from serinus.serving.settings import LimitSettings
from tests.serving.asgi import Line, numbers_model, people_model


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path, {"people": {"1": people_model(), "2": people_model("2")}, "numbers": {"1": numbers_model()}})
    yield line
    line.close()


def described(line: Line) -> Any:
    found = line.call("GET", "/openapi.json")
    assert found.status == 200
    return found.json


def posts(document: Any) -> Iterator[tuple[str, Any]]:
    """Addresses of inference with their operations; an explanation is none."""
    prefixes = ("/v2/models/", "/v1/models/", "/predict", "/invocations")
    for path, methods in document["paths"].items():
        if path.startswith(prefixes) and not path.endswith(":explain"):
            yield from ((path, methods["post"]) for _ in ("post",) if "post" in methods)


def test_every_protocol_is_described() -> None:
    """A protocol that is served and not described would be missing from the document."""
    assert {protocol(LimitSettings()).name for protocol in _PROTOCOLS} == set(FORMS)


def test_every_address_of_inference_has_its_operation(line: Line) -> None:
    """The document's addresses are those that are looked up, but for the ones that mean no single model here."""
    bare = {"/predict", "/invocations"}
    assert {path for path, _ in posts(described(line))} == set(line.app._endpoints) - bare


def test_every_example_is_answered(line: Line) -> None:
    """Whoever copies an example gets predictions."""
    tried = 0
    for path, operation in posts(described(line)):
        example = operation["requestBody"]["content"]["application/json"]["example"]
        found = line.call("POST", path, orjson.dumps(example), content_type="application/json")
        assert found.status == 200, (path, found.body)
        tried += 1
    assert tried == 4 * (3 + 2)


_EMPTY = ("/api/rollouts", "/api/monitors/", "/api/ground-truth/", "/api/performance/",
          "/api/predictions/")
"""Where nothing is known yet, which is said by name."""


def test_every_reading_address_is_there(line: Line) -> None:
    """GET of whatever the document names answers, or says that there is no rollout."""
    for path, methods in described(line)["paths"].items():
        if "get" in methods:
            found = line.call("GET", path.replace("{model}", "people"), host="127.0.0.1")
            assert str(found.status) in methods["get"]["responses"], path
            assert found.status == 200 or path.startswith(_EMPTY), path


def test_other_methods_are_refused_by_name(line: Line) -> None:
    """Every address says which methods it takes, whoever asks."""
    for path, methods in described(line)["paths"].items():
        found = line.call("PUT", path.replace("{model}", "people"))
        wanted = next(method for method in methods if method in ("get", "post")).upper()
        assert (found.status, wanted in found.headers["allow"]) == (405, True), path


def test_references_lead_somewhere(line: Line) -> None:
    """Every `$ref` names a component."""
    found = line.call("GET", "/openapi.json")
    components = found.json["components"]
    references = set(re.findall(r'"\$ref":"#/components/(\w+)/([^"]+)"', found.body.decode()))
    assert references
    assert [(kind, name) for kind, name in references if name not in components[kind]] == []


def test_operations_have_names_of_their_own(tmp_path: Path) -> None:
    """Generators of clients make a function of each, whatever models are called."""
    names = ("a", "a.1", "only", "post", "rows")
    line = Line(tmp_path, {name: {"1": people_model()} for name in names}, server={"default_model": "a"})
    document = described(line)
    line.close()
    found = [operation["operationId"] for methods in document["paths"].values()
             for method, operation in methods.items() if method in ("get", "post")]
    assert len(found) == len(set(found)) > len(names) * 10


def test_bare_addresses_mean_the_only_model(tmp_path: Path) -> None:
    """With one model, or a default one, `/predict` is its address too."""
    line = Line(tmp_path, {"people": {"1": people_model()}})
    paths = described(line)["paths"]
    line.close()
    assert paths["/predict"]["post"]["tags"] == paths["/invocations"]["post"]["tags"] == ["people"]


def test_without_control_nothing_of_it_is_described(tmp_path: Path) -> None:
    """What answers 404 is not in the document."""
    line = Line(tmp_path, {"people": {"1": people_model()}})
    line.app._control = None
    paths = described(line)["paths"]
    line.close()
    assert [path for path in paths if path.startswith(("/api", "/v2/repository"))] == []


def test_a_token_is_described_where_it_is_wanted(tmp_path: Path) -> None:
    """Its value is not."""
    line = Line(tmp_path, {"people": {"1": people_model()}}, control={"token": "sesame"})
    found = line.call("GET", "/openapi.json")
    line.close()
    assert found.json["paths"]["/api/drain"]["post"]["security"] == [{"token": []}]
    assert b"sesame" not in found.body


def test_class_labels_are_the_values_of_a_prediction(line: Line) -> None:
    """An estimator's classes are an enumeration, and each of them has a probability."""
    schema = described(line)["components"]["schemas"]["numbers.1.Prediction"]["properties"]
    assert schema["predict"]["enum"] == ["no", "yes"]
    assert (schema["predict_proba"]["minItems"], schema["predict_proba"]["maxItems"]) == (2, 2)


def test_odd_signatures_are_described(tmp_path: Path) -> None:
    """Sequences, scalars, whole tensors, optional fields and no inputs at all have schemas too."""
    odd = Signature(
        (Field("parts", "FP32", (-1, 2), sequence=True), Field("any", "INT64", ()), Field("flag", "BOOL", (-1,), True),
         Field("whole", "FP64", (2, 3))),
        (Field("predict", "FP64", (2,)), Field("list", "BYTES", (), sequence=True)))
    none = Signature((), (Field("predict", "FP64", (-1,)),))
    line = Line(tmp_path, {"odd": {"1": wrap(lambda **given: {}, signature=odd)},
                           "none": {"1": wrap(lambda **given: {}, signature=none)}})
    document = described(line)
    line.close()
    assert document["components"]["schemas"]["odd.1.Row"]["required"] == ["any", "whole"]
    assert document["components"]["schemas"]["none.1.Row"]["required"] == []
