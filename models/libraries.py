"""The libraries that a model's answers depend on: which are installed, and how they differ from those of training."""

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed", "relevant", "skew"]

_ALWAYS = ("joblib", "numpy", "onnxruntime", "pandas", "scikit-learn", "scipy", "skops")
_IF_USED = {"catboost": "catboost", "imblearn": "imbalanced-learn", "lightgbm": "lightgbm", "xgboost": "xgboost"}
"""Libraries that pickles may need, by module: recorded where the process that registers has imported them."""
_OF_ADAPTER = {"onnx": {"onnxruntime"}}


def installed() -> dict[str, str]:
    """Give the installed versions by distribution name, sorted."""
    used = [name for module, name in _IF_USED.items() if module in sys.modules]
    found = {name: _version(name) for name in sorted((*_ALWAYS, *used))}
    return {name: number for name, number in found.items() if number is not None}


def relevant(adapter: str, libraries: Mapping[str, str]) -> dict[str, str]:
    """Leave out the libraries that have no say in the answers of this adapter's models."""
    if adapter in _OF_ADAPTER:
        return {name: number for name, number in libraries.items() if name in _OF_ADAPTER[adapter]}
    return {name: number for name, number in libraries.items() if name not in ("joblib", "onnxruntime", "skops")}


def skew(libraries: Mapping[str, str]) -> list[str]:
    """Say which of the recorded libraries are installed in another major or minor version, or not at all.

    Args:
        libraries: the versions that a model was made with, by distribution name.

    Returns:
        A phrase per library, such as "scikit-learn 1.8.2, here 1.9.1"; empty where all agree.
    """
    phrases = []
    for name, then in sorted(libraries.items()):
        now = _version(name)
        if now is None or _minor(now) != _minor(then):
            phrases.append(f"{name} {then}, here {now or 'not installed'}")
    return phrases


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _minor(number: str) -> list[str]:
    return number.split(".")[:2]
