"""Rollout policies compared on the same events: `python -m tests.benchmarks.rollouts`. Seeded."""
