"""The adapter contract: the built-in adapters keep it, and each rule catches an adapter that breaks it."""

import re
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from serinus.models import Field, Signature
from serinus.models.adapters.function import FunctionAdapter
from serinus.models.adapters.onnx import OnnxAdapter
from serinus.models.adapters.sklearn import SklearnAdapter
from serinus.models.frame import arrays_of
from serinus.models.testing import RULES, ContractBroken, check_adapter
from tests.models.broken_lines import BROKEN
from tests.models.line import ROWS, Line, LineAdapter


def check(adapter):
    return check_adapter(adapter, Line({"a": 1.0, "b": -2.0}), ROWS)


def test_an_adapter_that_keeps_the_contract_is_covered_by_every_rule():
    """The report counts what was looked at, rule by rule, and leaves nothing out."""
    coverage = check(LineAdapter())
    assert (coverage.adapter, tuple(coverage.checks), coverage.left_out) == ("line", RULES, {})
    assert coverage.total == sum(coverage.checks.values()) > 100
    assert f"line: {coverage.total} checks of {len(RULES)} rules held\n  identity: 2\n" in str(coverage)


def test_the_scikit_learn_adapter_keeps_the_contract(pipeline, features, boosted, cancer):
    """Mixed columns with gaps, and a bare matrix: every rule applies and holds."""
    rows = features.head(8)
    inputs = arrays_of(rows, SklearnAdapter().infer_signature(pipeline, features).inputs)
    assert check_adapter(SklearnAdapter(), pipeline, inputs, reference=features, tolerance=1e-9).left_out == {}
    matrix = {"input": cancer[0][:8].astype(float)}
    assert check_adapter(SklearnAdapter(), boosted, matrix, tolerance=1e-9).left_out == {}


def test_the_onnx_adapter_keeps_the_contract(graph, cancer):
    """A converted graph: every rule applies and holds."""
    assert check_adapter(OnnxAdapter(), graph, {"X": cancer[0][:8]}).left_out == {}


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def sequence(name):
    return helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, [None])


ODD = {
    "a scalar": ("Abs", [value("a", [])], [value("b", [])], {"a": np.float32(2)}),
    "a fixed shape": ("Abs", [value("a", [2, 2])], [value("b", [2, 2])], {"a": np.ones((2, 2))}),
    "one answer for all rows": ("ReduceMax", [value("a", ["n"])], [value("b", [1])], {"a": np.ones(4)}),
    "a sequence in": ("SequenceLength", [sequence("a")], [value("b", [], TensorProto.INT64)],
                      {"a[0]": np.ones(2), "a[1]": np.ones(3)}),
    "a sequence out": ("SequenceConstruct", [value("a", ["n"])], [sequence("b")], {"a": np.ones(3)}),
    "no inputs": ("Constant", [], [value("b", [2])], {}),
}  # fmt: skip


@pytest.mark.parametrize(("operator", "inputs", "outputs", "rows"), ODD.values(), ids=ODD.keys())
def test_models_that_do_not_go_by_rows(operator, inputs, outputs, rows):
    """Scalars, fixed shapes, sequences, no inputs: what applies holds, and the report says what is left out."""
    if inputs:
        node = helper.make_node(operator, ["a"], ["b"])
    else:
        node = helper.make_node("Constant", [], ["b"], value=helper.make_tensor("c", TensorProto.FLOAT, [2], [1, 2]))
    graph = helper.make_graph([node], "graph", inputs, outputs)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    arrays = {name: np.asarray(array, dtype=np.float32) for name, array in rows.items()}
    coverage = check_adapter(OnnxAdapter(), proto, arrays)
    assert "first dimension" in coverage.left_out["one row and many"]
    assert set(coverage.left_out) <= {"one row and many", "missing inputs", "misfitting inputs"}
    assert coverage.total > 80


def test_the_function_adapter_keeps_what_applies():
    """Functions live in memory, so the rules about files are left out, and the report says why."""
    signature = Signature((Field("a", "INT64", (-1,)), Field("b", "BYTES", (-1,))), (Field("n", "FP64", (-1,)),))
    rows = {"a": np.array([1, 2, 3]), "b": np.array(["x", "yy", ""], dtype=object)}
    coverage = check_adapter(
        FunctionAdapter(), lambda frame: frame["a"] + frame["b"].str.len(), rows, signature=signature
    )
    assert set(coverage.left_out) == {"honest about code", "round trip", "damaged files"}
    assert all("keeps no files" in why for why in coverage.left_out.values())


WAYS = [pytest.param(rule, way, id=f"{rule}: {how}") for rule, ways in BROKEN.items() for how, way in ways.items()]


@pytest.mark.parametrize(("rule", "adapter"), WAYS)
def test_a_broken_rule_is_caught(rule, adapter):
    """An adapter that differs from the good one in one way is caught by that rule, in one sentence."""
    with pytest.raises(ContractBroken) as caught:
        check(adapter)
    assert caught.value.rule == rule, caught.value
    assert "\n" not in str(caught.value)


HEAVY = """
from pathlib import Path
{early}
from tests.models.line import LineAdapter

class HeavyAdapter(LineAdapter):
    def accepts(self, artifact):
        {late}
        return super().accepts(artifact)
"""


@pytest.mark.parametrize(("early", "late"), [("import joblib", "pass"), ("", "import joblib")], ids=["early", "late"])
def test_a_costly_import_is_caught(tmp_path, monkeypatch, early, late):
    """A framework that is imported with the module, or to ask what a file is, is named."""
    (tmp_path / "heavy_line.py").write_text(HEAVY.format(early=early, late=late))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("heavy_line", None)
    from heavy_line import HeavyAdapter

    with pytest.raises(ContractBroken, match="must load no framework, and loaded joblib") as caught:
        check(HeavyAdapter())
    assert caught.value.rule == "cheap import"


def test_every_rule_is_shown_to_fail():
    """A rule that no broken adapter is caught by would prove nothing."""
    assert {*BROKEN, "cheap import"} == set(RULES)


def test_rows_that_prove_nothing_are_the_callers_mistake():
    """Too few rows, or an input left out, is a ValueError and no verdict on the adapter."""
    line = Line({"a": 1.0, "b": -2.0})
    with pytest.raises(ValueError, match="b are missing"):
        check_adapter(LineAdapter(), line, {"a": ROWS["a"]})
    with pytest.raises(ValueError, match="three rows"):
        check_adapter(LineAdapter(), line, {name: array[:2] for name, array in ROWS.items()})


def test_every_rule_is_described(checkout):
    """The chapter's table has a line for each rule, in the order in which they are tried."""
    chapter = (checkout / "models" / "README.md").read_text("utf-8").partition("The contract's rules")[2]
    assert tuple(re.findall(r"^\| ([a-z ]+) \| .", chapter, re.MULTILINE))[1:] == RULES
