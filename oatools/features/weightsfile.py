"""The weights of a backbone in the files that training programs leave.

A file may be a plain state dict or the checkpoint of a training run, with the weights inside it and
prefixes of wrappers before their names. Where it holds averaged weights beside those of the last
step, the averaged ones are taken, as timm does: they are what its authors evaluated.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import nn

from oatools.core.errors import UsageError
from oatools.features.checkpointfile import kind_of, read_checkpoint
from oatools.features.keylayouts import LayoutError, Tensors, layout_of, looks_like

#: Where checkpoints keep averaged weights, and the others; earlier names are taken first.
AVERAGED = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model_state_dict",
    "swa_state_dict",
    "swa_model_state_dict",
    "ema",
    "ema_model",
    "params_ema",
    "averaged_model",
    "swa_model",
    "shadow",
    "teacher",
)
PLAIN = (
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "net",
    "network",
    "backbone",
    "encoder",
    "student",
    "params",
    "weights",
    "module",
)
#: Modules that turn features into a result: what they hold is no part of a backbone.
HEADS = (
    "classifier",
    "fc",
    "head",
    "heads",
    "head_dist",
    "last_linear",
    "logits",
    "projector",
    "projection_head",
    "predictor",
)

_COMPILED = "_orig_mod."  # torch.compile puts it before the names of what it wraps
_AVERAGED_WORDS = ("ema", "averaged", "swa", "teacher")
_COUNT_OF_AVERAGED = "n_averaged"  # PyTorch's AveragedModel has it
_COUNTER = "num_batches_tracked"  # which older files lack
_BUFFERS = ("running_mean", "running_var", _COUNTER)  # no parameters, which are not averaged
_MOST_WRAPPINGS = 8
_SHADOWS = "shadow_params"  # as torch_ema and diffusers keep averages
_RIGHT_BACKBONE = "is `backbone` right?"


@dataclass(frozen=True)
class FoundWeights:
    """The tensors of a file by the names of the network that they fit.

    `averaged` is the name under which the file holds averaged weights; empty where it has none.
    `seen` says whose names all of its tensors have, where something tells.
    """

    tensors: Tensors
    averaged: str = ""
    seen: str = ""


def load_weights(network: nn.Module, path: Path) -> str:
    """Load the weights of a file into a network without classifier.

    The file's tensors may have timm's names or those of one of the `keylayouts.LAYOUTS`, behind the
    prefixes of wrappers; those of a classifier are dropped. Position embeddings for another size of
    image are resampled as timm does it. Returns the name under which the file holds averaged
    weights, where these were taken, and else an empty text. Raises a `UsageError` for a file that
    cannot be read, and for tensors that are missing, too many, or do not fit, by their first names.
    """
    wanted = network.state_dict()
    found = find_weights(read_checkpoint(path), wanted, path)
    where = f"{path} ('{found.averaged}')" if found.averaged else str(path)
    state = _resampled(_translated(found.tensors, wanted, where), network)
    for key, tensor in state.items():
        if key in wanted:
            _check_shape(tensor, key, wanted[key], where)
    _check_names(state, wanted, where, found.seen)
    fitting = {key: state.get(key, tensor) for key, tensor in wanted.items()}
    for key, tensor in fitting.items():
        if not torch.isfinite(tensor).all():
            raise UsageError(
                f"{where}: tensor '{key}' holds numbers that are not finite", "the file is damaged"
            )
    network.load_state_dict(fitting)
    return found.averaged


def _translated(state: Tensors, wanted: Mapping[str, torch.Tensor], where: str) -> Tensors:
    """Return tensors under the network's names; a `UsageError` where their layout does not fit."""
    known = layout_of(state, wanted)
    if known is None:
        return state
    try:
        return known[0].translate(state, wanted)
    except LayoutError as error:
        raise UsageError(f"{where}: {error}", _RIGHT_BACKBONE) from None


