"""Days later the laboratory's results come: most by prediction id, some by the bottle's own number, one corrected."""

import argparse
import time

import pandas as pd
from sklearn.datasets import load_wine

import serinus

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="http://127.0.0.1:3000")

kept = pd.read_csv("predictions.csv")
truths = load_wine(as_frame=True).target[kept["bottle"]].tolist()
with serinus.Client(parser.parse_args().url) as client:
    by_id = client.feedback(kept["prediction_id"][:60], truths[:60], source="laboratory")
    by_key = client.feedback(key=[f"bottle-{number}" for number in kept["bottle"][60:]], value=truths[60:],
                             source="laboratory")
    client.feedback(kept["prediction_id"][0], truths[0], kind="revision", source="laboratory")
    client.event(kept["prediction_id"][0], "complaint")
    print(f"{by_id.accepted + by_key.accepted} results were accepted.")

    deadline = time.monotonic() + 60
    while True:  # the steward joins them to the log within a second or two
        windows = client.ground_truth().get("models", {}).get("wine", {"windows": []})["windows"]
        labelled = sum(window["labelled"] for window in windows)
        if labelled >= len(kept) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    for window in windows:
        print(f"Version {window['version']}, hour {window['window']}: {window['labelled']} of {window['predictions']} "
              f"predictions have a truth, {window['naive_accuracy']:.0%} of them were right.")
