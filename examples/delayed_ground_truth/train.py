"""Register a classifier of wines; what they really were comes later."""

from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serinus.models import register

frame = load_wine(as_frame=True).frame.sample(frac=1, random_state=3)
known = frame[:90]
model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
model.fit(known.drop(columns="target"), known["target"])
version = register(model, "wine", reference=known, target="target")
print(f"Registered {version.tag} with digest {version.digest[:19]}…")
print("Serve it: serinus serve wine")
