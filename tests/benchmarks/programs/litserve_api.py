"""LitServe with the model as its documentation writes one. Runs in the peer's own environment."""

import sys
from typing import Any

import litserve
import session


class Breast(litserve.LitAPI):
    """The same model as every other server here."""

    def setup(self, device: str) -> None:
        """Open the model."""
        self.session = session.open_session()

    def decode_request(self, request: dict[str, Any]) -> list[list[float]]:
        """Return the rows of a request."""
        rows: list[list[float]] = request["rows"]
        return rows

    def predict(self, rows: list[list[float]]) -> Any:
        """Run the model."""
        return session.predict(self.session, rows)

    def encode_response(self, answer: Any) -> dict[str, Any]:
        """Return an answer."""
        labels, probabilities = answer
        return {"labels": labels.tolist(), "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Breast(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
