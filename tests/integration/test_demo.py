"""The demo tells the whole story by itself, and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.server import CHECKOUT, eventually

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
    r"Mirrored 50 % of the requests to version 2",
    r"Raised version 2 from 20 % to 50 %",
    r"✓ Version 2 is stable, on evidence: nobody had to look\.",
    r"✓ Callers came again \d+ times: 0 of them met version 1 after version 2",
    r"✓ (alarm|act) after [\d.]+ s: mean texture,",
    r"✓ Version 3 is off, by itself; version 2 answers\.",
    r"✓ 0 answers came from version 3",
    r"✓ Its state is ok again",
    r"✓ 200 callers ask: 200 meet version 1",
    r"✓ Ended after [\d.]+ s; 0 processes are left",
    r"every claim held",
)
_MARK = "DEMO_TEST"
_PATIENCE_S = 1800.0


@dataclass(frozen=True)
class Told:
    """A demo that has ended: what it said, with which code, in which environment, and where its home is."""

    output: str
    code: int
    environ: dict[str, str]
    home: Path
    page: int = 0
    """The status of the server's own page while it stayed."""

    def ask(self, *arguments: str) -> Any:
        """What a public command says of the home with `--json`."""
        done = subprocess.run([sys.executable, "-m", "serinus", *arguments, "--json", "--home", str(self.home)],
                              env=self.environ, capture_output=True, text=True, check=False)
        return json.loads(done.stdout)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment whose temporary files lie in the test's own folder, so that what is left behind is seen."""
    return _environ(tmp_path)


def _environ(folder: Path) -> dict[str, str]:
    temporary = folder / "tmp"
    temporary.mkdir()
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1",
            _MARK: str(temporary)}


def _demo(environ: dict[str, str], folder: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "serinus", "demo", *flags], env=environ, cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def _processes(environ: dict[str, str]) -> Iterator[int]:
    """Everything that was started with this environment and lives."""
    mark = f"{_MARK}={environ[_MARK]}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


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
    environ, home = _environ(folder), folder / "home"
    process = _demo(environ, folder, "--fast", "--keep", "--home", str(home))
    seen = _read_until(process, "Ctrl-C ends it.\n")
    page = _status(re.search(r"http://127\.0\.0\.1:(\d+)", seen))
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=_PATIENCE_S)
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
    assert list(_processes(kept.environ)) == []


def test_kept_it_goes_on_until_it_is_ended(kept: Told) -> None:
    """The server answers while it is looked at, and the home stays."""
    assert kept.page == 200
    assert (kept.home / "models" / "tumour" / "3").is_dir()


def test_every_figure_is_that_of_the_public_commands(kept: Told) -> None:
    """Counts by version are those of the log and of the ground truth, verdicts those of explain and journal."""
    _check_figures(kept)
    ends = [entry["kind"] for entry in kept.ask("rollout", "journal", "tumour")]
    assert (ends.count("promote"), ends.count("roll_back")) == (1, 2), "version 3 by itself, version 2 by hand"


def _check_figures(told: Told) -> None:
    """Hold what was told against `--json` of the commands."""
    rows = subprocess.run([sys.executable, "-m", "serinus", "log", "show", "--limit", "0", "--json", "--home",
                           str(told.home)], env=told.environ, capture_output=True, text=True, check=True).stdout
    logged = Counter(json.loads(row)["version"] for row in rows.splitlines())
    (said,) = re.findall(r"(\d+) predictions answered, (\d+) found exactly once", told.output)[-1:]
    assert int(said[0]) == int(said[1]) == logged.total()
    windows = told.ask("feedback", "tumour")["models"]["tumour"]["windows"]
    for version, joined in re.findall(r"Version (\d): (\d+) truths joined", told.output):
        assert int(joined) == sum(window["labelled"] for window in windows if window["version"] == version)
        assert logged[version] >= int(joined)
    plain = " ".join(told.output.split())
    for check in told.ask("rollout", "explain", "tumour")["checks"]:
        if check["name"] in ("errors", "ground_truth:pairs"):
            assert f"{check['text']}; evidence of harm {check['e_value']:.3g}" in plain
    for entry in told.ask("rollout", "journal", "tumour"):
        if entry["kind"] in ("advance", "promote"):
            assert " ".join(f"{entry['body']['text']} {entry['reason']}".split()) in plain


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("scenario", ["story", "good", "bad", "drift-only"])
def test_every_scenario_ends_as_it_should(scenario: str, seed: int, environ: dict[str, str], tmp_path: Path) -> None:
    """Whatever is drawn: a sound version is promoted, nobody is blamed for a drift, a useless version goes unmet."""
    home = tmp_path / "home"
    process = _demo(environ, tmp_path, "--fast", "--scenario", scenario, "--seed", str(seed), "--home", str(home))
    output, _ = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0, output
    told = Told(output, process.returncode, environ, home)
    _check_figures(told)
    kinds = Counter(entry["kind"] for entry in told.ask("rollout", "journal", "tumour"))
    record = told.ask("rollout", "status", "tumour")["record"]
    ends = {"story": (1, 2, "1"), "good": (1, 0, "2"), "bad": (0, 1, "1"), "drift-only": (1, 0, "2")}
    assert (kinds["promote"], kinds["roll_back"], record["stable"]) == ends[scenario], output
    assert kinds["reject"] == 0
    assert list(_processes(environ)) == []


@pytest.mark.parametrize("moment", [
    "Train three", *(pytest.param(moment, marks=pytest.mark.slow)
                     for moment in ("$ serinus models evaluate", "$ kill -9", "Mirrored 50 %"))])
def test_an_interrupted_demo_leaves_nothing(moment: str, environ: dict[str, str], tmp_path: Path) -> None:
    """Ctrl-C at any moment ends every process, removes the temporary home, and shows no stack trace."""
    process = _demo(environ, tmp_path, "--fast")
    _read_until(process, moment)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=120)
    # CPython ends itself by SIGINT, 130 to a shell, when the interrupt has passed through an exec() of an import.
    assert process.returncode in (130, -signal.SIGINT), rest
    assert "Traceback" not in rest
    assert list(_processes(environ)) == []
    assert [path.name for path in Path(environ["TMPDIR"]).iterdir() if path.name.startswith("serinus")] == []


@pytest.mark.slow
def test_a_killed_demo_takes_its_server_along(environ: dict[str, str], tmp_path: Path) -> None:
    """Even SIGKILL, which nobody can catch, leaves no process."""
    process = _demo(environ, tmp_path, "--fast")
    _read_until(process, "Ready after")
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: not list(_processes(environ)), 60.0, lambda: f"left: {list(_processes(environ))}")


def test_a_home_that_is_not_empty_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """The demo counts what is in its home, so it wants one for itself."""
    output, _ = (process := _demo(environ, tmp_path, "--home", str(tmp_path))).communicate(timeout=60)
    assert process.returncode == 1
    assert output == f"serinus: --home {tmp_path} is not empty, and the demo counts what is in it: give a new folder.\n"
