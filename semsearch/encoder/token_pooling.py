"""Fewer vectors of a text: those of tokens that are alike become their mean (Clavié et al., 2024, arXiv 2409.14683)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semsearch.arguments import check_number
from semsearch.errors import MissingDependency, ModelError, UsageError
from semsearch.types import Vectors


class HierarchicalTokenPooling:
    """Ward's clustering of a text's tokens by their cosines, a cluster for `factor` tokens, and the mean of each.

    Args:
        factor: Tokens for each vector that is left, 1 or more.
        protected: Leading tokens that stay as they are.
        unit: Whether the vectors that are left are scaled to unit length.
        roles: Whose tokens are pooled.
    """

    def __init__(
        self, factor: float, *, protected: int = 1, unit: bool = True, roles: frozenset[str] = frozenset({"document"})
    ) -> None:
        if not check_number(factor, "the factor of a token pooling") >= 1:
            raise UsageError(f"the factor of a token pooling is {factor}; it must be 1 or more.")
        self.factor, self.protected, self.unit, self.roles = factor, protected, unit, roles
        if factor > 1:
            _clustering()  # wanting now, and not in the middle of a search

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> HierarchicalTokenPooling:
        """From a `N_HierarchicalTokenPooling` folder; files of before version 6.1 scale nothing."""
        tasks = config.get("tasks")
        roles = ["document"] if tasks is None else [tasks] if isinstance(tasks, str) else tasks
        factor, protected = config.get("pool_factor", 1.0), config.get("num_protected_tokens", 1)
        if not isinstance(factor, int | float) or not factor >= 1 or not isinstance(protected, int) or protected < 0:
            raise ModelError(f"{folder} pools tokens by {factor!r:.40} and protects {protected!r:.40}: fetch it anew.")
        unit = bool(config.get("normalize_embeddings", False))
        return cls(float(factor), protected=protected, unit=unit, roles=frozenset(map(str, roles)))

    def __call__(self, vectors: Vectors) -> Vectors:
        """`(t, dim)` to as many or fewer."""
        if self.factor > 1:
            vectors = self._clustered(vectors)
        if not self.unit:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        made: Vectors = vectors / np.maximum(lengths, 1e-12)
        return made

    def _clustered(self, vectors: Vectors) -> Vectors:
        before, rest = vectors[: self.protected], vectors[self.protected :]
        wanted = max(int(len(rest) // self.factor), 1)
        if wanted >= len(rest):
            return vectors
        hierarchy, squareform = _clustering()
        apart = np.clip(1 - rest @ rest.T, 0, 2)
        tree = hierarchy.linkage(squareform(apart, checks=False), method="ward")
        labels = hierarchy.fcluster(tree, t=wanted, criterion="maxclust")
        _, owner, counts = np.unique(labels, return_inverse=True, return_counts=True)
        sums = np.zeros((len(counts), vectors.shape[1]), np.float32)
        np.add.at(sums, owner, rest)
        made: Vectors = np.concatenate([before, sums / counts[:, None].astype(np.float32)])
        return made


def _clustering() -> tuple[Any, Any]:
    try:
        from scipy.cluster import hierarchy
        from scipy.spatial.distance import squareform
    except ImportError as error:
        raise MissingDependency("pooling tokens takes scipy: pip install 'semsearch[late]'") from error
    return hierarchy, squareform
