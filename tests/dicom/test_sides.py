"""Descriptions as scanners and people write them; the side of each was said by a person, not by a rule."""

import pydicom
import pytest

from oatools.dicom.series import slug, stated_side
from oatools.dicom.sides import names_both, side_in, without_side

DESCRIPTIONS = [  # description; side; what is left without it
    # OAI's own
    ("COR_IW_TSE_LEFT", "left", "cor-iw-tse"),
    ("COR_IW_TSE_RIGHT ", "right", "cor-iw-tse"),
    ("Sag_IW_TSE_RIGHT", "right", "sag-iw-tse"),
    ("SAG_3D_DESS_LEFT", "left", "sag-3d-dess"),
    ("COR_MPR_RIGHT", "right", "cor-mpr"),
    ("MP_LOCATOR_LEFT", "left", "mp-locator"),
    ("MP_LOCATOR_THIGH", None, "mp-locator-thigh"),
    ("SAG_T2_MAP_RIGHT", "right", "sag-t2-map"),
    ("COR_T1_3D_FLASH_LEFT", "left", "cor-t1-3d-flash"),
    ("AX_T1_THIGH", None, "ax-t1-thigh"),
    ("PRESCRIPTION_THIGH", None, "prescription-thigh"),
    # Words that hold a side's letters
    ("UPRIGHT", None, "upright"),
    ("SAG PD UPRIGHT", None, "sag-pd-upright"),
    ("T2_BRIGHT_FLUID", None, "t2-bright-fluid"),
    ("COPYRIGHT", None, "copyright"),
    ("UpRight cor PD", None, "upright-cor-pd"),
    ("kneeUpRight", None, "kneeupright"),
    ("BRIGHT_LEFT", "left", "bright"),
    ("LEFTOVER", None, "leftover"),
    ("Wright protocol", None, "wright-protocol"),
    # English
    ("LEFT KNEE SAG PD", "left", "knee-sag-pd"),
    ("Right knee, cor T1", "right", "knee-cor-t1"),
    ("PD FS KNEE_LT", "left", "pd-fs-knee"),
    ("RT KNEE PD", "right", "knee-pd"),
    ("SAG PD FS RT", "right", "sag-pd-fs"),
    ("kneeLeft", "left", "knee"),
    ("kneeLT", "left", "knee"),
    ("corPDRight", "right", "corpd"),
    ("LKNEE SAG", "left", "knee-sag"),
    ("RKnee", "right", "knee"),
    ("KNEE_R", "right", "knee"),
    ("L knee t2", "left", "knee-t2"),
    ("PD FS (R)", "right", "pd-fs"),
    ("[L] PD", "left", "pd"),
    ("RIGHT2", "right", "2"),
    # German and Dutch
    ("Knie links", "left", "knie"),
    ("PD_TSE_cor_rechts", "right", "pd-tse-cor"),
    ("Kniegelenk re. PD", "right", "kniegelenk-pd"),
    ("Knie li", "left", "knie"),
    ("rechtes Knie sag", "right", "knie-sag"),
    ("Linkerknie", "left", "knie"),
    # French, Spanish, Italian, Portuguese
    ("genou gauche", "left", "genou"),
    ("Genou Droit DP", "right", "genou-dp"),
    ("genou G", "left", "genou"),
    ("rodilla derecha", "right", "rodilla"),
    ("RODILLA IZQ T2", "left", "rodilla-t2"),
    ("ginocchio sx", "left", "ginocchio"),
    ("GINOCCHIO DX SAG DP", "right", "ginocchio-sag-dp"),
    ("joelho esquerdo", "left", "joelho"),
    ("JOELHO_DIREITO", "right", "joelho"),
    # Finnish, Swedish, Danish, Polish
    ("Polvi vasen", "left", "polvi"),
    ("oikea polvi PD", "right", "polvi-pd"),
    ("höger knä", "right", "kn"),
    ("ho\u0308ger kna\u0308", "right", "kn"),
    ("venstre knæ", "left", "kn"),
    ("kolano lewe", "left", "kolano"),
    # What may mean something else
    ("T1_R", None, "t1-r"),
    ("R T1", None, "r-t1"),
    ("KNEE R/L", None, "knee-r-l"),
    ("SAG RT PD", None, "sag-rt-pd"),
    ("RT1 cine", None, "rt1-cine"),
    ("KNEE RE", None, "knee-re"),
    ("PD li", None, "pd-li"),
    ("PD (re)", "right", "pd"),
    ("KNEE RE-SCAN", None, "knee-re-scan"),
    ("Knie re-scan", None, "knie-re-scan"),
    ("rodilla sin contraste", None, "rodilla-sin-contraste"),
    ("MRT der Knie", None, "mrt-der-knie"),
    ("PD L", None, "pd-l"),
    ("", None, ""),
]
BOTH = [
    "LEFT AND RIGHT KNEE",
    "bilateral knee PD",
    "Knie beidseits",
    "KNEES L(L) R(R)",
    "left_right",
    "Both knees",
]


@pytest.mark.parametrize("description, side, sequence", DESCRIPTIONS)
def test_a_side_is_a_word_of_its_own(description, side, sequence):
    assert side_in(description) == side
    assert slug(without_side(description)) == sequence
    assert not names_both(description)


@pytest.mark.parametrize("description", BOTH)
def test_who_names_both_sides_names_none(description):
    assert side_in(description) is None and names_both(description)
    assert without_side(description) == description


def write(path, **fields):
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.MRImageStorage, "1.2.3"
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    return path


@pytest.mark.parametrize(
    "fields, sides, text",
    [
        (
            {"SeriesDescription": "PD LEFT", "Laterality": "R"},
            ["left", "right"],
            "description says left, tag says R",
        ),
        (
            {"SeriesDescription": "PD", "ImageLaterality": "L"},
            ["left"],
            "description says nothing, tag says L",
        ),
        (
            {"SeriesDescription": "PD RIGHT", "Laterality": "B"},
            ["right"],
            "description says right, tag says B",
        ),
        (
            {"SeriesDescription": "PD", "Laterality": "R", "ImageLaterality": "L"},
            ["right", "left"],
            "description says nothing, tag says R L",
        ),
        (
            {"SeriesDescription": "Knie beidseits", "Laterality": "R"},
            [],
            "description says both, tag says R",
        ),
        ({"Laterality": ""}, [], "description says nothing, tag says nothing"),
    ],
)
def test_who_says_what_of_the_side(tmp_path, fields, sides, text):
    stated = stated_side(write(tmp_path / "001", **fields))
    assert (stated.sides, stated.text()) == (sides, text)


def test_the_laterality_of_frames_is_a_tag_too(tmp_path):
    anatomy, group = pydicom.Dataset(), pydicom.Dataset()
    anatomy.FrameLaterality = "L"
    group.FrameAnatomySequence = [anatomy]
    path = write(
        tmp_path / "001",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1",
        SeriesDescription="PD RIGHT",
        SharedFunctionalGroupsSequence=[group],
    )
    assert stated_side(path).text() == "description says right, tag says L"
