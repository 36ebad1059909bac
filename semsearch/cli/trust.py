"""`semsearch trust`: what came from elsewhere, and may be used because the person says so."""

from __future__ import annotations

from pathlib import Path

import click

from semsearch import trusted
from semsearch.cli import parameters
from semsearch.cli.defaults import CONFIG_FILE
from semsearch.cli.render import out, say
from semsearch.errors import UsageError
from semsearch.home import PROJECT, nearest_home


@click.command(short_help="Use a home, defaults or an address that came from elsewhere.")
@click.argument("places", nargs=-1, type=parameters.file, metavar="[PLACE]...")
@click.option(
    "--key-from",
    metavar="VARIABLE",
    help="Of an address: the environment variable that holds its key, which goes nowhere else "
    "[default: SEMSEARCH_API_KEY, for all that have none of their own].",
)
@click.option("--remove", is_flag=True, help="Take it back.")
@click.option("--list", "list_them", is_flag=True, help="Show what is trusted.")
def trust(places: tuple[str, ...], key_from: str | None, remove: bool, list_them: bool) -> int:
    r"""Use what may have come with a clone, an archive or a backup, since you know whose it is.

    PLACE is a folder of collections, a file of defaults (as it is now), a folder that holds them, or an address that
    texts may be sent to; without one, what there is here. It is remembered on this machine, outside of PLACE.

    \b
    semsearch trust .semsearch
    semsearch trust https://embeddings.example.org
    semsearch trust https://embeddings.example.org --key-from EXAMPLE_API_KEY
    semsearch trust --list
    """
    if list_them:
        for known in trusted.listed():
            out(known)
        return 0
    given = [one for named in places for one in _meant(named)] if places else _here()
    if not given:
        raise UsageError(f"there is no {PROJECT} and no {CONFIG_FILE} here: say what to trust.")
    if key_from is not None and (remove or not all(isinstance(place, str) for place in given)):
        raise UsageError("--key-from says which variable holds the key for an address: name addresses alone with it.")
    for place in given:
        if remove:
            say(f"{'no longer trusted' if trusted.distrust(str(place)) else 'was not trusted'}: {place}")
        else:
            _trust(place, key_from)
            say(f"trusted: {place}")
    return 0


def _here() -> list[str | Path]:
    home, defaults = nearest_home(), Path(CONFIG_FILE).absolute()
    return [place for place in (home, defaults if defaults.is_file() else None) if place is not None]


def _meant(place: str) -> list[str | Path]:
    """What a person means: an address as it is compared, a path, or what lies in a folder that is no home itself."""
    from semsearch.encoder.remote import REMOTE_PREFIX, origin

    if place.startswith(("http://", "https://", REMOTE_PREFIX)):
        return [origin(place)]
    path = Path(place).expanduser().absolute()
    inside = [path / PROJECT, path / CONFIG_FILE]
    there = [one for one in inside if one.exists()]
    return [*there] if there and path.name != PROJECT else [path]


def _trust(place: str | Path, key_from: str | None) -> None:
    if isinstance(place, str):
        trusted.trust_address(place, key_from)
    elif place.is_symlink():
        raise UsageError(f"{place} is a link: trust what it leads to, {place.resolve()}.")
    elif place.is_dir() and place.name == PROJECT:
        trusted.trust_home(place)
    elif place.is_file() and place.name == CONFIG_FILE:
        trusted.trust_defaults(place)
    else:
        raise UsageError(f"{place} is no folder {PROJECT}, no file {CONFIG_FILE} and no address.")
