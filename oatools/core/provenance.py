"""How an artefact was made, and whether work already done may be kept.

Every artefact records the steps that led to it, oldest first. A step is
`{"tool", "version", "parameters", "input": {"name", "sha256"}}`; names are bare file names, so that a record says
nothing of the machine and the same work gives the same bytes anywhere.
"""

import json
from pathlib import Path
from typing import Any

import oatools
from oatools.core.errors import ItemError
from oatools.core.files import digest, write_text

Step = dict[str, Any]

STEPS = "OatoolsSteps"


def step(tool: str, parameters: dict[str, Any], source: str | Path) -> Step:
    """The record of one tool's work on one input file or folder (which must exist)."""
    source = Path(source)
    try:
        sha256 = digest(source)
    except FileNotFoundError:
        raise ItemError(f"{source}: no such file; check the column 'path' and the current directory") from None
    except OSError as error:
        raise ItemError(f"{source}: {error.strerror}") from None
    # Through JSON and back, so that it equals what a later run reads from a file.
    return json.loads(json.dumps({"tool": tool, "version": oatools.__version__, "parameters": parameters,
                                  "input": {"name": source.name, "sha256": sha256}}))  # fmt: skip


def may_keep(target: Path, recorded: Step | None, wanted: Step) -> bool:
    """Whether `target` is the result of `wanted`; an `ItemError` where it exists but was made otherwise.

    The version is not compared: an upgrade does not throw work away.
    """
    if not target.exists():
        return False
    if recorded is None:
        raise ItemError(f"{target} exists and does not say how it was made; use --force or another -o")
    for key, what in (
        ("tool", "by another tool"),
        ("input", "from another input"),
        ("parameters", "with other settings"),
    ):
        left, right = recorded.get(key), wanted[key]
        if key == "input":
            left, right = (left or {}).get("sha256"), right["sha256"]
        if left != right:
            raise ItemError(f"{target} was made {what}{_difference(left, right)}; use --force or another -o")
    return True


def sidecar(volume: str | Path) -> Path:
    """The JSON file beside a NIfTI volume: `a.nii.gz` has `a.json`."""
    volume = Path(volume)
    return volume.with_name(volume.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def read_sidecar(volume: str | Path) -> dict[str, Any]:
    """What is recorded of a volume: BIDS fields, and `OatoolsSteps`; empty where there is no sidecar."""
    path = sidecar(volume)
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ItemError(f"{path} cannot be read as JSON ({error}); repair or delete it") from None
    if not isinstance(fields, dict):
        raise ItemError(f"{path} is no JSON object; repair or delete it")
    return fields


def write_sidecar(volume: str | Path, fields: dict[str, Any]) -> None:
    """Write a volume's sidecar, which must happen before the volume itself appears.

    An older volume of that name is removed first: at no moment does a sidecar stand beside a volume that it does
    not describe, whenever the process is killed.
    """
    Path(volume).unlink(missing_ok=True)
    write_text(sidecar(volume), json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def last_step(fields: dict[str, Any]) -> Step | None:
    """The step that made the artefact itself, if it is recorded."""
    steps = fields.get(STEPS)
    return steps[-1] if isinstance(steps, list) and steps and isinstance(steps[-1], dict) else None


def _difference(recorded: Any, wanted: Any) -> str:
    """The settings that differ, for the message: ` (shrink 4, not 2)`."""
    if not isinstance(recorded, dict) or not isinstance(wanted, dict):
        return ""
    names = [k for k in [*wanted, *(k for k in recorded if k not in wanted)] if recorded.get(k) != wanted.get(k)]
    return " (" + ", ".join(f"{k} {recorded.get(k)}, not {wanted.get(k)}" for k in names[:3]) + ")"
