"""What other programs need to run and watch a server, made from the same names that the server has: a Grafana
dashboard, alerting rules, Kubernetes resources, a collector's configuration."""

from __future__ import annotations

from serinus.serving.exports.collector import Sampling, collector
from serinus.serving.exports.grafana import dashboard
from serinus.serving.exports.kubernetes import Installation, kubernetes
from serinus.serving.exports.rules import Limits, alert_rules
from serinus.serving.exports.yaml_text import yaml_text

__all__ = ["Installation", "Limits", "Sampling", "alert_rules", "collector", "dashboard", "kubernetes", "yaml_text"]
