"""The progress line: a bar, a count and a rate on a terminal, nothing where nobody looks."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from serinus.serving.cli.progress import progress_line
from tests.serving.cli.terminal import Terminal


def test_a_terminal_sees_rows_and_their_rate(tmp_path):
    """A report over two files shows what is done of each; at the end the line is gone and the verdict stands there."""
    rng = np.random.default_rng(1)
    for name in ("before", "now"):
        pd.DataFrame(rng.normal(size=(60_000, 4)), columns=list("abcd")).to_csv(tmp_path / f"{name}.csv", index=False)
    terminal = Terminal("monitor", "report", "--reference", tmp_path / "before.csv", "--current", tmp_path / "now.csv")
    assert terminal.end() == 0, terminal.said
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.said)
    assert re.search(r"comparing the current data .*[\d,]+ rows, [\d,]+/s", plain), plain
    assert "No drift: 4 features compared" in plain


def test_nothing_is_written_where_nobody_looks(capsys: pytest.CaptureFixture[str]):
    """Into a file or a pipe, and where it is switched off, there is nothing to call."""
    with progress_line() as tell:
        assert tell is None
    assert capsys.readouterr() == ("", "")
