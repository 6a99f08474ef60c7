"""Train a pipeline over mixed columns, register it, look at what was registered, and ask it in this process."""

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serinus.models import Registry, Trust, default_home, register


def people(rows: int = 400) -> pd.DataFrame:
    """Made-up borrowers; some incomes are missing."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"age": rng.integers(18, 80, rows), "income": rng.normal(3e4, 9e3, rows).round(),
                          "city": rng.choice(["Lyon", "Oslo", "Rome"], rows)})
    late = frame["age"] + rng.normal(0, 10, rows) > 50
    return frame.mask(rng.random(frame.shape) < [0, 0.05, 0]).astype({"age": int}).assign(
        late=np.where(late, "yes", "no"))


def main() -> None:
    frame = people()
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income"]))
    model = make_pipeline(columns, LogisticRegression()).fit(frame.drop(columns="late"), frame["late"])

    version = register(model, "credit", reference=frame, target="late")
    print(f"Registered {version.tag} with digest {version.digest[:19]}…")
    for field in version.signature.inputs:
        print(f"  {field.name}: {field.datatype}{', may be missing' if field.optional else ''}")

    loaded = Registry(default_home()).load(version, trust=Trust(default_home()))
    answer = loaded.predict({"age": np.array([33, 70]), "income": np.array([31_000.0, np.nan]),
                             "city": np.array(["Oslo", "Rome"], dtype=object)})
    print(f"Late? {', '.join(answer['predict'])}")
    print("Serve it: serinus serve credit")


if __name__ == "__main__":
    main()
