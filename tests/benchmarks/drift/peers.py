"""Other drift detectors: what each is installed from, in an environment of its own, and the program that drives it.

A program (`programs/with_NAME.py`) takes a file of rows and gives one JSON document; `programs/task.py` says which.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.benchmarks.peers import Peer, run

PROGRAMS = Path(__file__).with_name("programs")
ROOT = Path(__file__).parents[3]

PEERS = {
    peer.name: peer
    for peer in (
        Peer("river", ("river==0.26.1",)),
        Peer("evidently", ("evidently==0.7.23", "pandas==2.3.3")),  # it does not import with pandas 3
        Peer("frouros", ("frouros==0.9.0",)),
        Peer("nannyml", ("nannyml==0.13.1", "statsmodels==0.15.0", "pandas==2.3.3")),  # it imports statsmodels
        Peer("alibi-detect", ("alibi-detect==0.13.0",)),
    )
}
OURS = {"serinus": ("scipy", "pandas"), "scipy": ("scipy",)}
"""What runs in this interpreter's own environment, and the packages that it imports."""


@dataclass(frozen=True)
class Program:
    """A detector's program and the interpreter that runs it."""

    name: str
    python: Path
    environment: Path | None = None
    """The virtual environment's folder; none where it is ours."""

    def ask(self, task: str, **arrays: NDArray[Any]) -> dict[str, Any]:
        """Run one task on these rows, and return what the program said."""
        return self.ask_all(task, [arrays])[0]

    def ask_all(self, task: str, asked: Sequence[Mapping[str, NDArray[Any]]]) -> list[dict[str, Any]]:
        """Run a task on one set of rows after the other, in one process."""
        script = PROGRAMS / f"with_{self.name.replace('-', '_')}.py"
        with tempfile.TemporaryDirectory() as folder:
            answer, files = Path(folder, "answer.json"), [Path(folder, f"{i}.npz") for i in range(len(asked))]
            for file, arrays in zip(files, asked, strict=True):
                np.savez(file, **arrays)  # type: ignore[arg-type]
            run([str(self.python), str(script), task, str(answer), *map(str, files)], _quiet())
            answered: list[dict[str, Any]] = json.loads(answer.read_text("utf-8"))
        return answered

    def megabytes(self) -> float:
        """Return the size of the packages without pip and compiled Python; of ours, of what it depends on."""
        files = _files_of(closure(OURS[self.name])) if self.environment is None else _files_in(self.environment)
        return sum(file.lstat().st_size for file in files if file.suffix != ".pyc" and not file.is_dir()) / 1e6


def closure(names: Iterable[str]) -> set[str]:
    """Return these distributions and all that they depend on without extras, as far as installed."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = canonicalize_name(left.pop())
        if name not in found and (requirements := _requirements(name)) is not None:
            found.add(name)
            left += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def _requirements(name: str) -> list[Requirement] | None:
    try:
        return [Requirement(line) for line in metadata.requires(name) or ()]
    except metadata.PackageNotFoundError:
        return None


def _files_of(names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        located = (Path(str(file.locate())) for file in metadata.files(name) or ())
        yield from (file for file in located if file.exists())


def _files_in(environment: Path) -> Iterator[Path]:
    for folder in environment.glob("lib/python*/site-packages/*"):
        if not folder.name.startswith(("pip", "setuptools", "_distutils", "pkg_resources")):
            yield from folder.rglob("*") if folder.is_dir() else (folder,)


def program(name: str, venvs: Path) -> Program:
    """Return a detector's program, its packages installed. Raises PeerError where that fails."""
    if name in OURS:
        return Program(name, Path(sys.executable))
    peer = PEERS[name]
    peer.install(venvs)
    return Program(name, peer.python(venvs), peer.folder(venvs))


def _quiet() -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    telemetry = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    return {**os.environ, **threads, **telemetry, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore",
            "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
