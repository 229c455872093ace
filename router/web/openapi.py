"""The API's OpenAPI document, made of its operations and of the types that they take and answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router import __version__
from router.web import shapes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.web.operations import Operation, Param

_REF: Final = "#/components/schemas/{name}"
_PLACE: Final = re.compile(r"\{(\w+)[:}]")
#: A place in a path that says of which characters it is.
_PATTERN: Final = re.compile(r"\{(\w+):[^}]*\}")
#: What every operation may answer, whatever is asked; 400: a parameter that is none, a Host that is not ours.
_ALWAYS: Final = (400, 401, 403, 500, 503)
_MEANINGS: Final = {
    200: "Done.",
    202: "It is durable, and done a moment later.",
    400: "Something is wrong with what was asked; `detail` says what.",
    401: "No token of the router's was sent.",
    403: "The token does not allow this, or the API is closed.",
    404: "There is no such thing.",
    408: "The body took too long.",
    409: "It cannot be done as things are.",
    413: "The body is too large.",
    415: "The body is not JSON, or is encoded.",
    500: "A fault of ours.",
    503: "The store does not answer; ask again.",
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the document; the same operations always give the same one."""
    listed = list(operations)
    types = [t for o in listed for t in (o.body, *o.answers.values()) if t is not None]
    schemas, components = msgspec.json.schema_components(
        [*dict.fromkeys(types), shapes.Problem], ref_template=_REF
    )
    known = dict(zip([*dict.fromkeys(types), shapes.Problem], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in listed:
        paths.setdefault(_PATTERN.sub(r"{\1}", each.path), {})[each.method.lower()] = _operation(each, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Incident Router",
            "version": __version__,
            "description": "Incidents, deploys, silences, rules and dead letters of a router.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(one: Operation, known: dict[Any, Any]) -> dict[str, Any]:
    answers = {str(status): _answer(status, kind, known) for status, kind in one.answers.items()}
    for media in one.media:
        answers["200"]["content"][media] = {"schema": {"type": "string"}}
    problem = {"application/problem+json": {"schema": known[shapes.Problem]}}
    for status in sorted({*_ALWAYS, *one.refusals}):
        if str(status) not in answers:
            answers[str(status)] = {"description": _MEANINGS[status], "content": problem}
        else:  # it is answered in two forms
            answers[str(status)]["content"] |= problem
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.about,
        "description": f"A token needs the scope `{one.scope}`.",
        "parameters": [*_places(one), *(_parameter(p) for p in one.query)],
        "responses": answers,
    }
    if one.body is not None:
        content = {"application/json": {"schema": known[one.body]}}
        found["requestBody"] = {"content": content, "required": not one.optional_body}
    return found


def _answer(status: int, kind: Any, known: dict[Any, Any]) -> dict[str, Any]:
    media, schema = ("application/json", known[kind]) if kind is not None else ("application/x-ndjson", {})
    return {"description": _MEANINGS[status], "content": {media: {"schema": schema}}}


def _places(one: Operation) -> list[dict[str, Any]]:
    """Return the parameters that stand in the path."""
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"}
            | ({"enum": list(one.path_words[name])} if name in one.path_words else {}),
        }
        for name in _PLACE.findall(one.path)
    ]


def _parameter(param: Param) -> dict[str, Any]:
    schema = {"type": "array", "items": dict(param.schema)} if param.many else dict(param.schema)
    return {"name": param.name, "in": "query", "description": param.about, "schema": schema}
