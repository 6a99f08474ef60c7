"""The page for people: the document as HTML, with one command line for each protocol.

Names of models and fields, labels and addresses come from outside: everything passes `_text`, which escapes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import orjson

from serinus.serving.openapi.parts import MODELS

__all__ = ["make_page"]

_MANY_LABELS = 30
_MANY_FIELDS = 200
_STYLE = """
:root{color-scheme:light dark;--line:#d9dde3;--soft:#f4f6f8;--quiet:#5a6472;--ink:#16202c;--paper:#fff;--accent:#8a6100;
--mark:#fff3cf}
@media(prefers-color-scheme:dark){:root{--line:#323a45;--soft:#1c222a;--quiet:#9aa6b5;--ink:#e6ebf1;--paper:#12161c;
--accent:#f2c14e;--mark:#3a3011}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1.5rem 1rem 3rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--paper)}
h1{font-size:1.6rem;margin:0}h2{font-size:1.3rem;margin:0;overflow-wrap:anywhere}
h3{font-size:1rem;margin:1.25rem 0 .4rem}
h4{font-size:.9rem;font-weight:600;color:var(--quiet);margin:.8rem 0 .3rem}
header p,.quiet{color:var(--quiet);margin:.2rem 0}
a{color:var(--accent)}nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.6rem 0 0}
section{border:1px solid var(--line);border-radius:.6rem;padding:1rem;margin:1.5rem 0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th{text-align:left;font-weight:600;color:var(--quiet)}
th,td{padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child td{border-bottom:0}td:first-child{overflow-wrap:anywhere;min-width:6rem}
th:first-child{width:30%}th:nth-child(4){width:40%}
code,pre{font:.86rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{background:var(--soft);border-radius:.4rem;padding:.6rem .8rem;margin:0;overflow-x:auto;white-space:pre-wrap;
overflow-wrap:anywhere}
.role{background:var(--mark);color:var(--accent);border-radius:1rem;padding:.05rem .6rem;font-size:.85rem;
white-space:nowrap}
"""


def make_page(document: Mapping[str, Any], base: str) -> bytes:
    """The page; `base` is the address of the server for the command lines, without a slash at its end."""
    models = document[MODELS]
    title = " · ".join(["Serinus", *(model["name"] for model in models)][:4])
    body = "".join(_model(model, document, base) for model in models) or (
        "<section><h2>No model is served</h2><p>Register one: <code>serinus models register NAME PATH</code></p>"
        "</section>")
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{_STYLE}</style></head><body>{_head(document, base)}<main>{body}{_others(document)}</main></body>"
            "</html>").encode("utf-8", "replace")


def _head(document: Mapping[str, Any], base: str) -> str:
    models = document[MODELS]
    number = "1 model" if len(models) == 1 else f"{len(models)} models"
    jumps = "".join(f'<a href="#{_text(model["name"])}">{_text(model["name"])}</a>' for model in models[1:] and models)
    return (f'<header><h1>Serinus {_text(document["info"]["version"])}</h1>'
            f'<p>{number} at <code>{_text(base)}</code></p><nav><a href="openapi.json">OpenAPI document</a>'
            f'<a href="metrics">Metrics</a><a href="v2/health/ready">Ready?</a></nav>'
            f"{f'<nav>{jumps}</nav>' if jumps else ''}</header>")


def _model(model: Mapping[str, Any], document: Mapping[str, Any], base: str) -> str:
    versions = model["versions"]
    stable = versions[0]
    return (f'<section id="{_text(model["name"])}"><h2>{_text(model["name"])}</h2>'
            f"{_table(('Version', 'Role', 'Traffic', 'Platform'), (_version(one, versions) for one in versions))}"
            f"<h3>Inputs</h3>{_fields(stable['inputs'])}<h3>Outputs</h3>{_fields(stable['outputs'])}"
            f"<h3>Ask it</h3>{_commands(model['name'], document, base)}</section>")


def _version(version: Mapping[str, Any], versions: list[Mapping[str, Any]]) -> list[str]:
    share = version["weight"] or 0
    if version["role"] == "stable":
        share = 100 - sum(other["weight"] or 0 for other in versions)
    return [_text(version["version"]), f'<span class="role">{_text(version["role"])}</span>', f"{share:g} %",
            _text(version["platform"])]


def _fields(fields: list[Mapping[str, Any]]) -> str:
    if not fields:
        return '<p class="quiet">None.</p>'
    shown = _table(("Name", "Type", "Shape", "Values"), map(_field, fields[:_MANY_FIELDS]))
    left = len(fields) - _MANY_FIELDS
    return shown if left <= 0 else f'{shown}<p class="quiet">and {left} more; see the OpenAPI document.</p>'


def _field(field: Mapping[str, Any]) -> Iterable[str]:
    shape = " × ".join("rows" if place == 0 and length == -1 else "any" if length == -1 else str(length)
                       for place, length in enumerate(field["shape"]))
    yield f"<code>{_text(field['name'])}</code>"
    yield _text(field["datatype"])
    yield shape or "any"
    yield "; ".join(_notes(field))


def _notes(field: Mapping[str, Any]) -> Iterable[str]:
    if field.get("optional"):
        yield "may be missing"
    if field.get("sequence"):
        yield "a sequence of tensors"
    if field.get("frame_dtype"):
        yield _text(field["frame_dtype"])
    if labels := field.get("labels"):
        shown = ", ".join(f"<code>{_text(label)}</code>" for label in labels[:_MANY_LABELS])
        yield shown + (f" and {len(labels) - _MANY_LABELS} more" if len(labels) > _MANY_LABELS else "")


def _commands(model: str, document: Mapping[str, Any], base: str) -> str:
    """One command line for each way to ask for predictions, by the address without a version."""
    lines = []
    for path, methods in document["paths"].items():
        operation = methods.get("post", {})
        if model in operation.get("tags", ()) and operation["operationId"].endswith(f".{model}") and not any(
                part == "versions" for part in path.split("/")):
            example = operation["requestBody"]["content"]["application/json"].get("example")
            body = "@request.json" if example is None else shlex.quote(orjson.dumps(example).decode())
            command = f"curl {shlex.quote(base + path)} -H 'Content-Type: application/json' -d {body}"
            lines.append(f"<h4>{_text(operation['summary'])}</h4><pre>{_text(command)}</pre>")
    return "".join(lines)


def _others(document: Mapping[str, Any]) -> str:
    """The addresses that are about no model."""
    names = {model["name"] for model in document[MODELS]}
    rows = [(f"<code>{_text(method.upper())} {_text(path)}</code>", _text(operation["summary"]))
            for path, methods in document["paths"].items() for method, operation in methods.items()
            if method in ("get", "post") and not names & set(operation["tags"])]
    return f"<section><h2>Everything else</h2>{_table(('Address', ''), rows)}</section>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; cells are HTML, and what of them is text must have been escaped."""
    head = "".join(f"<th>{title}</th>" for title in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _text(value: Any) -> str:
    return escape(str(value), quote=True)
