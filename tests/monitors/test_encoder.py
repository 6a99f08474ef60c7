"""The encoder is exact for any number of rows, and nothing that a request holds makes it raise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serinus.monitors import Profile
from serinus.monitors.encoder import FURTHEST, Encoder
from serinus.monitors.features import MISSING, NAMED, UNSEEN, Feature, category_hash
from tests.monitors.references import categorical, frame, numeric, profile

EDGES = tuple(float(edge) for edge in np.linspace(-1.5, 1.5, 15))
MATRIX = [Feature(f"input[{i}]", "input", "input", "numeric", "element", i, EDGES[: 1 + i], -5, 5) for i in range(15)]


@pytest.fixture(scope="module")
def whole() -> Profile:
    """A profile with every kind of feature."""
    return profile()


def objects(*values: Any) -> NDArray[Any]:
    """An object array of values as they are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


@pytest.mark.parametrize("rows", [1, 8, 64, 1000, 5000])
def test_codes_are_those_of_a_search(rows: int) -> None:
    """Both ways of comparing agree with numpy's search, for every feature's own number of edges."""
    values = np.random.default_rng(rows).normal(size=(rows, 15))
    values[0, :3] = EDGES[0], np.nan, 6.0
    codes = Encoder(MATRIX).encode({"input": values})
    expected = np.stack([np.searchsorted(one.edges, values[:, i], "right") for i, one in enumerate(MATRIX)], axis=1)
    expected[0, 1:3] = MISSING, UNSEEN
    assert np.array_equal(codes, expected) and codes.dtype == np.uint8


def test_a_bin_begins_at_its_edge() -> None:
    """Range ends are inside; infinity and what is beyond the range are unseen; NaN is missing."""
    values = np.array([-10.0, -10.1, 0.0, 1.0, 0.9999, 10.0, np.inf, -np.inf, np.nan, 1e300])
    expected = [0, UNSEEN, 1, 2, 1, 2, UNSEEN, UNSEEN, MISSING, UNSEEN]
    assert Encoder([numeric()]).encode({"x": values})[:, 0].tolist() == expected


def test_deviations_are_cut_and_rounded() -> None:
    """One wild value counts ten scales, a missing one none; sums of the rest are exact."""
    feature = Feature("x", "x", "input", "numeric", low=-1e9, high=1e9, centre=1.0, scale=2.0)
    found = Encoder([feature]).observe({"x": np.array([1.0, 3.0, -1e300, np.inf, np.nan, 1.01])})
    assert found.deviations[:, 0].tolist() == [0.0, 1.0, -FURTHEST, FURTHEST, 0.0, 1 / 256]


def test_columns_of_any_type_are_numbers() -> None:
    """Integers, booleans, objects with None, and text that reads as a number; other text is unseen."""
    encoder = Encoder([numeric("a"), numeric("b"), numeric("c")])
    inputs = {"a": np.array([1, 0, -1]), "b": objects(True, None, 2.5), "c": objects("0.5", "n/a", 10**400)}
    assert encoder.encode(inputs).tolist() == [[2, 2, 1], [1, MISSING, UNSEEN], [0, 2, UNSEEN]]


def test_absent_and_misshapen_fields_are_told_apart() -> None:
    """What is not there is missing, what has another length is unseen."""
    encoder = Encoder([numeric("a"), numeric("b"), numeric("c"), categorical("d", ("x",)), categorical("e", ("x",))])
    codes = encoder.encode({"a": np.zeros(2), "c": np.zeros(3), "e": objects("x")})
    assert codes.tolist() == [[1, MISSING, UNSEEN, MISSING, UNSEEN]] * 2


def test_columns_may_come_as_one_matrix() -> None:
    """Named `input`, in the model's order; columns that are not watched are passed over."""
    encoder = Encoder([numeric("b"), categorical("c", ("1",))], columns=["a", "b", "c"])
    matrix = objects(*[None] * 6).reshape(2, 3)
    matrix[:] = [[9, 0.5, "1"], [9, None, "2"]]
    assert encoder.encode({"input": matrix}).tolist() == [[1, 0], [MISSING, UNSEEN]]
    assert encoder.numbers({"input": matrix}).tolist()[0] == [0.5]


def test_categories_have_their_bin_a_rare_bin_or_none() -> None:
    """Named ones, known rare ones by their hash, unknown ones, missing ones and what is no category."""
    encoder = Encoder([categorical("c", ("a", "b"), ("rare",))])
    rare = NAMED + (category_hash("rare", b"") or 0) % 2
    values = objects("a", b"b", "rare", "new", None, float("nan"), ["a"], "rare")
    assert encoder.encode({"c": values})[:, 0].tolist() == [0, 1, rare, UNSEEN, MISSING, MISSING, UNSEEN, rare]


def test_an_open_domain_has_no_unseen_categories() -> None:
    """Where the reference had too many, a new one is rare."""
    feature = Feature("c", "c", "input", "categorical", categories=("a",), keys=(category_hash("a", b"") or 0,))
    codes = Encoder([feature]).encode({"c": objects(*"abcdefgh")})[:, 0]
    assert codes[0] == 0 and set(codes[1:].tolist()) == {14, 15}


