"""What the statistics promise, tried: simulations and real streams. `python -m tests.statistics` writes RESULTS.md."""
