"""One DICOM series to one NIfTI volume, by dcm2niix."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel
import numpy as np

from oatools.core.errors import ItemError
from oatools.imaging.series import is_archive, unpack
from oatools.imaging.volume import Volume, read_volume

# What a sidecar may hold of the scanner's header: settings of the scan. Whatever could name a person, a place, a
# device's owner or a date stays behind.
KEPT_FIELDS = (
    "Modality", "MagneticFieldStrength", "ImagingFrequency", "Manufacturer", "ManufacturersModelName",
    "PatientPosition", "MRAcquisitionType", "ScanningSequence", "SequenceVariant", "ScanOptions", "SliceThickness",
    "SpacingBetweenSlices", "EchoNumber", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "PixelBandwidth",
    "EchoTrainLength", "PercentPhaseFOV", "AcquisitionMatrixPE", "ReconMatrixPE", "InPlanePhaseEncodingDirectionDICOM",
    "ConversionSoftware", "ConversionSoftwareVersion",
)  # fmt: skip

_TIMEOUT_SECONDS = 900


def convert(source: Path, echo: int | None = None) -> tuple[Volume, dict[str, Any], list[str]]:
    """Convert one series (folder, archive or multi-frame file) to a volume.

    dcm2niix runs on it alone, into an empty folder of its own, and what comes out is counted: anything but one
    three-dimensional volume that holds every file of the series raises an `ItemError` with dcm2niix's own reason.
    `echo` picks one of a multi-echo series. Returns the volume (RAS mm affine, the scanner's voxel type), the
    fields for its sidecar, and dcm2niix's warnings.
    """
    with tempfile.TemporaryDirectory(prefix="oa-convert.") as temporary:
        folder = Path(temporary, "in")
        out = Path(temporary, "out")
        folder.mkdir()
        out.mkdir()
        names = _gather(source, folder)
        messages = [_by_name(message, names) for message in _run(folder, out)]
        volumes = _outputs(out, echo)
        if len(volumes) != 1:
            raise ItemError(_why_not_one(volumes, messages, echo))
        path, fields = volumes[0]
        _check_complete(path, len(names), echo, messages)
        volume = read_volume(path)
        if min(volume.data.shape) < 2:
            raise ItemError(f"only {min(volume.data.shape)} slice; a volume needs two or more, left out")
        return (
            Volume(np.ascontiguousarray(volume.data), volume.affine),
            {k: fields[k] for k in KEPT_FIELDS if k in fields},
            [m for m in messages if "Warning" in m],
        )


def _gather(source: Path, folder: Path) -> dict[str, str]:
    """Put the series' DICOM files alone into `folder`; returns their own names by those they have there."""
    if is_archive(source):
        unpack(source, folder)
        return {p.name: f"member {int(p.name) + 1}" for p in folder.iterdir() if _is_dicom(p)}
    members = sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
    names = {}
    for count, path in enumerate(p for p in members if _is_dicom(p)):
        # Names that dcm2niix cannot mistake for an option or another format.
        link = folder / f"{count:06d}"
        link.symlink_to(path.absolute())
        names[link.name] = path.name
    return names


def _by_name(message: str, names: dict[str, str]) -> str:
    """A message of dcm2niix with the files' own names."""
    return re.sub(r"/?(\d{6})\b", lambda match: names.get(match[1], match[0]), message)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(132)
    # Part 10 files carry a mark; older ones begin at once with group 0008 (or 0002), in either byte order.
    return head[128:] == b"DICM" or head[:2] in (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02")


def _run(folder: Path, out: Path) -> list[str]:
    # -ba y: no names; -z n: uncompressed; -w 2: never overwrite; -x i: slices stay slices, also of 3-D acquisitions.
    options = ["-b", "y", "-ba", "y", "-z", "n", "-w", "2", "-x", "i", "-f", "out"]
    call = [dcm2niix.bin, *options, "-o", str(out), str(folder)]
    try:
        done = subprocess.run(
            call, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ItemError(f"dcm2niix did not finish within {_TIMEOUT_SECONDS} s; look at the series by hand") from None
    lines = [
        line.strip().replace(str(folder), "").replace(str(out), "") for line in (done.stdout + done.stderr).split("\n")
    ]
    return [line for line in lines if line.startswith(("Warning", "Error", "Unable", "No valid"))]


def _outputs(out: Path, echo: int | None) -> list[tuple[Path, dict[str, Any]]]:
    volumes = []
    for path in sorted(out.glob("*.nii")):
        sidecar = path.with_suffix(".json")
        fields = json.loads(sidecar.read_text(errors="replace")) if sidecar.exists() else {}
        volumes.append((path, fields))
    if echo is None:
        return volumes
    return [(p, f) for p, f in volumes if f.get("EchoNumber", 1) == echo]


def _why_not_one(volumes: list[tuple[Path, dict[str, Any]]], messages: list[str], echo: int | None) -> str:
    said = f" (dcm2niix: {'; '.join(m.removeprefix('Warning: ') for m in messages[:3])})" if messages else ""
    if not volumes:
        return f"no volume came out{f' for echo {echo}' if echo is not None else ''}{said}; the series is left out"
    if any("_Eq" in p.name for p, _ in volumes):
        return f"slices are missing or unevenly spaced{said}; get the whole series"
    if any("_Tilt" in p.name for p, _ in volumes):
        return f"the gantry was tilted{said}; such a scan cannot be shown on a regular grid"
    echoes = sorted({f.get("EchoNumber", 1) for _, f in volumes})
    if len(echoes) > 1:
        return f"{len(echoes)} echoes in one folder ({', '.join(map(str, echoes))}); choose one with --echo"
    series = sorted({str(f.get("SeriesNumber", "?")) for _, f in volumes})
    if len(series) > 1:
        return f"{len(series)} series in one folder (numbers {', '.join(series)}); give each a folder of its own"
    return f"{len(volumes)} volumes came out where one belongs{said}; the slices do not form one stack"


def _check_complete(path: Path, files: int, echo: int | None, messages: list[str]) -> None:
    """A stack of one-slice files must have as many slices as there were files: fewer means that some were dropped."""
    shape = nibabel.load(path).shape
    said = f" (dcm2niix: {'; '.join(messages[:2])})" if messages else ""
    if len(shape) > 3 and shape[3] > 1 and shape[2] == 1:
        raise ItemError(f"{shape[3]} images of one and the same slice are no volume{said}; left out")
    if len(shape) > 3 and shape[3] > 1:
        raise ItemError(f"{shape[3]} volumes of {shape[2]} slices in one series (repeats or times); left out")
    if echo is None and files > 1 and len(shape) == 3 and shape[2] != files:
        raise ItemError(f"{files} DICOM files gave {shape[2]} slices{said}; some are damaged or belong elsewhere")
