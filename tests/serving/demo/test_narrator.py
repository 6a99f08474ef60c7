"""What the demo says is plain where nobody sees colours, and counts its claims."""

from __future__ import annotations

import sys

import pytest

from serinus.serving.demo import Narrator


def test_without_a_terminal_all_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Titles are numbered, claims are marked, and nothing moves."""
    narrator = Narrator(terminal=False)
    narrator.title("Begin")
    narrator.line("a line")
    narrator.command("serinus serve")
    with narrator.waiting("something") as tell:
        tell("something else")
    narrator.check(True, "it holds")
    narrator.title("End")
    assert capsys.readouterr().out == "\n1  Begin\n   a line\n   $ serinus serve\n ✓ it holds\n\n2  End\n"


def test_a_claim_that_does_not_hold_is_counted_and_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """And the others are not."""
    narrator = Narrator(terminal=False)
    narrator.check(True, "one")
    narrator.check(False, "two")
    assert (narrator.claims, narrator.failures) == (2, 1)
    assert " ✗ two\n   (this does not hold)\n" in capsys.readouterr().out


def test_long_claims_are_wrapped_and_stay_indented(capsys: pytest.CaptureFixture[str]) -> None:
    """No line is wider than a terminal, and none loses its words."""
    claim = " ".join(["word"] * 60)
    Narrator(terminal=False).check(True, claim)
    said = capsys.readouterr().out
    assert all(len(line) <= 107 and line[:3] in (" ✓ ", "   ") for line in said.splitlines())
    assert said.split()[1:] == claim.split()


@pytest.mark.parametrize(("columns", "widest"), [("80", 79), ("120", 107), ("20", 43)])
def test_a_terminal_gets_lines_of_its_width(columns: str, widest: int, capsys: pytest.CaptureFixture[str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """But none that are too long to read, and none too short for a word."""
    monkeypatch.setenv("COLUMNS", columns)
    Narrator(terminal=True).line(" ".join(["word"] * 60))
    lines = capsys.readouterr().out.splitlines()
    assert widest - 5 < max(map(len, lines)) <= widest


@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_is_served_with_and_without_rich(rich: bool, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that changes is rich's; without it the rest is as ever, and no text is taken for markup."""
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    narrator = Narrator(terminal=True)
    with narrator.waiting("something") as tell:
        tell("[something] else")
        narrator.check(True, "it holds")
    assert " ✓ it holds\n" in capsys.readouterr().out
