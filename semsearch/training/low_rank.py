"""Low-rank adaptation: of each attention's projections a product of two thin matrices is learnt, and added in the end.

Hu et al., 2021, "LoRA". A few lines, which need no other library; what is saved is an ordinary model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PROJECTIONS = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "q", "v", "query_proj", "value_proj", "Wqkv")
LOW_RANK = 16
STRENGTH = 2.0  # alpha divided by the rank


class LowRankLinear(nn.Module):
    """A linear layer that stays, and a product of rank `rank` that is learnt beside it and begins at 0."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear
        device = linear.weight.device
        self.down = nn.Parameter(torch.empty(rank, linear.in_features, device=device))
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank, device=device))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, rows: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        added: Tensor = self.linear(rows) + STRENGTH * functional.linear(functional.linear(rows, self.down), self.up)
        return added

    def merged(self) -> Tensor:
        """The weight of one linear layer that does the same."""
        return self.linear.weight + STRENGTH * self.up @ self.down


def adapt(module: nn.Module, seed: int, rank: int = LOW_RANK) -> list[nn.Parameter]:
    """Put a low-rank product beside every attention projection of a module; what there is to learn."""
    torch.manual_seed(seed)
    learnt: list[nn.Parameter] = []
    for parent in list(module.modules()):
        if isinstance(parent, LowRankLinear):
            continue
        for name, child in list(parent.named_children()):
            if name in PROJECTIONS and isinstance(child, nn.Linear):
                adapted = LowRankLinear(child, rank)
                setattr(parent, name, adapted)
                learnt += [adapted.down, adapted.up]
    return learnt


def plain(tensors: dict[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The tensors of the module as it was before `adapt`, with what was learnt added to them."""
    merged = {name: layer for name, layer in module.named_modules() if isinstance(layer, LowRankLinear)}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        owner, _, own = name.rpartition(".")
        if owner in merged:  # its `down` and `up`
            continue
        outer = owner.removesuffix(".linear")
        if owner != outer and outer in merged:
            found[f"{outer}.{own}"] = merged[outer].merged().detach() if own == "weight" else tensor
        else:
            found[name] = tensor
    return found
