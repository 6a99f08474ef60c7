"""The demo's versions: two that are sound, and one that its own data praises."""

from __future__ import annotations

import pytest

from serinus.models import Model, ModelVersion, Trust, load
from serinus.serving.demo.training import TARGET, Data, prepare, recipes, train_and_register


@pytest.fixture(scope="module")
def data() -> Data:
    return prepare(5)


@pytest.fixture(scope="module")
def made(data: Data, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelVersion]:
    home = tmp_path_factory.mktemp("trained")
    return {number: train_and_register(home, recipe) for number, recipe in recipes(data).items()}


def test_the_bad_version_is_good_on_its_own_data_only(data: Data, made: dict[str, ModelVersion]) -> None:
    """By every figure of its training it is fine; asked about rows in the usual unit it is useless."""
    assert made["3"].card.metrics["accuracy"] == pytest.approx(made["2"].card.metrics["accuracy"], abs=0.01)
    inputs = {name: column.to_numpy() for name, column in data.unseen.drop(columns=TARGET).items()}
    truth = data.unseen[TARGET].to_numpy()
    right = {number: (_loaded(version).predict(inputs)["predict"] == truth).mean() for number, version in made.items()}
    assert right["1"] > 0.9 and right["2"] > 0.9
    assert right["3"] < 0.75


def _loaded(version: ModelVersion) -> Model:
    return load(version, trust=Trust(version.path.parents[2]))


def test_every_version_says_what_it_is_and_what_it_learnt_from(data: Data, made: dict[str, ModelVersion]) -> None:
    """A card, and as its lineage the rows it was trained on: not those it is compared with."""
    assert [version.lineage.rows for version in made.values()] == [100, len(data.known), len(data.known)]
    assert len({version.lineage.data for version in made.values()}) == 3
    assert all("no medical use" in version.card.intended_use for version in made.values())


def test_what_was_seen_and_what_is_asked_about_are_apart() -> None:
    """Each row is in one part, whatever the seed; missing values are where they are wanted."""
    for seed in range(3):
        data = prepare(seed)
        assert len(data.known) + len(data.unseen) == 569
        assert 0.02 < data.missing < 0.04
