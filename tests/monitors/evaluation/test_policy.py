"""What the gate asks for: defaults, a TOML file, and errors that say what was meant."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from serinus.monitors.errors import InvalidPolicy
from serinus.monitors.evaluation.policy import Policy


def test_what_is_left_out_has_its_default() -> None:
    """A table replaces its own keys only."""
    policy = Policy.from_toml('level = 0.9\n[slices]\ncolumns = ["region"]\n[margins]\nf1 = 0.01')
    assert (policy.level, policy.slices.columns, policy.slices.margin) == (0.9, ("region",), 0.02)
    assert policy.margins == {"f1": 0.01}
    assert Policy.from_toml("") == Policy()


def test_costs_may_be_below_zero() -> None:
    """In values and in floors."""
    policy = Policy.from_toml('[worth]\npositive = "1"\nunit = "EUR"\nvalues.1 = {0 = -20}\n[floors]\nvalue = -2')
    assert policy.worth.matrix((0, 1)) == ((0.0, 0.0), (-20.0, 0.0)) and policy.floors == {"value": -2}
    assert (policy.worth.positive, policy.worth.unit) == ("1", "EUR")


@pytest.mark.parametrize(("text", "sentence"), [
    ("[worth]\nvalues.a = 3", "worth.values must be a table of tables of numbers, by truth and answer, got"),
    ("[worth]\nunit = 3", "worth.unit must be a text, got 3."),
    ("[slice]", "The policy has no slice; did you mean 'slices'?"),
    ("[slices]\nmin_row = 3", "The policy has no slices.min_row; did you mean 'min_rows'?"),
    ("[margins]\nacuracy = 0.1", "margins has no 'acuracy'; did you mean 'accuracy'?"),
    ("required = ['metric']", "required has no 'metric'; did you mean 'metrics'?"),
    ("level = 'high'", "level must be a number from 0, got 'high'."),
    ("level = 1.5", "level must lie from 0.5 to below 1"),
    ("[slices]\nmin_rows = 1.5", "slices.min_rows must be a whole number from 0, got 1.5."),
    ("[slices]\ndiscover = 1", "slices.discover must be true or false, got 1."),
    ("[slices]\ncolumns = 'region'", "slices.columns must be a list, got 'region'."),
    ("[margins]\naccuracy = -1", "margins must be a table of numbers from 0"),
    ("[floors]\naccuracy = nan", "floors must be a table of numbers, got"),
    ("[contracts]\nbounds = [1]", "contracts.bounds must be the least and the largest answer, got [1]."),
    ("slices = 3", "slices must be a table, got 3."),
    ("][", "The policy is no TOML"),
])
def test_a_wrong_policy_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    """Unknown keys come with what may be meant, wrong values with what was wanted."""
    with pytest.raises(InvalidPolicy) as refused:
        Policy.from_toml(text)
    assert sentence in str(refused.value)


def test_the_digest_is_of_what_is_asked() -> None:
    """The same defaults written out are the same policy."""
    assert Policy.from_toml("level = 0.95").digest == Policy().digest
    assert Policy.from_toml("level = 0.9").digest != Policy().digest


def test_the_documented_defaults_are_the_defaults(checkout: Path) -> None:
    """The README's policy, read as one, asks for what an empty one does."""
    text = (checkout / "monitors/README.md").read_text("utf-8")
    block = next(block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "[robustness]" in block)
    assert Policy.from_toml(block) == Policy()
    assert set(tomllib.loads(block)) == set(Policy().to_json())
