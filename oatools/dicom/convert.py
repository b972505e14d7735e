"""One DICOM series to one NIfTI volume, by dcm2niix."""

import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dcm2niix

from oatools.core.errors import ItemError
from oatools.dicom.files import contents
from oatools.dicom.headers import looks_like_dicom
from oatools.imaging.volume import Volume, read_volume

# What a sidecar may hold of the scanner's header: settings of the scan. Whatever could name a
# person, a place, a device's owner or a date stays behind.
KEPT_FIELDS = (
    "Modality",
    "MagneticFieldStrength",
    "ImagingFrequency",
    "Manufacturer",
    "ManufacturersModelName",
    "PatientPosition",
    "MRAcquisitionType",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "SliceThickness",
    "SpacingBetweenSlices",
    "EchoNumber",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "PixelBandwidth",
    "EchoTrainLength",
    "PercentPhaseFOV",
    "AcquisitionMatrixPE",
    "ReconMatrixPE",
    "InPlanePhaseEncodingDirectionDICOM",
    "ConversionSoftware",
    "ConversionSoftwareVersion",
)

_TIMEOUT_SECONDS = 900


def convert(
    source: Path, echo: int | None = None, series: str | None = None, coverage: float = 0.0
) -> tuple[Volume, dict[str, Any], list[str]]:
    """Convert one series (folder, archive or multi-frame file) to a volume.

    dcm2niix runs on it alone, into an empty folder of its own, and what comes out is counted:
    anything but one three-dimensional volume that holds every file of the series raises an
    `ItemError` with the reason. `echo` picks one of a multi-echo series, `series` one of several
    that share a folder (see `source.series_digest`). A volume that covers less than `coverage` mm
    across its slices raises an `ItemError`, too. Returns the volume (RAS mm affine, the scanner's
    voxel type), the fields for its sidecar, and dcm2niix's warnings.
    """
    with converted(source, series) as (outputs, files, messages):
        volumes = [o for o in outputs if echo is None or o[1].get("EchoNumber", 1) == echo]
        if len(volumes) != 1:
            raise ItemError(_why_not_one(source, series, volumes, messages, echo))
        path, fields = volumes[0]
        _check_complete(path, files, echo, messages)
        volume = _read(path)
        if min(volume.shape) < 2:
            raise ItemError(f"only {min(volume.shape)} slice; a volume needs two or more, left out")
        if (covered := float(volume.shape[2] * volume.spacing[2])) < coverage:
            raise ItemError(
                f"its {volume.shape[2]} slices cover {covered:.0f} mm, a knee needs {coverage:g}: the "
                "series was cut short; get the whole one, or allow it with --coverage"
            )
        return (
            volume,
            {k: fields[k] for k in KEPT_FIELDS if k in fields},
            [m for m in messages if "Warning" in m],
        )


@contextlib.contextmanager
def converted(
    source: Path, series: str | None = None
) -> Iterator[tuple[list[tuple[Path, dict[str, Any]]], int, list[str]]]:
    """Run dcm2niix on a series and yield what it wrote, before that goes: volumes with fields, files, messages.

    Voxels are as dcm2niix gives them; a series over time is one file of four dimensions.
    """
    with tempfile.TemporaryDirectory(prefix="oa-convert.") as temporary:
        folder, out = Path(temporary, "in"), Path(temporary, "out")
        folder.mkdir()
        out.mkdir()
        names = _gather(source, series, folder)
        if not names:
            raise ItemError(
                "no file of it is DICOM; give the folder or archive that holds the images"
            )
        messages = [_by_name(message, names) for message in _run(folder, out)]
        yield _outputs(out), len(names), messages


def _read(path: Path) -> Volume:
    try:
        return read_volume(path)
    except ItemError as error:  # of a temporary file, whose name says nothing to anybody
        raise ItemError(
            str(error).removeprefix(f"{path}: ").replace("convert it again", "it is left out")
        ) from None


