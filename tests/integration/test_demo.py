"""The demo tells the whole story by itself, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration import demo
from tests.integration.demo import Told
from tests.integration.server import eventually

SENTENCES = (
    r"✓ tumour:1: pass  342 rows of unseen-1.csv",
    r"✓ tumour:3: pass  342 rows of unseen-3.csv, against tumour:1",
    r"✓ 200  (benign|malignant) \([\d.]+%\), by version 1, as prediction [0-9a-f-]{36}-0",
    r"✓ 422  .*'mean radius' at \$\.rows\[0\].*expected FP64, got string 'n/a'",
    r"✓ 200 answered in",
    r"✓ Prediction log: 201 predictions answered, 201 found exactly once",
    r"✓ GET /metrics: 202 requests sent, 202 counted",
    r"✓ OpenTelemetry: 202 requests sent, 202 SERVER spans arrived",
    r"POST /predict/\{model\} +[\d.]+ ms\n +└─ predict tumour +[\d.]+ ms",
    r"\$ kill -9 \d+\n ✓ \d+ requests answered meanwhile",
    r"Mirrored 100 % of the requests to version 2",
    r"Raised version 2 from 20 % to 50 %",
    r"✓ Version 2 is stable, on evidence: nobody had to look\.",
    r"✓ Callers came again \d+ times: 0 of them met version 1 after version 2",
    r"✓ (alarm|act) after [\d.]+ s: mean texture,",
    r"✓ Version 3 is off, by itself; version 2 answers\.",
    r"✓ 0 answers came from version 3",
    r"✓ The state of version 2 is ok again",
    r"✓ 200 callers ask: 200 meet version 1",
    r"✓ Ended after [\d.]+ s; 0 processes are left",
    r"every claim held",
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files lie in the test's own folder, so that what is left behind is seen."""
    return demo.environment(tmp_path)


def _read_until(process: subprocess.Popen[str], moment: str) -> str:
    """What was said until `moment`."""
    assert process.stdout is not None
    seen = ""
    while moment not in seen:
        line = process.stdout.readline()
        assert line, seen
        seen += line
    return seen


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The whole story in its fast form, left running for a look, then ended by Ctrl-C."""
    folder = tmp_path_factory.mktemp("kept")
    environ, home = demo.environment(folder), folder / "home"
    process = demo.start(environ, folder, "--fast", "--keep", "--home", str(home))
    seen = _read_until(process, "Ctrl-C ends it.\n")
    page = _status(re.search(r"http://127\.0\.0\.1:(\d+)", seen))
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=demo.PATIENCE_S)
    return Told(seen + rest, process.returncode, environ, home, page)


def _status(address: re.Match[str] | None) -> int:
    """What the server answers who asks for its page."""
    import http.client

    assert address is not None
    connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=20)
    connection.request("GET", "/ui/")
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_demo_tells_the_whole_story(kept: Told) -> None:
    """Every claim holds, the key sentences are there, no line is too wide for a terminal, nothing is left."""
    assert kept.code == 0, kept.output
    for sentence in SENTENCES:
        assert re.search(sentence, kept.output), f"{sentence}\n\n{kept.output}"
    assert [line for line in kept.output.splitlines() if len(line) > 110 and str(kept.home) not in line] == []
    assert "\x1b" not in kept.output
    assert list(demo.processes(kept.environ)) == []


def test_kept_it_goes_on_until_it_is_ended(kept: Told) -> None:
    """The server answers while it is looked at, and the home stays."""
    assert kept.page == 200
    assert (kept.home / "models" / "tumour" / "3").is_dir()


def test_every_figure_is_that_of_the_public_commands(kept: Told) -> None:
    """Counts by version are those of the log and of the ground truth, verdicts those of explain and journal."""
    found = list(demo.figures(kept))
    assert demo.differing(found) == []
    assert sum("drift" in figure.what for figure in found) == 1
    ends = [entry["kind"] for entry in kept.ask("rollout", "journal", "tumour")]
    assert (ends.count("promote"), ends.count("roll_back")) == (1, 2), "version 3 by itself, version 2 by hand"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("scenario", list(demo.ENDS))
def test_every_scenario_ends_as_it_should(scenario: str, seed: int, environ: dict[str, str], tmp_path: Path) -> None:
    """Whatever is drawn: a sound version is promoted, nobody is blamed for a drift, a useless version goes unmet."""
    told = demo.tell(scenario, seed, tmp_path, "--fast", environ=environ)
    assert demo.differing([*demo.endings(scenario, told), *demo.figures(told)]) == [], told.output


@pytest.mark.parametrize("moment", [
    "Train and serve", *(pytest.param(moment, marks=pytest.mark.slow)
                     for moment in ("$ serinus models evaluate", "$ kill -9", "Mirrored 100 %"))])
def test_an_interrupted_demo_leaves_nothing(moment: str, environ: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C at any moment ends every process, removes the temporary home, and shows no stack trace."""
    process = demo.start(environ, tmp_path, "--fast")
    _read_until(process, moment)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    # CPython ends itself by SIGINT, 130 to a shell, when the interrupt has passed through an exec() of an import.
    assert process.returncode in (130, -signal.SIGINT), rest
    assert "Traceback" not in rest
    assert process.returncode != 130 or "Interrupted: every process has ended." in rest
    assert list(demo.processes(environ)) == []
    assert [path.name for path in Path(environ["TMPDIR"]).iterdir() if path.name.startswith("serinus")] == []


@pytest.mark.slow
def test_a_killed_demo_takes_its_server_along(environ: dict[str, str], tmp_path: Path) -> None:
    """Even SIGKILL, which nobody can catch, leaves no process."""
    process = demo.start(environ, tmp_path, "--fast")
    _read_until(process, "Ready after")
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: not list(demo.processes(environ)), 60.0, lambda: f"left: {list(demo.processes(environ))}")


def test_a_home_that_is_not_empty_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """The demo counts what is in its home, so it wants one for itself."""
    output, _ = (process := demo.start(environ, tmp_path, "--home", str(tmp_path))).communicate(timeout=60)
    assert process.returncode == 1
    assert output == f"serinus: --home {tmp_path} is not empty, and the demo counts what is in it: give a new folder.\n"


def test_many_runs_are_told_in_a_table() -> None:
    """One row for each scenario, one line for each run, and what was wrong in words."""
    good = demo.Run("good", 0, 50.0, 30, 12, ())
    bad = demo.Run("good", 1, 70.0, 29, 12, ("exit code: said 0, found 1",))
    assert good.line.endswith("ended as it should")
    assert bad.line.endswith("FAILED: exit code: said 0, found 1")
    page = demo.page([good, bad], "a command", "a day")
    assert "| good | 0, 1 | 1 of 2 | 59 | 24 | 60 (50 to 70) |" in page
    assert "- good, seed 1: exit code: said 0, found 1" in page
    assert demo.differing([demo.Figure("a", 1, 1), demo.Figure("b", 1, 2)]) == ["b: said 1, found 2"]
