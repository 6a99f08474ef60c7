"""One frozen tree of settings: defaults < `serinus.toml` < environment (`SERINUS_SECTION_KEY`) < flags.

The parent process resolves the tree once and hands it to supervisor, workers and steward as a file
(`SERINUS_SETTINGS`), so that all of them agree.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serinus.models.home import default_home
from serinus.serving.errors import SettingsError

__all__ = ["AlertSettings", "ControlSettings", "EventSettings", "GroundTruthSettings", "LimitSettings", "LogSettings",
           "MonitorSettings", "ReferralLimits", "ReferralSettings", "RetrainingSettings", "RoutingSettings",
           "SecuritySettings", "ServerSettings", "Settings", "TelemetrySettings", "TokenSettings",
           "ValidationSettings"]

_PREFIX = "SERINUS_"
# Read by a process of ours directly; not settings of the tree.
_OTHER_VARIABLES = {"SERINUS_SETTINGS", "SERINUS_RUN", "SERINUS_PARENT", "SERINUS_ONNX_THREADS", "SERINUS_WORKERS",
                    "SERINUS_SPAWNER", "SERINUS_URL", "SERINUS_TELEMETRY_SOURCE", "SERINUS_RETRAINING"}
# Tables whose keys are the user's own words.
_TABLES = {"alerts.notifiers", "performance.by_model", "referral.by_model"}
# Lists of tables; in the environment they are JSON.
_LISTS = {"control.tokens"}
# What never stands in a message.
_SECRET = "control.token"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Section):
    """Where the server listens and what it serves."""

    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=0, le=65535)
    workers: int = Field(default=2, ge=1, le=256)
    models: tuple[str, ...] = ()
    """Tags (`name` or `name:version`); empty means everything registered."""
    default_model: str | None = None
    """What a bare `/predict` means when several models are served."""
    linger_seconds: float = Field(default=0.0, ge=0)
    """From being no longer ready until new connections are refused: time for a load balancer to notice."""
    drain_seconds: float = Field(default=10.0, ge=0)
    """For requests under way at a shutdown; then the processes are killed."""


class LimitSettings(_Section):
    """What one request, and all of them together, may ask for."""

    body_bytes: int = Field(default=16 * 1024 * 1024, ge=1)
    """Also after decompression."""
    rows: int = Field(default=10_000, ge=1)
    extra_columns: Literal["ignore", "refuse"] = "ignore"
    """What happens to columns of a table that the model does not know: left out with a remark, or refused. The Open
    Inference Protocol, whose inputs are named one by one, refuses them always."""
    concurrency: int = Field(default=256, ge=1)
    """Requests under way in one worker; more are answered 429."""
    deadline_seconds: float = Field(default=30.0, gt=0)
    inline_seconds: float = Field(default=0.002, ge=0)
    """A predict call expected to take longer runs in a thread."""
    alone_seconds: float = Field(default=0.0001, ge=0)
    """A predict call expected to take longer shares its call with requests that wait for the same version."""
    batch_rows: int = Field(default=256, ge=0)
    """Rows of one shared call at most; larger requests run by themselves, and 0 switches sharing off."""
    memory_reserve: float = Field(default=0.15, ge=0, lt=1)
    """Share of the memory limit that a version may not take when it is loaded; 0 loads whatever is asked for."""


class RoutingSettings(_Section):
    """How a caller is told from another."""

    key_header: str = "x-routing-key"
    key_cookie: str | None = Field(default=None, min_length=1)
    """The cookie that names the caller where the header does not."""
    key_input: str | None = Field(default=None, min_length=1)
    """The input whose value in the first row names the caller where neither does; for models that have it."""
    version_header: str | None = Field(default=None, min_length=1)
    """A header in which the callers of `version_callers` may name the version that answers them. What they get counts
    for no rollout."""
    version_callers: tuple[str, ...] = ()
    """Routing keys; the header is ignored from everybody else."""


class LogSettings(_Section):
    """The prediction log."""

    enabled: bool = True
    on_error: Literal["refuse", "serve"] = "refuse"
    """When a record cannot be written: answer 503, or answer and count."""
    segment_bytes: int = Field(default=64 * 1024 * 1024, ge=4096)
    segment_seconds: float = Field(default=3600.0, gt=0)
    """A segment that is older is ended by the next record, and may be compacted."""
    compact: bool = True
    """Whether finished segments are replaced by Parquet files."""
    cap_bytes: int = Field(default=10 * 1000**3, ge=1)
    """Segments and Parquet files together; the oldest are removed beyond this size."""
    keep_days: float = Field(default=0.0, ge=0)
    """Days after which records are removed; 0: as long as `cap_bytes` allows."""
    url: str | None = Field(default=None, min_length=1)
    """A folder or a URL of fsspec (`s3://bucket/log`, `gs://…`) to which Parquet files are copied."""
    sample_share: float = Field(default=1.0, ge=0, le=1)
    """The share of requests that is logged, chosen by their ids. What is not logged cannot be joined, looked up,
    replayed or learnt from."""
    key_header: str = Field(default="x-prediction-key", min_length=1)
    """The header with a caller's own key, by which ground truth may come and a person be erased."""
    key_input: str | None = Field(default=None, min_length=1)
    """The input whose value in each row is the key, where the header is missing; for models that have it."""


