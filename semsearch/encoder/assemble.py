"""From the stages of a checkpoint to modules that run, whatever library they compute with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tokenizers import Tokenizer

from semsearch.encoder.checkpoint import Role, Stage, is_model2vec, read_json, tokenizer_files, weight_files
from semsearch.encoder.text_encoder import Stream
from semsearch.encoder.tokenization import (
    UNLIMITED,
    Model2VecTokenizer,
    TextTokenizer,
    Tokenize,
    VocabularyTokenize,
    as_siglip,
    load_tokenizer,
    max_tokens,
)
from semsearch.encoder.word_tokenization import WhitespaceTokenizer as WordTokenizer
from semsearch.encoder.word_tokenization import load_word_tokenizer, vocabulary
from semsearch.errors import ModelError

AnyModule = TypeVar("AnyModule")


class ModuleLibrary(Protocol[AnyModule]):
    """Makes the modules of a model: torch's, or numpy's."""

    def load(self, kind: str, folder: Path, config: Mapping[str, Any]) -> AnyModule:
        """The module of a stage that follows another, or is the first and reads no tokens of a transformer.

        One that changes how wide its rows are says so by `width(dim)`, a table of vectors by `dim` and `rows`.
        """
        ...

    def transformer(self, folder: Path, config: dict[str, Any], tokenizer: Tokenizer, *, all_layers: bool) -> AnyModule:
        """The transformer in a folder; with the states of all its layers where they are wanted."""
        ...

    def truncate(self, dim: int, *, norm_first: bool) -> AnyModule:
        """Keeps the leading components, after a layer normalisation without parameters where declared."""
        ...

    def normalize(self) -> AnyModule:
        """Scales vectors to unit length."""
        ...

    def stream(self, tokenize: Tokenize, modules: Sequence[AnyModule], dim: int, *, max_tokens: int) -> Stream:
        """What runs texts through all of the modules."""
        ...

    @property
    def device(self) -> Any:
        """Where it computes."""
        ...

    @property
    def dtype(self) -> Any:
        """What it computes in."""
        ...


FOLLOWERS = {
    *("pooling", "dense", "layernorm", "normalize", "weightedlayerpooling"),
    *("wordweights", "cnn", "lstm", "dropout"),
}
DECODER_STATE = {"bart", "mbart", "plbart", "mvp", "led", "bigbird_pegasus"}  # token embeddings are their decoder's
# Architectures whose published checkpoints still ask for code of their own, though transformers has it by now: what
# their configuration must say, where it says it, for the ported model to be the same.
PORTED: Mapping[str, Mapping[str, Any]] = {
    "nomic_bert": {
        **{"n_embd": 768, "n_head": 12, "n_inner": 3072, "n_layer": 12, "vocab_size": 30528, "type_vocab_size": 2},
        **{"activation_function": "swiglu", "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "prenorm": False},
        **{"qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "rotary_emb_interleaved": False},
        **{"causal": False, "parallel_block": False, "num_experts": None, "rotary_scaling_factor": None},
    }
}
# Settings for transformers that change no vector, or that are settled here.
IGNORED_SETTINGS = {
    *("attn_implementation", "torch_dtype", "dtype", "use_safetensors", "add_pooling_layer", "low_cpu_mem_usage"),
    *("trust_remote_code", "use_fast", "padding_side", "token", "revision", "use_cache", "device_map", "cache_dir"),
    *("local_files_only", "subfolder", "padding", "truncation", "return_tensors", "ignore_mismatched_sizes"),
}


@dataclass
class Stack(Generic[AnyModule]):
    """What a text of one role passes: its tokenizer, then modules; and what of it decides a vector."""

    tokenize: VocabularyTokenize
    modules: list[AnyModule]
    names: list[str]
    dim: int
    max_tokens: int = UNLIMITED
    text_tokenizer: TextTokenizer | None = None  # where texts are cut to a window of tokens
    identity: list[Any] = field(default_factory=list)  # JSON values, and paths for the contents of files


class Assembler(Generic[AnyModule]):
    """Builds the stacks of a checkpoint's roles; a stage that both roles pass is built once."""

    def __init__(self, library: ModuleLibrary[AnyModule]) -> None:
        self._library = library
        self._built: dict[Path, Any] = {}

    def stacks(self, stages: Mapping[Role, Sequence[Stage]]) -> dict[Role, Stack[AnyModule]]:
        """The stack of each role: one and the same where their stages are."""
        document = self.stack(stages["document"], "document")
        apart = any(stage.config.get("query_length", stage.config.get("document_length")) for stage in stages["query"])
        if stages["query"] == stages["document"] and not apart:
            return {"document": document, "query": document}
        return {"document": document, "query": self.stack(stages["query"], "query")}

    def stack(self, stages: Sequence[Stage], role: Role) -> Stack[AnyModule]:
        """The stack of one role's stages."""
        if not stages:
            raise ModelError("the checkpoint names no modules.")
        first, *rest = stages
        stack = self._input(first, role, all_layers=any(stage.kind == "weightedlayerpooling" for stage in rest))
        for stage in rest:
            if stage.kind not in FOLLOWERS:
                raise ModelError(f"{stage.folder}: a module of the kind '{stage.kind}' can't follow another.")
            module = self._once(stage)
            width = getattr(module, "width", None)
            stack.dim = width(stack.dim) if width is not None else stack.dim
            stack.modules.append(module)
            stack.names.append(type(module).__name__)
            said = stage.file if stage.kind == "wordweights" else dict(stage.config)  # a vocabulary is hashed as a file
            stack.identity.append([stage.kind, said, *weight_files(stage.folder)])
        return stack

    def _once(self, stage: Stage) -> Any:
        key = stage.folder / stage.kind
        if key not in self._built:
            self._built[key] = self._library.load(stage.kind, stage.folder, stage.config)
        return self._built[key]

    def _input(self, stage: Stage, role: Role, *, all_layers: bool) -> Stack[AnyModule]:
        if stage.kind == "transformer":
            return self._transformer(stage, role, all_layers=all_layers)
        if stage.kind == "staticembedding":
            return self._static(stage)
        if stage.kind == "clipmodel":
            return self._text_tower(stage)
        if stage.kind == "wordembeddings":
            return self._word_embeddings(stage)
        if stage.kind == "bow":
            words = vocabulary(stage.config)
            return Stack(WordTokenizer(words), [self._once(stage)], ["BoW"], len(words), identity=["bow", stage.file])
        raise ModelError(f"{stage.folder}: a module of the kind '{stage.kind}' can't be the first.")

    def _static(self, stage: Stage) -> Stack[AnyModule]:
        files = [*weight_files(stage.folder), *tokenizer_files(stage.folder)]
        tokenizer = load_tokenizer(stage.folder)
        model2vec = is_model2vec(read_json(stage.folder / "config.json"))
        reader = Model2VecTokenizer(tokenizer) if model2vec else TextTokenizer(tokenizer, UNLIMITED, special=False)
        module = self._once(stage)
        identity = ["static", model2vec, *files]
        name = "StaticEmbedding" + (" (model2vec)" if model2vec else "")
        return Stack(reader, [module], [name], module.dim, reader.max_tokens, reader, identity)

    def _text_tower(self, stage: Stage) -> Stack[AnyModule]:
        """The text tower of a model of pictures and texts."""
        config = read_json(stage.folder / "config.json")
        _settings(stage, "model_kwargs", "model_args")
        tower = self._once(stage)
        settings = read_json(stage.folder / "tokenizer_config.json")
        tokenizer = load_tokenizer(stage.folder)
        if settings.get("tokenizer_class", "").startswith("SiglipTokenizer"):
            as_siglip(tokenizer)
        limit = min(tower.window, max_tokens(None, settings.get("model_max_length"), {}))
        reader = TextTokenizer(tokenizer, limit)
        files = [*weight_files(stage.folder), *tokenizer_files(stage.folder)]
        identity = [["image and text", limit, _essence(config), *([stage.file] if stage.file else [])], files]
        name = f"CLIPModel ({config.get('model_type')})"
        return Stack(reader, [tower], [name], tower.dim, limit, reader, identity)

    def _word_embeddings(self, stage: Stage) -> Stack[AnyModule]:
        module = self._once(stage)
        limit = stage.config.get("max_seq_length") or UNLIMITED
        named = str(stage.config.get("tokenizer_class", "WhitespaceTokenizer"))
        files = [*weight_files(stage.folder), *tokenizer_files(stage.folder)]
        identity = ["words", named.rpartition(".")[2], limit, *files]
        if named.endswith(".TransformersTokenizerWrapper"):
            reader = TextTokenizer(load_tokenizer(stage.folder), limit)
            return Stack(reader, [module], ["WordEmbeddings"], module.dim, limit, reader, identity)
        words = load_word_tokenizer(stage.folder, named)
        words.limit = limit
        if len(words.ids) > module.rows:
            raise ModelError(f"{stage.folder} has {len(words.ids)} words and {module.rows} vectors.")
        return Stack(words, [module], ["WordEmbeddings"], module.dim, identity=identity)

    def _transformer(self, stage: Stage, role: Role, *, all_layers: bool) -> Stack[AnyModule]:
        config = read_json(stage.folder / "config.json")
        _check_task(stage, config)
        _settings(stage, "config_kwargs", "config_args")
        _settings(stage, "model_kwargs", "model_args")
        options = _settings(stage, "processor_kwargs", "tokenizer_args", allowed=("model_max_length",))
        options |= _processing(stage)
        lower = bool(stage.config.get("do_lower_case"))
        key = stage.folder / "tokenizer"
        if key not in self._built:
            self._built[key] = load_tokenizer(stage.folder, lower=lower)
        tokenizer: Tokenizer = self._built[key]
        settings = read_json(stage.folder / "tokenizer_config.json")
        said = (
            options.get("max_length")
            or stage.config.get(f"{role}_length")
            or stage.config.get("max_seq_length")
            or options.get("model_max_length")
        )
        limit = max_tokens(said, settings.get("model_max_length"), config)
        text_tokenizer = TextTokenizer(tokenizer, limit, left=settings.get("truncation_side") == "left")
        key = stage.folder / stage.kind
        if key not in self._built:
            self._built[key] = self._library.transformer(stage.folder, config, tokenizer, all_layers=all_layers)
        module = self._built[key]
        return Stack(
            tokenize=text_tokenizer,
            modules=[module],
            names=[f"Transformer ({config.get('model_type', 'unknown')})"],
            dim=_width(config, stage),
            max_tokens=limit,
            text_tokenizer=text_tokenizer,
            identity=[
                ["transformer", limit, lower, _essence(config), *(["decoder"] if _decodes(config) else [])],
                [*weight_files(stage.folder), *tokenizer_files(stage.folder)],
            ],
        )


