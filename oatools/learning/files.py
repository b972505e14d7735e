"""Models as safetensors: weights, and one JSON text from which the model is rebuilt.

Reading one runs no code.
"""

import functools
import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from oatools.core.errors import UsageError
from oatools.core.provenance import OUTDATED_REMEDY, Caution, differences, may_keep
from oatools.core.records import Fields, RecordError, plain_text
from oatools.core.replacing import Replace
from oatools.features.backbone_record import Weights
from oatools.learning import sealed
from oatools.learning.hazard import Hazards
from oatools.learning.linear import CLINICAL
from oatools.learning.model import FittedModel, KneeModel, build
from oatools.learning.scaling import ClinicalScaling
from oatools.learning.settings import MOST, VIEWS, Settings
from oatools.version import __version__

#: The key of a model's record in the metadata of its file.
KEY = "oatools"
FORMAT = 7

_MOST_NETWORKS = 1000
_CAUTIONS = {caution.value for caution in Caution}


def save_model(path: str | Path, model: FittedModel, **more: Any) -> FittedModel:
    """Write a model atomically, and return it with the record that its file holds.

    `more`, such as `endpoint="jsn12"`, is added to the record.
    """
    networks = model.module.networks
    record = {
        "format": FORMAT,
        "architecture": _architecture(model),
        **model.record,
        **more,
        "settings": model.settings.as_dict(),
        "channels": model.module.channels,
        "linear": list(model.module.linear),
        "networks": networks.members if networks is not None else 0,
        "clinical": model.scaling.as_records(),
        "threshold": model.threshold,
        "versions": versions(),
    }
    if model.hazards is not None:
        record["hazards"] = model.hazards.as_record()
    tensors = {}
    for name, value in model.module.state_dict().items():
        tensors[name] = value.detach().cpu().contiguous()
    return replace(model, record=sealed.write_sealed(path, KEY, record, tensors))


def _architecture(model: FittedModel) -> str:
    """Say in words what a model is made of."""
    module = model.module
    parts = []
    if module.linear:
        parts.append(f"ridge regressions on slices ({', '.join(module.linear)})")
    if module.networks is not None:
        count = module.networks.members
        many = f", mean of {count} networks" if count > 1 else ""
        parts.append(f"{model.settings.pooling} pooling over slices, perceptron{many}")
    return "; ".join(parts)


def load_model(path: str | Path) -> FittedModel:
    """Rebuild a model from its file, in evaluation mode.

    Raises a `UsageError` for a file that `save_model` has not written, or that was changed since.
    """
    read_record(path)
    try:
        record, tensors = sealed.read_sealed(path, KEY)
        return _rebuilt(record, tensors)
    except (sealed.NotSealed, OSError, RecordError) as error:
        raise _damaged(path, error) from None


def read_record(path: str | Path) -> dict[str, Any]:
    """Read what a model file says of itself, without its weights.

    Raises a `UsageError` for a file that no such model can be in; what it says is not checked.
    """
    try:
        record = sealed.read_record(path, KEY)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such model") from None
    except sealed.NotSealed as error:
        raise UsageError(f"{path} is not a model that oa-train or oa-cv wrote ({error})") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except RecordError as error:
        raise _damaged(path, error) from None
    if record.get("format") != FORMAT:
        found = plain_text(record.get("format"))
        raise UsageError(
            f"{path} has format {found}, and this version reads {FORMAT}",
            "use the oatools that wrote it, or train it again",
        )
    return record


