"""A BentoML service of one's own: it decides, and asks a Serinus server for what its models say.

Versions, rollouts, monitors and the prediction log stay the server's; the answer carries the prediction id on, so that
whoever learns what became of the loan can tell it.
"""

import os

import bentoml
from pydantic import BaseModel

import serinus
from serinus.serving.client import Unreachable


class Application(BaseModel):
    """What somebody who wants a loan says."""

    customer: str
    age: int
    income: float | None = None
    city: str | None = None


class Decision(BaseModel):
    """What we say, by which version, and under which id."""

    granted: bool
    reason: str
    version: str = ""
    prediction_id: str = ""


@bentoml.service(traffic={"timeout": 10})
class LoanDesk:
    """Grants loans."""

    def __init__(self) -> None:
        self._models = serinus.AsyncClient(os.environ.get("SERINUS_URL", "http://127.0.0.1:3000"), timeout=2.0)

    @bentoml.api
    async def decide(self, application: Application) -> Decision:
        """Rules first, then the model; without an answer a person decides."""
        if application.age < 18:
            return Decision(granted=False, reason="under age")
        try:
            answer = await self._models.predict("credit", application.model_dump(exclude={"customer"}),
                                                routing_key=application.customer)
        except Unreachable:
            return Decision(granted=False, reason="a person decides: the model cannot be asked")
        late, ids = answer["predict"][0] == "yes", answer.prediction_ids
        return Decision(granted=not late, reason="likely to pay late" if late else "likely to pay in time",
                        version=answer.version, prediction_id=ids[0])

    @bentoml.on_shutdown
    async def close(self) -> None:
        """End the connections."""
        await self._models.close()
