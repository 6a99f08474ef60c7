"""Security signals: what extraction, evasion, inversion and poisoning leave behind. Signals, none proof."""

from serinus.monitors.security.baseline import Baseline
from serinus.monitors.security.clients import Client, Clients, Told
from serinus.monitors.security.evasion import (
    Evasion,
    Excess,
    boundary_bin,
    bunching,
    evasion_in,
    flip_rate,
    unusual_rows,
)
from serinus.monitors.security.extraction import Sketch, margins
from serinus.monitors.security.poisoning import Doubt, LabelSources, flips_near_boundary, guard_reference
from serinus.monitors.security.signals import Signal

__all__ = ["Baseline", "Client", "Clients", "Doubt", "Evasion", "Excess", "LabelSources", "Signal", "Sketch", "Told",
           "boundary_bin", "bunching", "evasion_in", "flip_rate", "flips_near_boundary", "guard_reference", "margins",
           "unusual_rows"]
