"""DICOM series made by hand, through pydicom alone, as a scanner of the study writes them."""

import hashlib

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

#: What must never leave a header: none of these words may turn up in an output.
SECRETS = {
    "PatientName": "Quisling^Zebedee",
    "PatientBirthDate": "19410203",
    "InstitutionName": "Mordovia General",
    "AccessionNumber": "016610000001",
    "ReferringPhysicianName": "Ozymandias^K",
    "StationName": "XQ7STATION",
    "InstitutionAddress": "Elm Street 1428",
    "OperatorsName": "Nightingale^F",
    "PatientAddress": "Privet Drive 4",
    "DeviceSerialNumber": "SN776655",
    "StudyID": "ST4711",
    "OtherPatientIDs": "HOSP-99-31",
}


def identifier(*parts):
    """A UID that follows from its parts."""
    return f"2.25.{int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:12], 'big')}"


def pixels(name, slices=24, shape=(20, 16)):
    """Rows x columns x slices, different in every voxel that matters, and for every name."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
    return rng.integers(1, 900, (*shape, slices)).astype(np.uint16)


def base(participant, side, sequence, **fields):
    """The elements that all images of a series share: coronal slices, 3 mm apart, on the knee's own side."""
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    for name, value in SECRETS.items():
        setattr(ds, name, value)
    ds.Modality, ds.Manufacturer, ds.PatientPosition = "MR", "SIEMENS", "FFS"
    ds.PatientID, ds.StudyDate = participant, "20050131"
    ds.StudyDescription = f"OAI^MR^ENROLLMENT^{side.upper()} "
    ds.SeriesDescription = f"{sequence}_{side.upper()}"
    ds.StudyInstanceUID = identifier("study", participant)
    ds.SeriesInstanceUID = identifier("series", participant, side, sequence)
    ds.FrameOfReferenceUID = identifier("frame", participant)
    ds.SeriesNumber = (
        2 + int(hashlib.sha256(f"{sequence}{side}".encode()).hexdigest()[:4], 16) % 900
    )
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.EchoTime, ds.RepetitionTime, ds.FlipAngle, ds.MRAcquisitionType = "29", "3700", "180", "2D"
    ds.ScanningSequence, ds.SequenceVariant = "SE", "SK"
    ds.SliceThickness, ds.PixelSpacing, ds.ImageOrientationPatient = (
        "3",
        ["0.5", "0.5"],
        [1, 0, 0, 0, 0, -1],
    )
    for name, value in fields.items():
        setattr(ds, name, value)
    return ds


def save(ds, path, instance):
    """Write an image as DICOM part 10, explicit little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = (
        ds.SOPClassUID,
        pydicom.uid.ExplicitVRLittleEndian,
    )
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = identifier(ds.SeriesInstanceUID, instance)
    path.parent.mkdir(parents=True, exist_ok=True)
    FileDataset(str(path), ds, file_meta=meta, preamble=bytes(128)).save_as(
        path, enforce_file_format=True
    )


def position(side, k):
    return [92 if side == "left" else -100, -30 + 3 * k, 5]  # LPS: the left knee lies at positive x


@pytest.fixture
def scan():
    """Write a series: `scan(folder, participant, side, sequence, slices=24, name="{:03d}")`, a file a slice."""

    def write(
        folder,
        participant="9111111",
        side="right",
        sequence="COR_IW_TSE",
        slices=24,
        name="{:03d}",
        skip=(),
        seed="",
        **fields,
    ):
        image = pixels(f"{participant}{side}{sequence}{seed}", slices)
        for k in range(slices):
            if k in skip:
                continue
            ds = base(participant, side, sequence, **fields)
            ds.InstanceNumber = k + 1
            ds.ImagePositionPatient = position(side, k)
            ds.Rows, ds.Columns = image.shape[:2]
            ds.PixelData = image[:, :, k].tobytes()
            save(ds, folder / name.format(k + 1), k)
        return image

    return write


@pytest.fixture
def enhanced():
    """Write the same series as one enhanced multi-frame file."""

    def write(path, participant="9111111", side="right", sequence="COR_IW_TSE", slices=24):
        image = pixels(f"{participant}{side}{sequence}", slices)
        ds = base(participant, side, sequence)
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
        ds.Rows, ds.Columns, ds.NumberOfFrames = *image.shape[:2], slices
        ds.PixelData = np.ascontiguousarray(image.transpose(2, 0, 1)).tobytes()
        measures, orientation = Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = ds.PixelSpacing, ds.SliceThickness
        orientation.ImageOrientationPatient = ds.ImageOrientationPatient
        shared = Dataset()
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
        ds.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for k in range(slices):
            content, place, frame = Dataset(), Dataset(), Dataset()
            content.InStackPositionNumber, content.StackID, content.DimensionIndexValues = (
                k + 1,
                "1",
                [1, k + 1],
            )
            place.ImagePositionPatient = position(side, k)
            frame.FrameContentSequence, frame.PlanePositionSequence = [content], [place]
            frames.append(frame)
        ds.PerFrameFunctionalGroupsSequence = frames
        for name in ("SliceThickness", "PixelSpacing", "ImageOrientationPatient"):
            delattr(ds, name)
        save(ds, path, 0)
        return image

    return write


@pytest.fixture
def secrets():
    """The words of people and places that every header made here holds."""
    return [
        word.lower()
        for value in SECRETS.values()
        for word in value.replace("^", " ").split()
        if len(word) > 3
    ]