class EventSettings(_Section):
    """Each logged request as CloudEvents, in the form of KServe's inference logger. Off without `url`."""

    url: str | None = Field(default=None, pattern="^https?://[^/@]+(/.*)?$")
    """Where they are posted to."""
    mode: Literal["all", "request", "response"] = "all"
    """What was asked, what was answered, or both."""
    namespace: str = "default"
    source: str | None = None
    """The events' `source`; `/serinus/HOST` if not given."""
    deadline_seconds: float = Field(default=3600.0, gt=0)
    """What could not be delivered so long after the request is dropped, and counted."""
    timeout_seconds: float = Field(default=5.0, gt=0)


class TelemetrySettings(_Section):
    """OpenTelemetry. The standard `OTEL_*` variables go before `endpoint` and `protocol`."""

    traces: Literal["on", "off"] = "on"
    endpoint: str | None = None
    """Of an OTLP collector, as `OTEL_EXPORTER_OTLP_ENDPOINT` would say it."""
    protocol: Literal["http/protobuf", "grpc"] | None = None
    log_format: Literal["console", "json"] = "console"
    """Form of the server's own log lines on stderr."""
    flag_events: bool = False
    """Whether each request that a rollout assigns to stable or candidate is also an event `feature_flag.evaluation`."""
    cost_per_cpu_hour: float = Field(default=0.0, ge=0)
    """What an hour of one core costs, in any currency; 0 tells no costs."""
    detail_share: float = Field(default=0.01, ge=0, le=1)
    """Of the requests that were not interesting by themselves (error, violation, candidate, slow), the share whose
    stages are told one by one as spans."""


class MonitorSettings(_Section):
    """What is watched in the requests, and how."""

    enabled: bool = True
    run_length: int = Field(default=1_000_000, ge=1000)
    """Rows from one false alarm to the next, at least and on average, while live rows look like the reference's."""
    learn_rows: int = Field(default=5_000, ge=0)
    """A version that came without a reference learns one from so many of its first rows; 0: it is not watched."""
    observe_share: float = Field(default=0.25, gt=0)
    """The monitors' share of a request's own time (parse and predict) beyond which they look at a random sample of its
    rows only, of 32 at least."""
    novelty: bool = True
    """Whether each row's novelty is told in its answer. Off, it is watched for drift only."""


class AlertSettings(_Section):
    """When what the monitors find is told to people, and by whom."""

    severity: Literal["warn", "alarm", "act"] = "alarm"
    """The least severity that makes an alert."""
    for_seconds: float = Field(default=60.0, ge=0)
    """How long something must be wrong before anybody is told."""
    keep_firing_seconds: float = Field(default=900.0, ge=0)
    """How long all must be well again before the alert is over."""
    repeat_seconds: float = Field(default=4 * 3600.0, gt=0)
    """From one message to the next while it lasts and nobody has acknowledged it."""
    deadline_seconds: float = Field(default=24 * 3600.0, gt=0)
    """A message that did not arrive by then is given up."""
    notifiers: Mapping[str, Mapping[str, Any]] = {}
    """By name: `kind`, and the options of that kind. The server's log is always told."""


