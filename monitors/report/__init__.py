"""The ad hoc report: two batches compared, as a page, as JSON and as an exit code."""

from serinus.monitors.report.report import Report

__all__ = ["Report"]
