"""How published checkpoints are laid out, as data: a folder becomes stages, prompts and a similarity, nothing is run.

Layouts from 2019 (a `0_BERT` folder, `sentence_bert_config.json`) to today's `modules.json` differ in names and files,
not in kind. The tables below hold the differences; what they do not know is refused with the reason, because a
checkpoint that opens wrong gives vectors that look right.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from semsearch.arguments import named_kind
from semsearch.errors import SCARCE, ModelError, SemsearchError

Role = Literal["query", "document"]
ROLES: tuple[Role, ...] = ("query", "document")
Family = Literal["dense", "sparse", "multi-vector"]  # what an encoder gives for a text

# Kinds of modules and the files that may hold their configuration, the first that exists.
CONFIG_FILES: Mapping[str, tuple[str, ...]] = {
    "transformer": (
        "sentence_bert_config.json",
        "sentence_roberta_config.json",
        "sentence_distilbert_config.json",
        "sentence_camembert_config.json",
        "sentence_albert_config.json",
        "sentence_xlm-roberta_config.json",
        "sentence_xlnet_config.json",
    ),
    "pooling": ("config.json",),
    "dense": ("config.json",),
    "normalize": ("config.json",),
    "layernorm": ("config.json",),
    "dropout": ("config.json",),
    "weightedlayerpooling": ("config.json",),
    "wordembeddings": ("wordembedding_config.json",),
    "wordweights": ("config.json",),
    "bow": ("config.json",),
    "cnn": ("cnn_config.json",),
    "lstm": ("lstm_config.json",),
    "staticembedding": (),
    "router": ("router_config.json", "config.json"),
    "spladepooling": ("config.json",),
    "sparsestaticembedding": ("config.json",),
    "sparseautoencoder": ("config.json",),
    "clipmodel": ("preprocessor_config.json", "processor_config.json"),
    "multivectormask": ("config.json",),
    "hierarchicaltokenpooling": ("config.json",),
}
# Kinds that mean nothing without their configuration.
CONFIGURED = {
    *("pooling", "dense", "layernorm", "wordembeddings", "wordweights", "bow", "cnn", "lstm", "router"),
    *("spladepooling", "sparseautoencoder", "hierarchicaltokenpooling"),
}
# Other names of the same: the wrappers of v0.x had one class for each architecture.
ALIASES = {
    "asym": "router",
    "csrsparsity": "sparseautoencoder",  # before version 5 was released …
    "idf": "sparsestaticembedding",
    **dict.fromkeys(
        ("bert", "roberta", "distilbert", "albert", "xlnet", "xlmroberta", "camembert", "t5"),
        "transformer",
    ),
}
# Known, and not to be opened as a text encoder: the reason.
REFUSED = {
    "wkpooling": "WKPooling was removed from sentence-transformers in version 2 and is not computed here",
    "logitscore": "it is a reranker, which scores pairs of texts and gives no vectors",
}
IMAGE_TEXT = ("clip", "siglip")  # kinds of models with a tower for texts and one for pictures
LATE = "it is a late-interaction (ColBERT) model, which gives many vectors for each text and reranks (maxsim:MODEL)"
FAMILY_KINDS: Mapping[Family, Mapping[str, str]] = {  # that one family has, and why others don't open them
    "sparse": {
        "spladepooling": "it is a sparse (SPLADE) model, which gives a weight for each word and not a dense vector",
        "sparsestaticembedding": "it is a sparse model, which gives a weight for each word and not a dense vector",
        "sparseautoencoder": "it is a sparse model, which gives a code and not a dense vector",
        "mlmtransformer": "it is a sparse (SPLADE) model, which gives a weight for each word and not a dense vector",
    },
    "multi-vector": {"multivectormask": LATE, "hierarchicaltokenpooling": LATE},
}
CALLED: Mapping[Family, str] = {
    "dense": "text embedding model",
    "sparse": "sparse encoder",
    "multi-vector": "late-interaction (multi-vector) model",
}
REFUSED_FAMILIES = {
    "CrossEncoder": REFUSED["logitscore"],
    "SparseEncoder": FAMILY_KINDS["sparse"]["spladepooling"],
    "MultiVectorEncoder": LATE,
    "ColBERT": LATE,
}
OF_FAMILY: Mapping[str, Family] = {
    "SparseEncoder": "sparse",
    "MultiVectorEncoder": "multi-vector",
    "ColBERT": "multi-vector",
}
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "bpe.codes",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "whitespacetokenizer_config.json",
    "phrasetokenizer_config.json",
)
MOST_MODULES, DEEPEST_ROUTER = 64, 2  # of a model
MASKED = "fill-mask"  # the task of a transformer that gives a weight for each word
# Roles under the names that asymmetric checkpoints gave them.
ROUTES: Mapping[Role, tuple[str, ...]] = {
    "query": ("query", "queries", "question", "q", "search_query"),
    "document": ("document", "documents", "doc", "docs", "passage", "passages", "answer", "corpus", "d", "p"),
}


@dataclass(frozen=True)
class Stage:
    """One module of a model: its kind, where its files lie and what they say."""

    kind: str  # a key of CONFIG_FILES
    folder: Path
    config: Mapping[str, Any]
    file: Path | None = None  # where the configuration stands
    routes: Mapping[str, Sequence[Stage]] = field(default_factory=dict)  # of a router: the modules of each route


@dataclass(frozen=True)
class Checkpoint:
    """What a folder says about its model."""

    folder: Path
    stages: tuple[Stage, ...]
    prompts: Mapping[str, str]
    default_prompt: str | None  # the name of the prompt for every text that has no other
    similarity: str | None  # as the checkpoint says it; None where it is silent
    truncate_dim: int | None

    def stages_of(self, role: Role) -> tuple[Stage, ...]:
        """The modules a text of this role passes, routers resolved."""
        return tuple(stage for top in self.stages for stage in _routed(top, role))


def read(folder: Path, wanted: Family = "dense") -> Checkpoint:
    """The checkpoint in a folder, of an encoder of the family that is wanted.

    Raises:
        ModelError: It is no checkpoint, or not one that this version opens faithfully; says why.
    """
    settings = read_json(folder / "config_sentence_transformers.json")
    family = settings.get("model_type", "SentenceTransformer")
    if family in REFUSED_FAMILIES and OF_FAMILY.get(family) != wanted:
        raise ModelError(f"{folder} holds no {CALLED[wanted]}: {REFUSED_FAMILIES[family]}.")
    if (folder / "modules.json").is_file():
        entries = read_modules(folder)
        stages = tuple(read_stage(folder, entry["path"], entry["type"], entry, family=wanted) for entry in entries)
    else:
        stages = _bare_masked(folder) if wanted == "sparse" else _bare(folder)
    stages = tuple(map(_image_text, stages)) if wanted == "dense" else stages
    prompts = {name: text for name, text in (settings.get("prompts") or {}).items() if text is not None}
    return Checkpoint(
        folder=folder,
        stages=stages,
        prompts=prompts,
        default_prompt=settings.get("default_prompt_name"),
        similarity=settings.get("similarity_fn_name"),
        truncate_dim=settings.get("truncate_dim"),
    )


def _image_text(stage: Stage) -> Stage:
    """A transformer whose towers give vectors for pictures and texts, by the name of its older wrapper."""
    if stage.kind != "transformer" or read_json(stage.folder / "config.json").get("model_type") not in IMAGE_TEXT:
        return stage
    file = next((stage.folder / name for name in CONFIG_FILES["clipmodel"] if (stage.folder / name).is_file()), None)
    return Stage("clipmodel", stage.folder, {}, file)


@contextmanager
def understood(folder: Path) -> Iterator[None]:
    """What a checkpoint's files say and nobody foresaw is a ModelError, not the error of whatever stumbles over it.

    Want of memory or of open files says nothing of the checkpoint, and stays what it is.
    """
    try:
        yield
    except SemsearchError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        if isinstance(error, OSError) and error.errno in SCARCE:
            raise
        raise ModelError(
            f"{folder} can't be opened, since what its files say can't be understood ({type(error).__name__}: "
            f"{first_line(error)}). Fetch the model anew, or choose another."
        ) from error


def first_line(error: Exception) -> str:
    """What a library says, to stand inside of a sentence."""
    return f"{str(error).partition(chr(10))[0]:.200}".rstrip(". ")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON ({error}): the download may be damaged; fetch the model anew.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} must hold a JSON object, but holds {named_kind(type(found))}.")
    return found


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold a module's weights: safetensors before pickles, the index before its shards."""
    for name in WEIGHT_FILES:
        path = folder / name
        if path.is_file():
            if not name.endswith(".index.json"):
                return (path,)
            shards = sorted(set(read_json(path).get("weight_map", {}).values()))
            found = [inside(folder, shard) for shard in shards]
            missing = [shard.name for shard in found if not shard.is_file()]
            if missing:
                raise ModelError(f"{folder} lacks {', '.join(missing)}, which {name} names: fetch the model anew.")
            return (path, *found)
    return ()


