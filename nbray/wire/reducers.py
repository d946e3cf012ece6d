"""How types whose own pickling copies, or loses what we promise, are reduced instead.

``table`` maps exact types to reduce functions, as ``copyreg.dispatch_table`` does, but counts for nbray's dumps only.
Libraries are never imported to pickle a value: their entries appear once somebody else has imported them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any, TypeAlias

Reducer: TypeAlias = Callable[[Any], Any]

table: dict[type, Reducer] = {}


def register(kind: type, reducer: Reducer) -> None:
    """From now on instances of exactly ``kind`` are pickled as ``reducer(instance)`` says (like ``__reduce__``)."""
    table[kind] = reducer


def unregister(kind: type) -> None:
    """Undo ``register``. Nothing happens if there was none."""
    table.pop(kind, None)


# --- NumPy ---------------------------------------------------------------------------------------------------------


class _Memory:
    """The memory of an array, described to NumPy as writable. Keeps the array alive."""

    def __init__(self, array: Any) -> None:
        self.array = array
        address = array.__array_interface__["data"][0]
        self.__array_interface__ = {
            "shape": (array.nbytes,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }


def reduce_array(array: Any) -> Any:
    """An array with its bytes as one buffer, whatever its strides and type, and writable at the reader.

    NumPy itself copies strided arrays and dates into the stream, and pickle 5 would carry the flag of a read-only array (pandas
    hands them out, and so does ``np.frombuffer(bytes)``) to a reader who has memory of his own.
    """
    if array.dtype.hasobject:
        return array.__reduce_ex__(5)
    if not array.nbytes:
        return array.copy().__reduce_ex__(5)
    flags = array.flags
    if not (flags.c_contiguous or flags.f_contiguous):
        array = array.copy()  # in C order
    order = "C" if array.flags.c_contiguous else "F"
    dtype = array.dtype
    plain = (
        dtype.isbuiltin == 1 and dtype.kind not in "mM"
    )  # numbers, text: their code says all, and pickles faster
    if plain and array.flags.writeable:
        memory = array
    else:
        memory = sys.modules["numpy"].asarray(_Memory(array))
    return rebuild_array, (PickleBuffer(memory), dtype.str if plain else dtype, array.shape, order)


def of_numbers(parts: Any) -> bool:
    """Whether those parts, from ``reduce_array``, are a buffer and strings and numbers that describe it, and no more."""
    return parts[0] is rebuild_array and type(parts[1][1]) is str


def rebuild_array(buffer: Any, dtype: Any, shape: tuple[int, ...], order: Any) -> Any:
    """The other half of ``reduce_array``: an array on the memory of ``buffer``."""
    import numpy

    return numpy.ndarray(shape, dtype, buffer, order=order)


def _install_numpy(numpy: Any) -> bool:
    if not hasattr(numpy, "ndarray"):  # another thread is in the middle of importing it
        return False
    register(numpy.ndarray, reduce_array)
    return True


# --- PyTorch -------------------------------------------------------------------------------------------------------


def reduce_tensor(tensor: Any) -> Any:
    """A dense CPU tensor with its data as a buffer; PyTorch itself would write a whole file format into the stream.

    A view is reduced to what it shows, not to the storage it looks at. Anything unusual is left to PyTorch.
    """
    torch = sys.modules["torch"]
    if (
        tensor.device.type != "cpu"
        or tensor.layout is not torch.strided
        or tensor.is_quantized
        or not tensor.is_leaf  # PyTorch's own refusal says why
        or tensor.__dict__
        or tensor._backward_hooks
    ):
        return tensor.__reduce_ex__(5)
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    name = str(tensor.dtype).removeprefix("torch.")
    return rebuild_tensor, (PickleBuffer(flat.numpy()), name, tuple(tensor.shape), tensor.requires_grad)


def rebuild_tensor(buffer: Any, dtype: str, shape: tuple[int, ...], requires_grad: bool) -> Any:
    """The other half of ``reduce_tensor``: a tensor on the memory of ``buffer``."""
    import torch  # type: ignore[import-not-found,unused-ignore]

    kind = getattr(torch, dtype)
    if len(memoryview(buffer)) == 0:
        tensor = torch.empty(shape, dtype=kind)
    else:
        tensor = torch.frombuffer(buffer, dtype=kind).reshape(shape)
    return tensor.requires_grad_() if requires_grad else tensor


def _install_torch(torch: Any) -> bool:
    if not hasattr(torch, "Tensor"):
        return False
    register(torch.Tensor, reduce_tensor)
    return True


_awaited: dict[str, Callable[[Any], bool]] = {"numpy": _install_numpy, "torch": _install_torch}


def install_for_imported_modules() -> None:
    """Fill ``table`` for libraries that have been imported since the last call."""
    for name in tuple(_awaited):
        module = sys.modules.get(name)
        if module is not None and _awaited[name](module):
            _awaited.pop(name, None)
