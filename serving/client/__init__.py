"""The Python client: `serinus.Client`, and `serinus.AsyncClient` that is awaited.

    with serinus.Client("http://127.0.0.1:3000") as client:
        answer = client.predict("iris", frame)
        client.feedback(answer.prediction_ids, truths)

What is sent, when it is sent again and how answers are read is the same for both (`calls.py`, `retries.py`,
`answer.py`); they differ in how they wait.
"""

from serinus.serving.client.answer import Answer, Remarks
from serinus.serving.client.async_client import AsyncClient, AsyncRollouts
from serinus.serving.client.client import Client, Rollouts
from serinus.serving.client.documents import (
    Alert,
    Contribution,
    Explanation,
    Monitored,
    Receipt,
    RolledBack,
    Rollout,
    ServedModel,
)
from serinus.serving.client.errors import (
    Busy,
    ClientError,
    Failed,
    InputInvalid,
    NotAllowed,
    NotPossible,
    Refused,
    Unknown,
    Unreachable,
)
from serinus.serving.client.retries import Retries

__all__ = ["Alert", "Answer", "AsyncClient", "AsyncRollouts", "Busy", "Client", "ClientError", "Contribution",
           "Explanation", "Failed", "InputInvalid", "Monitored", "NotAllowed", "NotPossible", "Receipt", "Refused",
           "Remarks", "Retries", "RolledBack", "Rollout", "Rollouts", "ServedModel", "Unknown", "Unreachable"]
