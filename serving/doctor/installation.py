"""Python, and the libraries in the versions that Serinus asks for."""

from __future__ import annotations

import platform
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import serinus
from serinus.serving.doctor.check import Check, ok, problem, warning

__all__ = ["look_at_installation", "requirements"]

_OLDEST = (3, 11)
_LOOP = ("uvloop", "httptools")
_TOLD = ("bentoml", "scikit-learn", "onnxruntime", "opentelemetry-sdk")


def look_at_installation() -> Iterator[Check]:
    """One line on Python, one for each library that is missing or outside its range, one on the event loop."""
    found = platform.python_version()
    yield ok("python", f"Python {found} at {sys.executable}.") if sys.version_info >= _OLDEST else problem(
        "python", f"Python {found} is too old.", "Install Python 3.11 or newer, and Serinus for it.")
    yield from look_at_libraries(requirements())
    missing = [name for name in _LOOP if _installed(name) is None]
    yield ok("event loop", "uvloop and httptools are installed.") if not missing else warning(
        "event loop", f"{' and '.join(missing)} not installed: a server answers about half as many requests a second.",
        f"pip install {' '.join(missing)}")


def look_at_libraries(wanted: list[str]) -> Iterator[Check]:
    """Compare what is installed with requirement lines (PEP 508)."""
    from packaging.requirements import Requirement

    unfit = []
    for requirement in map(Requirement, wanted):
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        found = _installed(requirement.name)
        fits = found is not None and requirement.specifier.contains(found, prereleases=True)
        if applies and not fits and (found is not None or requirement.name not in _LOOP):
            unfit.append(problem("libraries", f"{requirement.name} is {found or 'not installed'}, wanted "
                                              f"{requirement.specifier}.", f"pip install '{requirement}'"))
    yield from unfit
    if not wanted:
        yield warning("libraries", "Which versions Serinus wants is not known here.", "Install it with pip.")
    elif not unfit:
        told = ", ".join(f"{name} {_installed(name)}" for name in _TOLD)
        yield ok("libraries", f"{told}; all {len(wanted)} are in their ranges.")


def requirements() -> list[str]:
    """What Serinus asks for: by its metadata, or in a checkout or a Bento by its `pyproject.toml`; nothing where
    neither can be read."""
    try:
        found = requires("serinus") or []
    except PackageNotFoundError:
        file = Path(serinus.__file__).resolve().parent.parent / "pyproject.toml"
        try:
            found = tomllib.loads(file.read_text("utf-8"))["project"]["dependencies"]
        except OSError:
            found = []
    return [line for line in found if "extra ==" not in line]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
