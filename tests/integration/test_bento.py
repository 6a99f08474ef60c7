"""A Bento is served from an empty folder by plain BentoML: our code, the chosen versions and the user's code inside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.serving.home import Home, RunFolder
from serinus.serving.prediction_log import read as read_log
from tests.integration import zoo
from tests.integration.client import Client
from tests.integration.server import CHECKOUT, Server, eventually

OFFLINE = {"BENTOML_ENABLE_FEATURES": "no_image", "BENTOML_DO_NOT_TRACK": "true", "PIP_NO_INDEX": "1"}
ROW = {"rows": [[3.0, 1.0]]}


class BentoServer(Server):
    """`bentoml serve BENTO`, in an empty folder and by an interpreter that has no Serinus."""

    def __init__(self, python: str, bento: str, home: Path, scratch: Path, *, python_path: str = "") -> None:
        empty = scratch / "empty"
        empty.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [python, "-m", "bentoml", "serve", bento, "--port", str(port)]
        environ = {"PYTHONPATH": python_path, "SERINUS_HOME": str(home)}
        super().__init__(home, empty, command=command, environ=environ, port=port)

    @property
    def run_folder(self) -> RunFolder:
        """Named after BentoML's supervisor: it is the process that was started."""
        return RunFolder(Home(self.home.path).run / f"server-{self.pid}")


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with everything that is installed here, but for an editable Serinus.

    Files of path entries are read in an environment's own folder only, so the one that makes Serinus importable here
    is not read where this environment's folder is itself such an entry.
    """
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return str(folder / "bin" / "python")


@pytest.fixture(scope="module")
def bentos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A BENTOML_HOME for this module."""
    folder = tmp_path_factory.mktemp("bentoml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def users_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's project whose own package is called `models`, as ours is; and a pickle of a class of it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "models").mkdir()
    (folder / "models" / "__init__.py").touch()
    (folder / "models" / "features.py").write_text(textwrap.dedent('''
        from sklearn.base import BaseEstimator, RegressorMixin

        class Doubling(RegressorMixin, BaseEstimator):
            def fit(self, X, y=None):
                self.n_features_in_ = X.shape[1]
                return self

            def predict(self, X):
                return X[:, 0] * 2.0
    '''))
    script = ("import joblib, numpy as np; from models.features import Doubling; "
              "joblib.dump(Doubling().fit(np.ones((3, 2))), 'doubling.joblib')")
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, env={**os.environ, "PYTHONPATH": ""})
    return folder