def test_thousands_of_unseen_categories_leave_no_trace() -> None:
    """Memory does not grow with what clients make up."""
    encoder = Encoder([categorical("c", ("a",), ("z",))])
    for start in range(0, 20_000, 1000):
        codes = encoder.encode({"c": objects(*(f"made up {start + i}" for i in range(1000)))})
        assert (codes == UNSEEN).all()
    encoder.encode({"c": objects("a", "z")})
    assert len(encoder._categories[0]._known) == 3


def test_rows_are_encoded_alike_in_any_company(whole: Profile) -> None:
    """One by one, in eights, or all at once: the same codes, deviations and values."""
    inputs, outputs = arrays(whole, 40)
    together = whole.encoder.observe(inputs, outputs)
    for size in (1, 8):
        for start in range(0, 40, size):
            part = whole.encoder.observe(cut(inputs, start, size), cut(outputs, start, size))
            assert np.array_equal(part.codes, together.codes[start : start + size])
            assert np.array_equal(part.deviations, together.deviations[start : start + size])


def test_numbers_are_what_novelty_was_fitted_on(whole: Profile) -> None:
    """Monitorable numeric inputs, and codes of categorical ones."""
    assert whole.novelty is not None
    inputs, _ = arrays(whole, 5)
    numbers, codes = whole.encoder.numbers(inputs), whole.encoder.categories(inputs)
    assert [whole.names[i] for i in whole.encoder.category_features] == ["member", "colour", "comment.script"]
    place = whole.encoder.numeric.tolist().index(whole.names.index("novelty"))
    assert np.array_equal(whole.novelty.scores(numbers, codes), whole.encoder.observe(inputs).values[:, place])


def test_outputs_that_are_not_given_are_missing(whole: Profile) -> None:
    """Unknown is not fine."""
    inputs, _ = arrays(whole, 3)
    assert (whole.encoder.encode(inputs)[:, whole.names.index("answer")] == MISSING).all()


def arrays(whole: Profile, rows: int) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The first rows of the reference, as a request would have them."""
    data = frame().head(rows)
    inputs = {name: data[name].to_numpy() for name in whole.columns}
    return inputs, {"answer": data["answer"].to_numpy()}


def cut(side: dict[str, NDArray[Any]], start: int, size: int) -> dict[str, NDArray[Any]]:
    """Some rows of arrays."""
    return {name: array[start : start + size] for name, array in side.items()}


odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers()),
    st.datetimes(), st.dates(), st.complex_numbers(), st.dictionaries(st.text(), st.integers()),
    st.sampled_from([np.datetime64("NaT"), np.datetime64("2024-01-01"), np.float16(1), np.str_("x"), "2024-13-45"]),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_nothing_makes_it_raise(whole: Profile, data: st.DataObject) -> None:
    """Any Python value in any field, fields left out, made up or of another length: codes of the right shape."""
    rows = data.draw(st.integers(0, 4))
    names = data.draw(st.lists(st.sampled_from([*whole.columns, "input", "made up"]), unique=True))
    inputs = {name: objects(*data.draw(st.lists(odd, min_size=rows, max_size=rows))) for name in names}
    outputs = {"answer": objects(*data.draw(st.lists(odd, max_size=3)))} if data.draw(st.booleans()) else None
    found = whole.encoder.observe(inputs, outputs)
    assert found.codes.shape[1] == len(whole.features) and found.codes.max(initial=0) <= UNSEEN
    assert np.isfinite(found.deviations).all() and np.abs(found.deviations).max(initial=0) <= FURTHEST


@pytest.mark.parametrize(
    "array",
    [np.zeros(()), np.zeros((3, 0)), np.zeros((3, 2, 2)), np.zeros(3, "M8[s]"), np.zeros(3, complex),
     np.array(["a", "b", "c"]), np.array([b"a", b"b", b"c"]), np.zeros(3, np.float16), np.ones(3, bool)],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_arrays_of_any_dtype_and_shape_are_encoded(whole: Profile, array: NDArray[Any]) -> None:
    """Also where every field gets the same odd array."""
    found = whole.encoder.observe(dict.fromkeys(whole.columns, array), {"answer": array})
    assert found.codes.shape == (len(array) if array.ndim else 1, len(whole.features))


def test_a_tensor_of_another_width_is_unseen() -> None:
    """Too few elements, or rows that do not come out even; further elements are left alone."""
    encoder = Encoder(MATRIX)
    assert (encoder.encode({"input": np.zeros((2, 14))}) == UNSEEN).all()
    assert (encoder.encode({"input": np.zeros((2, 16))}) < 16).all()
    assert encoder.encode({"input": np.zeros((0, 15))}).shape == (0, 15)


def test_no_features_are_encoded_too() -> None:
    """A model without inputs has rows all the same."""
    assert Encoder([]).observe({}, {"y": np.zeros(4)}).codes.shape == (4, 0)
