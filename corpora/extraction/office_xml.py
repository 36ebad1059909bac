"""The packages that Office keeps its documents in: parts of XML, related to one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from corpora.extraction.archive import opened
from corpora.extraction.parts import Unreadable


def package(file: BinaryIO) -> Any:
    """The package, after a look at what it would become."""
    from docx.opc.package import OpcPackage

    opened(file)  # before the library unpacks all of it
    file.seek(0)
    return OpcPackage.open(file)


def main_part(package: Any) -> Any:
    """The part that is the document itself."""
    part = next(related(package, "officeDocument"), None)
    if part is None:
        raise Unreadable("it names no content.")
    return part


def related(part: Any, kind: str) -> Iterator[Any]:
    """The parts that a part has of a kind, the last word of the relation's name; as strict files have it, too."""
    for relation in part.rels.values():
        if relation.reltype.rpartition("/")[2] == kind and not relation.is_external:
            yield relation.target_part


def relation(part: Any, identity: str) -> Any:
    """The part that an element names by its id; None if there is none."""
    found = part.rels.get(identity)
    return None if found is None or found.is_external else found.target_part


def root(part: Any) -> Any:
    """The element that holds the part."""
    from lxml import etree

    if (element := getattr(part, "element", None)) is not None:
        return element
    return etree.fromstring(part.blob, etree.XMLParser(resolve_entities=False, no_network=True))


def title(package: Any) -> str:
    """What its properties call the document."""
    for part in related(package, "core-properties"):
        for element in root(part):
            if local(element) == "title":
                return " ".join((element.text or "").split())
    return ""


def local(element: Any) -> str:
    """An element's name without its namespace; empty for what is no element."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def attribute(element: Any, name: str) -> str | None:
    """An attribute, whatever its namespace."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return None


def child(element: Any, *names: str) -> Any:
    """The descendant by these names, one a level; None if there is none."""
    for name in names:
        element = next((inner for inner in element if local(inner) == name), None)
        if element is None:
            return None
    return element


def alternative(element: Any) -> list[Any]:
    """What to read of `AlternateContent`, which says the same for several Offices: the first that holds text."""
    ways = list(element)
    return [way for way in ways if any(local(inner) == "t" and inner.text for inner in way.iter())][:1] or ways[:1]


def charts(part: Any) -> Iterator[str]:
    """The text of each chart that belongs to a part: its title, what its axes are called, its series and categories."""
    for kind in ("chart", "chartEx"):
        for chart in related(part, kind):
            lines: list[str] = []
            for element in root(chart).iter():
                match local(element):
                    case "p":
                        lines.append("".join(inner.text or "" for inner in element.iter() if local(inner) == "t"))
                    case "tx" | "pt" | "v" if not len(element) and not _is_number(element):
                        lines.append(element.text or "")
            if text := "\n".join(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip())):
                yield text


def _is_number(value: Any) -> bool:
    return any(local(above) in ("numCache", "numDim", "numLit") for above in value.iterancestors())
