"""Register two honest versions of one model: the first is stable, the second is to be tried."""

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serinus.models import register

frame = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=7)
known = frame[:400]
for strength in (0.01, 1.0):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
    model.fit(known.drop(columns="target"), known["target"])
    version = register(model, "tumour", reference=known, target="target")
    print(f"Registered {version.tag} with digest {version.digest[:19]}…")
print("Serve it: serinus serve tumour")
