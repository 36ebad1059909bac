"""With which versions of a framework an adaptor was tested, so that a failure beside a newer one says so."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version


def newer_than_tested(tested: Mapping[str, str]) -> str | None:
    """A sentence where a package is installed that is newer than the version tested; None where none is."""
    newer = []
    for package, known in tested.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        if Version(found) > Version(known):
            newer.append(f"{package} {found} (tested: {known})")
    if not newer:
        return None
    return f"installed is {' and '.join(newer)}, newer than what this adaptor was tested with: that may be the reason."
