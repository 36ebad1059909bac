"""The metadata of collections over HTTP: which fields there are, and how many documents have which value of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from semsearch import wire
from semsearch.collection import Collection
from semsearch.errors import FilterError
from semsearch.federation import Federation
from semsearch.search.where_mapping import parse as parse_filter
from semsearch.server.facets import facets, kind_and_value, most_frequent
from semsearch.server.operations import Call, FilterSaid, JSONShape, Table
from semsearch.server.search_routes import check_names

routes = Table("search")

MOST_FACET_VALUES = 1_000
COUNTED_VALUES = 100_000  # of a field in a collection, where those of several are put together


class FacetsAsked(JSONShape):
    """Fields whose values are to be counted."""

    fields: list[str] = Field(min_length=1, max_length=50)
    where: FilterSaid | None = None
    limit: int = Field(20, ge=1, le=MOST_FACET_VALUES, description="Values of a field, the most frequent first.")


class SeveralFacetsAsked(FacetsAsked):
    """The same, of several collections."""

    collections: list[str]


class SeveralAsked(JSONShape):
    """Several collections."""

    collections: list[str]


class FieldFacts(JSONShape):
    """A field of metadata, as filters call it, with its types: text, number, date, bool, list, object, null."""

    name: str
    types: list[str]


class FieldsFound(JSONShape):
    """The fields that documents have."""

    schema_: int = Field(alias="schema")
    fields: list[FieldFacts]


class FacetValue(JSONShape):
    """How many documents have a value."""

    value: str | float | bool
    documents: int


class FacetsFound(JSONShape):
    """The values of each field with their counts."""

    schema_: int = Field(alias="schema")
    facets: dict[str, list[FacetValue]]


@routes.add("GET", "/v1/collections/{collection}/fields", "The metadata fields of a collection", answer=FieldsFound)
def collection_fields(call: Call[None]) -> dict[str, Any]:
    """Their names, as filters call them, and their types."""

    def told(opened: list[Collection]) -> dict[str, Any]:
        (collection,) = opened
        found = [{"name": name, "types": sorted(collection.field_types(name))} for name in collection.fields()]
        return wire.message(fields=found)

    return call.service.collections.use([call.collection], told)


@routes.add(
    "POST",
    "/v1/fields",
    "The metadata fields of several collections",
    body=SeveralAsked,
    answer=FieldsFound,
    example={"collections": ["films", "papers"]},
)
def fields_of_several(call: Call[SeveralAsked]) -> dict[str, Any]:
    """Of all of them together; a field has the types that it has in any."""
    names = call.body.collections
    check_names(call, names)

    def told(opened: list[Collection]) -> dict[str, Any]:
        together = Federation(opened)
        found = [{"name": name, "types": sorted(together.field_types(name))} for name in together.fields()]
        return wire.message(fields=found)

    return call.service.collections.use(names, told)


@routes.add(
    "POST",
    "/v1/collections/{collection}/facets",
    "Count documents by the values of fields",
    body=FacetsAsked,
    answer=FacetsFound,
    example={"fields": ["year"], "where": "year >= 1990"},
)
def count_by_field(call: Call[FacetsAsked]) -> dict[str, Any]:
    """Of the documents that a filter allows; the most frequent values first. An element of a list counts as a value."""
    return call.service.collections.use([call.collection], lambda opened: _counted(opened, call.body))


@routes.add(
    "POST",
    "/v1/facets",
    "Count documents of several collections by the values of fields",
    body=SeveralFacetsAsked,
    answer=FacetsFound,
    example={"collections": ["films", "papers"], "fields": ["year"]},
)
def count_several_by_field(call: Call[SeveralFacetsAsked]) -> dict[str, Any]:
    """Of all together; a collection that has not the fields of the filter has no document that it allows."""
    names = call.body.collections
    check_names(call, names)
    return call.service.collections.use(names, lambda opened: _counted(opened, call.body))


def _counted(opened: Sequence[Collection], asked: FacetsAsked) -> dict[str, Any]:
    counts: dict[str, Counter[tuple[str, Any]]] = {name: Counter() for name in asked.fields}
    refused: list[FilterError] = []
    most = asked.limit if len(opened) == 1 else COUNTED_VALUES
    for collection in opened:
        with collection.engine.view() as view:
            try:
                where = None if asked.where is None else parse_filter(asked.where, view.fields())
            except FilterError as error:
                refused.append(error)
                continue
            for name, counted in counts.items():
                counted.update({kind_and_value(value): count for value, count in facets(view, name, where, most)})
    if len(refused) == len(opened):
        raise refused[0]
    told = {
        name: [{"value": value, "documents": count} for value, count in most_frequent(counted, asked.limit)]
        for name, counted in counts.items()
    }
    return wire.message(facets=told)
