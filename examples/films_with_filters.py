"""Films with filters: what it is about by meaning, when and of which kind by metadata.

Run it: `python examples/films_with_filters.py "a heist goes wrong" 'year >= 1990'`
"""

import sys
import tempfile

import semsearch

FILMS = {
    (
        "Metropolis",
        1927,
        "Science Fiction",
    ): "In a city of towers the workers live below the ground, until a robot in a woman's shape stirs them to revolt.",
    ("Modern Times", 1936, "Comedy"): "A factory hand is driven mad by the assembly line and looks for a quieter life.",
    ("Casablanca", 1942, "Drama", "Romance"): "The owner of a bar in wartime meets his lost love, and must choose "
    "between keeping her and helping her husband to flee.",
    ("Rififi", 1955, "Crime"): "Four men break into a jeweller's through the ceiling, in half an hour without a word.",
    ("2001: A Space Odyssey", 1968, "Science Fiction"): "On the way to Jupiter the ship's computer turns on the crew.",
    ("Alien", 1979, "Science Fiction", "Horror"): "A freighter answers a signal, and something comes back aboard that "
    "hunts the crew one by one.",
    ("Reservoir Dogs", 1992, "Crime"): "After a robbery that failed, the thieves wonder who is with the police.",
    ("Groundhog Day", 1993, "Comedy", "Romance"): "A weatherman lives through the same winter's day again and again.",
    ("Heat", 1995, "Crime", "Drama"): "A detective and a master thief, each alone with his work, close in on each "
    "other around one last bank.",
    ("Gravity", 2013, "Science Fiction"): "An accident in orbit leaves an astronaut alone, with air for minutes.",
    ("The Martian", 2015, "Science Fiction", "Drama"): "Left behind on Mars, a botanist grows potatoes and waits.",
    ("Parasite", 2019, "Drama"): "A poor family finds work, one after the other, in the house of a rich one.",
}


def main(
    query: str = "thieves rob a bank", where: str = "year >= 1990 and genres contains 'Crime'"
) -> list[semsearch.Hit]:
    """Print the films that are about `query`, among those that `where` allows."""
    with tempfile.TemporaryDirectory() as home, semsearch.create("films", home=home) as films:
        films.add(
            semsearch.Document(title, plot, title, {"year": year, "genres": genres})
            for (title, year, *genres), plot in FILMS.items()
        )
        print(f"{query}, among {films.count(where)} of {len(films)} films:")
        hits = films.search(query, k=3, where=where)
        for hit in hits:
            print(f"  {hit.score:.2f}  {hit.title} ({hit.metadata['year']}): {hit.text}")
        return hits


if __name__ == "__main__":
    main(*sys.argv[1:3])