def tokenizer_files(folder: Path) -> tuple[Path, ...]:
    """The files that decide how a text becomes tokens."""
    return tuple(folder / name for name in TOKENIZER_FILES if (folder / name).is_file())


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """The entries of a modules.json, in their order."""
    try:
        modules = json.loads((folder / "modules.json").read_text("utf-8"))
        found = [{**entry, "path": str(entry["path"]), "type": str(entry["type"])} for entry in modules]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(f"{folder / 'modules.json'} is no list of modules ({error!r:.200}).") from error
    if len(found) > MOST_MODULES:
        raise ModelError(
            f"{folder / 'modules.json'} names {len(found):,} modules; no model has more than {MOST_MODULES}."
        )
    return found


def read_stage(
    root: Path, path: str, type_name: str, entry: Mapping[str, Any], nested: int = 0, *, family: Family = "dense"
) -> Stage:
    """The stage that an entry of a modules.json names; `root` is the checkpoint's folder, or the router's around it."""
    folder = inside(root, path)
    kind = kind_of(type_name, root, family)
    wanted = [name for name in entry.get("kwargs", ()) if name not in ("task", "truncate_dim")]
    if wanted:
        raise ModelError(f"{root}: its module {type_name} wants arguments that semsearch doesn't know: {wanted}.")
    shared = kind in ("normalize", "dropout") and folder == root  # the root's config.json is the transformer's
    file = next((folder / name for name in CONFIG_FILES[kind] if (folder / name).is_file() and not shared), None)
    if file is None and kind in CONFIGURED:
        raise ModelError(
            f"{folder} lacks {CONFIG_FILES[kind][0]}, which its module {kind} needs: fetch the model anew."
        )
    config = read_json(file) if file is not None else {}
    if type_name.lower().endswith("mlmtransformer"):
        config = {"transformer_task": MASKED} | config
    routes = _routes(folder, config, nested, family) if kind == "router" else {}
    return Stage(kind, folder, config, file, routes)


