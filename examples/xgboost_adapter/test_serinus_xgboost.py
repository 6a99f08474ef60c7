"""The adapter keeps Serinus's contract, and Serinus finds it."""

import numpy as np
import pytest
import xgboost
from serinus_xgboost import XGBoostAdapter, check_ubjson

from serinus.models import Registry, UnsupportedArtifact, load, register
from serinus.models.adapters import adapter_named
from serinus.models.testing import RULES, check_adapter

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 4)).astype(np.float32)
NAMES = ["age", "income", "height (cm)", "visits"]
KINDS = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0)


def booster(names=None, **params):
    data = xgboost.DMatrix(ROWS, KINDS if params.get("num_class") else KINDS > 0, feature_names=names)
    return xgboost.train({"max_depth": 3, "nthread": 1, **params}, data, num_boost_round=5)


BOOSTERS = {
    "columns": lambda: booster(NAMES, objective="binary:logistic"),
    "a matrix": lambda: booster(objective="reg:squarederror"),
    "classes": lambda: booster(NAMES, objective="multi:softprob", num_class=3),
}


@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS.keys())
def test_the_contract(make):
    """Every rule applies and holds."""
    fitted = make()
    columns = {name: ROWS[:9, place] for place, name in enumerate(fitted.feature_names or ())}
    coverage = check_adapter(XGBoostAdapter(), fitted, columns or {"input": ROWS[:9]})
    rules = set(RULES) - ({"missing inputs"} if not columns else set())  # one matrix is never left out
    assert (set(coverage.checks), set(coverage.left_out)) == (rules, set(RULES) - rules)


def test_answers_like_the_booster():
    """Names, gaps and all, the answers are those of Booster.predict."""
    fitted = booster(NAMES, objective="binary:logistic")
    rows = ROWS.copy()
    rows[::3, 1] = np.nan
    expected = fitted.predict(xgboost.DMatrix(rows, feature_names=NAMES))
    model = XGBoostAdapter().wrap(fitted)
    columns = {name: rows[:, place] for place, name in enumerate(NAMES)}
    assert np.array_equal(model.predict(columns)["predict"], expected)


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_found_by_its_entry_point(suffix, tmp_path):
    """Once the package is installed, files and objects are served like any other, and no pickle is asked about."""
    fitted = booster(NAMES)
    fitted.save_model(tmp_path / f"m{suffix}")
    assert type(adapter_named("xgboost")) is XGBoostAdapter
    assert load(tmp_path / f"m{suffix}").signature.outputs[0].name == "predict"
    version = register(fitted, "flats", home=tmp_path / "home")
    assert (version.adapter, version.tag) == ("xgboost", "flats:1")
    assert Registry(tmp_path / "home").load(version).predict({"age": ROWS[:2, 0]})["predict"].shape == (2,)


def test_other_json_is_left_alone(tmp_path):
    """A JSON file that is no booster is nobody's."""
    (tmp_path / "notes.json").write_text('{"a": 1}')
    with pytest.raises(UnsupportedArtifact, match="No adapter accepts"):
        load(tmp_path / "notes.json")


@pytest.mark.parametrize("make", BOOSTERS.values(), ids=BOOSTERS.keys())
def test_no_shortened_file_reaches_the_native_reader(make, tmp_path):
    """XGBoost's reader crashes on some files that end early, so every one of them is refused before."""
    make().save_model(tmp_path / "m.ubj")
    content = (tmp_path / "m.ubj").read_bytes()
    check_ubjson(content)
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"it ends after|byte \d+ starts"):
            check_ubjson(content[:length])
    with pytest.raises(ValueError, match="its content ends after"):
        check_ubjson(content + b"N")
