"""The group of all commands: lazily loaded, with examples in their help, errors in one sentence."""

from __future__ import annotations

import difflib
import os
import re
import sys
from importlib import import_module
from typing import Any

import click

import serinus
from serinus.serving.cli.examples import add_examples

__all__ = ["run"]

_DEBUG = "--debug"
_COMMANDS = {
    "serve": ("serve", "Serve models over HTTP."),
    "demo": ("demo", "The whole story on real data, by itself."),
    "doctor": ("doctor", "Is everything in order?"),
    "models": ("models", "Register and look at model versions."),
    "rollout": ("rollout", "Try a new version on part of the traffic."),
    "rollback": ("rollback", "The previous version again, at once."),
    "monitor": ("monitor", "What the monitors see; a model's week; files compared."),
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
        add_examples(command, name)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(serinus.__version__, prog_name="serinus")
@click.option(_DEBUG, is_flag=True, expose_value=False, help="Show the stack trace of an error; it may stand anywhere.")
def serinus_command() -> None:
    """Any scikit-learn or ONNX model as a monitored HTTP endpoint: traced, logged, reversible.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 ended by Ctrl-C; others are a command's own, and its
    help says what they mean. Colours are left out where the output is no terminal, or NO_COLOR is set.
    """


def run() -> None:
    """Run the command line of this process. Exit codes: 0 done, 1 failed, 2 wrong usage, others by command."""
    words, debug = _without_debug(sys.argv[1:])
    try:
        code: Any = serinus_command.main(words, prog_name="serinus", standalone_mode=False,
                                         color=False if os.environ.get("NO_COLOR") else None)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        if debug:
            raise
        error.show()
        if meant := _meant(error):
            click.echo(f"Did you mean {meant!r}?", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  (the interpreter flushes it at the very end)
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        sentence, code = _told(error)
        click.echo(f"serinus: {sentence}", err=True)
        sys.exit(code)
    sys.exit(code if isinstance(code, int) else 0)


def _without_debug(words: list[str]) -> tuple[list[str], bool]:
    """The words before `--` without that one, and whether it was among them."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != _DEBUG]
    return [*kept, *words[end:]], len(kept) < end


def _meant(error: click.ClickException) -> str:
    """Which command probably was, where click itself does not say it."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    wrong = re.match(r"No such command ['\"](.+?)['\"]\.", error.message)
    if wrong is None or context is None or not isinstance(context.command, click.Group):
        return ""
    if "Did you mean" in error.format_message():
        return ""
    return next(iter(difflib.get_close_matches(wrong[1], context.command.list_commands(context), n=1)), "")


def _told(error: Exception) -> tuple[str, int]:
    """The sentence and exit code of an error."""
    from serinus.models.errors import ModelError
    from serinus.serving.errors import CommandError, SerinusError
    from serinus.serving.rollout.errors import RolloutError
    from serinus.serving.store.errors import StoreError

    if isinstance(error, CommandError):
        return str(error), error.exit_code
    if isinstance(error, SerinusError | ModelError | RolloutError | StoreError):
        return str(error), 1
    text = " ".join(str(error).split())
    return (f"This should not have happened ({type(error).__name__}{f': {text}' if text else ''}). Run it again with "
            f"{_DEBUG} to see where, and tell the maintainers."), 1
