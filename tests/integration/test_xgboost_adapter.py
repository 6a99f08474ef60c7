"""The example of a plug-in, installed as a user would install it, beside the libraries that it is for.

They are large and no part of what Serinus needs, so they get an environment of their own on top of this one: marked
slow, since it downloads them (one to two minutes in all).
"""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

from serinus.serving.home import Home
from tests.integration.client import Client
from tests.integration.server import CHECKOUT, Server

pytestmark = pytest.mark.slow

EXAMPLE = CHECKOUT / "examples" / "xgboost_adapter"

TRAIN = """
import numpy as np, pandas as pd, xgboost
rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=["age", "income", "visits"]).astype("float32")
data = xgboost.DMatrix(frame, frame["age"] > frame["income"])
booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, num_boost_round=10)
booster.save_model("churn.ubj")
print(*booster.predict(xgboost.DMatrix(frame.head(2))), *frame.head(2).to_numpy().ravel())
"""

CLASSIFIERS = """
import joblib, numpy as np, pandas as pd, sys
from lightgbm import LGBMClassifier
from pathlib import Path
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier
from serinus.models import Registry, Trust, register, register_file
from serinus.models.frame import arrays_of
from serinus.models.loading import measured_digest

rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(300, 3)), columns=["age", "income", "visits"])
kinds = (frame["age"] > frame["income"]).astype(int)
home = Path(sys.argv[1])
for estimator in (XGBClassifier(n_estimators=5, n_jobs=1), LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)):
    fitted = make_pipeline(StandardScaler().set_output(transform="pandas"), estimator).fit(frame, kinds)
    name = type(estimator).__name__.lower()
    joblib.dump(fitted, f"{name}.joblib")
    digest = measured_digest(Path(f"{name}.joblib"))
    file = register_file(Path(f"{name}.joblib"), f"{name}-file", home=home, reference=frame, trust=[digest])
    for version in (file, register(fitted, name, home=home, reference=frame)):
        model = Registry(home).load(version, trust=Trust(home))
        answer = model.predict(arrays_of(frame, version.signature.inputs))
        assert answer["predict"].tolist() == fitted.predict(frame).tolist()
        assert np.array_equal(answer["predict_proba"], fitted.predict_proba(frame))
        print(version.tag, version.adapter, *version.signature.output("predict_proba").labels)
"""


class Installed:
    """An environment that has the example and its libraries, and all that this one has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "venv" / "bin" / "python"
        self.environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.run(sys.executable, "-m", "venv", folder / "venv")
        (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        # Lines of a .pth file that start with an import are run: so the other environment's own .pth files count too.
        lines = [f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages()]
        (packages / "beneath.pth").write_text("".join(lines))
        self.run(self.python, "-m", "pip", "install", "-q", "xgboost-cpu", "lightgbm")
        shutil.copytree(EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("__pycache__"))
        self.run(self.python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", folder / "example")

    def run(self, *words: object) -> str:
        """Run a program in the folder; what it printed."""
        done = subprocess.run([str(word) for word in words], cwd=self.folder, env=self.environ, capture_output=True,
                              text=True, timeout=600)
        assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Everything installed, once."""
    return Installed(tmp_path_factory.mktemp("plugin"))


def test_the_example_keeps_the_contract(installed: Installed) -> None:
    """Its own tests pass, from where a user would run them."""
    tests = installed.folder / "example"
    printed = installed.run(installed.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
                            "--rootdir", tests, tests)
    assert "passed" in printed and "skipped" not in printed


def test_a_booster_is_registered_served_and_asked(installed: Installed, tmp_path: Path) -> None:
    """By the command line alone, without trust, and the answers are the booster's own."""
    numbers = [float(word) for word in installed.run(installed.python, "-c", TRAIN).split()]
    expected, values = numbers[:2], numbers[2:]
    home = tmp_path / "home"
    said = installed.run(installed.python, "-m", "serinus", "models", "register", "churn", "churn.ubj", "--home", home)
    assert said.startswith("Registered churn:1 (xgboost, 3 fields in, 1 field out).")
    command = [installed.python, "-m", "serinus", "serve", "churn", "--home", home, "--workers", "2", "--port", "0"]
    with Server(home, tmp_path, command=[str(word) for word in command]) as server:
        server.wait_for_banner()
        with Client(server.port) as client:
            columns = dict(zip(("age", "income", "visits"), values[:3], strict=True))
            second = dict(zip(("age", "income", "visits"), values[3:], strict=True))
            answer = client.post("/predict", {"rows": [columns, second]})
            assert answer.status == 200, answer.body
            assert [row["predict"] for row in answer.json()["predictions"]] == pytest.approx(expected, rel=1e-6)
            assert answer.version == "1"
    assert not (Home(home).path / "trust.toml").exists()


def test_the_scikit_learn_interfaces_need_no_plug_in(installed: Installed, tmp_path: Path) -> None:
    """XGBClassifier and LGBMClassifier in pipelines: from a script and from a joblib file, by the sklearn adapter."""
    printed = installed.run(installed.python, "-c", CLASSIFIERS, tmp_path / "home")
    assert printed.splitlines() == [
        "xgbclassifier-file:1 sklearn 0 1", "xgbclassifier:1 sklearn 0 1",
        "lgbmclassifier-file:1 sklearn 0 1", "lgbmclassifier:1 sklearn 0 1",
    ]
