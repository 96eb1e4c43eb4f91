"""The definition, the dataclasses and the samples say the same."""

import dataclasses
import enum
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from multipartcopy.api import names
from multipartcopy.api.codec import camel, to_json
from multipartcopy.api.location import S3Location
from multipartcopy.api.spec import S3Destination, Spec
from multipartcopy.api.status import Status

ROOT = Path(__file__).parents[2]
CRD = yaml.safe_load((ROOT / "crds/multipartcopies.yaml").read_text())
(VERSION,) = CRD["spec"]["versions"]
TOP = VERSION["schema"]["openAPIV3Schema"]["properties"]
SPEC, STATUS = TOP["spec"], TOP["status"]

Schema = dict[str, Any]
TYPES = {str: "string", int: "integer", bool: "boolean"}


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """The schema and all schemas in it, each with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for word in ("items", "additionalProperties"):
        if word in schema:
            yield from nodes(schema[word], f"{path}[]")


OPEN = {
    f"spec.worker.affinity.{kind}" for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")
}
"""What the API server checks only in the Job that is made with it."""
ALL = [*nodes(SPEC, "spec"), *nodes(STATUS, "status")]


def differences(cls: type, schema: Schema, path: str) -> Iterator[str]:
    """What a dataclass and the schema of an object have not in common: names, types, what is required."""
    hints = typing.get_type_hints(cls)
    fields = {camel(f.name): (hints[f.name], f) for f in dataclasses.fields(cls)}
    properties = schema["properties"]
    for name in fields.keys() ^ properties.keys():
        yield f"{path}.{name}: only in the {'dataclass' if name in fields else 'definition'}"
    required = {name for name, (_, field) in fields.items() if not has_default(field)}
    for name in required ^ set(schema.get("required", [])):
        yield f"{path}.{name}: required or not"
    for name in fields.keys() & properties.keys():
        yield from type_differences(fields[name][0], properties[name], f"{path}.{name}")


def type_differences(hint: Any, schema: Schema, path: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        some = [item for item in arguments if item is not types.NoneType]
        if some == [int, str]:
            if not schema.get("x-kubernetes-int-or-string"):
                yield f"{path}: not a number or a word"
        else:
            yield from type_differences(some[0], schema, path)
    elif dataclasses.is_dataclass(hint):
        yield from differences(typing.cast("type", hint), schema, path)
    elif origin is tuple:
        yield from type_differences(arguments[0], schema["items"], f"{path}[]")
    elif origin is Mapping and dataclasses.is_dataclass(arguments[1]):
        yield from type_differences(arguments[1], schema["additionalProperties"], f"{path}[]")
    elif origin is Mapping:
        if schema["type"] != "object":
            yield f"{path}: {schema['type']} for a mapping"
    elif issubclass(hint, enum.Enum):
        if schema.get("enum") != [member.value for member in hint]:
            yield f"{path}: {schema.get('enum')} for {list(hint)}"
    elif schema["type"] != TYPES[hint]:
        yield f"{path}: {schema['type']} for {hint}"


def has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def default_differences(cls: type, schema: Schema, path: str) -> Iterator[str]:
    """A None is no default; one that is made of fields is {}, as those bring their own."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        name, hint = camel(field.name), hints[field.name]
        if name not in schema["properties"]:
            continue
        here = schema["properties"][name]
        made = field.default_factory is not dataclasses.MISSING
        default = {} if made else to_json(field.default) if has_default(field) else None
        if here.get("default") != default:
            yield f"{path}.{name}: {here.get('default')!r} for {default!r}"
        if dataclasses.is_dataclass(hint):
            yield from default_differences(typing.cast("type", hint), here, f"{path}.{name}")


