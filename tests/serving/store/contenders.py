"""Processes that fight over one store; run as `python contenders.py ROLE OPENER …`, answers on standard output.

OPENER is a pickled callable, in hexadecimal, that opens the store. Each says when it is ready and waits for a line.
"""

import json
import pickle
import random
import sys
import time
from dataclasses import replace
from itertools import count

from serinus.serving.rollout import RolloutRecord
from serinus.serving.store import Conflict, Document, JournalEntry, Store


def swap_many(store: Store, name: str, until: str) -> None:
    """Win generations until the record has reached `until`; print those that were won."""
    won = []
    while (old := store.record("m") or RolloutRecord.initial("m", "1", 0.0)).generation < int(until):
        new = replace(old, generation=old.generation + 1, actor=name)
        try:
            store.swap(new, expected_generation=old.generation, journal=[entry(new)])
            won.append(new.generation)
        except Conflict:
            pass
    print(json.dumps(won))


def swap_for_ever(store: Store, name: str) -> None:
    """Swap and write ticks until killed; print each generation once it is stored."""
    for generation in count((store.record("m") or RolloutRecord.initial("m", "1", 0.0)).generation + 1):
        new = RolloutRecord("m", generation, stable="1", actor=name)
        store.swap(new, expected_generation=generation - 1, journal=[entry(new), entry(new, "second")])
        print(generation, flush=True)


def count_up(store: Store, name: str, until: str) -> None:
    """Count up a document until it has reached `until`; print the revisions that were won."""
    won = []
    while (revision := found.revision if (found := store.document("state", "shared")) else 0) < int(until):
        new = Document("state", "shared", revision + 1, str(revision + 1).encode(), 0.0)
        try:
            store.put_document(new, expected_revision=revision)
            won.append(new.revision)
        except Conflict:
            pass
    print(json.dumps(won))


def lead(store: Store, name: str, seconds: str) -> None:
    """Compete for the lease; print each epoch led, when it was surely taken, and when it was last renewed."""
    led: dict[int, tuple[float, float]] = {}
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        asked = time.monotonic()
        lease = store.acquire_lease("steward", name, 0.1)
        if lease is not None:
            taken = led.get(lease.epoch, (time.monotonic(), 0.0))[0]
            led[lease.epoch] = (taken, asked)
        too_long = lease is not None and random.random() < 0.2
        time.sleep(0.2 if too_long else 0.005)
    print(json.dumps([[epoch, *times] for epoch, times in led.items()]))


def entry(new: RolloutRecord, kind: str = "step") -> JournalEntry:
    """The journal entry of a swap."""
    return JournalEntry("m", kind, 0.0, new.generation, new.actor)


if __name__ == "__main__":
    role, opener, *arguments = sys.argv[1:]
    opened: Store = pickle.loads(bytes.fromhex(opener))()
    print("ready", flush=True)
    sys.stdin.readline()
    roles = {"swap_many": swap_many, "swap_for_ever": swap_for_ever, "count_up": count_up, "lead": lead}
    roles[role](opened, *arguments)
