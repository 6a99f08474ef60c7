"""What a model is: its signature, its versions, where they are kept, and how they load.

Names are imported when they are first used, so that importing this package loads no framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serinus.models.card import Card
    from serinus.models.errors import (
        DigestMismatch,
        InvalidInput,
        InvalidManifest,
        InvalidName,
        InvalidSignature,
        ModelError,
        ModelNotFound,
        ReadOnly,
        UnknownOutput,
        UnsupportedArtifact,
        UntrustedArtifact,
        VersionNotFound,
    )
    from serinus.models.home import default_home
    from serinus.models.lineage import Lineage
    from serinus.models.loading import load
    from serinus.models.model import Adapter, Model
    from serinus.models.registration import register, register_file, wrap
    from serinus.models.registry import Registry
    from serinus.models.signature import DATATYPES, Field, Signature, datatype_of
    from serinus.models.trust import Trust
    from serinus.models.version import ModelVersion, parse_tag

__all__ = [
    "DATATYPES",
    "Adapter",
    "Card",
    "DigestMismatch",
    "Field",
    "InvalidInput",
    "InvalidManifest",
    "InvalidName",
    "InvalidSignature",
    "Lineage",
    "Model",
    "ModelError",
    "ModelNotFound",
    "ModelVersion",
    "ReadOnly",
    "Registry",
    "Signature",
    "Trust",
    "UnknownOutput",
    "UnsupportedArtifact",
    "UntrustedArtifact",
    "VersionNotFound",
    "datatype_of",
    "default_home",
    "load",
    "parse_tag",
    "register",
    "register_file",
    "wrap",
]

_HOMES = {
    "Adapter": "model",
    "Card": "card",
    "DATATYPES": "signature",
    "Field": "signature",
    "Lineage": "lineage",
    "Model": "model",
    "ModelVersion": "version",
    "Registry": "registry",
    "Signature": "signature",
    "Trust": "trust",
    "datatype_of": "signature",
    "default_home": "home",
    "load": "loading",
    "parse_tag": "version",
    "register": "registration",
    "register_file": "registration",
    "wrap": "registration",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"serinus.models.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
