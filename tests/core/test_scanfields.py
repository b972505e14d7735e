"""Which fields and values of a scan's settings pass: what scanners write does, what people are called does not."""

import pytest

from oatools.core.scanfields import SCAN_FIELDS, is_scan_field, scan_fields

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
    ("ManufacturersModelName", "MAGNETOM_ESSENZA"),
    ("ManufacturersModelName", "MAGNETOM Skyra Fit (BioMatrix)"),
    ("ManufacturersModelName", "MAGNETOM Free.Max"),
    ("ManufacturersModelName", "MAGNETOM Amira"),
    ("ManufacturersModelName", "Prisma_fit"),
    ("ManufacturersModelName", "Biograph_mMR"),
    ("ManufacturersModelName", "GENESIS_SIGNA"),
    ("ManufacturersModelName", "SIGNA PET/MR"),
    ("ManufacturersModelName", "Optima MR450w"),
    ("ManufacturersModelName", "DISCOVERY MR750 3T"),
    ("ManufacturersModelName", "Ingenia 3.0T"),
    ("ManufacturersModelName", "Gyroscan NT"),
    ("ManufacturersModelName", "Titan3T"),
    ("ManufacturersModelName", "Galan 3T"),
    ("ManufacturersModelName", "ECHELON_OVAL"),
    ("ManufacturersModelName", "MRT200SP3"),
    ("ManufacturersModelName", "uMR 790"),
    ("ScanOptions", "FAST_GEMS_EDR_GEMS_ACC_GEMS"),
    ("ScanOptions", "SAT_GEMS_EPI_GEMS_ACC_GEMS_FS"),
    ("ScanOptions", "FC_FREQ_AX_GEMS\\HYPERSENSE_GEMS\\SAT1"),
    ("ScanOptions", ["IR", "PFP", "FS"]),
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
    ("ManufacturersModelName", "Amira"),
    ("ManufacturersModelName", "Mica"),
    ("ManufacturersModelName", "MAGNETOM Petra"),
    ("ManufacturersModelName", "Skyra 4711"),
    ("ManufacturersModelName", "MR4711"),
    ("ManufacturersModelName", "Signa 12.05"),
    ("ManufacturersModelName", ["Skyra"]),
    ("ManufacturersModelName", "Skyra of Mordovia General"),
    ("ScanOptions", "MEYERHOF_GEMS"),
    ("ScanOptions", "LI_GEMS"),
    ("ScanOptions", "FS_MEYERHOF_GEMS"),
    ("ScanOptions", ["FS", ["MEYERHOF"]]),
    ("ScanOptions", "1140850688"),
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
    ("EchoNumber", 4711),
    ("MagneticFieldStrength", 1941),
    ("FlipAngle", 41203),
    ("SliceThickness", -3),
    ("RepetitionTime", float("inf")),
    ("ConversionSoftware", "Meyerhof"),
    ("ConversionSoftwareVersion", "v1 Meyerhof"),
    ("ConversionSoftwareVersion", "1950.02.03"),
    ("ConversionSoftwareVersion", "19500203"),
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
