"""A secret of a notifier: named by an environment variable or a file, read anew each time, shown nowhere."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from serinus.monitors.notifiers.notifier import NotifierMisconfigured

__all__ = ["Secret"]


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that is given as it is, or by the name of what holds it: at most one of the three.

    `option` is what its options are called: `url`, `url_env`, `url_file`.
    """

    option: str
    text: str = field(default="", repr=False)
    env: str = ""
    file: str = ""

    @property
    def is_given(self) -> bool:
        """Whether it is there at all."""
        return bool(self.text or self.env or self.file)

    def read(self) -> str:
        """The text. Raises `NotifierMisconfigured` where the variable or file is missing, empty or given twice."""
        if sum(map(bool, (self.text, self.env, self.file))) != 1:
            raise NotifierMisconfigured(f"Expected exactly one of {self.option}, {self.option}_env and "
                                        f"{self.option}_file, as far as this notifier has them.")
        found = self.text or (os.environ.get(self.env, "") if self.env else self._in_file())
        if not found.strip():
            where = f"variable {self.env}" if self.env else f"file {self.file}"
            raise NotifierMisconfigured(f"Option {self.option}: expected text, but the {where} is empty or not set.")
        return found.strip()

    def _in_file(self) -> str:
        try:
            return Path(self.file).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotifierMisconfigured(f"Option {self.option}_file: {self.file} cannot be read: {error}.") from None
