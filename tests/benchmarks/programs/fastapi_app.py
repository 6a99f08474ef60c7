"""FastAPI as its tutorial writes it: a pydantic model in, a pydantic model out. Runs in the peer's own environment."""

from fastapi import FastAPI
from pydantic import BaseModel
from session import open_session, predict

app = FastAPI()
session = open_session()


class Rows(BaseModel):
    """A request."""

    rows: list[list[float]]


class Predictions(BaseModel):
    """An answer."""

    labels: list[int]
    probabilities: list[list[float]]


@app.get("/ready")
async def ready() -> dict[str, bool]:
    """Say so."""
    return {"ready": True}


@app.post("/predict")
def answer(request: Rows) -> Predictions:
    """Answer a request, as the tutorial advises for code that blocks: in a thread."""
    labels, probabilities = predict(session, request.rows)
    return Predictions(labels=labels.tolist(), probabilities=probabilities.tolist())


@app.post("/predict-async")
async def answer_on_the_loop(request: Rows) -> Predictions:
    """Answer a request on the event loop, which a slow model would hold up."""
    return answer(request)
