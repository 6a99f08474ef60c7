"""Which version answers: a table in memory, replaced whole, so that a rollback is a pointer flip."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from hashlib import blake2b
from random import randrange
from typing import TYPE_CHECKING, NamedTuple

from serinus.models.model import Model
from serinus.models.signature import Signature
from serinus.models.steps import tells_steps
from serinus.serving.batching import BatchQueue
from serinus.serving.board import mark_tag
from serinus.serving.errors import ModelUnavailable, NotServed
from serinus.serving.expectations import Guard
from serinus.serving.rollout.routing import Bucketer
from serinus.serving.rollout.state import FULL_WEIGHT, RolloutRecord
from serinus.serving.veto import Veto

if TYPE_CHECKING:
    from serinus.serving.custom_monitors import CustomWatch
    from serinus.serving.observer import Waiting, Watch
    from serinus.serving.shadow.mirror import Mirror
    from serinus.serving.trial import Trial

__all__ = ["Arm", "Choice", "Loaded", "Route", "Router", "class_output", "decide", "key_hash", "value_output"]

_log = logging.getLogger("serinus.router")

_STUCK = 2
"""So many calls that do not end make a version unready."""
_PACE_STEP, _PACE_START = 0.1, 100
_PACE_UP, _PACE_DOWN = 1 + 0.99 * _PACE_STEP, 1 - 0.01 * _PACE_STEP
STABLE, CANDIDATE = "stable", "candidate"


class Loaded(NamedTuple):
    """A model in memory, its platform's name in the Open Inference Protocol, how long it took when warmed up, whether
    requests may share one call of it, by how many bytes the process grew for it, and what checks its requests."""

    model: Model
    platform: str
    expected_ns: Mapping[int, float]
    batches: bool = False
    grew: int = 0
    guard: Guard | None = None


class Pace:
    """What is slow for a version, by a running estimate of the 99th percentile of its requests' time.

    A stochastic approximation: every request moves the estimate a little, 99 times as far up, when it was slower, as
    down, when it was not; at rest one in a hundred is slower.
    """

    __slots__ = ("_p99_ns", "_seen")

    def __init__(self) -> None:
        self._p99_ns = 0.0
        self._seen = 0

    def is_slow(self, took_ns: int) -> bool:
        """Whether a request was slower than all but about one in a hundred; the first hundred are not."""
        if took_ns <= self._p99_ns:
            self._p99_ns *= _PACE_DOWN
            self._seen += 1
            return False
        self._p99_ns = self._p99_ns * _PACE_UP if self._seen else float(took_ns)
        self._seen += 1
        return self._seen > _PACE_START


class Arm:
    """One loaded version in one role, with what every request of it shares."""

    __slots__ = ("batches", "class_counters", "class_output", "contract", "custom", "expected_ns", "guard", "head",
                 "mark", "mirror", "model", "name", "pace", "platform", "queue", "role", "runs_user_code", "series",
                 "signature", "stuck", "tells_steps", "trial", "value_output", "values", "version", "watch")

    def __init__(self, name: str, version: str, role: str, loaded: Loaded) -> None:
        model = loaded.model
        self.name = name
        self.version = version
        self.role = role
        self.model = model
        self.platform = loaded.platform
        self.signature: Signature = model.signature
        self.guard = loaded.guard
        self.contract = self.signature if self.guard is None else self.guard.contract
        """The signature that requests are read with."""
        self.mark = (2 if role == CANDIDATE else 1) | mark_tag(name, version) << 8
        self.head = b"x-model-version: %b\r\nx-model-role: %b\r\n" % (version.encode(), role.encode())
        self.series: dict[str, int] = {}
        """Where on the board this arm's answers on each route are counted."""
        self.expected_ns = dict(loaded.expected_ns)
        """Running mean of the model's own time, by the number of rows' bit length."""
        self.batches = loaded.batches
        self.queue: BatchQueue | None = None
        """Where requests wait for a shared call; made when the first one does."""
        self.class_output = class_output(self.signature)
        """The output that holds one class label per row, if there is one."""
        self.class_counters: dict[object, int] = {}
        """Where on the board each of its labels is counted."""
        self.value_output = None if self.class_output else value_output(self.signature)
        """Else the output that holds one number per row, if there is one."""
        self.values = -1
        """Where on the board its values are counted; -1 before the first."""
        self.pace = Pace()
        self.watch: Watch | Waiting | None = None
        """What its monitors look at; None where they are off, or have not begun."""
        self.custom: CustomWatch | None = None
        """What installed monitors look at; None where none watches this model."""
        self.trial: Trial | None = None
        """What counts its requests; None where no rollout judges itself."""
        self.mirror: Mirror | None = None
        """What copies some of its requests to a shadow; None where there is none."""
        self.tells_steps = tells_steps(model)
        self.runs_user_code: bool = getattr(model, "runs_user_code", False)
        self.stuck = 0
        """Calls that go on past the deadline, each in a thread that nobody can stop."""

    @property
    def why_unready(self) -> str:
        """Why nothing may be asked of it just now; empty where it may."""
        return "" if self.stuck < _STUCK else (
            f"Model {self.name}:{self.version} does not answer: {self.stuck} of its calls go on past the deadline. "
            "It is asked again when one of them ends.")

    def came_back(self, _: object) -> None:
        """One of its stuck calls has ended."""
        self.stuck -= 1

    def learn(self, rows: int, took_ns: int) -> None:
        """Remember how long the model took for `rows` rows."""
        size = rows.bit_length()
        known = self.expected_ns.get(size)
        self.expected_ns[size] = took_ns if known is None else known + 0.1 * (took_ns - known)


