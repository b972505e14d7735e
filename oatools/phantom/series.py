"""The three sequences as the study acquires them: slice geometry, and DICOM files of a rendered volume."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

Affine = NDArray[np.float64]
Point = tuple[float, float, float]

REFERENCE_MATRIX = 384
_UNIT = 600  # pixel value of signal 1


@dataclass(frozen=True)
class Sequence:
    """One protocol: contrast, field of view, slices and the acquisition values that its headers state."""

    name: str  # as in tables and file names
    description: str  # SeriesDescription without the side
    contrast: str
    columns: int  # at the reference matrix of 384
    rows: int
    spacing: float  # in plane at the reference matrix, mm
    slices: int
    thickness: float  # mm, without gap
    noise: float  # deviation of the noise in each channel, as a fraction of the brightest fluid
    echo_time: float
    repetition_time: float
    flip_angle: int
    volume: bool = False  # acquired in 3D


SEQUENCES: dict[str, Sequence] = {
    s.name: s
    for s in (
        Sequence(
            "cor-iw-tse", "COR_IW_TSE", "iw", 384, 384, 140 / 384, 35, 3.0, 0.025, 29, 3700, 180
        ),
        Sequence(
            "sag-iw-tse", "SAG_IW_TSE", "iw-fs", 448, 444, 160 / 448, 37, 3.0, 0.025, 30, 3200, 180
        ),
        Sequence(
            "sag-3d-dess",
            "SAG_3D_DESS",
            "dess-we",
            384,
            384,
            140 / 384,
            160,
            0.7,
            0.03,
            4.7,
            16.3,
            25,
            True,
        ),
    )
}


def grid(
    sequence: Sequence, matrix: int, side: str, centre: Point, turn: float
) -> tuple[tuple[int, int, int], Affine]:
    """Shape (columns, rows, slices) and affine into patient RAS mm of a series.

    `centre` (mm lateral to the midline, anterior, superior) is the middle of the volume; `turn`
    (degrees) turns the slices about the long axis, by mirrored angles on the two sides. Coronal
    slices run from anterior to posterior, sagittal ones towards the patient's right on both sides:
    medial to lateral in a right knee, the reverse in a left.
    """
    scale = REFERENCE_MATRIX / matrix
    shape = (round(sequence.columns / scale), round(sequence.rows / scale), sequence.slices)
    sign = 1.0 if side == "left" else -1.0
    sin, cos = np.sin(np.radians(turn)) * sign, np.cos(np.radians(turn))
    # directions in LPS, as DICOM states them
    along_row = np.array([cos, -sin, 0.0] if sequence.name.startswith("cor") else [sin, cos, 0.0])
    along_column = np.array([0.0, 0.0, -1.0])
    directions = np.stack([along_row, along_column, np.cross(along_row, along_column)], axis=1)
    step = directions * (sequence.spacing * scale, sequence.spacing * scale, sequence.thickness)
    lateral, anterior, superior = centre
    affine = np.eye(4)
    affine[:3, :3] = step
    affine[:3, 3] = np.array([sign * lateral, -anterior, superior]) - step @ (
        (np.array(shape) - 1) / 2
    )
    return shape, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def uid(*parts: object) -> UID:
    """A UID that depends on nothing but `parts`: 2.25 followed by 128 bits of their SHA-256."""
    digest = hashlib.sha256("/".join(str(p) for p in ("oatools phantom", *parts)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def digitise(
    image: NDArray[np.float32], noise: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Scanner pixel values (12 bits) of a noiseless magnitude image, with Rician noise of the given deviation."""
    flat = image.T  # (k, j, i) is the order in memory
    out = np.empty(flat.shape, np.uint16)
    for k, plane in enumerate(flat):
        real, imaginary = rng.standard_normal((2, *plane.shape), dtype=np.float32)
        real *= np.float32(noise)
        real += plane
        imaginary *= np.float32(noise)
        np.hypot(real, imaginary, out=real)
        real *= np.float32(_UNIT)
        real += np.float32(0.5)
        out[k] = np.minimum(real, 4095, out=real)
    return out.T


