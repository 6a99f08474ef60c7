"""Guards of references and labels."""

import numpy as np
import pytest

from serinus.monitors.features import Feature
from serinus.monitors.profile import Profile
from serinus.monitors.security.poisoning import LabelSources, flips_near_boundary, guard_reference, rebinned

BLOCKS = 8


def profiled(numbers: np.ndarray, colours: np.ndarray, edges: np.ndarray | None = None, salt: bytes = b"") -> Profile:
    """A profile of one number, in its own quantile bins unless others are given, and one category."""
    found = np.quantile(numbers, np.linspace(0, 1, 17)[1:-1]) if edges is None else edges
    names = sorted(set(colours.tolist()))
    features = (
        Feature("amount", "amount", "input", "numeric", edges=tuple(found), low=numbers.min(), high=numbers.max()),
        Feature("colour", "colour", "input", "categorical", categories=tuple(names), keys=tuple(range(len(names)))))
    codes = np.column_stack([np.searchsorted(found, numbers, "right"), np.searchsorted(names, colours)])
    blocks = np.array([[np.bincount(column, minlength=18) for column in part.T]
                       for part in np.array_split(codes, BLOCKS)])
    return Profile(features, blocks, np.zeros((2, 2)), len(numbers), salt=salt)


def drawn(seed: int, rows: int = 8_000, centre: float = 0.0, red: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(centre, 1, rows), np.where(random.random(rows) < red, "red", "green")


def kinds(new: Profile, old: Profile, first: Profile | None = None) -> list[tuple[str, str]]:
    return [(doubt.kind, doubt.feature) for doubt in guard_reference(new, old, first)]


def test_a_reference_of_the_same_population_raises_no_doubt() -> None:
    """Ten fresh samples with bins of their own are accepted silently."""
    old = profiled(*drawn(1))
    assert [kinds(profiled(*drawn(seed)), old, old) for seed in range(2, 12)] == [[]] * 10


def test_a_sudden_change_is_named_with_its_feature() -> None:
    """A moved number and a category that became common, largest first."""
    old = profiled(*drawn(1))
    assert kinds(profiled(*drawn(2, centre=1.0)), old) == [("changed", "amount")]
    assert kinds(profiled(*drawn(3, centre=2.0, red=0.6)), old) == [("changed", "amount"), ("changed", "colour")]


def test_a_boiling_frog_is_seen_by_the_first_reference() -> None:
    """Steps of 0.3 sd are each small; the third is far from where it began."""
    profiles = [profiled(*drawn(seed, centre=0.3 * seed)) for seed in range(4)]
    assert kinds(profiles[1], profiles[0], profiles[0]) == []
    assert kinds(profiles[3], profiles[2]) == []
    assert kinds(profiles[3], profiles[2], profiles[0]) == [("boiling_frog", "amount")]


def test_rows_put_in_at_one_place_and_copied_rows_are_seen() -> None:
    """One of eight blocks from elsewhere stands apart; a block pasted over another is found."""
    numbers, colours = drawn(4)
    foreign = numbers.copy()
    foreign[2_000:3_000] += 2
    assert kinds(profiled(foreign, colours), profiled(numbers, colours)) == [("block_apart", "amount")]
    numbers[5_000:6_000], colours[5_000:6_000] = numbers[:1_000], colours[:1_000]
    found = guard_reference(profiled(numbers, colours), profiled(*drawn(1)))
    assert [doubt.sentence for doubt in found] == [
        "Time blocks 1 and 6 of 8 have the same counts in every feature: rows were copied."]


def test_fewer_rows_and_other_features_are_remarked() -> None:
    """A reference of a tenth of the rows, and one without the category."""
    old, small = profiled(*drawn(1)), profiled(*drawn(5, rows=800))
    assert ("fewer_rows", "") in kinds(small, old)
    lone = Profile(old.features[:1], old.blocks[:, :1], old.sums[:1], old.rows)
    [doubt] = guard_reference(lone, old)
    assert doubt.kind == "features"
    assert doubt.sentence == "Features came, went or changed their kind: colour."


def test_counts_move_into_the_bins_of_an_older_profile() -> None:
    """Evenly spread within each bin: four bins of ten rows over [0, 4] give five of eight over five equal bins."""
    new = Feature("x", "x", "input", "numeric", edges=(1.0, 2.0, 3.0), low=0.0, high=4.0)
    old = Feature("x", "x", "input", "numeric", edges=(0.8, 1.6, 2.4, 3.2), low=0.0, high=4.0)
    counts = np.array([10.0] * 4 + [0] * 12 + [3, 2])
    assert rebinned(new, counts, old) == pytest.approx([8.0] * 5 + [0] * 11 + [3, 2])
    assert rebinned(new, counts, new) == pytest.approx(counts)


def test_categories_keep_their_names_when_their_order_changes() -> None:
    """A new category counts as rare in the older profile's bins; hashed ones of another salt are not compared."""
    old = Feature("c", "c", "input", "categorical", categories=("a", "b"))
    new = Feature("c", "c", "input", "categorical", categories=("z", "b", "a"))
    counts = np.array([5.0, 7, 9] + [0] * 11 + [2, 2, 1, 0])
    assert rebinned(new, counts, old).tolist() == [9, 7] + [0] * 12 + [7, 2, 1, 0]
    numbers, colours = drawn(6)
    hashed = np.where(colours == "red", "#1", "#2")
    assert kinds(profiled(numbers, hashed, salt=b"a"), profiled(*drawn(7), salt=b"b")) == []


def test_labels_flipped_near_the_boundary_are_seen() -> None:
    """Three per cent of all labels, all among the least sure predictions: twice the usual contradictions there."""
    random = np.random.default_rng(8)
    margins, reference_margins = random.random(4_000), random.random(20_000)
    usual, reference = (random.random(len(each)) < 0.3 * (1 - each) for each in (margins, reference_margins))
    flipped = usual ^ ((margins < 0.2) & (random.random(4_000) < 0.4))
    assert flips_near_boundary(margins, usual, reference_margins, reference).p > 0.01
    assert flips_near_boundary(margins, flipped, reference_margins, reference).p < 1e-6
    assert flips_near_boundary(np.empty(0), np.empty(0, bool), np.empty(0), np.empty(0, bool)).p == 1


def test_a_source_that_contradicts_confident_predictions_is_told_of() -> None:
    """Among honest sources one that flips a third of its labels is told of within 300 labels, and only that one."""
    random = np.random.default_rng(9)
    sources, told = LabelSources(), {}
    for at in range(6_000):
        source = f"clinic {random.integers(5)}"
        confidence = random.uniform(0.8, 1.0)
        wrong = random.random() < 1 - confidence
        if source == "clinic 3" and random.random() < 0.33:
            wrong = not wrong
        if sources.add(source, bool(wrong), confidence):
            told.setdefault(source, at)
    assert told.keys() == {"clinic 3"}
    assert told["clinic 3"] < 1_500
    assert sources.shares()["clinic 3"] > 2 * sources.shares()["clinic 1"]


def test_one_source_alone_is_judged_by_confidence() -> None:
    """Without others to compare with, contradicting sure predictions is enough."""
    sources = LabelSources()
    assert any(sources.add("only", True, 0.99) for _ in range(10))
    assert not any(sources.add("other", at % 50 == 0, 0.99) for at in range(2_000))


def test_labels_in_batches_are_judged_like_single_ones() -> None:
    """The source that flips a third is told of, honest ones are not, and nobody where the others are too few."""
    random = np.random.default_rng(10)
    sources, told = LabelSources(), set[str]()
    for _ in range(24):
        batch = {source: [(0.9, 100, int(random.binomial(100, share)))]
                 for source, share in (("desk", 0.1), ("crm", 0.1), ("bot", 0.36))}
        told |= sources.add_batch(batch, 50)
    assert told == {"bot"}
    assert LabelSources().add_batch({"only": [(0.99, 500, 400)]}, 50) == set()