def class_output(signature: Signature) -> str | None:
    """The output that holds one class label per row, if there is one."""
    return next((field.name for field in signature.outputs if field.labels and len(field.shape) == 1), None)


def value_output(signature: Signature) -> str | None:
    """The output that holds one number per row, if there is one."""
    return next((field.name for field in signature.outputs if field.dtype.kind == "f" and not field.labels
                 and not field.sequence and field.shape in ((-1,), (-1, 1))), None)


class Choice(NamedTuple):
    """The arm that answers, why (OpenTelemetry's feature-flag reasons), and the routing key's hash (0: no key)."""

    arm: Arm
    reason: str
    key_hash: int


class Route(NamedTuple):
    """Where a model's requests go. `weight` is the candidate's share in basis points."""

    model: str
    stable: Arm
    candidate: Arm | None
    weight: int
    bucketer: Bucketer | None
    others: Mapping[str, Arm]
    """Further loaded versions, reachable by their own address only."""
    static: Choice
    """The choice while nothing is on trial."""

    @property
    def arms(self) -> list[Arm]:
        """Everything loaded, stable first."""
        return [arm for arm in (self.stable, self.candidate, *self.others.values()) if arm is not None]


class Target(NamedTuple):
    """What record and veto together ask for."""

    stable: str
    candidate: str | None
    weight: int
    salt: str
    keep: tuple[str, ...]
    """Versions to stay loaded besides: the previous stable one, for a rollback."""


def key_hash(key: str) -> int:
    """64 bits that stand for a routing key in the log."""
    return int.from_bytes(blake2b(key.encode("utf-8", "replace"), digest_size=8).digest())


def decide(record: RolloutRecord, veto: Veto | None, *, stale: bool, now: float) -> Target | None:
    """What a worker should do, from the record it knows and the veto that stands; None without a stable version.

    A veto holds whatever the record says; a snapshot that nobody confirmed for long takes the weight away.
    """
    if record.stable is None:
        return None
    previous = record.previous_at(now)
    keep = (previous,) if previous else ()
    candidate = record.candidate if record.running else None
    if veto is not None:
        return Target(veto.stable, None, 0, record.salt, tuple(dict.fromkeys((record.stable, *keep))))
    weight = 0 if stale or candidate is None else min(record.weight, FULL_WEIGHT)
    return Target(record.stable, candidate, weight, record.salt, keep)


