"""What can go wrong with a model: one tree, rooted at `ModelError`, that knows nothing of HTTP.

```
ModelError
├── InvalidName            a model name or tag that breaks the rules
├── ModelNotFound          no version is registered under this name
├── VersionNotFound        the model exists, this version of it does not
├── InvalidManifest        a version folder whose manifest cannot be read
├── InvalidSignature       a signature that is not one, or that does not fit its model
├── InvalidInput           the inputs of one call do not fit the signature
├── UnknownOutput          an output was asked for that the model does not have
├── UnsupportedArtifact    no adapter can make a model of this
├── UntrustedArtifact      loading this would run its code, and nobody said that it may
├── DigestMismatch         the files are not those that were registered
└── ReadOnly               a bundled version cannot be changed
```
"""

__all__ = [
    "DigestMismatch",
    "InvalidInput",
    "InvalidManifest",
    "InvalidName",
    "InvalidSignature",
    "ModelError",
    "ModelNotFound",
    "ReadOnly",
    "UnknownOutput",
    "UnsupportedArtifact",
    "UntrustedArtifact",
    "VersionNotFound",
    "one_line",
]


class ModelError(Exception):
    """Anything that `serinus.models` refuses; the message is one sentence meant for the user."""


class InvalidName(ModelError):
    """A model name or tag breaks the naming rule."""


class ModelNotFound(ModelError):
    """No version is registered under this name."""


class VersionNotFound(ModelError):
    """The model exists, but not in this version."""


class InvalidManifest(ModelError):
    """A version folder holds a manifest that cannot be read."""


class InvalidSignature(ModelError):
    """A signature is malformed, or does not fit the model it is given to."""


class InvalidInput(ModelError):
    """The inputs of one call do not fit the model's signature."""


class UnknownOutput(ModelError):
    """An output was asked for that the model does not have."""


class UnsupportedArtifact(ModelError):
    """No adapter can make a model of this artifact."""


class UntrustedArtifact(ModelError):
    """Loading this artifact would run code, and its digest is not trusted.

    Attributes:
        digest: the digest that would have to be trusted.
        reason: why loading it would run code, as a sentence.
    """

    def __init__(self, message: str, digest: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.digest = digest
        self.reason = reason


class DigestMismatch(ModelError):
    """A version's files are not the ones that were registered."""


class ReadOnly(ModelError):
    """A version that came bundled (in a Bento) cannot be changed or deleted."""


def one_line(error: Exception) -> str:
    """Give another library's message as part of a sentence: on one line and not endless."""
    return " ".join(str(error).split())[:1000]
