"""Explanations on request: of a prediction of the log, or of rows in KServe V1's form (`:explain`). One at a time in
each worker, in a thread of its own, so that predictions do not wait for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serinus.monitors.profile import Profile
from serinus.serving.access import note_access
from serinus.serving.errors import ControlRefused, NotServed, RequestError
from serinus.serving.explanation import Explanation, explain
from serinus.serving.home import Home
from serinus.serving.ids import parse_prediction_id
from serinus.serving.inputs import validate
from serinus.serving.monitoring import MonitorFiles
from serinus.serving.prediction_log import find
from serinus.serving.protocols.kserve_v1 import KServeV1
from serinus.serving.router import Arm, Router
from serinus.serving.settings import LimitSettings

__all__ = ["ADDRESS", "MOST_ROWS", "Explainer"]

ADDRESS = re.compile(r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[^/:]+))?:explain")
"""KServe V1's paths of explanations."""
MOST_ROWS = 8


class Explainer:
    """What one worker can explain: answers of the versions that it has loaded, against their references."""

    def __init__(self, home: Home, router: Router, limits: LimitSettings) -> None:
        self._home = home
        self._router = router
        self._protocol = KServeV1(limits)
        self._busy = asyncio.Lock()

    async def of_prediction(self, model: str, prediction_id: str, actor: str) -> dict[str, Any]:
        """Why a prediction of the log is as it is. Raises `ControlRefused`."""
        wanted = parse_prediction_id(prediction_id)
        record = None if wanted is None else await asyncio.to_thread(find, self._home.log, prediction_id)
        if wanted is None or record is None or record.model != model:
            raise ControlRefused(f"Prediction {prediction_id[:80]!r} of {model} is not in the log.", "not_found")
        arm = self._arm(model, record.version)
        note_access(self._home, actor, "http", f"explanation of {prediction_id}", 1)
        row, answered = (_row(arrays, record.rows, wanted.row) for arrays in (record.inputs, record.outputs))
        missing = [field.name for field in arm.signature.inputs if not field.optional and field.name not in row]
        if missing:
            raise ControlRefused(f"The log does not have input {missing[0]!r}, so this answer cannot be had again.",
                                 "refused")
        found = await self._explain(arm, row, answered)
        return {"prediction_id": prediction_id, "model": model, "version": arm.version, **_told(found)}

    async def of_rows(self, model: str, version: str | None, body: bytes) -> dict[str, Any]:
        """KServe V1: an explanation for each of the request's rows. Raises `ControlRefused` and `RequestError`."""
        arm = self._arm(model, version)
        sent = self._protocol.parse(body, {}, arm.contract)
        request = validate(sent, arm.contract, MOST_ROWS)
        if arm.guard is not None:
            request = arm.guard.check(request, sent.inputs)
        rows = [_row(request.inputs, request.rows, place) for place in range(request.rows)]
        return {"model_name": model, "model_version": arm.version,
                "explanations": [_told(await self._explain(arm, row, None)) for row in rows]}

    def _arm(self, model: str, version: str | None) -> Arm:
        try:
            return self._router.arm(model, version)
        except NotServed as error:
            raise ControlRefused(str(error), "not_found") from None
        except RequestError as error:
            raise ControlRefused(str(error), "unavailable") from None

    def _profile(self, arm: Arm) -> Profile:
        files = MonitorFiles(self._home.monitors)
        view = files.view(arm.name, arm.version)
        profile = None if view is None or view.digest is None else files.profile(view.digest)
        if profile is None:
            raise ControlRefused(f"{arm.name}:{arm.version} has no reference yet, so nobody knows what is usual.",
                                 "refused")
        return profile

    async def _explain(self, arm: Arm, row: Mapping[str, NDArray[Any]],
                       answered: Mapping[str, NDArray[Any]] | None) -> Explanation:
        if self._busy.locked():
            raise ControlRefused("This worker is explaining another answer. Try again.", "unavailable")
        async with self._busy:
            return await asyncio.to_thread(self._work, arm, row, answered)

    def _work(self, arm: Arm, row: Mapping[str, NDArray[Any]],
              answered: Mapping[str, NDArray[Any]] | None) -> Explanation:
        profile = self._profile(arm)
        try:
            if answered is not None and not _same(arm.model.predict(row), answered):
                raise ControlRefused("The model does not give this answer to what the log has: personal values were "
                                     "not kept as they came, or it does not always answer the same.", "refused")
            return explain(arm.model, profile, row)
        except ControlRefused:
            raise
        except Exception as error:  # a model may fail on rows that nobody sent
            raise ControlRefused(f"The model failed on a row with a usual value in it ({type(error).__name__}).",
                                 "refused") from error


def _row(arrays: Mapping[str, NDArray[Any]], rows: int, row: int) -> dict[str, NDArray[Any]]:
    return {name: array[row:row + 1] if array.shape[:1] == (rows,) else array for name, array in arrays.items()}


def _same(now: Mapping[str, NDArray[Any]], then: Mapping[str, NDArray[Any]]) -> bool:
    """Whether all that the log has is answered again, but for rounding."""
    return all(name in now and _alike(now[name], array) for name, array in then.items())


def _alike(now: NDArray[Any], then: NDArray[Any]) -> bool:
    if now.shape != then.shape:
        return False
    if now.dtype.kind == "f":
        return bool(np.allclose(now, then.astype(now.dtype), rtol=1e-4, atol=1e-6, equal_nan=True))
    return bool(now.astype(str).tolist() == then.astype(str).tolist())


def _told(found: Explanation) -> dict[str, Any]:
    return {"output": found.output, "label": found.label, "score": found.score, "usual_score": found.usual_score,
            "contributions": [each._asdict() for each in found.contributions], "left_out": list(found.left_out),
            "text": found.text}
