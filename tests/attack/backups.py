"""Backups made by hand: the archive of one taken apart and put together again, its digests right."""

import hashlib
import io
import json
import tarfile

MANIFEST = "semsearch-backup.json"
DATABASE = "collection.sqlite"


def unpack(file):
    """The manifest and the files of a backup."""
    with tarfile.open(file) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}
    return json.loads(files.pop(MANIFEST)), files


def pack(file, manifest, files, more=()):
    """Write a backup; `more` are members of other kinds, as `TarInfo`."""
    manifest["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    manifest["files"] |= {member.name: hashlib.sha256(b"").hexdigest() for member in more}
    with tarfile.open(file, "w") as archive:
        for name, content in {MANIFEST: json.dumps(manifest).encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)


def leading_out(rng, canary):
    """A member whose name or kind leads out, or is no file."""
    member = tarfile.TarInfo(
        rng.choice(["../../canary/new", str(canary / "secret.txt"), "indexes/x", "vectors-9.f32", "a\nb", ""])
    )
    member.type = rng.choice(
        [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
    )
    if member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        member.linkname = rng.choice([str(canary), "../../canary/secret.txt", DATABASE])
    return member
