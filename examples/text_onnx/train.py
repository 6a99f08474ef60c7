"""A classifier of texts as one ONNX graph, text in, label out: what is a sentence of scikit-learn's manual about?

The texts are the descriptions of the data sets that scikit-learn brings along, cut into pieces of twelve words.
Needs skl2onnx, which is in the `optimize` extra.
"""

import re
import sys
from importlib.util import find_spec

import pandas as pd
from sklearn import datasets
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from serinus.models import register

SUBJECTS = ("breast_cancer", "diabetes", "digits", "iris", "wine")
PIECE = 12


def texts() -> pd.DataFrame:
    """Pieces of text with their subject, in a seeded order."""
    found = []
    for subject in SUBJECTS:
        words = re.findall(r"[A-Za-z]+", getattr(datasets, f"load_{subject}")().DESCR)
        found += [(" ".join(words[start:start + PIECE]), subject) for start in range(0, len(words) - PIECE, 2)]
    return pd.DataFrame(found, columns=["text", "subject"]).sample(frac=1, random_state=0, ignore_index=True)


def main() -> None:
    if find_spec("skl2onnx") is None:
        sys.exit("This example needs skl2onnx: install it, or Serinus with its `optimize` extra.")
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType

    frame = texts()
    fitted = make_pipeline(TfidfVectorizer(token_pattern="[a-zA-Z]+", max_features=400),
                           LogisticRegression(max_iter=1000))
    fitted.fit(frame["text"], frame["subject"])
    graph = to_onnx(fitted, initial_types=[("text", StringTensorType([None]))],
                    options={id(fitted): {"zipmap": False}, TfidfVectorizer: {"locale": "C"}})

    version = register(graph, "subjects", reference=frame, target="subject")
    print(f"Registered {version.tag} with digest {version.digest[:19]}…")
    print("Serve it: serinus serve subjects")


if __name__ == "__main__":
    main()