def kind_of(type_name: str, root: Path, family: Family = "dense") -> str:
    """The kind that a `type` of modules.json names: its last component, whatever generation spelt the path."""
    kind = type_name.rpartition(".")[2].replace("_", "").lower()
    kind = ALIASES.get(kind, kind)
    if family == "sparse" and kind == "mlmtransformer":
        kind = "transformer"
    others = (kinds for other, kinds in FAMILY_KINDS.items() if other != family)
    why = next((kinds[kind] for kinds in (REFUSED, *others) if kind in kinds), None)
    if why is not None:
        raise ModelError(f"{root} can't be opened as a {CALLED[family]}: {why}.")
    if kind not in CONFIG_FILES or type_name.partition(".")[0] not in ("sentence_transformers", "pylate", "model2vec"):
        raise ModelError(
            f"{root} needs code of its own for its module '{type_name}', and semsearch runs no code from checkpoints. "
            "Look for a version of the model that needs none (often named '-hf'), or choose another model."
        )
    return kind


def _routes(folder: Path, config: Mapping[str, Any], nested: int, family: Family) -> dict[str, tuple[Stage, ...]]:
    if nested >= DEEPEST_ROUTER:  # perhaps in itself
        raise ModelError(f"{folder} holds a router in a router in a router, which no model has.")
    try:
        types = dict(config["types"])
        if len(types) > MOST_MODULES or any(len(names) > MOST_MODULES for names in config["structure"].values()):
            raise ModelError(f"{folder} holds a router of more than {MOST_MODULES} modules, which no model has.")
        stages = {
            name: read_stage(folder, name, type_name, {}, nested + 1, family=family)
            for name, type_name in types.items()
        }
        return {route: tuple(stages[name] for name in names) for route, names in config["structure"].items()}
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(f"{folder} holds a router whose configuration can't be understood ({error!r}).") from error


