"""Clients and the signals that their rows give: attacks that are seen, honest use that is not."""

import json
from collections.abc import Iterator

import numpy as np
import pytest

from serinus.monitors.novelty import Novelty
from serinus.monitors.security.baseline import HISTORY, WINDOW, Baseline
from serinus.monitors.security.clients import Clients
from serinus.monitors.security.extraction import margins

WIDTH = 12


class World:
    """Correlated rows, a logistic regression over them, and the baseline of 4,000 rows."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self.mixing = np.eye(WIDTH) + 0.3 * random.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
        self.weights = 2 * random.normal(size=WIDTH) / np.sqrt(WIDTH)
        self.bias = 0.3
        rows = self.rows(4_000, seed=2)
        self.novelty = Novelty.fit(rows)
        self.baseline = Baseline.fit(rows, margins(self.probability(rows)))

    def rows(self, count: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=(count, WIDTH)) @ self.mixing

    def probability(self, rows: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(rows @ self.weights + self.bias)))

    def told(self, rows: np.ndarray) -> dict[str, int]:
        """The signals that a client gives who asks these rows one by one, and after how many."""
        clients, found = Clients(self.baseline), {}
        clients.count("client", len(rows))
        scored = self.novelty.p_values(self.novelty.scores(rows))
        for at in range(0, len(rows), 16):
            part = rows[at:at + 16]
            for told in clients.look("client", part, margins(self.probability(part)), scored[at:at + 16]):
                found.setdefault(told.signal.name, told.looked_at)
        return found


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def bisections(world: World, searches: int) -> Iterator[np.ndarray]:
    """Searches for the boundary between two rows with different answers (Lowd & Meek 2005)."""
    random = np.random.default_rng(3)
    for _ in range(searches):
        low, high = sorted(world.rows(8, int(random.integers(10**6))), key=lambda row: float(row @ world.weights))[::7]
        for _ in range(25):
            middle = (low + high) / 2
            yield middle
            low, high = (middle, high) if middle @ world.weights + world.bias < 0 else (low, middle)


def gradients(world: World, rows: int) -> Iterator[np.ndarray]:
    """Finite differences (ZOO): each row, then the same with one feature moved after the other."""
    for row in world.rows(rows, seed=4):
        yield row
        yield from row + 0.01 * np.eye(WIDTH)


def attribute_guesses(world: World, rows: int) -> Iterator[np.ndarray]:
    """Model inversion: all values of one attribute for each person (Fredrikson et al. 2015)."""
    for row in world.rows(rows, seed=5):
        for value in np.linspace(-2, 2, 9):
            yield np.concatenate([[value], row[1:]])


def augmented(world: World, count: int) -> np.ndarray:
    """Papernot's Jacobian-based augmentation: every row again, a step along the sign of the gradient."""
    known = list(world.rows(20, seed=6))
    random = np.random.default_rng(7)
    while len(known) < count:
        known += [row + 0.1 * np.sign(world.weights) * random.choice([-1, 1]) for row in known]
    return np.array(known[:count])


def test_an_equation_solving_extraction_is_seen_before_it_is_done_twice(world: World) -> None:
    """Tramèr's attack on a logistic regression takes 13 random rows; the weights it finds are exact, and by row 20 it
    is told of."""
    rows = np.random.default_rng(8).uniform(-5, 5, size=(WIDTH + 8, WIDTH))
    solved = rows[:WIDTH + 1]
    logits = np.log(world.probability(solved)) - np.log1p(-world.probability(solved))
    stolen = np.linalg.solve(np.column_stack([solved, np.ones(WIDTH + 1)]), logits)
    assert stolen == pytest.approx([*world.weights, world.bias], abs=1e-3)
    assert world.told(rows)["synthetic_rows"] <= 20


def test_a_boundary_search_is_seen(world: World) -> None:
    """Bisection gives near duplicates, tiny steps and answers at the boundary, within two searches."""
    told = world.told(np.array(list(bisections(world, 4))))
    assert {"near_duplicates", "tiny_steps", "boundary"} <= told.keys()
    assert min(told.values()) <= 50


def test_finite_differences_and_attribute_guesses_are_seen(world: World) -> None:
    """Rows that change in one feature at a time, by little or by much."""
    assert world.told(np.array(list(gradients(world, 5))))["few_changes"] <= 30
    assert world.told(np.array(list(attribute_guesses(world, 8))))["few_changes"] <= 30


