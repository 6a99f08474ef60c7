"""The composition: one request line, its log, board and telemetry, the steward beside it, the commands above it."""
