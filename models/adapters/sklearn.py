"""Estimators and pipelines with scikit-learn's interface, from joblib, pickle or skops files."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serinus.models.errors import UnsupportedArtifact, one_line
from serinus.models.model import Adapter, Model
from serinus.models.reviewed_types import REVIEWED_TYPES
from serinus.models.signature import Signature

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SklearnAdapter"]

_PICKLES = {".joblib", ".pkl", ".pickle"}
_METHODS = ("predict", "predict_proba", "transform", "get_params")


class SklearnAdapter(Adapter):
    """Serves any fitted classifier, regressor, clusterer, transformer or pipeline."""

    name = "sklearn"

    def accepts(self, artifact: Path) -> bool:
        """Tell by pickle's first bytes, skops' `schema.json`, or the suffix of a (compressed) pickle."""
        return artifact.suffix.lower() in _PICKLES or _is_pickle(artifact) or _is_skops(artifact)

    def runs_code(self, artifact: Path) -> bool:
        """A pickle does; a skops file only if it needs types that nobody has reviewed."""
        return bool(_unknown_types(artifact)) if _is_skops(artifact) else True

    def why_code(self, artifact: Path) -> str:
        """Name the unknown types of a skops file, or what a pickle is."""
        if _is_skops(artifact):
            return f"holds types that are not known to be safe ({', '.join(_unknown_types(artifact))})"
        return "is a pickle, which runs code of its own choice when it is loaded"

    def read(self, artifact: Path) -> Any:
        """Load the estimator. Raises UnsupportedArtifact if the file is damaged or needs what is not installed."""
        try:
            return _read_skops(artifact) if _is_skops(artifact) else _read_pickle(artifact)
        except Exception as error:
            raise UnsupportedArtifact(
                f"{artifact} cannot be loaded as a scikit-learn model (damaged, cut short, or made with packages that "
                f"differ from the installed ones): {type(error).__name__}: {one_line(error)}"
            ) from error

    def owns(self, fitted: object) -> bool:
        """Tell by the methods: `fit`, and one of predict, predict_proba, transform and get_params."""
        return not isinstance(fitted, type) and hasattr(fitted, "fit") and any(hasattr(fitted, m) for m in _METHODS)

    def infer_signature(self, fitted: Any, reference: "DataFrame | None" = None) -> Signature:
        """Work it out from the estimator's own attributes and the reference, and try it on one row."""
        from serinus.models.estimator import infer_signature

        return infer_signature(fitted, reference)

    def wrap(self, fitted: Any, signature: Signature | None = None) -> Model:
        """Make a model of a fitted estimator."""
        from serinus.models.estimator import EstimatorModel

        return EstimatorModel(fitted, signature or self.infer_signature(fitted))

    def save(self, fitted: Any, folder: Path) -> Path:
        """Write the estimator as `model.joblib`, uncompressed."""
        import joblib

        path = folder / "model.joblib"
        joblib.dump(fitted, path)
        return path


def _is_pickle(artifact: Path) -> bool:
    with artifact.open("rb") as stream:
        head = stream.read(2)
    return len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def _is_skops(artifact: Path) -> bool:
    if not zipfile.is_zipfile(artifact):
        return False
    with zipfile.ZipFile(artifact) as archive:
        return "schema.json" in archive.namelist()


def _unknown_types(artifact: Path) -> list[str]:
    from skops.io import get_untrusted_types

    try:
        return sorted(set(get_untrusted_types(file=artifact)) - REVIEWED_TYPES)
    except Exception as error:
        raise UnsupportedArtifact(f"{artifact} is not a skops file that can be read: {one_line(error)}") from error


def _read_skops(artifact: Path) -> Any:
    from skops.io import get_untrusted_types, load

    from serinus.models.index_tables import check_index_tables

    # Types beyond the reviewed ones get here only if the user trusts the file's digest: see `runs_code`.
    fitted = load(artifact, trusted=get_untrusted_types(file=artifact))
    check_index_tables(fitted)
    return fitted


def _read_pickle(artifact: Path) -> Any:
    import joblib

    return joblib.load(artifact)