def _check_task(stage: Stage, config: Mapping[str, Any]) -> None:
    """Refuse what is no plain text encoder, or would need code from the checkpoint."""
    folder = stage.folder
    if not config:
        raise ModelError(f"{folder} lacks the config.json of its transformer: fetch the model anew.")
    if config.get("auto_map", {}).keys() & {"AutoConfig", "AutoModel"}:
        kind = config.get("model_type")
        port = PORTED.get(str(kind))
        differs = [key for key, value in (port or {}).items() if config.get(key, value) != value]
        if port is None or differs:
            raise ModelError(
                f"{folder} needs code of its own for its model ('{kind}'), and semsearch runs no code from checkpoints"
                + (f" (the '{kind}' that transformers has is another: {', '.join(differs)})" if differs else "")
                + ". Look for a version of it that needs none (often named '-hf'), or choose another model."
            )
    task = stage.config.get("transformer_task", "feature-extraction")
    said = stage.config.get("modality_config") or {
        "text": {"method": "forward", "method_output_name": "last_hidden_state"}
    }
    text = said.get("text", {})
    output = stage.config.get("module_output_name", "token_embeddings")
    if "message" in said:
        raise ModelError(f"{folder} wraps its texts in a chat template, which this version does not do.")
    if (
        task != "feature-extraction"
        or output != "token_embeddings"
        or text.get("method") != "forward"
        or text.get("method_output_name") not in ("last_hidden_state", ["last_hidden_state"])
    ):
        raise ModelError(
            f"{folder} uses its transformer for '{task}' with the output '{output}' of '{text.get('method')}'; "
            "this version opens models that give token embeddings of texts."
        )
    if stage.config.get("query_expansion"):
        raise ModelError(
            f"{folder} expands its queries as late-interaction (ColBERT) models do, which is not done here."
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter (PEFT) on another model; merge it into that model first and save the result."
        )