def is_done(
    path: str | Path,
    made_from: str,
    replacing: Replace,
    say: Callable[[str], None] | None = None,
    fold: int | None = None,
    wanted: Mapping[str, Any] | None = None,
) -> bool:
    """Tell whether the model at `path` is what would be trained.

    One that was damaged since it was made (cut, emptied, changed, exchanged for that of another
    `fold`) is not, which `say` is told. Raises a `UsageError` where it is another, unless it
    may be replaced, with what differs: `wanted` is the record of the one that would be trained.
    """
    damage = "" if replacing is Replace.ANYTHING else _damage(Path(path), made_from, fold)
    if damage:
        if say is not None:
            say(f"warning: {path} {damage}; it is made again")
        return False

    def why_not() -> str:
        recorded = read_record(path)
        return "" if recorded.get("made_from") == made_from else _otherness(recorded, wanted or {})

    if replacing is Replace.OUTDATED and _is_model(Path(path)):
        record = sealed.read_record(path, KEY)
        return record.get("format") == FORMAT and record.get("made_from") == made_from
    may_go = replacing is Replace.ANYTHING
    return may_keep(Path(path), why_not, may_go, UsageError, OUTDATED_REMEDY)


def _otherness(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say in what a model differs from the one that is wanted, as "was made ...".

    Settings come first: with other ones, the inputs may be read otherwise.
    """
    if "settings" not in wanted:
        return "was made from other inputs or settings"
    # Where several are tried, the model has those that were best.
    if recorded.get("settings") not in wanted["settings"]:
        different = differences(recorded.get("settings") or {}, wanted["settings"][0])
        return f"was made with other settings ({different})"
    for name in ("seed", "endpoint"):
        if recorded.get(name) != wanted.get(name):
            return f"was made with {name} {recorded.get(name)}, not {wanted.get(name)}"
    if recorded.get("inputs_sha256") != wanted.get("inputs_sha256"):
        return "was made of other knees, features, labels or clinical variables"
    return "was made with other settings to choose from"


def versions() -> dict[str, str]:
    """Return the versions of everything that decides the numbers."""
    return {
        "oatools": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def _damage(path: Path, made_from: str, fold: int | None) -> str:
    """Say what has become of the model that would be trained; empty where it is another."""
    if _is_damaged(path, made_from):
        return "was damaged since it was made"
    if fold is not None and path.is_file():
        try:
            found = read_record(path).get("fold", fold)
        except UsageError:
            return ""
        if found != fold:
            return f"was exchanged for the model of fold {plain_text(found)} since it was made"
    return ""


def _is_model(path: Path) -> bool:
    """Tell whether a file begins as a model of oatools does, of whatever format."""
    if not path.is_file():
        return False
    start = sealed.start_of(KEY)
    with path.open("rb") as file:
        return file.read(8 + len(start))[8:] == start


def _is_damaged(path: Path, made_from: str) -> bool:
    """Tell whether a file is what is left of the model that would be trained."""
    if not path.is_file():
        return False
    if not _is_model(path):
        return path.stat().st_size == 0  # else a file of somebody else
    try:
        record = sealed.read_record(path, KEY)
    except (sealed.NotSealed, OSError, RecordError):
        return True
    if record.get("made_from") != made_from or record.get("format") != FORMAT:
        return False  # another model, whole or not, which is for its owner to decide on
    try:
        load_model(path)
    except UsageError:
        return True
    return False


def _damaged(path: str | Path, error: Exception) -> UsageError:
    return UsageError(
        f"{path} is damaged or of another version of oatools ({error})", "train it again"
    )


def _rebuilt(record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> FittedModel:
    """Return the model of a record and its tensors; a `RecordError` where they are none."""
    fields = Fields(record)
    _check_record(fields)
    settings = Settings.from_record(fields.part("settings"))
    scaling = ClinicalScaling.from_records(fields.parts("clinical"))
    sequences = len(fields.texts("joined")) or 1
    channels = fields.whole("channels", 1, MOST)
    linear, networks = fields.texts("linear"), fields.whole("networks", 0, _MOST_NETWORKS)
    known = [*VIEWS, *([CLINICAL] if scaling.names else [])]
    if len(set(linear)) < len(linear) or not set(linear) <= set(known) or not (linear or networks):
        raise RecordError("its parts are those of no model")
    try:
        with torch.device("meta"):  # shapes alone, so that none of them takes memory
            module = build(settings, channels, len(scaling.names), sequences, linear, networks)
    except RuntimeError:
        raise RecordError("its settings are those of no network") from None
    _check_tensors(module, tensors)
    module.load_state_dict(tensors, assign=True)
    threshold = fields.number("threshold", 0, 1)
    hazards = Hazards.from_record(fields.part("hazards")) if fields.has("hazards") else None
    return FittedModel(module.eval(), settings, scaling, threshold, record, hazards)


def _check_tensors(module: KneeModel, tensors: dict[str, torch.Tensor]) -> None:
    """Raise a `RecordError` for tensors that are not those of a network, by name."""
    wanted = module.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        what = "tensor '{}' is missing" if name in wanted else "there is a tensor '{}' too many"
        raise RecordError(what.format(plain_text(name)))
    for name, value in sorted(tensors.items()):
        if value.shape != wanted[name].shape or value.dtype != torch.float32:
            found = f"{tuple(value.shape)}, {value.dtype}"
            raise RecordError(f"tensor '{name}' is {found}, not {tuple(wanted[name].shape)}")
    for name, value in sorted(tensors.items()):
        if name.endswith("feature_sd") and not (value > 0).all():
            raise RecordError(f"tensor '{name}' holds a deviation that is not positive")


def _check_record(fields: Fields) -> None:
    """Raise a `RecordError` for a field that is missing, or of another kind or range.

    Here is all that a model's record holds, but for settings, scaling, channels and threshold, from
    which the model itself is made.
    """
    for name, kind in _REQUIRED.items():
        kind(fields, name)
    for name, kind in _OPTIONAL.items():
        if fields.has(name):
            kind(fields, name)


def _cautions(fields: Fields, name: str) -> None:
    for caution in fields.texts(name):
        if caution not in _CAUTIONS:
            raise RecordError(f"there is no caution '{plain_text(caution)}'")


def _versions(fields: Fields, name: str) -> None:
    versions = fields.part(name)
    for each in ("oatools", *versions.values):
        versions.text(each)


def _feature_space(fields: Fields, name: str) -> None:
    space = fields.part(name)
    for each in ("backbone", "weights", "weights_sha256", "precision", "tokens", "layout"):
        if space.has(each):
            space.text(each)
    if space.has("preprocessing"):
        space.part("preprocessing")


def _weights(fields: Fields, name: str) -> None:
    Weights.from_json(fields.part(name).values)


def _tried(fields: Fields, name: str) -> None:
    for each in fields.parts(name):
        Settings.from_record(each.part("settings"))
        each.number("validation_loss")


def _parts(fields: Fields, name: str) -> None:
    for each in fields.parts(name):
        each.text("name")
        each.number("weight", 0)
        each.number("roc_auc", 0, 1)
        if each.has("strength"):
            each.number("strength", 0)
            each.number("power", 0)


_COUNT = functools.partial(Fields.whole, least=0, most=MOST)
_REQUIRED: dict[str, Callable[[Fields, str], object]] = {
    "training_knees": Fields.texts,
    "validation_knees": Fields.texts,
    "joined": Fields.texts,
    "epochs": _COUNT,
    "best_epoch": _COUNT,
    "threshold_rule": Fields.text,
    "class_weights": functools.partial(Fields.numbers, count=2),
    "validation_loss": Fields.number,
    "validation_roc_auc": functools.partial(Fields.number, least=0, most=1),
    "cautions": _cautions,
    "versions": _versions,
    "feature_space": _feature_space,
}
#: What may be absent, or null.
_OPTIONAL: dict[str, Callable[[Fields, str], object]] = {
    "weights": _weights,
    "volume_steps": Fields.texts,
    "sequences": Fields.texts,
    "endpoint": Fields.text,
    "made_from": Fields.text,
    "inputs_sha256": Fields.text,
    "tried": _tried,
    "parts": _parts,
    "linear_roc_auc": functools.partial(Fields.number, least=0, most=1),
}
