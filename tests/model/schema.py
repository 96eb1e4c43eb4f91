"""What the API server refuses of a status: the schema of the definition, and its rules between old and new."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_CRD = yaml.safe_load((Path(__file__).parents[2] / "crds/multipartcopies.yaml").read_text())
_RESOURCE = _CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
_STATUS = _RESOURCE["properties"]["status"]
_TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list}
_PATTERN = re.compile(r"""(?:^|int \? .* : )self\.matches\((r?)(['"])(.*)\2\)$""")
_RULES = [rule["message"] for rule in _STATUS["x-kubernetes-validations"]]


def refusals(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Sentences; none where the status is taken."""
    return [*invalid(_STATUS, new, "status"), *_broken_rules(old, new)]


def problems(resource: dict[str, Any]) -> list[str]:
    """Sentences: what of a manifest the definition does not allow, once it has filled in its defaults.

    Of its rules in CEL those alone that are a pattern: the others are for an API server to judge.
    """
    manifest = dict(resource)
    metadata = manifest.pop("metadata", {})
    filled: dict[str, Any] = defaulted(_RESOURCE, manifest)
    found = list(invalid(_RESOURCE, filled, ""))
    if not metadata.keys() & {"name", "generateName"}:
        found.append(".metadata.name: required")
    kind = f"{_CRD['spec']['group']}/{_CRD['spec']['versions'][0]['name']}"
    if (said := (manifest.get("apiVersion"), manifest.get("kind"))) != (kind, "MultipartCopy"):
        found.append(f"{said} is not a MultipartCopy of {kind}")
    return found


def defaulted(schema: dict[str, Any], value: Any) -> Any:
    """As the API server fills it in: the default of each property that is not there, and what is in it."""
    if isinstance(value, list):
        return [defaulted(schema["items"], item) for item in value]
    known = schema.get("properties", {})
    if not isinstance(value, dict) or not known:
        return value
    filled = {name: child["default"] for name, child in known.items() if "default" in child} | value
    return {name: defaulted(known.get(name, {}), item) for name, item in filled.items()}


def invalid(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """Sentences: what of the value the schema of a definition does not allow."""
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield f"{path}: {value!r} is neither a number nor a word"
        elif isinstance(value, str):
            yield from _unlike(schema, value, path)
        return
    kind = _TYPES[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is not one of {schema['enum']}"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{path}: {value} < {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{path}: {value} > {schema['maximum']}"
    for word, limit in (("maxLength", 1), ("maxItems", 1), ("maxProperties", 1), ("minLength", -1)):
        if word in schema and limit * len(value) > limit * schema[word]:
            yield f"{path}: {len(value)} against {word} {schema[word]}"
    if kind is str:
        yield from _unlike(schema, value, path)
    if schema.get("format") == "date-time" and not re.fullmatch(r"[-\d]+T[:\d]+Z", value):
        yield f"{path}: {value!r} is no time"
    for name in schema.get("required", []):
        if name not in value:
            yield f"{path}.{name}: required"
    if kind is dict:
        known = schema.get("properties", {})
        for name, item in value.items():
            child = known.get(name, schema.get("additionalProperties"))
            if child is None:
                yield f"{path}.{name}: unknown, would be dropped"
            else:
                yield from invalid(child, item, f"{path}.{name}")
    if kind is list:
        for number, item in enumerate(value):
            yield from invalid(schema["items"], item, f"{path}[{number}]")


def _unlike(schema: dict[str, Any], value: str, path: str) -> Iterator[str]:
    """The pattern of a status is one of the schema; in the spec it is a rule, which has a message."""
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} is not {schema['pattern']}"
    for rule in schema.get("x-kubernetes-validations", []):
        if found := _PATTERN.search(rule["rule"]):
            raw, _, pattern = found.groups()
            if not re.search(pattern if raw else pattern.replace(r"\\", "\\"), value):
                yield f"{path}: {rule['message']}"


def _broken_rules(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    # The rules of the definition in Python; a rule that is new there has to be written here.
    assert _RULES == [
        "upload.id is written once for each attempt",
        "source is written once",
        "plan is written once for each mode",
        "mode goes from ServerSide to Relay, and not back",
    ]
    same_attempt = old.get("attempt") == new.get("attempt")
    if "upload" in old and "upload" in new and same_attempt:  # noqa: SIM102 - as the rule is written
        if old["upload"]["id"] != new["upload"]["id"]:
            yield _RULES[0]
    changed = {name for name in old.keys() & new.keys() if old[name] != new[name]}
    if "source" in changed:
        yield _RULES[1]
    if "plan" in changed and old.get("mode") == new.get("mode"):
        yield _RULES[2]
    if "mode" in changed and new["mode"] != "Relay":
        yield _RULES[3]
