"""Where each signal goes, what decided that, and whether somebody takes it there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from serinus.serving.doctor.check import Check, ok, problem, warning
from serinus.serving.settings import Settings
from serinus.serving.telemetry.probe import probe, without_password
from serinus.serving.telemetry.variables import SIGNALS, Destination, Signal, adopt, destination

__all__ = ["look_at_telemetry"]

_SAMPLERS = ("always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
             "parentbased_traceidratio")


def look_at_telemetry(settings: Settings) -> Iterator[Check]:
    """A line for each signal, and those on sampler and propagators. It is this process's environment that is looked
    at; a running server has its own."""
    adopt(settings.telemetry)
    chosen = {signal: destination(signal) for signal in SIGNALS}
    asked = [signal for signal in SIGNALS if chosen[signal].exporter == "otlp" and not _is_off(signal, settings)]
    with ThreadPoolExecutor(len(SIGNALS)) as pool:
        answers = dict(zip(asked, pool.map(lambda signal: probe(signal, chosen[signal]), asked), strict=True))
    for signal, found in chosen.items():
        if found.problem:
            yield warning(signal, found.problem, "Set it to one of these.")
        yield ok(signal, "Off, by telemetry.traces.") if _is_off(signal, settings) else _told(
            signal, found, answers.get(signal, ""))
    yield _sampler()
    yield from _propagators()


def _is_off(signal: Signal, settings: Settings) -> bool:
    return signal == "traces" and settings.telemetry.traces == "off"


def _told(signal: Signal, found: Destination, refusal: str) -> Check:
    wanted = f"OTEL_{signal.upper()}_EXPORTER"
    if found.exporter == "none" and "otlp" in os.environ.get(wanted, "").lower() and found.source == wanted:
        return warning(signal, f"{wanted} asks for export, and no endpoint is set: nothing is exported.",
                       "Set OTEL_EXPORTER_OTLP_ENDPOINT, to http://localhost:4318 say.")
    if found.exporter == "none":  # a source is a variable or a reason
        return ok(signal, f"Not exported{': ' if ' ' in found.source else ', by '}{found.source}.")
    if found.exporter == "console":
        return ok(signal, f"To standard output, by {found.source}.")
    where = f"To {without_password(found.endpoint)} over {found.protocol}, by {found.source}"
    if not refusal:
        return ok(signal, f"{where}; it answers.")
    return problem(signal, f"{where}; {refusal}.", "Answers are not affected, and what it should get is lost. Start "
                                                   f"it, correct the variable, or set OTEL_{signal.upper()}_EXPORTER="
                                                   "none.")


def _sampler() -> Check:
    name, argument = (os.environ.get(f"OTEL_TRACES_SAMPLER{end}", "").strip() for end in ("", "_ARG"))
    if not name:
        return ok("sampler", "parentbased_always_on, the default: every request, unless its caller's trace is not "
                             "sampled.")
    if name.lower() not in _SAMPLERS:
        return warning("sampler", f"OTEL_TRACES_SAMPLER={name} is not known: the default is taken.",
                       f"Set one of {', '.join(_SAMPLERS)}.")
    if name.lower().endswith("ratio") and not _is_share(argument):
        return warning("sampler", f"OTEL_TRACES_SAMPLER_ARG={argument} is no share for {name}: 1 is taken.",
                       "Set a number from 0 to 1.")
    return ok("sampler", f"{name}{f' {argument}' if argument else ''}, by OTEL_TRACES_SAMPLER.")


def _is_share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _propagators() -> Iterator[Check]:
    given = os.environ.get("OTEL_PROPAGATORS", "").strip()
    if not given or "tracecontext" in given.split(","):
        yield ok("propagators", "W3C trace context (traceparent), which callers send and answers carry.")
    else:
        yield warning("propagators", f"OTEL_PROPAGATORS={given} is heeded only under a TracerProvider of your own; "
                                     "Serinus' own spans know W3C trace context (traceparent).",
                      "Have callers send traceparent, or run under opentelemetry-instrument.")
