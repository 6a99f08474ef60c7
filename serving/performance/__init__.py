"""Performance in a server: what versions promised at registration, and what their live answers turn out to be worth."""

from serinus.serving.performance.published import FORMAT, published

__all__ = ["FORMAT", "published"]