@pytest.fixture(scope="module")
def users_home(users_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the user's pickle is registered and trusted."""
    home = tmp_path_factory.mktemp("users") / "home"
    _serinus("models", "register", "doubling", "doubling.joblib", "--home", str(home), "--trust",
             _digest(users_folder / "doubling.joblib"), cwd=users_folder)
    return home


def _digest(path: Path) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _serinus(*words: str, cwd: Path | None = None) -> str:
    # The checkout stands behind the user's folder, as site-packages does.
    environ = {**os.environ, **OFFLINE, "PYTHONPATH": os.pathsep.join(("", str(CHECKOUT)))}
    start = "import sys; sys.path.insert(0, ''); from serinus.serving.cli import main; main()"
    done = subprocess.run([sys.executable, "-P", "-c", start, *words], env=environ, cwd=cwd, text=True, timeout=120,
                          capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _build(home: Path, *words: str) -> dict[str, Any]:
    built: dict[str, Any] = json.loads(_serinus("bento", "build", *words, "--home", str(home), "--json"))
    return built


def _answer(server: Server, path: str, document: Any) -> Any:
    eventually(lambda: _is_ready(server), 90.0, server.output)
    with server.client() as client:
        answer = client.post(path, document)
    assert answer.status == 200, (answer, server.output())
    return answer.json()


def _is_ready(server: Server) -> bool:
    with contextlib.suppress(OSError), Client(server.port) as client:
        return client.get("/v2/health/ready").status == 200
    return False


def test_the_bare_interpreter_has_no_serinus(bare_python: str, tmp_path: Path) -> None:
    """What these tests say of a Bento means something: without it, there is no `serinus` to import."""
    done = subprocess.run([bare_python, "-c", "import bentoml, serinus"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": ""})
    assert "No module named 'serinus'" in done.stderr, "Install the checkout with -e, as the README says."


def test_a_bento_holds_the_chosen_versions_and_serves_them(
        bare_python: str, home: Path, bentos: Path, tmp_path: Path) -> None:
    """Exactly the chosen versions, read-only; the newest other one is not in it. All processes end afterwards."""
    built = _build(home, "credit:1", "iris")
    bundle = Path(built["path"]) / "src" / "bundle"
    held = sorted(path.relative_to(bundle / "models").as_posix() for path in bundle.glob("models/*/*"))
    assert held == ["credit/1", "iris/1"]
    assert [path for path in bundle.rglob("*") if path.is_file() and path.stat().st_mode & 0o222] == []
    assert list(built["versions"]) == ["credit:1", "iris:1"]
    fresh = tmp_path / "fresh"
    server = BentoServer(bare_python, built["tag"], fresh, tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(server.end)
        server.launch()
        assert _answer(server, "/predict/credit", zoo.CREDIT_ROWS)["version"] == "1"
        assert _answer(server, "/v2/models/iris/infer", zoo.IRIS_INFER)["model_version"] == "1"
        assert eventually(lambda: server.find("serinus.serving.steward"))
        assert not (fresh / "models").exists()
        server.stop()
        eventually(lambda: not server.processes(), 15.0, lambda: str(server.processes()))
    logged = [record.model for record in read_log(Home(fresh).log)]
    assert sorted(logged) == ["credit", "iris"]


def test_plain_bentoml_build_works_in_the_checkout(
        bare_python: str, home: Path, bentos: Path, tmp_path: Path) -> None:
    """The Bento of `bentofile.yaml` carries no model and serves those of the home."""
    done = subprocess.run([sys.executable, "-m", "bentoml", "build", "--output", "tag"], cwd=CHECKOUT, text=True,
                          capture_output=True, timeout=120, env={**os.environ, **OFFLINE})
    assert done.returncode == 0, done.stderr
    tag = done.stdout.partition("__tag__:")[2].strip()
    server = BentoServer(bare_python, tag, home, tmp_path)
    with contextlib.ExitStack() as stack:
        stack.callback(server.end)
        server.launch()
        assert _answer(server, "/predict/credit", zoo.CREDIT_ROWS)["model"] == "credit"
        server.stop()
        eventually(lambda: not server.processes(), 15.0, lambda: str(server.processes()))


def test_an_installed_serinus_builds_the_same_bento(home: Path, bentos: Path, tmp_path: Path) -> None:
    """In a wheel the parts lie inside the package and there is no pyproject.toml: what it needs is in its metadata."""
    site = tmp_path / "site"
    shutil.copytree(CHECKOUT / "serinus", site / "serinus", ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("models", "monitors", "serving"):
        shutil.copytree(CHECKOUT / part, site / "serinus" / part, ignore=shutil.ignore_patterns("__pycache__"))
    needs = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    (site / "serinus-0.1.0.dist-info").mkdir()
    (site / "serinus-0.1.0.dist-info" / "METADATA").write_text("\n".join(
        ["Metadata-Version: 2.1", "Name: serinus", "Version: 0.1.0", *(f"Requires-Dist: {need}" for need in needs),
         'Requires-Dist: ruff; extra == "dev"']))
    done = subprocess.run([sys.executable, "-m", "serinus", "bento", "build", "iris:1", "--home", str(home), "--json"],
                          cwd=tmp_path, env={**os.environ, **OFFLINE, "PYTHONPATH": str(site)}, text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    installed, checkout = Path(json.loads(done.stdout)["path"]), Path(_build(home, "iris:1")["path"])
    assert _files(installed / "src") == _files(checkout / "src")
    assert (installed / "env" / "python" / "requirements.txt").read_text() == (
        checkout / "env" / "python" / "requirements.txt").read_text()


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_changed_artifact_is_not_built_in(home: Path, bentos: Path) -> None:
    """Pinned by digest: files that are not those registered are refused, in one sentence."""
    artifact = next((home / "models" / "iris" / "1" / "artifact").iterdir())
    artifact.chmod(0o644)
    artifact.write_bytes(artifact.read_bytes() + b" ")
    with pytest.raises(AssertionError, match=r"The files of iris:1 in .* changed after registration"):
        _build(home, "iris:1")


def test_a_users_models_package_is_found_under_serve(users_folder: Path, users_home: Path, tmp_path: Path) -> None:
    """A pickle refers to `models.features` of the user's own folder; our `models/` does not stand before it."""
    command = [sys.executable, "-P", "-c", "import sys; sys.path.insert(0, ''); from serinus.serving.cli import main; "
               "main()", "serve", "--home", str(users_home), "--port", "0"]
    with Server(users_home, users_folder, command=command,
                environ={"PYTHONPATH": os.pathsep.join(("", str(CHECKOUT)))}) as server:
        assert _answer(server, "/predict", ROW)["predictions"] == [{"predict": 6.0}]


def test_a_users_models_package_is_found_in_a_bento_that_carries_it(
        bare_python: str, users_folder: Path, users_home: Path, bentos: Path, tmp_path: Path) -> None:
    """`--code FOLDER` travels along, and comes first."""
    built = _build(users_home, "doubling", "--code", str(users_folder))
    _serves(BentoServer(bare_python, built["tag"], tmp_path / "fresh", tmp_path))


def test_a_users_models_package_is_found_beside_a_bento(
        bare_python: str, users_folder: Path, users_home: Path, bentos: Path, tmp_path: Path) -> None:
    """Without `--code` the modules may come from PYTHONPATH. The Bento is named by its folder this time."""
    built = _build(users_home, "doubling")
    _serves(BentoServer(bare_python, built["path"], tmp_path / "fresh", tmp_path, python_path=str(users_folder)))


def _serves(server: BentoServer) -> None:
    with contextlib.ExitStack() as stack:
        stack.callback(server.end)
        server.launch()
        assert _answer(server, "/predict", ROW)["predictions"] == [{"predict": 6.0}]
