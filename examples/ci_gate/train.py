"""Fit a model of the breast cancer data and write what the gate needs: artifact, training rows, unseen rows."""

from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rows = load_breast_cancer(as_frame=True).frame
known, unseen = train_test_split(rows, test_size=0.4, random_state=0, stratify=rows["target"])
model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(known.drop(columns="target"), known["target"])

Path("build").mkdir(exist_ok=True)
known.to_csv("build/training.csv", index=False)
unseen.to_csv("build/evaluation.csv", index=False)
joblib.dump(model, "build/model.joblib")
