"""Compares what the Graph SDK made of an answer with the answer: every property must be one that the SDK knows, and its value must
have been understood. What the SDK does not understand (an enumeration's value, a date, a type) it drops without a word."""

import base64
import datetime
import decimal
import enum
import uuid

from kiota_abstractions.serialization import Parsable
from msgraph.generated.models.entity import Entity

# Types whose properties are whatever their owner made of them.
OPEN = {
    "FieldValueSet",
    "Json",
    "PlannerAppliedCategories",
    "PlannerAssignments",
    "PlannerChecklistItems",
    "PlannerExternalReferences",
    "PlannerUserIds",
}

# What the SDK has no name for: the address of who wrote in SharePoint, which Microsoft's examples have and its description of Graph
# has not; and what a web part makes of itself, which the description calls JSON.
UNDESCRIBED = {("Identity", "email"), ("WebPartData", "properties")}
# Microsoft's examples of it are without.
WITHOUT_ID = {"CanvasLayout"}
# Values that are keywords of programming languages, which the SDK for Python fails to find.
KEYWORDS = {"global"}


def attribute(deserializer):
    """Names the attribute that a deserializer of the SDK sets: `lambda n: setattr(self, 'created_date_time', ...)`."""
    names = [constant for constant in deserializer.__code__.co_consts if isinstance(constant, str)]
    return names[0]


def disagreements(got, raw, where):
    """Yields a line for everything in which the SDK's value and the JSON differ."""
    if isinstance(got, Parsable):
        yield from of_object(got, raw, where)
    elif isinstance(raw, list):
        if not isinstance(got, list) or len(got) != len(raw):
            yield f"{where}: {len(raw)} values became {got!r}"
            return
        for number, (value, told) in enumerate(zip(got, raw)):
            if told is not None:
                yield from disagreements(value, told, f"{where}[{number}]")
    elif got is None:
        if raw in KEYWORDS:
            return
        yield f"{where}: {raw!r} was not understood"
    elif not same(got, raw):
        yield f"{where}: {raw!r} became {got!r}"


def of_object(got, raw, where):
    name = type(got).__name__
    where = f"{where}:{name}"
    if not isinstance(raw, dict):
        yield f"{where}: no object but {raw!r}"
        return
    told = raw.get("@odata.type")
    if told and told.removeprefix("#microsoft.graph.").split(".")[-1].lower() != name.lower():
        yield f"{where}: the type is told as {told}"
    if isinstance(got, Entity) and not got.id and name not in WITHOUT_ID:
        yield f"{where}: an entity without id"
    known = got.get_field_deserializers()
    for key, value in raw.items():
        if key in known:
            if value is not None:
                yield from disagreements(getattr(got, attribute(known[key])), value, f"{where}.{key}")
        elif "@" not in key and name not in OPEN and (name, key) not in UNDESCRIBED:
            yield f"{where}.{key}: no property of this type"


def same(got, raw):
    if isinstance(got, enum.Enum):
        return got.value == raw
    if isinstance(got, bytes):
        return got == base64.b64decode(raw)
    if isinstance(got, datetime.datetime):
        return got.strftime("%Y-%m-%dT%H:%M:%S")[-14:] == raw[:19].rjust(19, "0")[-14:]
    if isinstance(got, (datetime.date, uuid.UUID)):
        return str(got) == raw.lower()
    if isinstance(got, datetime.time):
        return got.strftime("%H:%M:%S") == raw[:8]
    if isinstance(got, datetime.timedelta):
        return isinstance(raw, str)
    if isinstance(got, (float, decimal.Decimal)):
        return float(got) == float(raw)
    return got == raw
