"""What a request's headers say of its body and of the answer that it wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from serinus.models.signature import Signature
from serinus.serving.errors import UnsupportedEncoding
from serinus.serving.protocols import Headers
from serinus.serving.protocols.csv_tables import read_csv
from serinus.serving.protocols.parquet_tables import read_parquet
from serinus.serving.protocols.tables import Table
from serinus.serving.settings import LimitSettings

__all__ = ["CSV", "FILES", "JSON", "media_type", "wants_csv"]

JSON = "application/json"
CSV = "text/csv"
FILES: Mapping[str, Callable[[bytes, Signature, LimitSettings], Table]] = {
    CSV: read_csv, "application/vnd.apache.parquet": read_parquet, "application/x-parquet": read_parquet}
"""What reads a table that came as a file, by its media type."""


def media_type(headers: Headers) -> tuple[str, tuple[str, ...]]:
    """The body's media type, empty where nothing is said, and the names of its parameters besides the charset.

    Raises `UnsupportedEncoding` for another charset than UTF-8.
    """
    main, *parameters = headers.get(b"content-type", b"").decode("latin-1").lower().split(";")
    others = []
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() != "charset":
            others.append(name.strip())
        elif value.strip().strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedEncoding(f"Content-Type charset {value.strip()[:40]!r} is not understood; send UTF-8.")
    return main.strip(), tuple(others)


def wants_csv(headers: Headers) -> bool:
    """Whether the answer is to be CSV: asked for by name, in answer to CSV."""
    accepted = headers.get(b"accept", b"").decode("latin-1").lower().split(",")
    return any(kind.partition(";")[0].strip() == CSV for kind in accepted) and media_type(headers)[0] == CSV
