"""The steps of a pipeline are told to whoever called it, and to nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from time import time_ns

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from serinus.models import wrap
from serinus.models.steps import tell, tells_steps, told_by

ROWS = np.random.default_rng(2).normal(size=(40, 3))
LABELS = ROWS.sum(axis=1) > 0


def fitted() -> Pipeline:
    steps = [("scale", StandardScaler()), ("nothing", "passthrough"), ("squeeze", MinMaxScaler()),
             ("decide", LogisticRegression())]
    return Pipeline(steps).fit(ROWS, LABELS)


def test_each_step_is_told_in_order() -> None:
    """With the time when it ended, and the answers are the pipeline's own."""
    pipeline = fitted()
    model = wrap(pipeline)
    assert tells_steps(model)
    began = time_ns()
    answer, steps = told_by(model.predict, {"input": ROWS})
    assert [name for name, _ in steps] == ["scale", "squeeze"]
    times = [began, *(ended for _, ended in steps), time_ns()]
    assert times == sorted(times)
    assert np.array_equal(answer["predict"], pipeline.predict(ROWS))
    assert np.array_equal(answer["predict_proba"], pipeline.predict_proba(ROWS))


def test_calls_at_the_same_time_hear_their_own_steps() -> None:
    """In threads, and nobody hears what is told outside."""
    models = [wrap(make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS)), wrap(fitted())]
    tell("outside")
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda turn: told_by(models[turn % 2].predict, {"input": ROWS})[1], range(60)))
    assert {tuple(name for name, _ in steps) for steps in told[::2]} == {("standardscaler",)}
    assert {tuple(name for name, _ in steps) for steps in told[1::2]} == {("scale", "squeeze")}


def test_what_has_no_steps_tells_none() -> None:
    """A lone estimator."""
    model = wrap(LogisticRegression().fit(ROWS, LABELS))
    assert not tells_steps(model)
    assert told_by(model.predict, {"input": ROWS})[1] == ()
