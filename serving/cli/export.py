"""`serinus export`: files for Grafana, Prometheus, Kubernetes and the OpenTelemetry Collector."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serinus.serving.errors import CommandError

if TYPE_CHECKING:
    from serinus.serving.exports import Installation

__all__ = ["command"]

_share = click.FloatRange(0, 1)
_seconds = click.FloatRange(min=0, min_open=True)
_out_file = click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
                         help="Write into this file (default: print it).")


@click.group("export")
def command() -> None:
    """Files for other programs, made from the names that the server itself uses.

    Exit codes: 0 done, 1 a file cannot be written, 2 wrong usage.
    """


@command.command("grafana")
@_out_file
def grafana(out: Path | None) -> None:
    """A Grafana dashboard over the server's metrics, as JSON to import.
    """
    from serinus.serving.exports import dashboard

    _tell(json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n", out)


@command.command("alerts")
@click.option("--errors", type=_share, help="Share of requests that may fail by the server's fault (default 0.05).")
@click.option("--refused", type=_share, help="Share of requests that may be refused (default 0.2).")
@click.option("--slow", "slow_s", type=_seconds, metavar="SECONDS",
              help="Time within which 99 in 100 requests are answered (default 1).")
@click.option("--novelty", type=_share, help="Share of rows that may be unlike the reference (default 0.05).")
@_out_file
def alerts(out: Path | None, **chosen: float | None) -> None:
    """Alerting rules for Prometheus.
    """
    from serinus.serving.exports import Limits, alert_rules, yaml_text

    _tell(yaml_text(alert_rules(Limits(**_given(chosen))), "Made by `serinus export alerts`."), out)


@command.command("kubernetes")
@click.option("--name", help="Of every resource, and of the secret with the control token (default serinus).")
@click.option("--image", help="The image of your Bento (default serinus_service:latest).")
@click.option("--workers", type=click.IntRange(1, 256), help="Worker processes in a pod (default 2).")
@click.option("--min-replicas", "least", type=click.IntRange(min=1), help="Fewest pods (default 1).")
@click.option("--max-replicas", "most", type=click.IntRange(min=1),
              help="Most pods (default 1). With more, each has rollouts and a log of its own, which end with it.")
@click.option("--port", type=click.IntRange(1, 65535), help="In the container (default 3000).")
@click.option("--storage", help="Room for the home (default 20Gi).")
@click.option("--log-url", metavar="URL",
              help="Where the log is copied to, such as s3://bucket/log; credentials come from the secret NAME-log, if "
                   "there is one.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Write a kustomize base into this folder (default: print one stream of YAML documents).")
def kubernetes(out: Path | None, **chosen: Any) -> None:
    """Kubernetes resources for the image of a Bento, as a kustomize base.
    """
    from serinus.serving.exports import Installation, kubernetes

    installation = Installation(**_given(chosen))
    _check(installation)
    if installation.least > installation.most:
        raise click.UsageError(f"--min-replicas {installation.least} is more than --max-replicas {installation.most}.")
    files = kubernetes(installation)
    if out is None:
        files.pop("kustomization.yaml")  # it is no resource
        click.echo("---\n".join(files.values()), nl=False)
        return
    for name, text in files.items():
        _write(out / name, text)
    click.echo(f"Wrote {len(files)} files into {out}: kubectl apply -k {out}", err=True)


@command.command("collector")
@click.option("--endpoint", help="Where traces, metrics and log lines go on to, by OTLP over gRPC (default: the "
                                 "collector's own variable TRACES_ENDPOINT).")
@click.option("--share", type=_share, help="Of unremarkable requests, the share whose traces are kept (default 0.05).")
@click.option("--slow", "slow_s", type=_seconds, metavar="SECONDS",
              help="Requests that take longer are always kept (default 1).")
@_out_file
def collector(out: Path | None, **chosen: Any) -> None:
    """A configuration for the OpenTelemetry Collector that keeps the traces worth keeping.

    Those that failed, were refused, were slow, held a violation or an unusual row, met a candidate, or in which a
    shadow disagreed; of the rest a share. It needs the collector's contrib distribution (tail_sampling).
    """
    from serinus.serving.exports import Sampling, yaml_text
    from serinus.serving.exports import collector as made

    _tell(yaml_text(made(Sampling(**_given(chosen))), "Made by `serinus export collector`."), out)


def _given(chosen: dict[str, Any]) -> dict[str, Any]:
    """What was said; the rest has defaults, which stand in one place only."""
    return {name: value for name, value in chosen.items() if value is not None}


def _check(chosen: Installation) -> None:
    name, storage, url = chosen.name, chosen.storage, chosen.log_url
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?", name):
        raise click.UsageError(f"--name: expected at most 47 of a to z, 0 to 9 and -, beginning with a letter, got "
                               f"{name!r}.")
    if not re.fullmatch(r"[1-9][0-9]{0,5}(Mi|Gi|Ti|M|G|T)", storage):
        raise click.UsageError(f"--storage: expected a size such as 20Gi, got {storage!r}.")
    if url is not None and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s@]+", url):
        raise click.UsageError(f"--log-url: expected a URL without credentials, such as s3://bucket/log, got {url!r}.")


def _tell(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text, nl=False)
    else:
        _write(out, text)
        click.echo(f"Wrote {out}.", err=True)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}; give another --out.") from None
