"""Which fields and values of a scan's settings pass: what scanners write does, what people are called does not."""

import pytest

from oatools.core.scanfields import SCAN_FIELDS, is_scan_field, is_sequence_name, scan_fields

# As dcm2niix writes them of real scanners (dcm_qa, dcm_qa_nih, OAI, hospitals).
REAL = [
    ("Modality", "MR"),
    ("MagneticFieldStrength", 3),
    ("ImagingFrequency", 127.74),
    ("Manufacturer", "Siemens"),
    ("Manufacturer", "GE"),
    ("Manufacturer", "GE MEDICAL SYSTEMS"),
    ("Manufacturer", "Philips Medical Systems"),
    ("Manufacturer", "ONI Medical Systems"),
    ("ManufacturersModelName", "TrioTim"),
    ("ManufacturersModelName", "DISCOVERY MR750"),
    ("ManufacturersModelName", "SIGNA_HDxt"),
    ("ManufacturersModelName", "Ingenia Elition X"),
    ("ManufacturersModelName", "MAGNETOM Vida"),
    ("ManufacturersModelName", "Achieva dStream"),
    ("ManufacturersModelName", "OrthOne"),
    ("PatientPosition", "FFS"),
    ("MRAcquisitionType", "3D"),
    ("ScanningSequence", "EP\\GR"),
    ("SequenceVariant", "SK_SP"),
    ("SequenceVariant", "SK\\SS\\SP"),
    ("SequenceVariant", ["SK", "OSP"]),
    ("ScanOptions", "EPI_GEMS\\PFF"),
    ("ScanOptions", "PFP\\SFS"),
    ("EchoTime", 0.03),
    ("InPlanePhaseEncodingDirectionDICOM", "ROW"),
    ("ConversionSoftware", "dcm2niix"),
    ("ConversionSoftwareVersion", "v1.0.20241127"),
]

# What people are called, where they live and when they were born, typed into the same fields.
TYPED = [
    ("Modality", "Meyerhof"),
    ("Manufacturer", "Meyerhof"),
    ("Manufacturer", "GE Meyerhof"),
    ("ManufacturersModelName", "Meyerhof Petra"),
    ("ManufacturersModelName", "Signa Meyerhof"),
    ("ManufacturersModelName", "Signa Meyer"),
    ("ManufacturersModelName", "Li 3T"),
    ("ManufacturersModelName", "Trio Li"),
    ("ManufacturersModelName", "Trio 1950-02-03"),
    ("PatientPosition", "LI"),
    ("MRAcquisitionType", "Li"),
    ("ScanningSequence", "LI"),
    ("SequenceVariant", "KING"),
    ("SequenceVariant", "SK\\KING"),
    ("SequenceVariant", "SK_KING"),
    ("SequenceVariant", ["SK", {"PN": "KING"}]),
    ("SequenceVariant", []),
    ("ScanOptions", "WE\\4711123"),
    ("ScanOptions", ""),
    ("EchoTime", "0.03 Meyerhof"),
    ("EchoTime", float("nan")),
    ("EchoTime", True),
    ("EchoTime", [0.03]),
    ("EchoNumber", 19500203),
    ("EchoNumber", 10**400),
    ("RepetitionTime", float("inf")),
    ("ConversionSoftware", "Meyerhof"),
    ("ConversionSoftwareVersion", "v1 Meyerhof"),
    ("PatientName", "Meyerhof"),
    ("SeriesDescription", "knee Meyerhof"),
    ("DeviceSerialNumber", 35177),
    ("PatientWeight", 80),
]


@pytest.mark.parametrize("name, value", REAL)
def test_what_scanners_write_passes(name, value):
    assert is_scan_field(name, value)


@pytest.mark.parametrize("name, value", TYPED)
def test_what_people_type_stays_behind(name, value):
    assert not is_scan_field(name, value)


def test_the_order_of_fields_is_kept():
    fields = {"FlipAngle": 25, "PatientID": "1", "EchoTime": 0.005, "Modality": "MR"}
    assert list(scan_fields(fields)) == ["FlipAngle", "EchoTime", "Modality"]


def test_every_field_that_a_conversion_keeps_has_a_check():
    from oatools.dicom.convert import KEPT_FIELDS

    assert set(KEPT_FIELDS) <= set(SCAN_FIELDS)


@pytest.mark.parametrize(
    "value, is_one",
    [
        ("cor-iw-tse", True),
        ("SAG-3D-DESS", True),
        ("hr-cor-stir", True),
        ("cor-meyerhof-tse", False),
        ("li", False),
        ("", False),
        (["cor-iw-tse"], False),
    ],
)
def test_a_sequence_is_named_in_known_words_alone(value, is_one):
    assert is_sequence_name(value) is is_one
