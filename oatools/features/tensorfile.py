"""Features as a tensor that torch.save wrote, as CLAM and TRIDENT keep them."""

import io
import math
from pathlib import Path

import numpy as np
import torch

from oatools.core.errors import ItemError, UsageError
from oatools.core.limits import allowance, require_memory
from oatools.features.checkpointfile import kind_of, read_checkpoint
from oatools.features.otherlayouts import slices_by_channels

_REMEDY = "save the tensor of features alone, slices by channels"


def read_tensor(path: str | Path) -> np.ndarray:
    """Return the features (slices, channels) of a file, float16, float32 or float64.

    It is opened without executing anything in it (see `checkpointfile`). Raises an `ItemError` for
    anything but one tensor of such numbers, with or without a first axis of length one, and for one
    that says it is larger than a file of that size may be.
    """
    path = Path(path)
    try:
        tensor = read_checkpoint(path)
    except UsageError as error:
        raise ItemError(error.reason, error.remedy) from None
    if not isinstance(tensor, torch.Tensor):
        raise ItemError(f"{path}: holds {kind_of(tensor)} in the place of features", _REMEDY)
    if tensor.layout != torch.strided or not tensor.dtype.is_floating_point:
        raise ItemError(f"{path}: holds a tensor of {tensor.dtype}, {tensor.layout}", _REMEDY)
    # A tensor may repeat one stored number any number of times.
    needed = math.prod(tensor.shape) * tensor.element_size()
    shape = tuple(tensor.shape)
    require_memory(needed, allowance(path), f"{path}: its tensor states a shape of {shape}")
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()  # which numpy does not have
    try:
        return slices_by_channels(tensor.detach().contiguous().numpy())
    except (ValueError, TypeError, RuntimeError) as error:
        raise ItemError(f"{path}: {error}", _REMEDY) from None


def tensor_bytes(features: np.ndarray) -> bytes:
    """Return the bytes of a file that holds features as a tensor; equal features, equal bytes."""
    buffer = io.BytesIO()
    torch.save(torch.from_numpy(np.ascontiguousarray(features)), buffer)
    return buffer.getvalue()
