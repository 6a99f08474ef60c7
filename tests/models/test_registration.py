"""A signature that its author knows better is taken, if the model answers as it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from serinus.models import Field, InvalidSignature, Registry, Signature, Trust, load, register, register_file

ROWS = np.random.default_rng(4).normal(size=(40, 3))
OUTPUTS = (Field("predict", "INT64", (-1,), labels=(0, 1)), Field("predict_proba", "FP64", (-1, 2), labels=(0, 1)))
NAMED = Signature(tuple(Field(name, "FP32", (-1,), optional=name == "c") for name in "abc"), OUTPUTS)


@pytest.fixture
def fitted() -> Any:
    return LogisticRegression().fit(ROWS, (ROWS[:, 0] > 0).astype(int))


def test_the_given_signature_is_kept(fitted: Any, tmp_path: Path) -> None:
    """Names, types and all, through the registry and back; from an object and from a file."""
    version = register(fitted, "m", signature=NAMED, home=tmp_path)
    assert Registry(tmp_path).get("m").signature == NAMED
    model = load(version, trust=Trust(tmp_path))
    columns = {name: ROWS[:, place].astype(np.float32) for place, name in enumerate("abc")}
    expected = fitted.predict_proba(ROWS.astype(np.float32))
    assert np.allclose(model.predict(columns)["predict_proba"], expected, rtol=1e-6)
    again = register_file(version.path / version.artifact, "other", signature=NAMED, home=tmp_path)
    assert again.signature == NAMED


@pytest.mark.parametrize("wrong", [
    Signature(NAMED.inputs[:2], OUTPUTS),
    Signature((*NAMED.inputs, Field("d", "FP64", (-1,))), OUTPUTS),
    Signature((Field("a", "BYTES", (-1,)), *NAMED.inputs[1:]), OUTPUTS),
    Signature(NAMED.inputs, (replace(OUTPUTS[0], name="decide"), OUTPUTS[1])),
    Signature(NAMED.inputs, (OUTPUTS[0], replace(OUTPUTS[1], shape=(-1, 3), labels=None))),
])
def test_a_signature_that_does_not_fit_is_refused(fitted: Any, wrong: Signature, tmp_path: Path) -> None:
    """In one sentence, and nothing is registered."""
    with pytest.raises(InvalidSignature, match="The given signature") as caught:
        register(fitted, "m", signature=wrong, home=tmp_path)
    assert "\n" not in str(caught.value)
    assert Registry(tmp_path).names() == []