def test_an_augmented_training_set_is_seen_by_its_distances(world: World) -> None:
    """PRADA's case: steps of one size make the distances to the nearest earlier row uneven."""
    assert world.told(augmented(world, 1_200)).keys() & {"structured_queries", "near_duplicates"}


def test_honest_clients_give_no_signal(world: World) -> None:
    """20 clients with 600 rows each, a tenth asked again exactly and a twentieth corrected in one feature."""
    random = np.random.default_rng(9)
    for client in range(20):
        rows = world.rows(600, seed=100 + client)
        again, corrected = random.random(599) < 0.1, random.random(599) < 0.05
        rows[1:][again] = rows[:-1][again]
        rows[1:][corrected, 1:] = rows[:-1][corrected, 1:]
        assert world.told(rows) == {}


@pytest.mark.slow
def test_honest_clients_give_no_signal_in_a_hundred_thousand_rows(world: World) -> None:
    """50 clients with 2,000 rows each, all six signals at one in a million looks: none is expected, none is told."""
    assert [world.told(world.rows(2_000, seed=1_000 + client)) for client in range(50)] == [{}] * 50


def test_the_same_row_for_ever_is_a_health_check(world: World) -> None:
    """Exact repetition gives no signal, however odd the row: nothing is learned by it."""
    assert world.told(np.full((500, WIDTH), 9.0)) == {}
    assert world.told(np.tile(world.rows(3, seed=11), (200, 1))) == {}


def test_a_client_that_polls_is_not_told_of(world: World) -> None:
    """The same hundred rows in turn, fifty times, and in random order: each was asked before."""
    rows = world.rows(100, seed=15)
    order = np.random.default_rng(16).permutation(5_000) % 100
    assert world.told(np.tile(rows, (50, 1))) == {}
    assert world.told(rows[order]) == {}


def test_the_table_forgets_who_was_silent_for_longest() -> None:
    """It never holds more clients than its limit, and a forgotten one starts anew."""
    clients = Clients(Baseline.fit(np.random.default_rng(12).normal(size=(50, 3))), limit=2)
    for name in ("a", "b", "a", "c"):
        clients.count(name, rows=2)
    assert len(clients) == 2
    assert (clients["a"].requests, clients["a"].rows) == (2, 4)
    assert clients.count("b").requests == 1


def test_a_client_takes_little_memory(world: World) -> None:
    """However long it asks: 256 sketches, eight rows, one window of distances."""
    clients = Clients(world.baseline)
    client = clients.count("client")
    clients.look("client", world.rows(2 * HISTORY, seed=13))
    assert (client.sketches.nbytes, client.recent.nbytes) == (8 * HISTORY, 8 * WIDTH * 4)
    assert len(client.distances) < WINDOW


@pytest.mark.parametrize("rows", [
    np.empty((0, 3)), np.ones((5, 3)), np.full((50, 2), np.nan), np.full((50, 2), np.inf), np.empty((50, 0)),
    np.full((300, 2), 1e300)])
def test_any_reference_and_any_row_work(rows: np.ndarray) -> None:
    """Empty, constant, all missing, infinite, huge: a baseline is made, and rows are looked at."""
    clients = Clients(Baseline.fit(rows, np.full(len(rows), np.nan)))
    clients.count("client")
    odd = np.array([np.nan, np.inf, 1e300, -1.0] * 8)[:, None] * np.ones(rows.shape[1])
    assert isinstance(clients.look("client", odd, np.zeros(32), np.full(32, 0.5)), list)
    assert 1 <= clients["client"].looked_at <= 4  # the others are repetitions


def test_a_baseline_survives_json(world: World) -> None:
    """Read again it has the same signals and judges alike."""
    again = Baseline.from_json(json.loads(json.dumps(world.baseline.to_json())))
    assert again.to_json() == world.baseline.to_json()
    assert again.signals() == world.baseline.signals()


def test_binary_features_silence_what_they_make_common() -> None:
    """With three yes-or-no features honest rows differ in one all the time, so that this is no signal there."""
    rows = np.random.default_rng(14).integers(0, 2, size=(2_000, 3)).astype(float)
    signals = {signal.name for signal in Baseline.fit(rows).signals() if signal}
    assert "few_changes" not in signals
    assert "boundary" not in signals  # nothing is known of margins
    assert "synthetic_rows" in signals
