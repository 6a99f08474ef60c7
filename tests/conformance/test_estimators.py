"""Whatever scikit-learn fits, a model serves: every estimator there is, and awkward ones, answer as a direct call does.

A case is served, or refused in one sentence that names it and says why. Labels are equal, numbers to rtol 1e-9. Run
with `-s` to see who is refused.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from threadpoolctl import threadpool_limits

from serinus.models import ModelError, load, register, wrap
from serinus.models.adapters import adapter_for
from serinus.models.frame import arrays_of
from serinus.models.trust import Trust
from tests.conformance.estimator_cases import Case, awkward, every_estimator, tables, texts, unusual_inputs

KINDS = {"scikit-learn": every_estimator, "awkward answers": awkward, "unusual inputs": unusual_inputs, "texts": texts,
         "tables": tables}  # fmt: skip

REFUSED = {
    # They describe the rows they were fitted with, or the whole of them, and have no method for a new row.
    "AgglomerativeClustering", "ClassicalMDS", "DBSCAN", "EmpiricalCovariance", "GraphicalLasso", "GraphicalLassoCV",
    "HDBSCAN", "LedoitWolf", "LocalOutlierFactor-1", "MDS", "MinCovDet", "NearestNeighbors", "OAS", "OPTICS",
    "ShrunkCovariance", "SpectralBiclustering", "SpectralClustering", "SpectralCoclustering", "SpectralEmbedding",
    "TSNE",
    # What they take are no rows of fields.
    "FeatureHasher", "MultiLabelBinarizer", "PatchExtractor",
}  # fmt: skip
"""Who of scikit-learn may be refused; whoever else is, is a mistake of ours."""

LOADABLE_SHARE = 0.95

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "transform")
"""What is compared: the outputs given by default, and those on request."""


@dataclass
class Tally:
    """What became of the cases of one kind."""

    served: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in self.refused.items())
        return f"{self.served} served, {len(self.refused)} refused with reason, {len(self.wrong)} wrong{reasons}"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Estimators warn of what is no business of ours: convergence, tiny data. With one thread sums stay the same."""
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_answers_as_the_estimator_does(kind: str, tmp_path: Path) -> None:
    """Fitted, registered and loaded again, every case answers as it did when called directly, or is refused by name."""
    tally = Tally()
    for place, case in enumerate(KINDS[kind]()):
        try:
            version = register(case.fitted, f"case-{place}", reference=case.reference, home=tmp_path)
        except ModelError as error:
            tally.refused[case.name] = str(error)
            continue
        except Exception as error:  # a pickle cannot hold a function of a test
            tally.wrong.append(f"{case.name}: {type(error).__name__}: {error}")
            continue
        tally.wrong += [f"{case.name}: {what}" for what in differences(case, load(version, trust=Trust(tmp_path)))]
        tally.served += 1
    print(f"\n{kind}: {tally}")
    assert tally.wrong == []
    assert set(tally.refused) <= REFUSED


def test_skops_files_load_without_trust(tmp_path: Path) -> None:
    """Of scikit-learn's estimators that skops can write, at least 95 in 100 load without anybody's trust."""
    loaded, distrusted, unwritable = read_back(every_estimator(), tmp_path)
    share = loaded / (loaded + len(distrusted))
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in distrusted.items())
    print(f"\nskops: {loaded} load without trust ({share:.1%}), skops cannot write {unwritable}{reasons}")
    assert share >= LOADABLE_SHARE


def test_of_other_skops_files_only_own_code_needs_trust(tmp_path: Path) -> None:
    """Pipelines, texts and odd classes load without trust, unless they hold a class or function of the test's own."""
    cases = (*awkward(), *unusual_inputs(), *texts(), *tables())
    loaded, distrusted, unwritable = read_back(cases, tmp_path)
    print(f"\nskops: {loaded} load without trust, {len(distrusted)} hold code of their own")
    assert [name for name, reason in distrusted.items() if f"({Case.__module__}." not in reason] == []
    assert unwritable == []


def read_back(cases: Iterable[Case], folder: Path) -> tuple[int, dict[str, str], list[str]]:
    """Write and read cases, and compare their answers: how many need no trust, why others do, which skops refuses."""
    path = folder / "case.skops"
    loaded, distrusted, unwritable, wrong = 0, {}, [], []
    for case in cases:
        if case.name in REFUSED:
            continue
        try:
            skops.io.dump(case.fitted, path)
        except Exception:
            unwritable.append(case.name)
            continue
        adapter = adapter_for(path)
        if adapter.runs_code(path):
            distrusted[case.name] = adapter.why_code(path)
        else:
            loaded += 1
        model = wrap(adapter.read(path), reference=case.reference)
        wrong += [f"{case.name}: {what}" for what in differences(case, model)]
    assert wrong == []
    return loaded, distrusted, unwritable


