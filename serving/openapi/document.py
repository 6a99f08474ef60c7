"""The OpenAPI document of a routing table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from serinus import __version__
from serinus.serving.openapi.fields import Schema
from serinus.serving.openapi.inference import FORMS, Described, operation, schemas
from serinus.serving.openapi.management import control, of_model, repository, server
from serinus.serving.openapi.parts import COMPONENTS, HEADERS, MODELS, errors
from serinus.serving.protocols import Protocol
from serinus.serving.router import Route
from serinus.serving.settings import Settings
from serinus.serving.tokens import tokens_of

__all__ = ["Parts", "make_document"]

class Parts(NamedTuple):
    """What a server has besides inference."""

    repository: bool
    control: bool


def make_document(settings: Settings, protocols: Iterable[Protocol], routes: Mapping[str, Route],
                  parts: Parts) -> dict[str, Any]:
    """An OpenAPI 3.1 document: one path for each model, version and protocol, so that the schemas are exact."""
    paths: dict[str, Schema] = {}
    components: dict[str, Schema] = dict(COMPONENTS)
    for route in routes.values():
        for version in _versions(route):
            components.update(schemas(version, settings.limits))
        paths.update(_inference(protocols, route))
        paths.update(of_model(route.model, (version.version for version in _versions(route))))
    if (only := _only(settings, routes)) is not None:
        stable = _described(only, only.stable.version)
        paths.update({path: {"post": operation(protocol.name, stable, "")} for protocol in protocols
                      for path in protocol.routes if "{model}" not in path and protocol.name in FORMS})
    secured: Schema = {"security": [{"token": []}]} if settings.control.token or settings.control.tokens else {}
    if tokens_of(settings.control).guard_inference:
        for path in paths.values():
            _guard(path, secured)
    paths.update(server())
    paths.update(repository(secured) if parts.repository else {})
    paths.update(control(secured) if parts.control else {})
    return {"openapi": "3.1.0", "info": _info(routes), "tags": _tags(routes, parts), "paths": paths,
            "components": {"schemas": components, "headers": HEADERS, "parameters": _parameters(settings),
                           **({"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if secured else {})},
            MODELS: [_told(route) for route in routes.values()]}


def _guard(path: Schema, secured: Schema) -> None:
    """Predictions are for holders of a token only."""
    if "post" in path:
        path["post"].update(secured)
        path["post"]["responses"].update(errors("Error", (401,)))


def _inference(protocols: Iterable[Protocol], route: Route) -> dict[str, Schema]:
    paths = {}
    for protocol in protocols:
        for template in protocol.routes:
            if "{model}" not in template or protocol.name not in FORMS:
                continue
            named = "{version}" in template
            for version in _versions(route) if named else [_described(route, route.stable.version)]:
                path = template.replace("{model}", version.model).replace("{version}", version.version)
                name = f"{version.model}:{version.version}" if named else version.model
                paths[path] = {"post": operation(protocol.name, version, name)}
    return paths


def _versions(route: Route) -> list[Described]:
    return [_described(route, version) for version in dict.fromkeys(arm.version for arm in route.arms)]


def _described(route: Route, version: str) -> Described:
    arm = next(arm for arm in route.arms if arm.version == version)
    return Described(route.model, version, f"{route.model}.{version}", arm.signature)


def _only(settings: Settings, routes: Mapping[str, Route]) -> Route | None:
    """The model that a path without a model's name means."""
    default = settings.server.default_model
    return routes.get(default) if default is not None else next(iter(routes.values())) if len(routes) == 1 else None


def _info(routes: Mapping[str, Route]) -> Schema:
    served = ", ".join(sorted(routes)) or "no model"
    return {"title": "Serinus", "version": __version__, "description": f"Serves {served}.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}


def _tags(routes: Mapping[str, Route], parts: Parts) -> list[Schema]:
    tags = [{"name": name, "description": f"Model {name}"} for name in routes]
    tags.append({"name": "server", "description": "Health, metadata, metrics"})
    tags += [{"name": "repository", "description": "Loading and unloading by hand"}] if parts.repository else []
    return tags + ([{"name": "control", "description": "Models and rollouts"}] if parts.control else [])


def _parameters(settings: Settings) -> dict[str, Schema]:
    said = {"RequestId": ("X-Request-ID", "An id of the caller's own: up to 128 letters, digits and ._:- ; another "
                                          "one is not taken over."),
            "RoutingKey": (settings.routing.key_header, "Requests of one key meet the same version."),
            "Traceparent": ("traceparent", "W3C trace context.")}
    return {name: {"name": header, "in": "header", "required": False, "description": description,
                   "schema": {"type": "string"}} for name, (header, description) in said.items()}


def _told(route: Route) -> dict[str, Any]:
    candidate = route.candidate
    return {"name": route.model, "versions": [
        {"version": arm.version, "platform": arm.platform, "batching": arm.batches,
         "role": arm.role if arm is route.stable or arm is candidate else "by address",
         "weight": round(route.weight / 100, 2) if arm is candidate else None,
         "inputs": [field.to_json() for field in arm.signature.inputs],
         "outputs": [field.to_json() for field in arm.signature.outputs]} for arm in route.arms]}
