"""A card is a few texts, metrics and tags; what is misspelt is refused, not lost."""

import numpy as np
import pytest

from serinus.models import Card, ModelError


def test_cards_survive_json():
    """What is written is read back, and what is empty is left out."""
    card = Card(description="Who leaves", owner="Ada", metrics={"auc": 0.93}, tags=("churn", "weekly"))
    assert card == Card.from_json(card.to_json())
    assert card.to_json() == {
        "description": "Who leaves", "owner": "Ada", "metrics": {"auc": 0.93}, "tags": ["churn", "weekly"],
    }  # fmt: skip


def test_an_empty_card_is_false():
    """Whether anything is said can be asked."""
    assert not Card() and not Card.from_json({}) and Card(owner="Ada")


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"descripton": "x"}, "did you mean 'description'"),
        ({"zzz": "x"}, "there are description, owner"),
        ({"owner": 3}, "owner must be a text"),
        ({"metrics": [1]}, "metrics must be an object"),
        ({"metrics": {"auc": "high"}}, "finite numbers"),
        ({"metrics": {"auc": float("nan")}}, "finite numbers"),
        ({"tags": "one"}, "a list of texts"),
        (["description"], "a JSON object"),
    ],
)
def test_what_is_no_card_is_refused(document, sentence):
    """Unknown keys and values of the wrong kind are named."""
    with pytest.raises(ModelError, match=sentence):
        Card.from_json(document)


def test_metrics_come_out_of_numpy():
    """A training script's metrics are numpy scalars more often than not; they become plain numbers."""
    assert Card.from_json({"metrics": {"auc": np.float64(0.5)}}).to_json() == {"metrics": {"auc": 0.5}}
