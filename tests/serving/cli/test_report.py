"""`serinus monitor report`: two files in, a page, JSON and an exit code out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A reference, a calm batch and a changed one."""
    generator = np.random.default_rng(0)
    for name, rows, mean in (("a", 4_000, 0.0), ("calm", 1_000, 0.0), ("changed", 1_000, 1.0)):
        times = pd.date_range("2026-01-01", periods=rows, freq="min")
        frame = pd.DataFrame({"time": times, "x": generator.normal(mean, 1, rows), "y": generator.normal(size=rows)})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_no_drift_is_zero_and_drift_is_one(cli: Any, files: Path) -> None:
    """A script branches on the exit code; a person reads the sentence and the table."""
    calm = cli("monitor", "report", "--reference", files / "a.csv", "--current", files / "calm.csv", "--time", "time")
    assert calm.code == 0 and calm.out.startswith("No drift: 2 features compared")
    changed = cli("monitor", "report", "--reference", files / "a.csv", "--current", files / "changed.csv",
                  "--time", "time")
    assert changed.code == 1 and changed.out.startswith("Drift in 1 of 2 features: x (up 0.99 sd")
    assert changed.out.splitlines()[2].split()[:2] == ["x", "drifted"]


def test_the_page_and_the_json_are_written(cli: Any, files: Path) -> None:
    """The page into --out, the JSON to standard output and nothing else."""
    said = cli("monitor", "report", "--reference", files / "a.csv", "--current", files / "changed.csv",
               "--out", files / "page.html", "--json", "--distance", "psi", "--time", "time", "--window", "hour")
    assert said.code == 1 and said.err == ""
    assert said.json["distance"] == "psi" and said.json["current"]["name"] == "changed.csv"
    assert len(said.json["windows"]) == 17
    assert (files / "page.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(("words", "sentence"), [
    (("--current", "nothing.csv"), "There is no file 'nothing.csv'; give a CSV or Parquet file."),
    (("--distance", "hellinger"), "No distance is named 'hellinger'; there are psi,"),
    (("--target", "z"), "The reference has no column 'z'; it has time, x, y."),
    (("--window", "eon"), "No window is named 'eon'; wanted one of hour,"),
    (("--out", "no/such/folder.html"), "The page cannot be written to no/such/folder.html: No such file"),
    (("--level", "2"), "Invalid value for '--level'"),
])
def test_what_does_not_fit_is_two(cli: Any, files: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...],
                                  sentence: str) -> None:
    """One sentence on standard error, and no stack trace."""
    monkeypatch.chdir(files)
    said = cli("monitor", "report", "--reference", "a.csv", "--current", "calm.csv", *words)
    assert said.code == 2 and sentence in said.err and "Traceback" not in said.err
