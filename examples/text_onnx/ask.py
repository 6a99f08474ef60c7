"""Ask for texts as they were in training, then for others, and watch the monitors notice it."""

import argparse
import sys
import time

from train import texts

import serinus

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="http://127.0.0.1:3000")
parser.add_argument("--patience", type=float, default=60.0, help="seconds to wait for the alarm")


def main() -> int:
    options = parser.parse_args()
    with serinus.Client(options.url).wait_until_ready() as client:
        answer = client.predict("subjects", texts()[:300])
        print(f"300 texts as in training; the first is about {answer['label'][0]}.")
        strange = ["Ähnlich 123 schnell 456 über 78 Flüsse 9", "Größe 17 Stück à 3,50 €", "№ 12345 / 67890"] * 200
        print("Then orders, in German.")
        client.predict("subjects", {"text": strange})
        deadline = time.monotonic() + options.patience
        while (watched := client.monitors("subjects")[0]).state not in ("alarm", "act"):
            if time.monotonic() > deadline:
                break
            time.sleep(0.3)
        print(f"The monitors say: {watched.state}. {watched.text}")
    return 0 if watched.state in ("alarm", "act") else 1


if __name__ == "__main__":
    sys.exit(main())
