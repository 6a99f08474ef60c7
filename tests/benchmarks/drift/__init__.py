"""Drift detection compared on the same rows: `python -m tests.benchmarks.drift`. Seeded."""
