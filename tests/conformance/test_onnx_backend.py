"""Whatever ONNX Runtime runs is served: the ONNX project's backend cases, answered over HTTP bit for bit alike.

A case is served, or refused in one sentence. It may be refused only where ONNX Runtime itself refuses the graph or its
inputs, or where a type has no name in the Open Inference Protocol. A served case is called directly, then through
`Model.predict`, then over HTTP with its tensors as bytes, and where they are not too large in JSON. Run with `-s` to
see the reasons.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import onnx
import onnxruntime
import pytest

from serinus.models import Model, ModelError, wrap
from serinus.serving import create_app
from tests.conformance.onnx_cases import KINDS, Case, cases, flat, restated, same
from tests.conformance.open_inference import answered, binary_request, json_request

LEAST_SERVED = {"node": 1400, "simple": 10, "pytorch-operator": 15, "pytorch-converted": 25, "light": 6}
"""Fewer than this many served cases of a kind, and something is broken, whatever the reasons say."""
AT_ONCE = 64
"""Models in one application."""
MOST_IN_JSON = 100_000
"""Cases with more values than this are not sent in JSON."""

_NAMELESS = re.compile(r"holds (bfloat16|u?int[24]|float8\w+|float4\w+), which the Open Inference Protocol has no name")

Arrays = Mapping[str, Any]


@dataclass
class Tally:
    """What became of the cases of one kind."""

    served: int = 0
    in_json: int = 0
    random: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = "".join(f"\n  {count:4}  {reason}" for reason, count in self.refused.most_common())
        return (f"{self.served} served ({self.in_json} in JSON too, {self.random} of them random), "
                f"{self.refused.total()} refused with reason, {len(self.wrong)} wrong{reasons}")


@dataclass(frozen=True)
class Served:
    """A case that loaded: its model, and for each call the inputs and the runtime's own answer.

    A random one draws anew in every call, so that only names, types and shapes can be compared.
    """

    name: str
    model: Model
    calls: list[tuple[Arrays, Arrays]]
    random: bool


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides compute with one thread, so that sums are added up in the same order."""
    monkeypatch.setenv("SERINUS_ONNX_THREADS", "1")


@pytest.mark.parametrize("kind", KINDS)
def test_answers_as_the_runtime_does(kind: str) -> None:
    """Every case of this kind is answered exactly as a direct call is, or refused for a reason of the runtime's."""
    tally = Tally()
    waiting: list[Served] = []
    for case in cases(kind):
        waiting.extend(loaded(case, tally))
        if len(waiting) == AT_ONCE:
            serve(waiting, tally)
            waiting = []
    serve(waiting, tally)
    print(f"\n{kind}: {tally}")
    assert tally.wrong == []
    assert tally.served >= LEAST_SERVED[kind]


def loaded(case: Case, tally: Tally) -> Iterator[Served]:
    """Load a case and let the runtime itself answer it; what is refused is counted."""
    content, session = case.content, opened(case.content)
    while isinstance(session, str) and (older := restated(content, session)):
        content, session = older, opened(older)
    try:
        model = wrap(onnx.load_from_string(content))
    except ModelError as error:
        if isinstance(session, str) or _NAMELESS.search(str(error)):
            tally.refused[reason(error)] += 1
        else:
            tally.wrong.append(f"{case.name}: {error}")
        return
    if isinstance(session, str):
        tally.wrong.append(f"{case.name}: loaded, and ONNX Runtime says {session}")
        return
    calls = [pair for call in case.calls for pair in answers(call, session, model, tally)]
    random = any(draws_anew(node) for node in onnx.load_from_string(content).graph.node)
    tally.random += random
    yield Served(case.name, model, calls, random)


def draws_anew(node: onnx.NodeProto) -> bool:
    """Tell whether an operator's answer differs from call to call: drop-out in training."""
    return node.op_type == "Dropout" and len(node.input) == 3


def answers(call: Arrays, session: Any, model: Model, tally: Tally) -> Iterator[tuple[Arrays, Arrays]]:
    """The inputs by their flat names, and the runtime's answer; where it objects, the model has to raise too."""
    names = [argument.name for argument in session.get_outputs()]
    try:
        expected = session.run(names, {name: value for name, value in call.items() if value is not None})
    except Exception as error:
        with pytest.raises((ModelError, type(error))):
            model.predict(flat(call))
        tally.refused[f"the inputs: {reason(error)}"] += 1
    else:
        yield flat(call), flat(dict(zip(names, expected, strict=True)))


def serve(served: list[Served], tally: Tally) -> None:
    """Put some models into one application, and send each its calls."""
    if served:
        app = create_app({f"case-{index}": one.model for index, one in enumerate(served)})
        asyncio.run(_serve(app, served, tally))
        app.close()


async def _serve(app: Any, served: list[Served], tally: Tally) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        for index, one in enumerate(served):
            for inputs, expected in one.calls:
                if not same(expected, one.model.predict(inputs), values=not one.random):
                    tally.wrong.append(f"{one.name}: the model gives other values")
                    continue
                path = f"/v2/models/case-{index}/infer"
                response = await client.post(path, **binary_request(inputs))
                wrong = _difference(response, expected, "bytes", values=not one.random)
                values = sum(array.size for side in (inputs, expected) for array in side.values())
                if not wrong and values < MOST_IN_JSON:
                    response = await client.post(path, **json_request(inputs))
                    wrong = _difference(response, expected, "JSON", values=not one.random)
                    tally.in_json += not wrong
                tally.served += not wrong
                tally.wrong += [f"{one.name}: {wrong}"] if wrong else []


def _difference(response: httpx.Response, expected: Arrays, form: str, *, values: bool) -> str:
    if response.status_code != 200:
        return f"{response.status_code} {response.text[:300]}"
    alike = same(expected, answered(response), nan_bits=form == "bytes", values=values)
    return "" if alike else f"other values in {form}"


def opened(content: bytes) -> Any:
    """A session, or ONNX Runtime's reason why there is none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error)


def reason(error: Exception) -> str:
    """The kind of a refusal: without names and numbers."""
    text = str(error).removeprefix("The ONNX model is not an ONNX graph that ONNX Runtime can run: ")
    named = _NAMELESS.search(text)
    return named[0] if named else re.sub(r"\(\d+\) with node name ''|'[^']*'|\s+", " ", text)[:110]