class RetrainingSettings(_Section):
    """What is started when a model should be trained again. Off by default."""

    enabled: bool = False
    models: tuple[str, ...] = ()
    """Names; empty means every model."""
    command: tuple[str, ...] = ()
    """A program and its arguments, run without a shell, in a folder of its own."""
    notifier: str | None = None
    """One of `alerts.notifiers`, told instead of a command, or besides it."""
    actions: tuple[Literal["retrain", "recalibrate"], ...] = ("retrain", "recalibrate")
    """The recommendations that start it."""
    cooldown_seconds: float = Field(default=24 * 3600.0, ge=0)
    """From one start for a model to the next."""
    timeout_seconds: float = Field(default=6 * 3600.0, gt=0)
    window_seconds: float = Field(default=7 * 24 * 3600.0, gt=0)
    """How far back the data goes that the command is told to look at."""
    every_days: int = Field(default=0, ge=0)
    """By the calendar: every so many days, whatever the monitors say; 0: never."""
    at: str = Field(default="03:00", pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """The time of day for that, in UTC."""
    start: bool = False
    """Whether a rollout of what the command registered is started, from its shadow on, if its evaluation passed."""


class ValidationSettings(_Section):
    """How the values of requests are held to what is expected of them."""

    mode: Literal["enforce", "warn", "off"] = "enforce"
    """Do what each field's policy says; or remark upon everything, and change and refuse nothing; or look at nothing.
    Types, shapes and presence are held to the signature always, and personal values are never written."""


class GroundTruthSettings(_Section):
    """What became of predictions: how much of it is taken at a time, and what holds where it contradicts itself."""

    rows: int = Field(default=100_000, ge=1)
    """Of one call."""
    body_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    spool_bytes: int = Field(default=1000**3, ge=4096)
    """What may wait for the store; beyond it nothing is taken."""
    conflict: Literal["latest", "majority", "source", "quarantine"] = "latest"
    """Which of several final values holds: the latest, that of most, that of the first of `sources`, or none."""
    sources: tuple[str, ...] = ()
    """The most believed first, for `conflict = "source"`."""
    late_seconds: float = Field(default=30 * 24 * 3600.0, gt=0)
    """A truth that comes longer after its prediction is counted as late; it counts like any other."""
    orphan_seconds: float = Field(default=7 * 24 * 3600.0, gt=0)
    """How long a truth is kept whose prediction is not in the log."""
    keep_days: int = Field(default=400, ge=1)
    """How long windows are kept, and the truths of their predictions."""
    mature_share: float = Field(default=0.8, gt=0, le=1)
    """Share of an hour's predictions whose truth must be known, or due by what is known of delays, before the hour is
    judged."""


class WorthSettings(_Section):
    """What a classifier's answers are worth to those who act on them; classes are named by their text."""

    positive: str = ""
    """The class that precision and recall are of; empty: of two classes the last one."""
    values: Mapping[str, Mapping[str, float]] = {}
    """What a row is worth, by its truth and then by its answer; costs are negative, what is left out is 0."""
    unit: str = ""
    """Of these numbers, such as `EUR`."""


class PerformanceSettings(_Section):
    """What live answers turn out to be worth, and from when on that is harm."""

    tolerance: float = Field(default=0.02, ge=0, lt=1)
    """By how much more than was promised at registration the mean loss (0 to 1) may be."""
    run_length: int = Field(default=100_000, ge=1000)
    """Rows with a truth from one false harm alarm to the next, at least and on average."""
    sample_rows: int = Field(default=2_000, ge=100, le=20_000)
    """Of each version and hour, so many rows are looked at for estimates, slices and causes: a random sample."""
    slices: tuple[str, ...] = ()
    """Inputs whose values are judged each by itself, such as `region`, or two of them: `region × channel`; and outcome
    events, `event:complaint`: predictions that had one, and those that had none."""
    groups: tuple[str, ...] = ()
    """Inputs between whose values no model should differ: gaps in how often, and how well, each is selected."""
    by_model: Mapping[str, WorthSettings] = {}
    """By a model's name: `positive`, `values` and `unit`, what its answers are worth."""


class ReferralLimits(_Section):
    """Which answers of a model are a person's to give."""

    confidence: float | None = Field(default=None, gt=0, le=1)
    """Answers whose largest class probability is below this."""
    novelty_p: float | None = Field(default=None, gt=0, le=1)
    """Rows whose novelty p-value is at or below this: of rows like the reference, about this share."""


class ReferralSettings(ReferralLimits):
    """Which answers are a person's to give: they are marked, with the reason, and counted. What stands here holds for
    every model that `by_model` does not name."""

    by_model: Mapping[str, ReferralLimits] = {}
    """By a model's name: `confidence` and `novelty_p`; what is left out is off for it."""


class SecuritySettings(_Section):
    """Signals of extraction and inversion, and what makes both harder. What changes answers is off by default."""

    signals: bool = True
    """Whether clients' rows are looked at. A signal is logged and counted; nothing is refused because of it."""
    look_share: float = Field(default=0.02, ge=0, le=1)
    """Of the requests of a client that has given no evidence yet, the share whose rows are looked at."""
    client_header: str | None = None
    """A header that names the client, set by a gateway that you trust. Without it a client is who sends the same
    `Authorization`, else the peer's address."""
    requests_per_second: float | None = Field(default=None, gt=0)
    """Of one client, all workers together; more are answered 429 with `Retry-After`."""
    burst: int = Field(default=20, ge=1)
    """Requests that a client may send at once after a silence."""
    round_digits: int | None = Field(default=None, ge=0, le=15)
    """Digits after the point that answered probabilities are rounded to. Log and monitors keep all of them."""


class ShadowSettings(_Section):
    """The process in which candidates answer copies of requests, before any caller meets them."""

    priority: Literal["idle", "low", "normal"] = "idle"
    """When it runs: when nothing else wants the processor, with the least weight (`low`, for hosts that are never
    idle), or like a steward (`normal`, for hosts with a core to spare)."""
    deadline_seconds: float = Field(default=10.0, gt=0)
    """Copies that are older are dropped; a call that sleeps for longer is ended, and is the candidate's failure."""


class TokenSettings(_Section):
    """One token: who has it, what it is good for, and either itself or the file that holds it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$")
    scopes: tuple[Literal["infer", "feedback", "read", "operate"], ...] = ("read",)
    token: str | None = Field(default=None, min_length=1, repr=False)
    file: Path | None = None

    @model_validator(mode="after")
    def _one_secret(self) -> TokenSettings:
        if (self.token is None) == (self.file is None):
            raise ValueError(f"token {self.name!r} needs either token or file")
        return self


class ControlSettings(_Section):
    """Who may change what is served."""

    token: str | None = Field(default=None, min_length=1, repr=False)
    """One that may do everything, and whose holder says himself who he is."""
    tokens: tuple[TokenSettings, ...] = ()
    """Further ones, each with a name, which stands in the journal, and scopes. As soon as one has the scope `infer`,
    predictions need such a token too."""
    behind_proxy: bool = False
    """A proxy on this host passes others' calls on, so that listening on loopback keeps nobody out: control calls then
    need the token. (Calls with a `Forwarded` header need it anyway.)"""
    allowed_hosts: tuple[str, ...] = ()
    """`Host` values accepted besides loopback names and the bind address."""


class UiSettings(_Section):
    """The dashboard at `/ui`."""

    trace_url: str | None = Field(default=None, pattern=r"^https?://[^\s]*\{trace_id\}[^\s]*$")
    """Where a trace can be looked at, with `{trace_id}` in its place: `http://localhost:16686/trace/{trace_id}`."""


class Settings(_Section):
    """All settings. `home` is where models, log, store and run files live."""

    home: Path = Field(default_factory=default_home)
    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    routing: RoutingSettings = RoutingSettings()
    log: LogSettings = LogSettings()
    events: EventSettings = EventSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    monitors: MonitorSettings = MonitorSettings()
    validation: ValidationSettings = ValidationSettings()
    alerts: AlertSettings = AlertSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    ground_truth: GroundTruthSettings = GroundTruthSettings()
    performance: PerformanceSettings = PerformanceSettings()
    referral: ReferralSettings = ReferralSettings()
    security: SecuritySettings = SecuritySettings()
    shadow: ShadowSettings = ShadowSettings()
    control: ControlSettings = ControlSettings()
    ui: UiSettings = UiSettings()

    @classmethod
    def resolve(cls, *, config: Path | None = None, environ: Mapping[str, str] | None = None,
                flags: Mapping[str, Any] | None = None) -> Settings:
        """Merge the sources; unknown keys and bad values are errors that name their source.

        `flags` maps dotted keys (`server.port`) to values; None values are left out.
        """
        tree, sources = _merged(config, os.environ if environ is None else environ, flags or {})
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise SettingsError(_sentence(error, sources)) from None

    @classmethod
    def sources(cls, *, config: Path | None = None, environ: Mapping[str, str] | None = None,
                flags: Mapping[str, Any] | None = None) -> dict[str, str]:
        """What gave each setting that is given at all, by its dotted key: a file, a variable, or `flag`."""
        return _merged(config, os.environ if environ is None else environ, flags or {})[1]

    @classmethod
    def handed_over(cls) -> Settings:
        """The settings that the parent wrote, or those of the environment when there is no parent."""
        path = os.environ.get("SERINUS_SETTINGS")
        try:
            return cls.model_validate_json(Path(path).read_bytes()) if path else cls.resolve()
        except FileNotFoundError:
            raise SystemExit(f"serinus: {path} is gone: the server that wrote its settings there has ended.") from None


def _merged(config: Path | None, environ: Mapping[str, str],
            flags: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The values as a tree, and their sources by dotted key: what comes later goes before what came earlier."""
    tree: dict[str, Any] = {}
    sources: dict[str, str] = {}
    path = config or (Path("serinus.toml") if Path("serinus.toml").is_file() else None)
    if path is not None:
        for key, value in _flatten(_read_toml(path)):
            _put(tree, sources, key, value, f"{path}")
    for name, value in sorted(environ.items()):
        if value and name.startswith(_PREFIX) and name not in _OTHER_VARIABLES:  # empty is the same as unset
            _put(tree, sources, _key_of_variable(name), _split_if_many(_key_of_variable(name), value), name)
    for key, value in flags.items():
        if value is not None:
            _put(tree, sources, key, value, "flag")
    return tree, sources


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"Settings file {path}: no such file. Give an existing file to --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"Settings file {path} is not valid TOML: {error}.") from None


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in tree.items():
        nested = isinstance(value, dict) and prefix + key not in _TABLES
        pairs += _flatten(value, f"{prefix}{key}.") if nested else [(prefix + key, value)]
    return pairs


def _known() -> dict[str, Any]:
    known: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            known |= {f"{name}.{key}": inner.annotation for key, inner in section.model_fields.items()}
        else:
            known[name] = section
    return known


def _put(tree: dict[str, Any], sources: dict[str, str], key: str, value: Any, source: str) -> None:
    known = _known()
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(sorted(known))}."
        raise SettingsError(f"Unknown setting {key!r} (from {source}).{hint}")
    sources[key] = source
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = value


def _key_of_variable(name: str) -> str:
    words = name.removeprefix(_PREFIX).lower()
    section = next((field for field in Settings.model_fields if words.startswith(f"{field}_")), words.partition("_")[0])
    key = words[len(section) + 1:]
    return f"{section}.{key}" if key else section


def _split_if_many(key: str, value: str) -> Any:
    if key in _TABLES | _LISTS:
        with contextlib.suppress(ValueError):  # what is no JSON is no table either, and is told as that
            return json.loads(value)
    many = "tuple" in str(_known().get(key))
    return [part.strip() for part in value.split(",") if part.strip()] if many else value


def _sentence(error: ValidationError, sources: Mapping[str, str]) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    source = sources.get(key) or sources.get(".".join(key.split(".")[:2]), "settings")
    got = "" if key.startswith(_SECRET) else f", got {first['input']!r}"
    return f"Setting {key!r} (from {source}): {first['msg'][:1].lower()}{first['msg'][1:]}{got}."
