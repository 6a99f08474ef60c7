"""What the server can be asked, written out: an OpenAPI document of the served models, and a page for people.

`documentation` answers for both; `document` puts the pieces together: `fields` (JSON Schemas of a signature),
`inference` (one page of operations per protocol), `management` (everything else), and `page` (HTML).
"""

from __future__ import annotations

from serinus.serving.openapi.document import Parts
from serinus.serving.openapi.documentation import Documentation

__all__ = ["Documentation", "Parts"]