def differences(case: Case, model: Any) -> Iterator[str]:
    """Say where the model's answers for all rows, and for one row alone, are not the estimator's."""
    for count in (None, 1):
        rows = case.rows if count is None else case.rows[:count]
        inputs = inputs_of(rows, model)
        for method in METHODS:
            if not hasattr(case.fitted, method):
                continue
            try:
                expected = expected_outputs(model, method, getattr(case.fitted, method)(rows))
            except Exception:  # a method that the estimator has and cannot answer
                continue
            try:
                answer = model.predict(inputs, list(expected))
            except ModelError as error:
                yield f"{method} of {count or 'all'}: {error}"
                continue
            for name, array in expected.items():
                for what in difference(array, answer[name], model, name):
                    yield f"{name} of {count or 'all'}: {what}"


def inputs_of(rows: Any, model: Any) -> Mapping[str, np.ndarray]:
    """The rows as a request brings them: a matrix, a column, or an array per field."""
    fields = model.signature.inputs
    if isinstance(rows, pd.DataFrame):
        return arrays_of(rows, fields)
    if isinstance(rows, list) and isinstance(rows[0], dict):
        return arrays_of(pd.DataFrame(rows, columns=[each.name for each in fields]), fields)
    array = np.asarray(rows, dtype=fields[0].dtype if len(fields) == 1 else object)
    if len(fields) == 1:
        return {fields[0].name: _none_for_gaps(array) if array.dtype == object else array}
    return arrays_of(pd.DataFrame(array, columns=[each.name for each in fields]), fields)


def _none_for_gaps(array: np.ndarray) -> np.ndarray:
    return np.where(pd.isna(array), None, array)


def expected_outputs(model: Any, method: str, answer: Any) -> dict[str, np.ndarray]:
    """What a method answered, by the names under which the model gives it."""
    if hasattr(answer, "toarray"):
        answer = answer.toarray()
    parts = [each.name for each in model.signature.outputs if part_of(each.name) == method]
    if parts:
        items = answer if isinstance(answer, list | tuple) else np.asarray(answer, dtype=object).T
        return dict(zip(parts, items, strict=True))
    if isinstance(answer, list) and hasattr(answer[0], "shape"):
        return {f"{method}_{place}": item for place, item in enumerate(answer)}
    return {method: np.asarray(answer)}


def part_of(name: str) -> str | None:
    """The method of whose answer this output is a part."""
    owners = [method for method in METHODS if name.startswith(f"{method}_")]
    return max(owners, key=len) if owners and name not in METHODS else None


def difference(expected: Any, found: np.ndarray, model: Any, name: str) -> Iterator[str]:
    """Say what is wrong with an output: its type against the signature, its values against the estimator's."""
    declared = next((each for each in model.signature.outputs if each.name == name), None)
    if declared is not None and (found.dtype != declared.dtype or found.ndim != len(declared.shape)):
        yield f"{found.dtype} of {found.ndim} dimensions, declared {declared}"
    expected = np.asarray(expected)
    if expected.dtype.kind == "S":
        expected = expected.astype(str)
    if found.shape != expected.shape and found.size != expected.size:
        yield f"shape {found.shape}, wanted {expected.shape}"
        return
    expected = expected.reshape(found.shape)
    if found.dtype == object:
        if not all(isinstance(value, str | None) for value in found.ravel()):
            yield "objects that are no strings"
        if [value if isinstance(value, str) else None for value in expected.ravel().tolist()] != found.ravel().tolist():
            yield "other strings"
    elif found.dtype.kind in "iub":
        if not (expected == found).all():
            yield "other labels"
    elif not np.allclose(expected.astype(float), found.astype(float), rtol=1e-9, atol=1e-12, equal_nan=True):
        yield f"other numbers, by {np.nanmax(np.abs(expected.astype(float) - found))}"


def test_an_answer_that_no_datatype_can_carry_is_refused_with_the_reason() -> None:
    """Complex numbers, dates, records, objects, and answers that are not one per row."""
    from tests.conformance.estimator_cases import ROWS, Answers

    for answer, reason in [
        (lambda rows: rows[:, 0] * 1j, "holds complex128"),
        (lambda rows: np.full(len(rows), "2024-01-01", dtype="datetime64[D]"), r"holds datetime64\[D\]"),
        (lambda rows: np.zeros(len(rows), dtype=[("a", float)]), "holds "),
        (lambda rows: np.array([{"a": 1} for _ in rows]), "objects of kind mixed"),
        (lambda rows: np.zeros(len(rows) + 1), r"shape \[3\] for 2 rows"),
        (lambda rows: 3.0, r"shape \[\] for 2 rows"),
    ]:
        with pytest.raises(ModelError, match=reason):
            wrap(Answers(answer).fit(ROWS))


def test_answers_that_are_broken_in_scikit_learn_are_refused() -> None:
    """Trained on sparse targets, neighbours predict an object array full of sparse matrices."""
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import KNeighborsClassifier

    from tests.conformance.estimator_cases import ROWS, TWO

    fitted = KNeighborsClassifier().fit(ROWS, csr_matrix(np.column_stack([TWO, 1 - TWO])))
    with pytest.raises(ModelError, match="Output 'predict' holds objects of kind mixed"):
        wrap(fitted)