def _text(value: float) -> str:
    return f"{value:.10f}".rstrip("0").rstrip(".")  # a decimal string holds 16 characters at most


def _acquisition_time(sequence: Sequence, start: str, k: int) -> str:
    """When slice `k` was excited first: in 2D every other slice, then those between, within one repetition time."""
    rank = 0 if sequence.volume else k // 2 if k % 2 == 0 else (sequence.slices + k) // 2
    return f"{start[:4]}{rank * sequence.repetition_time / 1000 / sequence.slices:09.6f}"


def _header(
    sequence: Sequence, identity: dict[str, str], shape: tuple[int, int, int], affine: Affine
) -> Dataset:
    """What all the slices of a series share. `identity` holds DICOM keywords and values of patient and study."""
    ds = Dataset()
    for keyword, value in identity.items():
        setattr(ds, keyword, value)
    ds.SOPClassUID = MRImageStorage
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", "SIEMENS", "Trio"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.ScanningSequence, ds.SequenceVariant = (
        ("GR", ["SK", "SS", "SP"]) if sequence.volume else ("SE", ["SK", "SP"])
    )
    ds.ScanOptions = "WE" if sequence.volume else "FS" if sequence.contrast == "iw-fs" else ""
    ds.MRAcquisitionType = "3D" if sequence.volume else "2D"
    ds.MagneticFieldStrength, ds.ImagedNucleus, ds.ImagingFrequency = "2.89362", "1H", "123.253"
    ds.RepetitionTime, ds.EchoTime, ds.FlipAngle = (
        sequence.repetition_time,
        sequence.echo_time,
        sequence.flip_angle,
    )
    ds.EchoTrainLength, ds.NumberOfAverages = 1 if sequence.volume else 7, 1
    ds.SliceThickness = ds.SpacingBetweenSlices = _text(sequence.thickness)
    ds.PatientPosition, ds.PositionReferenceIndicator = "FFS", ""
    ds.AcquisitionNumber = 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.Columns, ds.Rows = shape[:2]
    step = np.diag([-1.0, -1.0, 1.0]) @ affine[:3, :3]
    size = np.linalg.norm(step, axis=0)
    ds.PixelSpacing = [_text(size[1]), _text(size[0])]
    ds.ImageOrientationPatient = [_text(v) for v in (step / size)[:, :2].T.ravel()]
    ds.WindowCenter, ds.WindowWidth = "400", "800"
    return ds


def write_series(
    folder: Path,
    sequence: Sequence,
    pixels: NDArray[np.uint16],
    affine: Affine,
    identity: dict[str, str],
) -> None:
    """Write a volume (columns, rows, slices) as MR images 001, 002, … into an existing folder.

    `affine` takes indices to patient RAS mm; `identity` must hold `SeriesInstanceUID`, from which
    those of the images follow, and `SeriesTime`. Explicit VR little endian, uncompressed, one frame
    a file.
    """
    base = _header(sequence, identity, pixels.shape, affine)
    for k in range(pixels.shape[2]):
        ds = copy.copy(base)
        position = affine[:3, 3] + k * affine[:3, 2]
        ds.SOPInstanceUID = uid(identity["SeriesInstanceUID"], k)
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [_text(v) for v in (-position[0], -position[1], position[2])]
        ds.AcquisitionTime = _acquisition_time(sequence, identity["SeriesTime"], k)
        ds.SliceLocation = _text(k * sequence.thickness)
        ds.PixelData = np.ascontiguousarray(pixels[:, :, k].T).astype("<u2", copy=False).tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.ImplementationClassUID = uid("implementation")
        ds.file_meta.ImplementationVersionName = "OATOOLS_PHANTOM"
        ds.save_as(folder / f"{k + 1:03d}", enforce_file_format=True)
