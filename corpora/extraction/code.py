"""Source code: a part for each definition, and one for what stands outside of them.

A class that is short is one part; of a long one each method is, and its head. A comment just above a definition goes
with it. Broken code is split as far as it can be understood: tree-sitter's parsers go on behind an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from corpora.extraction.parts import FilePart, decoded
from semsearch.places import Position, cut, stretches

if TYPE_CHECKING:
    from tree_sitter import Node

LONG = 2000  # bytes of a class beyond which its methods are parts
Extent: TypeAlias = tuple[int, int]  # the bytes from one up to another
_WRAPPERS = """
    decorated_definition export_statement template_declaration lexical_declaration variable_declaration
    variable_declarator ambient_declaration
"""
_CONTAINERS = """
    class_definition class_declaration class_specifier struct_specifier interface_declaration impl_item trait_item
    mod_item namespace_definition class module enum_declaration abstract_class_declaration internal_module
"""
_OTHERS = """
    function_definition function_declaration generator_function_declaration method_definition method_declaration
    function_item struct_item enum_item type_declaration type_alias_declaration enum_specifier type_definition method
    singleton_method constructor_declaration record_declaration macro_definition arrow_function function_expression
    linkage_specification
"""
_BODY = "block class_body declaration_list field_declaration_list body_statement interface_body"
WRAPPERS, CONTAINERS, BODIES = (frozenset(names.split()) for names in (_WRAPPERS, _CONTAINERS, _BODY))
DEFINITIONS = CONTAINERS | frozenset(_OTHERS.split())


def _split(language: str, file: BinaryIO) -> Iterator[FilePart]:
    from tree_sitter import Language, Parser

    module, _, function = language.partition(":")
    parser = Parser(Language(getattr(import_module(f"tree_sitter_{module}"), function or "language")()))
    raw = decoded(file.read()).replace("\r\n", "\n").encode()
    rest: list[Extent] = []
    yield from _definitions(parser.parse(raw).root_node, raw, (0, len(raw)), "", rest)
    yield from _part("", raw, rest)


def _definitions(node: Node, raw: bytes, extent: Extent, path: str, rest: list[Extent]) -> Iterator[FilePart]:
    """The parts of what `node` defines directly; what stands between them goes to `rest`."""
    place, end = extent
    comments: int | None = None  # where the comments just above begin
    for child in node.children:
        if "comment" in child.type:
            comments = child.start_byte if comments is None else comments
            continue
        core = _core(child)
        if core is not None:
            start = comments if comments is not None and b"\n\n" not in raw[comments : child.start_byte] else None
            start = max(place, child.start_byte if start is None else start)
            rest.append((place, start))
            yield from _definition(core, raw, (start, child.end_byte), path)
            place = child.end_byte
        comments = None
    rest.append((place, end))


def _definition(core: Node, raw: bytes, extent: Extent, path: str) -> Iterator[FilePart]:
    start, end = extent
    name = f"{path}.{_name(core, raw)}" if path else _name(core, raw)
    body = next((child for child in core.children if child.type in BODIES), None)
    if core.type in CONTAINERS and body is not None and end - start > LONG:
        head: list[Extent] = [(start, body.start_byte)]
        yield from _definitions(body, raw, (body.start_byte, body.end_byte), name, head)
        head.append((body.end_byte, end))
        yield from _part(name, raw, head)
    else:
        yield from _part(name, raw, [(start, end)])


def _core(node: Node) -> Node | None:
    """The definition that a node is, its decorators and `export` taken off; None if it is none."""
    if node.type in DEFINITIONS:
        return node if node.type != "class" or node.is_named else None
    if node.type in WRAPPERS:
        for child in node.named_children:
            if (core := _core(child)) is not None:
                return core
    return None


def _name(node: Node, raw: bytes) -> str:
    """What a definition is called."""
    if node.type in ("arrow_function", "function_expression") and node.parent is not None:
        node = node.parent
    found: Node | None = node
    while found is not None and "identifier" not in found.type and found.type != "constant":
        inner = found.child_by_field_name("name") or found.child_by_field_name("declarator")
        inner = inner or found.child_by_field_name("type")
        if inner is None:
            inner = next(
                (child for child in found.named_children if child.type.endswith(("identifier", "_spec"))), None
            )
        found = inner
    if found is None:
        return node.type
    return raw[found.start_byte : found.end_byte].decode(errors="replace")


def _part(name: str, raw: bytes, extents: list[Extent]) -> Iterator[FilePart]:
    """The part of these stretches of a file; none where nothing stands there."""
    pieces = [(raw.count(b"\n", 0, start) + 1, raw[start:end].decode(errors="replace")) for start, end in extents]
    lines = [line.rstrip() for line in "".join(text for _, text in pieces).split("\n")]
    first = next((number for number, line in enumerate(lines) if line), None)
    if first is not None:
        text = "\n".join(lines[first:]).rstrip("\n")
        yield FilePart(name, text, name, position=Position(lines=cut(stretches(pieces), first)))


_Extract = Callable[[BinaryIO], Iterator[FilePart]]
python: _Extract = partial(_split, "python")
javascript: _Extract = partial(_split, "javascript")
typescript: _Extract = partial(_split, "typescript:language_typescript")
tsx: _Extract = partial(_split, "typescript:language_tsx")
java: _Extract = partial(_split, "java")
go: _Extract = partial(_split, "go")
rust: _Extract = partial(_split, "rust")
c: _Extract = partial(_split, "c")
cpp: _Extract = partial(_split, "cpp")
ruby: _Extract = partial(_split, "ruby")
