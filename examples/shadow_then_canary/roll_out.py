"""Ask a server all the time, start a rollout of version 2 by the plan, and tell what happens until it is over."""

import argparse
import sys
import threading
from collections import Counter
from itertools import count
from pathlib import Path

from sklearn.datasets import load_breast_cancer

import serinus

PLAN = Path(__file__).with_name("plan.toml")


def ask(client: serinus.Client, over: threading.Event, answers: Counter[tuple[str, str]]) -> None:
    """Patients come, each with a number by which they always meet the same version."""
    rows = load_breast_cancer(as_frame=True).data[400:]
    for number in count():
        if over.wait(0.01):
            return
        answer = client.predict("tumour", rows.iloc[[number % len(rows)]], routing_key=f"patient-{number % 500}")
        answers[answer.version, answer.role] += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    over, answers = threading.Event(), Counter[tuple[str, str]]()
    with serinus.Client(parser.parse_args().url) as client:
        asking = threading.Thread(target=ask, args=(client.wait_until_ready(), over, answers))
        asking.start()
        try:
            client.rollouts.start("tumour:2", plan=PLAN, reason="less regularised")
            end = client.rollouts.wait_for_end("tumour", timeout=300)
        finally:
            over.set()
            asking.join()
        for entry in client.rollouts.journal("tumour"):
            print(f"{entry.kind:>12}  {entry.body['text']}")
        for (version, role), number in sorted(answers.items()):
            print(f"Version {version} answered {number} requests as {role}.")
        print(f"The end: {end.phase}; version {end.stable} is stable.")
    return 0 if end.phase == "promoted" else 1


if __name__ == "__main__":
    sys.exit(main())
