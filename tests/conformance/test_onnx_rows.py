"""What is called row-wise is so: backend cases with their first dimension opened, called at once and row by row.

Every case is tried with its first input as rows and the others as constants, with its first two, and with all of them.
Where the graph that comes out is called row-wise, the answer for many rows must be the answers for each of them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from serinus.models.onnx_graph import Damaged, read_graph
from serinus.models.onnx_row_wise import row_wise
from tests.conformance.onnx_cases import Case, cases, restated
from tests.conformance.test_onnx_backend import opened

LEAST_CALLED = 300
"""Fewer graphs than this called row-wise, and the walk has become blind."""
MOST_ROWS = 12


def test_rows_that_are_called_apart_are_apart() -> None:
    """No graph is called row-wise whose answer for a row depends on the others."""
    called: Counter[str] = Counter()
    wrong = []
    for case in cases("node"):
        for graph, rows in variants(case):
            operators = "+".join(sorted({node.op for node in read_graph(graph).graph.nodes}))
            outcome = compare(graph, rows)
            called[operators] += outcome is not None
            wrong += [f"{case.name} ({operators}): {outcome}"] if outcome else []
    print(f"\n{called.total()} graphs of {len(called)} combinations of operators called row-wise, {len(wrong)} wrongly")
    assert wrong == []
    assert called.total() >= LEAST_CALLED


def variants(case: Case) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Yield the graphs of a case that are called row-wise once rows are opened, with their rows."""
    content, session = case.content, opened(case.content)
    while isinstance(session, str) and (older := restated(content, session)):
        content, session = older, opened(older)
    inputs = onnx.load_from_string(content).graph.input
    names, call = [value.name for value in inputs], case.calls[0]
    if isinstance(session, str) or not all(value.type.tensor_type.HasField("shape") for value in inputs):
        return
    for count in sorted({1, 2, len(names)} & {*range(1, len(names) + 1)}):
        rows = {name: doubled(call[name]) for name in names[:count] if call[name].ndim}
        if len(rows) == count and len({len(array) for array in rows.values()}) == 1:
            graph = with_rows(content, rows, call)
            try:
                if row_wise(read_graph(graph)):
                    yield graph, rows
            except Damaged as error:
                raise AssertionError(case.name) from error


def doubled(array: Any) -> Any:
    """The rows, and again in the other order, so that there are several and they differ."""
    return np.concatenate([array, array[::-1]])[:MOST_ROWS]


def with_rows(content: bytes, rows: Mapping[str, Any], call: Mapping[str, Any]) -> bytes:
    """The graph with a variable first dimension of `rows`, the other inputs made constants, outputs of any shape."""
    model = onnx.load_from_string(content)
    model.ir_version = max(model.ir_version, 4)
    inputs = list(model.graph.input)
    del model.graph.input[:], model.graph.value_info[:]
    for value in inputs:
        if value.name in rows:
            value.type.tensor_type.shape.dim[0].dim_param = "rows"
            model.graph.input.append(value)
        else:
            model.graph.initializer.append(numpy_helper.from_array(call[value.name], value.name))
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    return model.SerializeToString()


def compare(graph: bytes, rows: Mapping[str, Any]) -> str | None:
    """Say what differs between one call and one for each row: "" where nothing does, None where there is no answer."""
    session = opened(graph)
    if isinstance(session, str):
        return None
    try:
        together = session.run(None, dict(rows))
    except Exception:  # the constants do not fit so many rows
        return None
    count = len(next(iter(rows.values())))
    try:
        alone = [session.run(None, {name: array[at : at + 1] for name, array in rows.items()}) for at in range(count)]
    except Exception as error:
        return f"a single row is refused: {error}"
    for index, whole in enumerate(together):
        parts = [answer[index] for answer in alone]
        if isinstance(whole, list):
            parts, whole = [row for part in parts for row in part], whole
            if parts != whole:
                return "other maps"
        elif any(len(part) != 1 for part in parts) or not _close(whole, np.concatenate(parts)):
            return f"other values, {whole.shape} against {count} times {parts[0].shape}"
    return ""


def _close(one: Any, other: Any) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    return bool(np.allclose(one, other, rtol=1e-3 if one.dtype == np.float16 else 1e-4, atol=1e-5, equal_nan=True))
