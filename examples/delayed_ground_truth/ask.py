"""Ask for predictions, and keep their ids beside the bottle's number: by them the truth finds its prediction."""

import argparse

import pandas as pd
from sklearn.datasets import load_wine

import serinus

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--url", default="http://127.0.0.1:3000")

bottles = load_wine(as_frame=True).data.sample(frac=1, random_state=3)[90:]
with serinus.Client(parser.parse_args().url).wait_until_ready() as client:
    # Your own names of the rows travel along: whoever knows only those can tell the truth too.
    answer = client.predict("wine", bottles, keys=[f"bottle-{number}" for number in bottles.index])
kept = pd.DataFrame({"prediction_id": answer.prediction_ids, "bottle": bottles.index, "predicted": answer["predict"]})
kept.to_csv("predictions.csv", index=False)
print(f"Kept {len(kept)} predictions of version {answer.version} in predictions.csv.")
