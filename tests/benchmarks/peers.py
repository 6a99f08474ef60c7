"""Other servers of the same model: what each is installed from, in an environment of its own, and how it starts.

Each is as its package installs it and its documentation writes it, with one worker in the process that accepts where it
can do that, and with access logs, metrics and its second protocol off where a documented switch does so.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).with_name("programs")
_ONNXRUNTIME = f"onnxruntime=={version('onnxruntime')}"


class PeerError(Exception):
    """A peer could not be installed or prepared."""


@dataclass(frozen=True)
class Peer:
    """What stands in a virtual environment."""

    name: str
    requirements: tuple[str, ...]

    def folder(self, venvs: Path) -> Path:
        """Return the environment's folder."""
        return venvs / self.name

    def python(self, venvs: Path) -> Path:
        """Return the environment's interpreter."""
        return self.folder(venvs) / "bin" / "python"

    def install(self, venvs: Path) -> None:
        """Make the environment, unless one of exactly these requirements is there."""
        folder, stamp = self.folder(venvs), self.folder(venvs) / "requirements.txt"
        wanted = "\n".join((f"# Python {sys.version.split()[0]}", *self.requirements)) + "\n"
        if stamp.is_file() and stamp.read_text("utf-8") == wanted:
            return
        print(f"Installing {', '.join(self.requirements)} into {folder} …", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        for what in (("--upgrade", "pip"), self.requirements):
            run([str(self.python(venvs)), "-m", "pip", "install", "-q", *what])
        stamp.write_text(wanted, "utf-8")  # last: what is not complete is made anew

    def versions(self, venvs: Path) -> dict[str, str]:
        """Return the versions of everything in the environment."""
        listed = run([str(self.python(venvs)), "-m", "pip", "list", "--format", "json"])
        return {each["name"]: each["version"] for each in json.loads(listed)}


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed; raise PeerError with its last words."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
    if done.returncode:
        raise PeerError(f"`{' '.join(command)}` failed:\n{(done.stderr or done.stdout)[-3000:]}")
    return done.stdout


def default_venvs() -> Path:
    """Return the folder in which environments are kept from one run to the next."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "serinus-benchmarks", "venvs")


KSERVE = Peer("kserve", ("kserve==0.21.0", _ONNXRUNTIME))
MLSERVER = Peer(
    "mlserver",
    ("mlserver==1.7.1", "mlserver-sklearn==1.7.1", f"scikit-learn=={version('scikit-learn')}", _ONNXRUNTIME),
)
LITSERVE = Peer("litserve", ("litserve==0.2.19", _ONNXRUNTIME))
MLFLOW = Peer("mlflow", ("mlflow==3.17.2", f"onnx=={version('onnx')}", _ONNXRUNTIME))
FASTAPI = Peer("fastapi", ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", _ONNXRUNTIME))
PEERS = {peer.name: peer for peer in (KSERVE, MLSERVER, LITSERVE, MLFLOW, FASTAPI)}


Prepare = Callable[[Path, Path, Path], Any]
"""Puts into a folder (the third) what a server starts from, given its interpreter and the model's file."""


def prepare_mlserver(implementation: str) -> Prepare:
    """Return what writes MLServer's two files for this runtime."""

    def prepare(python: Path, model: Path, folder: Path) -> None:
        settings = {"parallel_workers": 0, "debug": False, "metrics_endpoint": None, "host": "127.0.0.1"}
        (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
        parameters = {"name": "breast", "implementation": implementation, "parameters": {"uri": str(model)}}
        (folder / "model-settings.json").write_text(json.dumps(parameters), "utf-8")

    return prepare


def prepare_mlflow(python: Path, model: Path, folder: Path) -> None:
    """Save the model as MLflow keeps one."""
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": ""}
    run([str(python), str(PROGRAMS / "mlflow_model.py"), str(model), str(folder / "saved")], environment)