class Router:
    """The routing table of a worker. `load` brings a name's version into memory, or raises.

    Only `follow` changes it, and only by replacing whole routes; a request keeps the arm it was given.
    """

    def __init__(self, load: Callable[[str, str], Loaded], on_failure: Callable[[], None] = lambda: None) -> None:
        self.routes: dict[str, Route] = {}
        self._load = load
        self._on_failure = on_failure
        self.released = False
        """Set when a model was let go; for whoever gives its memory back to reset."""
        self._models: dict[tuple[str, str], Loaded] = {}
        self._failed: dict[tuple[str, str], str] = {}
        self._loading: tuple[str, str] | None = None

    def choose(self, name: str, version: str | None, key: str | None) -> Choice:
        """The arm for a request. Raises `NotServed` or `ModelUnavailable`."""
        route = self.routes.get(name)
        if route is None:
            raise self._unknown(name)
        if version is None and key is None and route.bucketer is None:
            return route.static
        hashed = key_hash(key) if key is not None else 0
        if version is not None:
            return Choice(self._named(route, version), "targeting_match", hashed)
        if route.bucketer is None or route.candidate is None:
            return Choice(route.stable, "static", hashed)
        bucket = randrange(FULL_WEIGHT) if key is None else route.bucketer(key)
        return Choice(route.candidate if bucket < route.weight else route.stable, "split", hashed)

    def arm(self, name: str, version: str | None) -> Arm:
        """The arm that an address describes: the stable one where it names no version. Raises as `choose` does."""
        route = self.routes.get(name)
        if route is None:
            raise self._unknown(name)
        return route.stable if version is None else self._named(route, version)

    def missing(self, target: Target, name: str) -> list[str]:
        """The versions of `target` that are not loaded yet, stable first."""
        wanted = [target.stable, target.candidate, *target.keep]
        return [version for version in dict.fromkeys(wanted)
                if version is not None and (name, version) not in self._models
                and (name, version) not in self._failed]

    def load(self, name: str, version: str) -> None:
        """Load a version; slow, so off the event loop. A failure is logged, counted and remembered."""
        self._loading = name, version
        try:
            self._models[name, version] = self._load(name, version)
        except Exception as error:  # whatever a model file does, the worker goes on
            self._failed[name, version] = str(error)
            self._on_failure()
            _log.error("%s:%s cannot be loaded: %s", name, version, error)
        finally:
            self._loading = None

    def flip(self, name: str, target: Target) -> bool:
        """Point `name` at what is loaded of `target`; False when not even its stable version is loaded."""
        if (name, target.stable) not in self._models:
            return False
        before = self.routes.get(name)
        stable = self._arm(before, name, target.stable, STABLE)
        candidate = None
        if target.candidate is not None and (name, target.candidate) in self._models:
            candidate = self._arm(before, name, target.candidate, CANDIDATE)
        bucketer = Bucketer(target.salt) if candidate is not None and target.weight > 0 else None
        others = {version: self._arm(before, name, version, STABLE) for version in target.keep
                  if (name, version) in self._models and version != target.stable}
        after = Route(name, stable, candidate, target.weight, bucketer, others, Choice(stable, "static", 0))
        self.routes[name] = after
        _part_with(before, after.arms)
        return True

    def forget(self, name: str, keep: set[str]) -> None:
        """Let go of the versions of `name` that are not wanted any more, and retry failed ones when asked again.

        They are not closed: an admitted request may still wait for a thread to ask one. The last one frees it.
        """
        for known in (self._models, self._failed):
            for key in tuple(known):  # a loading thread may add to it
                if key[0] == name and key[1] not in keep:
                    del known[key]
                    self.released = True

    def drop(self, name: str) -> None:
        """Serve nothing of `name` any more. Requests under way keep the arm that they were given."""
        _part_with(self.routes.pop(name, None), [])
        self.forget(name, set())

    def retry(self, name: str) -> None:
        """Let versions of `name` that could not be loaded be missing again."""
        for key in tuple(self._failed):
            if key[0] == name:
                del self._failed[key]

    def state(self, name: str, version: str) -> tuple[str, str]:
        """Whether a version is "ready", "loading" or "unavailable", and in the last case why, if it was tried."""
        route = self.routes.get(name)
        arms = [arm for arm in route.arms if arm.version == version] if route is not None else []
        if arms:
            return next((("unavailable", arm.why_unready) for arm in arms if arm.why_unready), ("ready", ""))
        if self._loading == (name, version):
            return "loading", ""
        return "unavailable", self._failed.get((name, version), "")

    @property
    def failed(self) -> set[tuple[str, str]]:
        """Names and versions that could not be loaded."""
        return set(self._failed)

    @property
    def memory(self) -> dict[tuple[str, str], int]:
        """By how many bytes the process grew for each name and version that is in memory."""
        return {key: loaded.grew for key, loaded in tuple(self._models.items())}  # a loading thread may add to it

    def close(self) -> None:
        """Close every model."""
        for loaded in self._models.values():
            loaded.model.close()
        self._models.clear()
        self.routes.clear()

    def _arm(self, before: Route | None, name: str, version: str, role: str) -> Arm:
        for arm in () if before is None else before.arms:
            if arm.version == version and arm.role == role:
                return arm
        return Arm(name, version, role, self._models[name, version])

    def _named(self, route: Route, version: str) -> Arm:
        for arm in route.arms:
            if arm.version == version:
                return arm
        raise NotServed(f"Version {version!r} of model {route.model!r} is not served here; served: "
                        f"{', '.join(sorted(arm.version for arm in route.arms))}.")

    def _unknown(self, name: str) -> NotServed | ModelUnavailable:
        if any(key[0] == name for key in tuple(self._failed)):  # a loading thread may add to it
            return ModelUnavailable(f"Model {name!r} could not be loaded; the server's log says why.")
        names = ", ".join(sorted(self.routes)) or "none"
        return NotServed(f"Model {name!r} is not served here; served: {names}.")


def _part_with(before: Route | None, kept: list[Arm]) -> None:
    """Take the queues off the arms that are not `kept`: arm and queue know each other, and a collector that passes over
    what was there at the start would never free the two, nor their model."""
    for arm in () if before is None else before.arms:
        if all(arm is not other for other in kept):
            arm.queue = None