def test_the_names_are_those_of_the_api() -> None:
    assert CRD["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert CRD["spec"]["group"] == names.GROUP
    assert CRD["spec"]["names"]["kind"] == names.KIND
    assert CRD["spec"]["names"]["plural"] == names.PLURAL
    assert VERSION["name"] == names.VERSION


def test_the_spec_is_the_dataclass() -> None:
    # One type serves both sides, and a version cannot be written.
    assert list(differences(Spec, SPEC, "spec")) == [
        "spec.destination.s3.versionId: only in the dataclass"
    ]


def test_the_status_is_the_dataclass() -> None:
    assert list(differences(Status, STATUS, "status")) == []


def test_the_defaults_of_the_spec_are_those_of_the_dataclass() -> None:
    assert list(default_differences(Spec, SPEC, "spec")) == []


def test_the_status_begins_unobserved_and_has_no_other_default() -> None:
    assert [(p, n["default"]) for p, n in nodes(STATUS, "status") if "default" in n] == [
        ("status", {"observedGeneration": Status().observed_generation})
    ]


def test_source_and_destination_are_written_alike() -> None:
    """But for what only one of them can have."""
    own = {camel(f.name) for f in dataclasses.fields(S3Destination)}
    own -= {camel(f.name) for f in dataclasses.fields(S3Location)}

    def rules(side: str) -> list[tuple[str, Schema]]:
        schema = SPEC["properties"][side]["properties"]["s3"]
        return [
            (path, {k: v for k, v in node.items() if k not in ("description", "properties")})
            for path, node in nodes(schema, "")
            if path.removeprefix(".").partition(".")[0].removesuffix("[]")
            not in {*own, "versionId"}
        ]

    assert rules("source") == rules("destination")


@pytest.mark.parametrize(("path", "schema"), ALL, ids=[path for path, _ in ALL])
class TestEachSchema:
    def test_it_has_a_description_in_sentences(self, path: str, schema: Schema) -> None:
        assert schema["description"].endswith("."), path

    def test_it_has_no_hole(self, path: str, schema: Schema) -> None:
        hole = "x-kubernetes-preserve-unknown-fields" in schema
        assert hole == (path in OPEN), path
        if schema.get("type") == "object" and not hole:
            assert schema.keys() & {"properties", "additionalProperties"}, path

    def test_it_is_bounded(self, path: str, schema: Schema) -> None:
        if schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string"):
            assert schema.keys() & {"maxLength", "enum"}, path
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path

    def test_what_it_refuses_it_refuses_in_a_sentence(self, path: str, schema: Schema) -> None:
        """A pattern would be quoted to whoever has missed it; a rule has a message."""
        assert "pattern" not in schema or path.startswith("status."), path
        for rule in schema.get("x-kubernetes-validations", []):
            assert rule["message"], path


@pytest.mark.parametrize("name", [n for n in SPEC["properties"] if "Seconds" in n])
def test_times_can_be_reckoned_with(name: str) -> None:
    assert timedelta(seconds=SPEC["properties"][name]["maximum"]) > timedelta(days=365 * 50)


def test_the_columns() -> None:
    columns = VERSION["additionalPrinterColumns"]
    always = [column["name"] for column in columns if "priority" not in column]
    assert always == ["Phase", "Reason", "Progress", "Parts", "Size", "Age"]


def test_the_full_sample_has_every_field() -> None:
    documents = yaml.safe_load_all((ROOT / "manifests/samples/full.yaml").read_text())
    (sample,) = (d for d in documents if d["kind"] == names.KIND)
    written = set(paths(sample["spec"], SPEC, "spec"))
    # Each side may carry any of these, and the sample shows one of each.
    exclusive = {"secretRef", "secretRef.name", "anonymous", "caSecretRef", "caSecretRef.name"}
    exclusive |= {"sseCustomerKeySecretRef", "sseCustomerKeySecretRef.name"}
    either = {f"spec.{side}.s3.{name}" for side in ("source", "destination") for name in exclusive}
    every = {path for path, _ in nodes(SPEC, "spec")}
    url = {path for path in every if path.startswith("spec.source.http")}
    assert every - either - url == written - either
    assert {p.split(".s3.")[1] for p in written & either} == exclusive
    # A source is either an object or a URL, which has a sample of its own.
    documents = yaml.safe_load_all((ROOT / "manifests/samples/http.yaml").read_text())
    (sample,) = (d for d in documents if d["kind"] == names.KIND)
    assert url <= set(paths(sample["spec"], SPEC, "spec"))


def paths(value: Any, schema: Schema, path: str) -> Iterator[str]:
    """Of what is written, as ``nodes`` names them."""
    yield path
    if isinstance(value, dict) and path not in OPEN:
        for name, child in value.items():
            if more := schema.get("additionalProperties"):
                yield from paths(child, more, f"{path}[]")
            else:
                yield from paths(child, schema["properties"][name], f"{path}.{name}")
    if isinstance(value, list):
        for child in value:
            yield from paths(child, schema["items"], f"{path}[]")