def _gather(source: Path, series: str | None, folder: Path) -> dict[str, str]:
    """Put the series' DICOM files alone into `folder`; returns their own names by those they have there.

    They get names that dcm2niix cannot mistake for an option or another format.
    """
    names = {}
    for count, (name, content) in enumerate(contents(source, series)):
        target = folder / f"{count:06d}"
        if isinstance(content, bytes):
            if not looks_like_dicom(content[:132]):
                continue
            target.write_bytes(content)
        else:
            with content.open("rb") as stream:
                if not looks_like_dicom(stream.read(132)):
                    continue
            target.symlink_to(content.absolute())
        names[target.name] = name
    return names


def _by_name(message: str, names: dict[str, str]) -> str:
    """A message of dcm2niix with the files' own names."""
    return re.sub(r"/?(\d{6})\b", lambda match: names.get(match[1], match[0]), message)


def _run(folder: Path, out: Path) -> list[str]:
    # -ba y: no names; -z n: uncompressed; -w 2: never overwrite; -x i: slices stay slices, also of
    # 3-D acquisitions.
    options = ["-b", "y", "-ba", "y", "-z", "n", "-w", "2", "-x", "i", "-f", "out"]
    call = [dcm2niix.bin, *options, "-o", str(out), str(folder)]
    try:
        done = subprocess.run(
            call,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ItemError(
            f"dcm2niix did not finish within {_TIMEOUT_SECONDS} s; look at the series by hand"
        ) from None
    lines = [
        line.strip().replace(str(folder), "").replace(str(out), "")
        for line in (done.stdout + done.stderr).split("\n")
    ]
    return [line for line in lines if line.startswith(("Warning", "Error", "Unable", "No valid"))]


def _outputs(out: Path) -> list[tuple[Path, dict[str, Any]]]:
    volumes = []
    for path in sorted(out.glob("*.nii")):
        sidecar = path.with_suffix(".json")
        fields = json.loads(sidecar.read_text(errors="replace")) if sidecar.exists() else {}
        volumes.append((path, fields))
    return volumes


def _why_not_one(
    source: Path,
    series: str | None,
    volumes: list[tuple[Path, dict[str, Any]]],
    messages: list[str],
    echo: int | None,
) -> str:
    said = (
        f" (dcm2niix: {'; '.join(m.removeprefix('Warning: ') for m in messages[:3])})"
        if messages
        else ""
    )
    if not volumes:
        return f"no volume came out{f' for echo {echo}' if echo is not None else ''}{said}; the series is left out"
    if any("_Eq" in p.name for p, _ in volumes):
        return f"slices are missing or unevenly spaced{_where(source, series) or said}; get the whole series"
    if any("_Tilt" in p.name for p, _ in volumes):
        return f"the gantry was tilted{said}; such a scan cannot be shown on a regular grid"
    echoes = sorted({f.get("EchoNumber", 1) for _, f in volumes})
    if len(echoes) > 1:
        return f"{len(echoes)} echoes in one folder ({', '.join(map(str, echoes))}); choose one with --echo"
    numbers = sorted({str(f.get("SeriesNumber", "?")) for _, f in volumes})
    if len(numbers) > 1:
        return f"{len(numbers)} series in one folder (numbers {', '.join(numbers)}); give each a folder of its own"
    return (
        f"{len(volumes)} volumes came out where one belongs{said}; the slices do not form one stack"
    )


def _where(source: Path, series: str | None) -> str:
    """Where the headers show a gap, in brackets; empty if they show none."""
    from oatools.dicom.geometry import assess

    problem = assess(source, series).problem
    return f" ({problem})" if problem else ""


def _check_complete(path: Path, files: int, echo: int | None, messages: list[str]) -> None:
    """A stack of one-slice files must have as many slices as there were files: fewer means that some were dropped."""
    import nibabel

    shape = nibabel.load(path).shape
    said = f" (dcm2niix: {'; '.join(messages[:2])})" if messages else ""
    if len(shape) > 3 and shape[3] > 1 and shape[2] == 1:
        raise ItemError(
            f"{shape[3]} images of one and the same slice are no volume{said}; left out"
        )
    if len(shape) > 3 and shape[3] > 1:
        raise ItemError(
            f"{shape[3]} volumes of {shape[2]} slices in one series (repeats or times); left out"
        )
    if echo is None and files > 1 and len(shape) == 3 and shape[2] != files:
        raise ItemError(
            f"{files} DICOM files gave {shape[2]} slices{said}; some are damaged or belong elsewhere"
        )