def _settings(stage: Stage, new: str, old: str, *, allowed: Sequence[str] = ()) -> dict[str, Any]:
    """The settings for transformers under the name of either generation; one that may change a vector is refused."""
    said = {**(stage.config.get(old) or {}), **(stage.config.get(new) or {})}
    said = {key: value for key, value in said.items() if key not in IGNORED_SETTINGS}
    unknown = sorted(said.keys() - set(allowed))
    if unknown:
        raise ModelError(f"{stage.folder} wants {old} that semsearch doesn't know: {', '.join(unknown)}.")
    return said


def _processing(stage: Stage) -> dict[str, Any]:
    """How texts are tokenized beyond the tokenizer's own settings: a length, or something that is refused."""
    said = stage.config.get("processing_kwargs") or {}
    merged = {**(said.get("text") or {}), **(said.get("common") or {})}
    unknown = sorted(key for key in merged if key not in IGNORED_SETTINGS and key != "max_length")
    if unknown or said.get("chat_template"):
        raise ModelError(f"{stage.folder} wants processing_kwargs that semsearch doesn't know: {', '.join(unknown)}.")
    return {key: value for key, value in merged.items() if key == "max_length"}


def _decodes(config: Mapping[str, Any]) -> bool:
    """Whether token embeddings are a decoder's states."""
    return bool(config.get("is_encoder_decoder")) and config.get("model_type") in DECODER_STATE


def _width(config: Mapping[str, Any], stage: Stage) -> int:
    for key in ("hidden_size", "d_model", "dim", "n_embd", "hidden_dim"):
        if isinstance(config.get(key), int):
            return int(config[key])
    inner = config.get("text_config")
    if isinstance(inner, dict):
        return _width(inner, stage)
    raise ModelError(f"{stage.folder / 'config.json'} doesn't say how wide its token embeddings are (hidden_size).")


NOISE = {
    "_name_or_path",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "use_cache",
    "gradient_checkpointing",
    "auto_map",
}


def _essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what depends on who saved it."""
    return {
        key: value
        for key, value in config.items()
        if key not in NOISE and not key.startswith(("_attn", "id2label", "label2id"))
    }
