"""The group of all commands: lazily loaded, errors in one sentence."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

import serinus

__all__ = ["run"]

_COMMANDS = {
    "serve": ("serve", "Serve models over HTTP."),
    "demo": ("demo", "The whole story on real data, by itself."),
    "doctor": ("doctor", "Is everything in order?"),
    "models": ("models", "Register and look at model versions."),
    "rollout": ("rollout", "Try a new version on part of the traffic."),
    "rollback": ("rollback", "The previous version again, at once."),
    "monitor": ("monitor", "What the monitors see; two files compared."),
    "alerts": ("alerts", "What is wrong and lasts, and who is told."),
    "feedback": ("feedback", "Tell what became of predictions."),
    "log": ("log", "Read the prediction log."),
    "bento": ("bento", "Build a Bento that holds chosen versions."),
    "export": ("export", "Files for Grafana, Prometheus, Kubernetes and collectors."),
}


class _Lazy(click.Group):
    """Knows its commands by name and one line; imports one when it is run."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, _about = _COMMANDS[name]
        command: click.Command = import_module(f"serinus.serving.cli.{module}").command
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(serinus.__version__, prog_name="serinus")
def serinus_command() -> None:
    """Any scikit-learn or ONNX model as a monitored HTTP endpoint: traced, logged, reversible."""


def run() -> None:
    """Run the command line of this process. Exit codes: 0 done, 1 failed, 2 wrong usage, others by command."""
    try:
        code: Any = serinus_command.main(prog_name="serinus", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (the interpreter flushes it at the very end)
        sys.exit(0)
    except Exception as error:
        sentence, code = _told(error)
        if sentence is None:
            raise
        click.echo(f"serinus: {sentence}", err=True)
        sys.exit(code)
    sys.exit(code if isinstance(code, int) else 0)


def _told(error: Exception) -> tuple[str | None, int]:
    """The sentence and exit code of an error that is meant for a person; None for a bug."""
    from serinus.models.errors import ModelError
    from serinus.serving.errors import CommandError, SerinusError
    from serinus.serving.rollout.errors import RolloutError
    from serinus.serving.store.errors import StoreError

    if isinstance(error, CommandError):
        return str(error), error.exit_code
    if isinstance(error, SerinusError | ModelError | RolloutError | StoreError):
        return str(error), 1
    return None, 1
