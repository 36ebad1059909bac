"""What is offered behind a command of the interactive query, with the fields and values of the collection."""

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.cli import repl
from semsearch.cli.repl import Session
from semsearch.home import Home
from semsearch.types import Document

GENRES = [["Drama"], ["Crime", 'The "best"'], ["Drama", "Comedy"]]


@pytest.fixture(params=["local", "memory"])
def session(request, tmp_path):
    home = Home.of(tmp_path / "home") if request.param == "local" else Home.of(":memory:")
    name = f"films-{tmp_path.name}".replace("_", "-")[:50]
    with semsearch.create(name, encoder=HashEncoder(8), home=home) as films:
        films.add(
            [
                Document(
                    f"d{number}",
                    f"text {number}",
                    title=f"Film {number}",
                    metadata={
                        "year": 1990 + number,
                        "genres": genres,
                        "studio": ["Ealing", "Pinewood", "a\nb"][number],
                        "odd name": 1.5,
                        "seen": number == 1,
                        "place": {"country": "FR"},
                    },
                )
                for number, genres in enumerate(GENRES)
            ]
        )
        yield Session(films, home=home)


def offered(session, line):
    """What the lines become that are offered."""
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document as Line

    completer = repl._prompt(None, session).completer
    found = completer.get_completions(Line(line), CompleteEvent())
    return [line[: len(line) + each.start_position] + each.text for each in found]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        (":mode ", [":mode dense", ":mode lexical", ":mode sparse", ":mode hybrid"]),
        (":mode h", [":mode hybrid"]),
        (":mode  l", [":mode  lexical"]),
        (":rerank o", [":rerank on", ":rerank off"]),
        (":exact of", [":exact off"]),
        (":min ", [":min off"]),
        (":k ", []),
        (":nosuch x", []),
        ("plain text", []),
        (":show ye", [":show year"]),
        (":show year,p", [":show year,place", ":show year,place.country"]),
        (":show n", [":show none"]),
        (":where y", [":where year"]),
        (":where o", [":where off"]),
        (":where `odd", [":where `odd name`"]),
        (":where year ", [f":where year {sign}" for sign in ("=", "!=", "in", "<", "<=", ">", ">=", "exists")]),
        (":where year <", [":where year <="]),
        (":where genres ", [":where genres contains", ":where genres exists"]),
        (":where studio ", [f":where studio {sign}" for sign in ("=", "!=", "in", "like", "exists")]),
        (":where year = ", [":where year = 1990", ":where year = 1991", ":where year = 1992"]),
        (":where year >= 1992", [":where year >= 1992"]),
        (":where `odd name` = ", [":where `odd name` = 1.5"]),
        (":where seen = ", [":where seen = false", ":where seen = true"]),
        (":where studio = P", [':where studio = "Pinewood"']),
        (':where studio = "', [':where studio = "Ealing"', ':where studio = "Pinewood"']),
        (
            ":where genres contains ",
            [f":where genres contains {value}" for value in ('"Comedy"', '"Crime"', '"Drama"', r'"The \"best\""')],
        ),
        (":where studio in (", [':where studio in ("Ealing"', ':where studio in ("Pinewood"']),
        (':where studio in ("Ealing", P', [':where studio in ("Ealing", "Pinewood"']),
        (":where year > 1990 ", [":where year > 1990 and", ":where year > 1990 or"]),
        (":where year > 1990 and ge", [":where year > 1990 and genres"]),
        (":where not (st", [":where not (studio"]),
        (':where studio = "x and y', []),
        (":where place.country = ", [':where place.country = "FR"']),
        (":where nosuch = ", []),
    ],
)
def test_offers(session, line, lines):
    assert offered(session, line) == lines


def test_what_is_offered_can_be_said(session, capsys):
    for line in (':where genres contains "The', ":where studio in (", ":where `odd name` = ", ":where seen = t"):
        for done in offered(session, line):
            session.respond(done + ")" * done.count("("))
    assert "can't be read" not in capsys.readouterr().err


def test_hits_are_offered_by_their_numbers(session):
    assert offered(session, ":open ") == []
    session.respond("text 1")
    assert offered(session, ":open ") == [":open 1", ":open 2", ":open 3"]
    assert offered(session, ":similar 2") == [":similar 2"]


def test_collections_are_offered(session):
    name = session.collection.name
    assert f":use {name}" in offered(session, ":use ")
    assert offered(session, f":use {name},{name[:3]}") == []
    assert ":use all" in offered(session, ":use a")


def test_many_values_are_not_all_read(session):
    session.collection.add([Document(f"m{n}", "x", metadata={"many": f"v{n:04}", "n": n}) for n in range(300)])
    assert session.collection.values("many", most=3) == ["v0000", "v0001", "v0002"]
    assert session.collection.values("many", begins="v02", most=2) == ["v0200", "v0201"]
    assert session.collection.values("n", begins="29", most=5) == [29, 290, 291, 292, 293]
    assert offered(session, ":where nosuch ") == [":where nosuch exists"] or offered(session, ":where nosuch = ") == []


def test_typing_goes_on_when_the_collection_is_closed(session):
    session.collection.close()
    assert offered(session, ":where y") == []


def test_a_filter_is_held_against_the_fields_when_it_is_set(session, capsys):
    before = session.search
    for wrong, told in (
        ("yeer > 3", "Did you mean 'year'?"),
        ("year between 1992 and 1990", "takes the least value first"),
        ("year like 'x'", "asks for a text"),
    ):
        session.respond(f":where {wrong}")
        assert told in capsys.readouterr().err
        assert session.search == before
    session.respond(":where year >= 1991")
    assert session.search.where == {"year": {"$gte": 1991}}
    session.respond(":where off")
    assert session.search.where is None
