"""The classic distances by name: how far a window lies from the reference, with thresholds for its number of rows."""

from functools import cache
from importlib.metadata import entry_points

from serinus.monitors.distances.chi_squared import ChiSquared
from serinus.monitors.distances.distance import Distance, Measured
from serinus.monitors.distances.jensen_shannon import JensenShannon
from serinus.monitors.distances.kolmogorov_smirnov import KolmogorovSmirnov
from serinus.monitors.distances.psi import PopulationStabilityIndex
from serinus.monitors.distances.wasserstein import Wasserstein
from serinus.monitors.errors import UnknownDistance

__all__ = [
    "ChiSquared",
    "Distance",
    "JensenShannon",
    "KolmogorovSmirnov",
    "Measured",
    "PopulationStabilityIndex",
    "Wasserstein",
    "distance_named",
    "distances",
]

GROUP = "serinus.distances"
"""The entry-point group in which an installed package offers its own."""


@cache
def distances() -> tuple[Distance, ...]:
    """Give the built-in distances, and those that installed packages offer as `serinus.distances`."""
    built_in = (PopulationStabilityIndex(), KolmogorovSmirnov(), Wasserstein(), JensenShannon(), ChiSquared())
    offered = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return (*built_in, *(point.load()() for point in offered))


def distance_named(name: str) -> Distance:
    """Give the distance of this name. Raises UnknownDistance where there is none."""
    for distance in distances():
        if distance.name == name:
            return distance
    known = ", ".join(distance.name for distance in distances())
    raise UnknownDistance(f"No distance is named {name!r}; there are {known}. Install the package that has it.")
