"""Whatever ONNX Runtime runs, a model runs: the ONNX project's backend cases, answered bit for bit alike.

A case is served, or refused in one sentence. It may be refused only where ONNX Runtime itself refuses the graph or its
inputs, or where a type has no name in the Open Inference Protocol. Run with `-s` to see the reasons.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnxruntime
import pytest

from serinus.models import Model, ModelError, wrap
from tests.conformance.onnx_cases import KINDS, Case, cases, flat, restated, same

LEAST_SERVED = {"node": 1400, "simple": 10, "pytorch-operator": 15, "pytorch-converted": 25, "light": 6}
"""Fewer than this many served cases of a kind, and something is broken, whatever the reasons say."""

_NAMELESS = re.compile(r"holds (bfloat16|u?int[24]|float8\w+|float4\w+), which the Open Inference Protocol has no name")


@dataclass
class Tally:
    """What became of the cases of one kind."""

    served: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = "".join(f"\n  {count:4}  {reason}" for reason, count in self.refused.most_common())
        return f"{self.served} served, {self.refused.total()} refused with reason, {len(self.wrong)} wrong{reasons}"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides compute with one thread, so that sums are added up in the same order."""
    monkeypatch.setenv("SERINUS_ONNX_THREADS", "1")


@pytest.mark.parametrize("kind", KINDS)
def test_answers_as_the_runtime_does(kind: str) -> None:
    """Every case of this kind is answered exactly as a direct call is, or refused for a reason of the runtime's."""
    tally = Tally()
    for case in cases(kind):
        judge(case, tally)
    print(f"\n{kind}: {tally}")
    assert tally.wrong == []
    assert tally.served >= LEAST_SERVED[kind]


def judge(case: Case, tally: Tally) -> None:
    """Serve one case and count what became of it."""
    session = opened(case.content)
    while isinstance(session, str) and (content := restated(case.content, session)):
        case = Case(case.kind, case.name, content, case.calls)
        session = opened(content)
    try:
        model = wrap(onnx.load_from_string(case.content))
    except ModelError as error:
        allowed = isinstance(session, str) or _NAMELESS.search(str(error))
        return tally.refused.update([_reason(error)]) if allowed else tally.wrong.append(f"{case.name}: {error}")
    if isinstance(session, str):
        return tally.wrong.append(f"{case.name}: loaded, and ONNX Runtime says {session}")
    for call in case.calls:
        compare(case, call, session, model, tally)
    model.close()
    return None


def compare(case: Case, call: Mapping[str, Any], session: Any, model: Model, tally: Tally) -> None:
    """Call both; where the runtime objects to the inputs, the model has to raise too."""
    names = [argument.name for argument in session.get_outputs()]
    try:
        answers = session.run(names, {name: value for name, value in call.items() if value is not None})
    except Exception as error:
        with pytest.raises((ModelError, type(error))):
            model.predict(flat(call))
        return tally.refused.update([f"the inputs: {_reason(error)}"])
    found = model.predict(flat(call))
    if not same(flat(dict(zip(names, answers, strict=True))), found):
        return tally.wrong.append(f"{case.name}: other values")
    tally.served += 1
    return None


def opened(content: bytes) -> Any:
    """A session, or ONNX Runtime's reason why there is none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error)


def _reason(error: Exception) -> str:
    """The kind of a refusal: without names and numbers."""
    text = str(error).removeprefix("The ONNX model is not an ONNX graph that ONNX Runtime can run: ")
    named = _NAMELESS.search(text)
    return named[0] if named else re.sub(r"\(\d+\) with node name ''|'[^']*'|\s+", " ", text)[:110]