def _resampled(state: Tensors, network: Any) -> Tensors:
    """Return tensors with position embeddings for the network's size of image."""
    found, own = state.get("pos_embed"), network.state_dict().get("pos_embed")
    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if found is None or own is None or grid is None or found.shape == own.shape:
        return state
    before = own.shape[1] - math.prod(grid)  # positions that belong to no patch
    side = math.isqrt(max(found.shape[1] - before, 0)) if found.ndim == 3 else 0
    if before < 0 or side < 1 or found.shape[1:] != (before + side * side, own.shape[2]):
        return state  # it does not fit, as is told of any tensor
    resampled = resample_abs_pos_embed(
        found, new_size=list(grid), old_size=[side, side], num_prefix_tokens=before
    )
    return {**state, "pos_embed": resampled}


def find_weights(checkpoint: Any, wanted: Mapping[str, torch.Tensor], path: Path) -> FoundWeights:
    """Return the tensors of a checkpoint under a network's names.

    `wanted` is the network's own state dict. Wrappings are taken off from outside, averaged weights
    before others; then prefixes, of which the one is taken behind which most of the network's
    tensors stand, averaged ones again before others. Raises a `UsageError` for a checkpoint without
    tensors, and for two networks of which nothing says which.
    """
    checkpoint, averaged, shadows = _unwrapped(checkpoint, path)
    tensors: Tensors = {}
    for key, value in checkpoint.items():
        if isinstance(value, torch.Tensor):
            tensors[str(key).replace(_COMPILED, "")] = value
    if shadows and not averaged:
        averaged, tensors = shadows.name, shadows.over(tensors, path)
    if not tensors:
        names = ", ".join(list(map(str, checkpoint))[:5]) or "nothing"
        raise UsageError(f"{path}: holds no tensors, but {names}", "give a file of weights")
    prefix = _prefix(tensors, wanted, path)
    if _is_averaged(prefix):
        averaged = averaged or prefix.rstrip(".")
    elif _COUNT_OF_AVERAGED in tensors:
        averaged = averaged or _COUNT_OF_AVERAGED
    inside = {key[len(prefix) :]: each for key, each in tensors.items() if key.startswith(prefix)}
    return FoundWeights(inside, averaged, looks_like(tensors))


def _unwrapped(checkpoint: Any, path: Path) -> "tuple[Mapping[Any, Any], str, _Shadows]":
    """Return what lies within all wrappings, the name of averaged ones, and averages in a list."""
    averaged, shadows = "", _Shadows()
    for _ in range(_MOST_WRAPPINGS):
        if not isinstance(checkpoint, Mapping):
            raise UsageError(
                f"{path}: holds no state dict but {kind_of(checkpoint)}",
                "save its state dict alone",
            )
        shadows = shadows or _Shadows.of(checkpoint)
        name = _wrapping(checkpoint)
        if name is None:
            return checkpoint, averaged, shadows
        if name in AVERAGED:
            averaged = name
        checkpoint = checkpoint[name]
    raise UsageError(f"{path}: wraps itself", "save its state dict alone")


@dataclass(frozen=True)
class _Shadows:
    """Averaged parameters in a list without names, in the order in which a network has its own."""

    name: str = ""
    parameters: tuple[torch.Tensor, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.parameters)

    @classmethod
    def of(cls, checkpoint: Mapping[Any, Any]) -> "_Shadows":
        """Find them in a checkpoint, or in what lies within it; none are empty."""
        for name, value in [(_SHADOWS, checkpoint), *checkpoint.items()]:
            listed = value.get(_SHADOWS) if isinstance(value, Mapping) else None
            if not isinstance(listed, list | tuple):
                continue
            if all(isinstance(each, torch.Tensor) for each in listed):
                return cls(str(name), tuple(listed))
        return cls()

    def over(self, tensors: Tensors, path: Path) -> Tensors:
        """Return named tensors with the averaged ones in place of the parameters among them.

        Raises a `UsageError` where these are not as many, and of the same shapes.
        """
        names = [key for key in tensors if key.rpartition(".")[2] not in _BUFFERS]
        shapes = [tensors[key].shape for key in names]
        if shapes != [each.shape for each in self.parameters]:
            raise UsageError(
                f"{path}: holds averaged parameters without names ('{self.name}'), which do not "
                "fit the others",
                "save the averaged weights as a state dict",
            )
        return {**tensors, **dict(zip(names, self.parameters, strict=True))}


