"""A GPU that is not there: torch's fake tensors on `cuda:0`, which know shapes, dtypes and devices, and no numbers.

Two devices in one operation raise there as on a real one, and so does a number that is asked for. What a fake tensor
lets pass and a real device would wait for is raised here: a copy to the host that blocks, and a host array that is read
before the one wait at the end of a window, `torch.cuda.synchronize`.
"""

from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("cuda:0")


class HiddenWait(AssertionError):
    """The host waited for the GPU where it must not."""


class Copies(TorchDispatchMode):
    """Raises where something is copied from the GPU to the host and waited for, unless one `may` wait."""

    def __init__(self, may):
        super().__init__()
        self.may = may

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        name = function.overloadpacket.__name__
        source = arguments[1] if name == "copy_" else arguments[0] if arguments else None
        target = arguments[0].device if name == "copy_" else keywords.get("device")
        if name == "to" and target is None:
            target = next((one for one in arguments[1:] if isinstance(one, torch.device)), None)
        blocks = not (keywords.get("non_blocking") or (name == "copy_" and len(arguments) > 2 and arguments[2]))
        if (
            name in ("copy_", "_to_copy", "to")
            and blocks
            and not self.may
            and isinstance(source, torch.Tensor)
            and source.device.type == "cuda"
            and target is not None
            and torch.device(target).type == "cpu"
        ):
            raise HiddenWait(f"{name} to the host blocks")
        if name == "copy_" and source.device != target:  # whose fake would ask the real device
            return arguments[0]
        return function(*arguments, **keywords)


def picked(tensor, key):
    """`tensor[key]`, by the dispatcher: Python's own way there asks the real device."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(one is Ellipsis for one in keys):
        place = next(place for place, one in enumerate(keys) if one is Ellipsis)
        rest = tensor.dim() - sum(one is not None for one in keys) + 1
        keys = (*keys[:place], *[slice(None)] * rest, *keys[place + 1 :])
    dim, wanted = 0, {}
    for one in keys:
        if one is None:
            tensor = torch.ops.aten.unsqueeze(tensor, dim)
        elif isinstance(one, slice):
            tensor = torch.ops.aten.slice(tensor, dim, one.start, one.stop, one.step or 1)
        elif isinstance(one, torch.Tensor):
            wanted[dim] = one
        else:
            tensor = torch.ops.aten.select(tensor, dim, int(one))
            continue
        dim += wanted[dim].dim() if dim in wanted and wanted[dim].dtype is torch.bool else 1
    if not wanted:
        return tensor
    return torch.ops.aten.index(tensor, [wanted.get(place) for place in range(max(wanted) + 1)])


def put(tensor, key, value):
    """`tensor[key] = value`, likewise."""
    if isinstance(key, torch.Tensor):
        value = value if isinstance(value, torch.Tensor) else torch.full((), value, device=tensor.device)
        torch.ops.aten.index_put_(tensor, [key], value.to(tensor.dtype))
    elif isinstance(value, torch.Tensor):
        torch.ops.aten.copy_(picked(tensor, key), value)
    else:
        torch.ops.aten.fill_(picked(tensor, key), value)


def _nonzero(tensor, as_tuple):
    found = torch.ops.aten.nonzero(tensor)
    return tuple(torch.ops.aten.unbind(found, 1)) if as_tuple else found


class FakeGPU:
    """What is seen of it: how often was waited for it, and the batches that came back."""

    def __init__(self, mode):
        self.mode, self.waits, self.read = mode, 0, 0

    def fake(self, tensor):
        """A tensor's like on the GPU."""
        with unset_fake_temporarily():
            tensor = tensor.detach()
        return self.mode.from_tensor(tensor).to(GPU)

    def move(self, module):
        """A real module's parameters and buffers as fake ones on the GPU."""
        for inner in module.modules():
            for name, tensor in list(inner._parameters.items()):
                if tensor is not None:
                    inner._parameters[name] = torch.nn.Parameter(self.fake(tensor), requires_grad=False)
            for name, tensor in list(inner._buffers.items()):
                if tensor is not None:
                    inner._buffers[name] = self.fake(tensor)
        return module


