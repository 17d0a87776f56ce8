"""The endpoints of `advisor serve` as OpenAPI 3.1 describes them (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

from typing import Any

from advisor.report.prediction_tables import TOP
from advisor.serving.limits import Limits

SHARE = {"type": "number", "minimum": 0, "maximum": 1}
TEXT = {"type": "string"}
REFUSALS = {
    400: "not received whole",
    403: "sent by a page of another site",
    408: "received too slowly",
    413: "too many bytes or pixels",
    415: "a Content-Type of no picture",
    421: "asked by another name than the server's",
    422: "no readable picture, a coverage that cannot be had, or a model that has no heat maps",
    429: "too many pictures from one address; Retry-After says when to come again",
    503: "too many pictures from all; Retry-After says when to come again",
}


def openapi(version: str, limits: Limits) -> dict[str, Any]:
    """The description, as /openapi.json gives it.

    Args:
        version: of Transfer Advisor.
        limits: that it tells.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Transfer Advisor",
            "version": version,
            "description": "Classifies pictures with the model of a finished run.",
        },
        "paths": {
            "/api/run": {
                "get": {
                    "operationId": "run",
                    "summary": "What the run is, and what may be sent.",
                    "responses": {"200": _json("The run.", _ref("Run")), "421": _refusal(421)},
                }
            },
            "/api/predict": {"post": _predict(limits)},
            "/api/heatmap": {"post": _heatmap(limits)},
        },
        "components": {"schemas": _schemas()},
    }


def _heatmap(limits: Limits) -> dict[str, Any]:
    drawn = {"description": "The picture with what spoke for its class.", "content": {"image/png": {}}}
    return {
        "operationId": "heatmap",
        "summary": "Draw where the model looked in a picture, which is the body as it is.",
        "description": f"At most {limits.most_bytes:,} bytes and {limits.most_pixels:,} pixels.",
        "requestBody": _picture(),
        "responses": {"200": drawn, **{str(status): _refusal(status) for status in REFUSALS}},
    }


def _picture() -> dict[str, Any]:
    picture = {"type": "string", "contentMediaType": "application/octet-stream"}
    kinds = ("application/octet-stream", "image/jpeg", "image/png")
    return {"required": True, "content": {kind: {"schema": picture} for kind in kinds}}


def _predict(limits: Limits) -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "Classify a picture, which is the body as it is.",
        "description": f"At most {limits.most_bytes:,} bytes and {limits.most_pixels:,} pixels.",
        "parameters": [
            {
                "name": "coverage",
                "in": "query",
                "description": "Of the prediction set; that of /api/run if left out.",
                "schema": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            }
        ],
        "requestBody": _picture(),
        "responses": {
            "200": _json("What it is taken for.", _ref("Prediction")),
            **{str(status): _refusal(status) for status in REFUSALS},
        },
    }


def _schemas() -> dict[str, Any]:
    answer = {"label": TEXT, "probability": SHARE}
    return {
        "Run": _object(
            name=TEXT,
            recipe=TEXT,
            classes={"type": "array", "items": TEXT},
            coverage={**SHARE, "type": ["number", "null"]},
            most_bytes={"type": "integer"},
            most_pixels={"type": "integer"},
        ),
        "Prediction": _object(
            top={"type": "array", "minItems": 1, "maxItems": TOP, "items": _object(**answer)},
            set={"type": ["array", "null"], "items": TEXT},
            coverage={**SHARE, "type": ["number", "null"]},
            distance={"type": "number", "minimum": -0.001, "maximum": 2.001},
            unlike={"type": "boolean"},
        ),
        "Refusal": _object(error=TEXT),
    }


def _object(**properties: Any) -> dict[str, Any]:
    """An object that has all of these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(what: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def _refusal(status: int) -> dict[str, Any]:
    return _json(REFUSALS[status], _ref("Refusal"))
