"""What stands below the options in each command's help: one or two lines to copy. A test parses every one."""

from __future__ import annotations

from collections.abc import Mapping

import click

__all__ = ["EXAMPLES", "add_examples"]

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "serve": ("serinus serve", "serinus serve iris:2 --port 8080 --workers 4", "serinus serve model.onnx --name churn"),
    "doctor": ("serinus doctor",
               "serinus doctor --no-load --json | jq -r '.checks[] | select(.state == \"problem\") | .says'"),
    "models register": ("serinus models register churn model.onnx",
                        "serinus models register churn model.joblib --reference train.parquet --target left"),
    "models list": ("serinus models list", "serinus models list --json | jq -r '.[].tag'"),
    "models show": ("serinus models show churn:3",),
    "models evaluate": ("serinus models evaluate churn:3 --data holdout.parquet --target left",
                        "serinus models evaluate churn --data holdout.csv --target left --policy gate.toml --json",
                        "serinus models evaluate churn:3 --against shadow"),
    "models replay": ("serinus models replay churn:3", "serinus models replay churn --last 2h --max-disagreement 0.02"),
    "models expectations": ("serinus models expectations churn", "serinus models expectations churn --pandera c.yaml"),
    "models alias": ("serinus models alias churn production 3", "serinus models alias churn production --delete"),
    "models trust": ("serinus models trust sha256:0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcdef",),
    "models export": ("serinus models export churn:3 churn.zip", "serinus models export churn bentoml:"),
    "models import": ("serinus models import churn.zip", "serinus models import bentoml:churn:latest --name churn"),
    "models optimize": ("serinus models optimize churn --data x.csv", "serinus models optimize churn --data x.csv "
                        "--target left --quantize"),
    "models recalibrate": ("serinus models recalibrate churn", "serinus models recalibrate churn:3 --data recent.csv "
                                                               "--target left"),
    "models load": ("serinus models load churn:3 --url http://127.0.0.1:3000",),
    "models unload": ("serinus models unload churn:3 --url http://127.0.0.1:3000",),
    "models delete": ("serinus models delete churn:1",),
    "rollout plan": ("serinus rollout plan churn:3 --rate 40", "serinus rollout plan --schema > plan.schema.json"),
    "rollout simulate": ("serinus rollout simulate churn --plan plan.toml",
                         "serinus rollout simulate --rate 40 --candidate-errors 0.05 --runs 200"),
    "rollout start": ("serinus rollout start churn:3 --wait", "serinus rollout start churn:3 --manual --steps 5,25,50"),
    "rollout promote": ("serinus rollout promote churn",),
    "rollout approve": ("serinus rollout approve churn --reason 'looked at the slices'",),
    "rollout pause": ("serinus rollout pause churn --reason 'a sale began'",),
    "rollout resume": ("serinus rollout resume churn",),
    "rollout freeze": ("serinus rollout freeze churn --reason 'an audit'",),
    "rollout abort": ("serinus rollout abort churn --reason 'the wrong file'",),
    "rollout retry": ("serinus rollout retry churn --force --reason 'the host was full'",),
    "rollout status": ("serinus rollout status churn --watch", "serinus rollout status churn --json | jq .record"),
    "rollout explain": ("serinus rollout explain churn",),
    "rollout journal": ("serinus rollout journal churn",),
    "rollback": ("serinus rollback churn --reason complaints", "serinus rollback churn --to 1 --url http://host:3000"),
    "monitor status": ("serinus monitor status", "serinus monitor status churn:3 --watch"),
    "monitor explain": ("serinus monitor explain churn:3",),
    "monitor reference": ("serinus monitor reference churn:3 --set june.parquet --reason 'prices rose'",
                          "serinus monitor reference churn --list"),
    "monitor reset": ("serinus monitor reset churn:3 --reason 'a test of the shop'",),
    "monitor report": ("serinus monitor report churn --last 7d --out churn.html",
                       "serinus monitor report --reference train.csv --current june.csv --out june.html"),
    "monitor performance": ("serinus monitor performance churn --hours 48",),
    "monitor retrain": ("serinus monitor retrain churn --dry-run",),
    "alerts list": ("serinus alerts list", "serinus alerts list --all --json"),
    "alerts ack": ("serinus alerts ack 367ae4f2f09e",),
    "alerts silence": ("serinus alerts silence --model churn --kind drift --for 2h --reason 'a migration'",),
    "alerts unsilence": ("serinus alerts unsilence b96204bf",),
    "alerts test": ("serinus alerts test ops",),
    "feedback": ("serinus feedback churn truths.csv --id prediction_id --value left", "serinus feedback churn"),
    "log erase": ("serinus log erase --key 4711 --reason 'asked for on 3 June'",),
    "log query": ("serinus log query 'SELECT version, count(*) FROM predictions GROUP BY version' --last 7d",),
    "log show": ("serinus log show --model churn --limit 5",
                 "serinus log show --prediction 0190a6b2-7c3e-7000-8000-000000000000-0 --json"),
    "bento build": ("serinus bento build churn:3", "serinus bento build churn iris --code src --json"),
    "export grafana": ("serinus export grafana > serinus.json",),
    "export alerts": ("serinus export alerts > serinus.rules.yaml && promtool check rules serinus.rules.yaml",
                      "serinus export alerts --slow 0.2 --errors 0.01 --out serinus.rules.yaml"),
    "export kubernetes": ("serinus export kubernetes --image registry.example/churn:1 --out base && kubectl apply -k "
                          "base", "serinus export kubernetes --name churn --workers 4 | kubectl apply -f -"),
    "export collector": ("serinus export collector --endpoint tempo:4317 > collector.yaml",
                         "serinus export collector --share 0.01 --slow 0.2 --out collector.yaml"),
}
"""By a command's words."""


def add_examples(command: click.Command, words: str) -> None:
    """Put them below the help of this command and of those in it; what has an end of its own keeps it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            add_examples(inner, f"{words} {name}")
    elif words in EXAMPLES and command.epilog is None:
        command.epilog = "\n".join(["\b", "Examples:", *(f"  {example}" for example in EXAMPLES[words])])