@contextmanager
def fake_gpu(monkeypatch, *, dynamic=False):
    """Inside, 'cuda:0' is a device.

    `dynamic` is for what waits by its nature: sizes that depend on numbers, as `nonzero`'s do, nobody knows there, and
    what is read on the host is all 0.
    """
    shapes = ShapeEnv(allow_scalar_outputs=False, allow_dynamic_output_shape_ops=True) if dynamic else None
    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=shapes)
    gpu = FakeGPU(mode)
    numpy = torch.Tensor.numpy
    empty = torch.empty

    def synchronize(device=None):
        gpu.waits += 1

    def as_numpy(tensor, **how):
        if not isinstance(tensor, FakeTensor):
            return numpy(tensor, **how)
        if tensor.device.type != "cpu":
            raise TypeError("can't convert a CUDA tensor to numpy")
        if not gpu.waits and not dynamic:
            raise HiddenWait("a host array was read before it had arrived")
        gpu.read += 1
        with unset_fake_temporarily():
            kind = numpy(torch.zeros((), dtype=tensor.dtype)).dtype
        return np.zeros([size if type(size) is int else 0 for size in tensor.shape], dtype=kind)

    def asked(tensor, *how):
        raise HiddenWait("a number was asked for, which is an item of the GPU's")

    patches = [
        (FakeTensor, "__getitem__", picked),
        (FakeTensor, "__setitem__", put),
        (FakeTensor, "__invert__", lambda tensor: torch.ops.aten.bitwise_not(tensor)),
        (FakeTensor, "contiguous", lambda tensor: torch.ops.aten.clone(tensor, memory_format=torch.contiguous_format)),
        (
            FakeTensor,
            "copy_",
            lambda tensor, source, non_blocking=False: torch.ops.aten.copy_(tensor, source, non_blocking),
        ),
        (FakeTensor, "nonzero", lambda tensor, as_tuple=False: _nonzero(tensor, as_tuple)),
        *((FakeTensor, name, asked) for name in ("item", "tolist", "__float__", "__int__", "__bool__", "__index__")),
        (torch, "as_tensor", lambda array, device=None: torch.from_numpy(np.asarray(array)).to(device)),
        (fake_tensor, "CONSTANT_NUMEL_LIMIT", -1),  # no tensor of one number is computed with for real
        (torch.nn.Module, "to", lambda module, *how: gpu.move(module)),
        (torch.cuda, "is_available", lambda: True),
        (torch.cuda, "device_count", lambda: 1),
        (torch.cuda, "synchronize", synchronize),
        (torch.cuda, "empty_cache", lambda: None),
        (torch.cuda, "is_bf16_supported", lambda **how: True),
        (torch.Tensor, "pin_memory", lambda tensor, *how: tensor),
        (torch.Tensor, "numpy", as_numpy),
        (torch, "empty", lambda *sizes, pin_memory=False, **how: empty(*sizes, **how)),
    ]
    import semsearch.encoder.weights as weights

    read = weights._read

    def fake_read(path):
        with unset_fake_temporarily():
            tensors = read(path)
        return {name: mode.from_tensor(tensor) for name, tensor in tensors.items()}

    patches.append((weights, "_read", fake_read))
    with monkeypatch.context() as patched:
        for owner, name, value in patches:
            patched.setattr(owner, name, value, raising=False)
        with mode, Copies(may=dynamic):
            yield gpu


@contextmanager
def loading_for_real(monkeypatch, gpu, owner, name="from_pretrained"):
    """Inside, a class of transformers loads its model for real, and gives it with fake parameters."""
    original = getattr(owner, name)

    def load(*arguments, **keywords):
        with unset_fake_temporarily(), nullcontext():
            found = original(*arguments, **keywords)
        model, *rest = found if isinstance(found, tuple) else (found,)
        gpu.move(model)
        return (model, *rest) if rest else model

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, load)
        yield