def _routed(stage: Stage, role: Role) -> tuple[Stage, ...]:
    if stage.kind != "router":
        return (stage,)
    return tuple(deeper for inner in stage.routes[_route(stage, role)] for deeper in _routed(inner, role))


def _route(stage: Stage, role: Role) -> str:
    """The route of a role: its mappings from the most to the least particular, then its names, then the default."""
    parameters = stage.config.get("parameters") or {}
    mappings: dict[Any, str] = {}
    for key, route in (parameters.get("route_mappings") or {}).items():
        try:
            mappings[ast.literal_eval(key)] = route
        except (ValueError, SyntaxError) as error:
            raise ModelError(f"{stage.folder}: the router's mapping {key!r} can't be understood.") from error
    for key in ((role, "text"), (role, None), (None, "text"), (None, None)):
        if key in mappings and mappings[key] in stage.routes:
            return mappings[key]
    by_name = {name.lower(): name for name in stage.routes}
    for name in (*ROUTES[role], "text"):
        if name in by_name:
            return by_name[name]
    default = parameters.get("default_route")
    if default in stage.routes:
        return str(default)
    raise ModelError(
        f"{stage.folder}: none of the router's routes ({', '.join(stage.routes)}) is meant for a {role}, "
        "and it names no default."
    )


def _bare(folder: Path) -> tuple[Stage, ...]:
    """A folder without modules.json: model2vec, or a transformer with the pooling that its kind is used with."""
    config = read_json(folder / "config.json")
    if is_model2vec(config):
        static = Stage("staticembedding", folder, config)
        return (static, Stage("normalize", folder, {})) if config.get("normalize") else (static,)
    if (folder / "artifact.metadata").is_file() or "HF_ColBERT" in (config.get("architectures") or ()):
        raise ModelError(f"{folder} can't be opened as a text embedding model: {LATE}.")
    if "model_type" not in config and "architectures" not in config:
        raise ModelError(
            f"{folder} is no embedding model: it has neither a modules.json nor a config.json that names a model_type."
        )
    architecture = (config.get("architectures") or [""])[0]
    if architecture.endswith("ForSequenceClassification"):
        raise ModelError(f"{folder} holds no text embedding model: {REFUSED['logitscore']}.")
    if config.get("model_type") in IMAGE_TEXT:
        return (Stage("transformer", folder, {}),)
    causal = architecture.endswith("ForCausalLM") and config.get("is_causal") is not False
    return (
        Stage("transformer", folder, {}),
        Stage("pooling", folder, {"pooling_mode": "lasttoken" if causal else "mean"}),
    )


def _bare_masked(folder: Path) -> tuple[Stage, ...]:
    """A folder without modules.json: a masked language model, of which SPLADE's maximum is taken."""
    config = read_json(folder / "config.json")
    architectures = config.get("architectures") or ()
    if not any(str(architecture).endswith("ForMaskedLM") for architecture in architectures):
        raise ModelError(
            f"{folder} holds no sparse encoder: it has neither a modules.json nor a config.json that names a masked "
            "language model (architectures). A layer that makes its vectors sparse would have to be trained first."
        )
    return (
        Stage("transformer", folder, {"transformer_task": MASKED}),
        Stage("spladepooling", folder, {"pooling_strategy": "max"}),
    )


def is_model2vec(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is model2vec's."""
    return config.get("model_type") == "model2vec" or "StaticModel" in (config.get("architectures") or ())


def inside(root: Path, path: str) -> Path:
    """A path of a checkpoint, which must not lead out of it."""
    relative = PurePosixPath(path.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or ":" in path:
        raise ModelError(f"{root} names a path outside of itself ('{path}'), and is not opened.")
    found, within = root / relative, _home(root)
    if not found.resolve().is_relative_to(within):  # a link
        raise ModelError(
            f"{root} names a path outside of itself ('{path}' leads to {found.resolve()}), and is not opened."
        )
    return found


def _home(root: Path) -> Path:
    """The folder that the links of a checkpoint may lead to: its own, in the Hugging Face cache the model's."""
    own = root.resolve()
    return next((above for above in own.parents if above.name.startswith("models--")), own)
