"""Which words of a description are the field's: what scanners and studies write is, what people are called is not."""

import pytest

from oatools.core.sequences import WORDS, described, is_sequence_name

# As scanners and studies write them: OAI, MOST, fastMRI, SKM-TEA, protocols of Siemens, Philips and GE.
REAL = [
    "COR_IW_TSE",
    "SAG_IW_TSE",
    "SAG_3D_DESS",
    "SAG_3D_DESS_WE",
    "SAG_IW_TSE_FS",
    "COR_MPR",
    "AX_MPR",
    "SAG_T2_MAP",
    "SAG_T2_CALC",
    "COR_T1_3D_FLASH",
    "COR_FISP",
    "MP_LOCATOR",
    "MP_LOCATOR_THIGH",
    "AX_T1_THIGH",
    "PRESCRIPTION_THIGH",
    "HR_COR_STIR",
    "SAG_PD_FAT_SAT",
    "AX_PD_FAT_SAT",
    "CORPD_FBK",
    "CORPDFS_FBK",
    "AXT2",
    "SAG_qDESS",
    "pd_tse_fs_sag_320",
    "t1_tse_cor_384",
    "pd_tse_fs_cor_DRB",
    "pd_tse_fs_tra_p4",
    "PDW_TSE_SPAIR_Sag",
    "T1W_TSE_Cor",
    "PD_SPAIR_AX",
    "mDIXON_sag",
    "3D_PD_CUBE_FS",
    "t2_space_sag_iso",
    "pd_space_sag_iso_0.6mm",
    "SAG_PD_FSE",
    "AX_PD_FSE_FS",
    "COR_T1_FSE",
    "SAG_T2_FRFSE_FS",
    "Sag_3D_DESS_HiRes_thk1p5_ARCx2",
    "localizer",
    "3-plane_loc",
    "knee_dess_3D",
    "T2_STIR_cor_3_mm",
    "T2*_GRE",
    "PD_TE30",
    "t1_vibe_fs_cor_post",
    "ax_asc_35sl",
]


@pytest.mark.parametrize("name", REAL)
def test_what_scanners_and_studies_write_is_kept(name):
    assert described(name).others == [] and described(name).kept


# What is typed beside it, and what must then be hidden.
TYPED = [
    ("COR PD Yamada Tarou", ["yamada", "tarou"]),
    ("COR PD 山田", ["山田"]),
    ("КОР Иванов PD", ["кор", "иванов"]),
    ("Ivanov COR T1", ["ivanov"]),
    ("COR J.D. PD", ["j", "d"]),
    ("COR PD W.S.", ["s"]),  # PD W is proton density weighted
    ("W COR", ["w"]),
    ("CORDOE PD", ["cordoe"]),
    ("DOECOR", ["doecor"]),
    ("PDDOE", ["pddoe"]),
    ("T1MEYER", ["t1meyer"]),
    ("MEYERT1", ["meyert1"]),
    ("M?ller COR", ["m", "ller"]),
    ("SMITH_JOHN_T2", ["smith", "john"]),
    ("COR 0166100000012", ["0166100000012"]),
    ("COR 4711-0815", ["4711", "0815"]),
    ("TE4711 COR", ["te4711"]),
    ("COR 3 February 1941", ["3", "february", "1941"]),
    ("COR 3/2/41", ["3", "2", "41"]),
    ("COR 1941", ["1941"]),
    ("Li Wu Ng Bo SAG", ["li", "wu", "ng", "bo"]),
    ("Petra Omar Norm", ["petra", "omar", "norm"]),
    ("Cordess", ["cordess"]),
    ("Geir Mewe Corse Sagir", ["geir", "mewe", "corse", "sagir"]),
    ("te COR", ["te"]),
    ("12 COR", ["12"]),
    ("SAG PD 2", ["2"]),
    ("b4711 x17 e123 p77", ["b4711", "x17", "e123", "p77"]),
]


@pytest.mark.parametrize("text, hidden", TYPED)
def test_what_people_type_beside_it_is_not(text, hidden):
    assert described(text).others == hidden


def test_no_word_is_a_single_letter_or_a_bare_number():
    assert [word for word in WORDS if len(word) < 2 or word.isdigit()] == []


@pytest.mark.parametrize(
    "value, is_one",
    [
        ("cor-iw-tse", True),
        ("SAG-3D-DESS", True),
        ("hr-cor-stir", True),
        ("sag-t2-x3f9a1c20", True),
        ("x3f9a1c20", True),
        ("sag-x3f9a1c20-t2", False),
        ("sag-x3f9", False),
        ("cor-meyerhof-tse", False),
        ("meyerhof-x3f9a1c20", False),
        ("li", False),
        ("-", False),
        ("", False),
        (["cor-iw-tse"], False),
        (None, False),
    ],
)
def test_a_sequence_is_named_in_known_words_alone(value, is_one):
    assert is_sequence_name(value) is is_one
