"""The language of rules/*.yaml as a JSON Schema, for editors: made of the models that loading uses.

An editor sees one file at a time, so what stands elsewhere (a receiver's name) is not checked here, and
neither is what is inside a text (a matcher, a duration); ``router check`` does both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

from router.rulebook.sheets import LISTED, ONCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.rulebook.load import KindSpec

_REF: Final = "#/$defs/{model}"
#: Where a single text may stand for a list of one (see the validators of these models).
_ONE_OR_MORE: Final[Mapping[str, tuple[str, ...]]] = {
    "WhenModel": ("service", "team", "environment", "severity", "state", "suspect", "phase", "colour"),
    "MappingModel": ("starts_at", "ends_at", "generator_url", "id"),
    "StatusModel": ("from",),
}
#: Written as text or number, and read by validators.
_RANGE: Final = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_RANGES: Final = ("weekdays", "days_of_month", "months", "years")


def schema(kinds: Mapping[str, KindSpec]) -> dict[str, Any]:
    """Return the schema of one file; ``kinds`` are the notifiers that receivers may name."""
    defs: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for key, (adapter, _) in ONCE.items():
        properties[key] = _nullable(_part(adapter, defs))
    for key, (_, model) in LISTED.items():
        items: Any = TypeAdapter(list[model])  # type: ignore[valid-type]  # the table's models
        properties[key] = _nullable(_part(items, defs))
    own = list(defs)
    receiver = defs["ReceiverModel"]
    receiver["additionalProperties"] = False
    for kind, spec in kinds.items():
        entry: Any = TypeAdapter(list[spec.options])  # type: ignore[name-defined]  # as above
        receiver["properties"][f"{kind}_configs"] = _nullable(_part(entry, defs, f"{kind}_"))
    for name, keys in _ONE_OR_MORE.items():
        for key in keys:
            defs[name]["properties"][key] = _one_or_more(defs[name]["properties"][key])
    mapping = defs["MappingModel"]["properties"]
    for key in ("labels", "annotations"):
        mapping[key]["additionalProperties"] = _one_or_more(mapping[key]["additionalProperties"])
    _time_intervals(defs)
    for model in (defs[name] for name in own):
        optional = model["properties"].keys() - set(model.get("required", ()))
        model["properties"].update({key: _nullable(model["properties"][key]) for key in optional})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Incident Router rules",
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "additionalProperties": False,
        "$defs": dict(sorted(defs.items())),
    }


def _part(adapter: TypeAdapter[Any], defs: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a section's schema; its models go to ``defs``, those of drivers under names of their own."""
    found = adapter.json_schema(ref_template=_REF.replace("{model}", prefix + "{model}"), by_alias=True)
    defs.update({prefix + name: model for name, model in found.pop("$defs", {}).items()})
    if "properties" in found and "title" in found:  # a model at the top stands by itself; give it a name
        defs[found["title"]] = found
        return {"$ref": _REF.format(model=found["title"])}
    return found


def _nullable(part: dict[str, Any]) -> dict[str, Any]:
    """A key with nothing after it is as good as none."""
    return {"anyOf": [part, {"type": "null"}]}


def _one_or_more(part: dict[str, Any]) -> dict[str, Any]:
    """A text stands for a list of one."""
    return {"anyOf": [part, {"type": "string"}]}


def _time_intervals(defs: dict[str, Any]) -> None:
    """Ranges and times of day are texts in the file; the models hold what they were read as."""
    span = defs["SpanModel"]["properties"]
    for key in _RANGES:
        span[key] = _nullable({"type": "array", "items": _RANGE})
    hours = defs["HoursModel"]["properties"]
    for key in ("start_time", "end_time"):
        hours[key] = {"type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"}