def _wrapping(checkpoint: Mapping[Any, Any]) -> str | None:
    """The name under which a checkpoint holds the weights; None where they lie open."""
    for name in (*AVERAGED, *PLAIN):
        inner = checkpoint.get(name)
        if isinstance(inner, Mapping) and _holds_tensors(inner):
            return name
    return None


def _holds_tensors(values: Mapping[Any, Any], depth: int = 3) -> bool:
    """Tell whether there is a tensor under a name, or under one within it."""
    for value in values.values():
        if isinstance(value, torch.Tensor):
            return True
        if depth and isinstance(value, Mapping) and _holds_tensors(value, depth - 1):
            return True
    return False


def _prefix(tensors: Tensors, wanted: Mapping[str, torch.Tensor], path: Path) -> str:
    """The text before the names of a file's tensors behind which the network's own names stand.

    Where the file has another layout, that before the tensor which shows it.
    """
    known = layout_of(tensors, wanted)
    names = {known[1]} if known else {key for key in wanted if not key.endswith(_COUNTER)}
    counts = Counter(prefix for key in tensors for prefix in _prefixes(key, names))
    if not counts:
        return ""
    most = max(counts.values())
    best = sorted(prefix for prefix, count in counts.items() if count == most)
    if "" in best and not any(map(_is_averaged, best)):
        return ""
    chosen = [prefix for prefix in best if _is_averaged(prefix)] or best
    if len(chosen) > 1:
        listed = ", ".join(f"'{prefix.rstrip('.')}'" for prefix in chosen[:4])
        raise UsageError(
            f"{path}: holds {len(chosen)} networks of this kind ({listed})",
            "save the one that is meant alone",
        )
    return chosen[0]


def _prefixes(key: str, names: Iterable[str]) -> list[str]:
    """What stands before each of `names` with which a tensor's name ends."""
    parts = key.split(".")
    cuts = [len(".".join(parts[:i])) + (i > 0) for i in range(len(parts))]
    return [key[:cut] for cut in cuts if key[cut:] in names]


def _is_averaged(prefix: str) -> bool:
    words = prefix.replace(".", "_").casefold().split("_")
    return any(word in _AVERAGED_WORDS for word in words)


def _check_shape(found: torch.Tensor, key: str, wanted: torch.Tensor, where: str) -> None:
    """Raise a `UsageError` where a tensor of a file cannot take its place."""
    if found.shape != wanted.shape:
        shapes = f"{tuple(found.shape)}, not {tuple(wanted.shape)}"
        raise UsageError(f"{where}: tensor '{key}' has shape {shapes}", _RIGHT_BACKBONE)


def _check_names(state: Tensors, wanted: Mapping[str, torch.Tensor], where: str, seen: str) -> None:
    """Raise a `UsageError` that counts missing and unexpected tensors, and names the first.

    `seen` says whose names they look like.
    """
    missing = [key for key in wanted if key not in state and not key.endswith(_COUNTER)]
    unexpected = [key for key in state if key not in wanted and key.split(".")[0] not in HEADS]
    said = []
    if missing:
        said.append(f"has no tensor {_counted(missing)}, of {len(wanted)} that the backbone needs")
    if unexpected:
        said.append(f"has {_counted(unexpected)}, which the backbone does not have")
    if said:
        is_other = seen and seen != looks_like(wanted)
        names = f" (by its names it is {seen})" if is_other else ""
        raise UsageError(f"{where}: {', and '.join(said)}{names}", _RIGHT_BACKBONE)


def _counted(names: list[str]) -> str:
    """The first of several names, and how many more there are."""
    more = len(names) - 1
    return f"'{names[0]}' and {more} others" if more else f"'{names[0]}'"
