"""Serinus: any scikit-learn or ONNX model as a monitored HTTP endpoint.

The three parts are `serinus.models` (what a model is), `serinus.monitors` (what we watch) and
`serinus.serving` (the composition). In a checkout or a built Bento they lie beside this folder, so it
extends its own search path; once installed they lie inside it.
"""

from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from serinus.serving.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "__version__"]
__version__ = "0.1.0"

_COMPOSITION = "serinus.serving.registration"
"""Completes what `serinus.models.register` begins: models know nothing of monitors and of serving."""

_here = _Path(__file__).resolve().parent
if not (_here / "serving").is_dir():
    __path__.append(str(_here.parent))


def __getattr__(name: str) -> _Any:
    """The clients, which load their libraries when they are first asked for."""
    if name not in ("AsyncClient", "Client"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serinus.serving import client

    return getattr(client, name)
