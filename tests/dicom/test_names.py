"""Nothing that a header calls a person or a place comes out, wherever it was typed."""

import json
import re

import pydicom
import pytest

from oatools.dicom.convert import convert
from oatools.dicom.dcm2niix import _without_quotes
from oatools.dicom.find import find_series
from oatools.dicom.names import personal_words
from oatools.oai import release as oai

# What the header calls the patient, the description, and the sequence that is left.
NAMES = [
    ("Meyerhof^Petra", "KNEE COR Meyerhof", "knee-cor"),
    ("MEYERHOF_PETRA", "KNEE COR MEYERHOF PETRA", "knee-cor"),
    ("Meyerhof^Petra", "petra.meyerhof COR PD", "cor-pd"),
    ("Meyerhof^Petra", "COR PetraMeyerhof PD", "cor-pd"),
    ("Meyerhof^Petra", "COR PD PMEYERHOF", "cor-pd"),
    ("Meyerhof^Petra", "COR PD meyerhofp", "cor-pd"),
    ("Meyerhof^Petra", "MEYERHOFKNEE COR", "knee-cor"),
    ("Wu^Li", "COR PD WU", "cor-pd"),
    ("Wu^Li", "COR PD Li", "cor-pd"),
    ("Wu^Li", "COR PD LiWu", "cor-pd"),
    ("Ng^Bo", "BO_NG_SAG_T2", "sag-t2"),
    ("O'Brien^Siobhan", "COR OBRIEN", "cor"),
    ("O'Brien^Siobhan", "COR O Brien", "cor"),
    ("O'Brien^Siobhan", "COR O’Brien", "cor"),
    ("OBrien^Siobhan", "COR O'BRIEN", "cor"),
    ("Smith-Jones^Ann", "COR smith jones", "cor"),
    ("Smith-Jones^Ann", "COR SmithJones", "cor"),
    ("Smith Jones^Ann", "COR SMITH-JONES", "cor"),
    ("van der Meer^Jan", "SAG vdMeer PD", "sag-pd"),
    ("van der Meer^Jan", "SAG van-der-Meer PD", "sag-pd"),
    ("Gödecke^Petra", "COR GODECKE", "cor"),
    ("Gödecke^Petra", "COR Goedecke", "cor"),
    ("Goedecke^Petra", "COR Gödecke", "cor"),
    ("Müllerin^Jörgen", "COR Müllerin Jo\u0308rgen", "cor"),
    ("Weiß^Åsa", "COR WEISS AASA", "cor"),
    ("Łukasz^Żółć", "COR Lukasz ZOLC", "cor"),
    ("Doe^Jane^Quincy^Dr^Senior", "COR dr quincy senior PD", "cor-pd"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田 COR Tarou 太郎", "cor"),
    ("Hong^Gildong=洪^吉洞=홍^길동", "COR 洪 홍길동 PD", "cor-pd"),
    ("Tse^Ka Ming", "COR_IW_TSE_LEFT", "cor-iw-tse"),
    ("Tse^Ka Ming", "COR_IW_TSE_LEFT Tse Ka-Ming", "cor-iw-tse"),
    ("Tse^Ka Ming", "COR_IW_TSE_LEFT TSE", "cor-iw-tse"),
    ("山田^太郎=Yamada^Tarou", "COR YAMADA PD tarou", "cor-pd"),
    ("Links^Petra", "Knie links COR", "knie-cor"),
    ("Doe^Jane", "COR_IW_TSE", "cor-iw-tse"),
]


@pytest.mark.parametrize("name, description, sequence", NAMES)
def test_what_a_header_calls_the_patient_is_in_no_cell(scan, tmp_path, name, description, sequence):
    scan(
        tmp_path / "s",
        slices=1,
        SpecificCharacterSet="ISO_IR 192",
        PatientName=name,
        SeriesDescription=description,
    )
    (row,) = find_series([str(tmp_path / "s")], oai)
    assert without_digest(row["sequence"]) == sequence
    assert without_digest(row["description"]).replace("-left", "").replace("-links", "") == sequence


def without_digest(name):
    """A name without the digest of words that are none of the field's."""
    return re.sub(r"-?x[0-9a-f]{8}$", "", name)


ELSEWHERE = [
    ("OtherPatientNames", ["Nee^Nora", "Old^Olga"], "COR olga PD NEE"),
    ("PatientBirthName", "Geboren^Gesa", "COR geboren PD"),
    ("PatientMotherBirthName", "Mutter^Maja", "COR Mutter PD"),
    ("ReferringPhysicianName", "Ozymandias^K", "COR Ozymandias PD"),
    ("PerformingPhysicianName", ["Asclepius^Q", "Galen^P"], "COR dr PD galen asclepius"),
    ("OperatorsName", "Nightingale^F", "COR F.Nightingale PD"),
    ("RequestingPhysician", "Imhotep^I", "COR imhotep PD"),
    ("InstitutionName", "Mordovia General", "MORDOVIA COR PD general"),
    ("InstitutionName", "St. Elsewhere", "COR elsewhere PD"),
    ("StationName", "XQ7STATION", "COR XQ7STATION PD"),
    ("AccessionNumber", "016610000001", "COR PD 016610000001"),
    ("AccessionNumber", "A-4711-b", "COR A4711B PD"),
    ("PatientID", "MRN 77-123", "COR mrn77123 PD"),
    ("PatientID", "K1", "COR k1 PD"),
    ("OtherPatientIDs", ["HOSP-99-31", "X55512"], "COR hosp 99 31 PD x55512"),
    ("PatientBirthDate", "19410203", "COR 19410203 PD"),
    ("PatientBirthDate", "19410203", "COR 1941-02-03 PD"),
    ("PatientBirthDate", "19410203", "COR 03.02.1941 PD"),
    ("PatientBirthDate", "19410203", "COR 3/2/41 PD"),
    ("PatientBirthDate", "19410203", "COR 2/3/1941 PD"),
    ("PatientBirthDate", "19410203", "COR 03Feb1941 PD"),
    ("PatientBirthDate", "19410203", "COR 410203 PD"),
    ("PatientBirthDate", "19410203", "COR *1941 PD"),
]


@pytest.mark.parametrize("keyword, value, description", ELSEWHERE)
def test_other_persons_places_codes_and_dates_do_not_come_out(
    scan, tmp_path, keyword, value, description
):
    fields = {keyword: value, "SeriesDescription": description}
    participant = value if keyword == "PatientID" else "MRN7"
    fields.pop("PatientID", None)
    scan(tmp_path / "s", participant, slices=1, **fields)
    (row,) = find_series([str(tmp_path / "s")], oai)
    assert without_digest(row["sequence"]) == "cor-pd"


def test_ids_of_other_hospitals_in_a_sequence_do_not_come_out(scan, tmp_path):
    other = pydicom.Dataset()
    other.PatientID, other.TypeOfPatientID = "GOLGI-8812", "TEXT"
    fields = {"SeriesDescription": "COR golgi8812 PD", "OtherPatientIDsSequence": [other]}
    scan(tmp_path / "s", "MRN7", slices=1, **fields)
    (row,) = find_series([str(tmp_path / "s")], oai)
    assert row["sequence"] == row["description"] == "cor-pd"


def test_a_text_is_left_without_names_in_any_script():
    words = personal_words({"PatientName": "Hong^Gildong=洪^吉洞=홍^길동", "PatientID": "Ж-77"})
    assert words.removed_from("PD 洪吉洞 / 홍길동 ж77 COR").split() == ["PD", "/", "COR"]


def test_a_text_that_names_nobody_is_left_as_it_is():
    words = personal_words({"PatientName": "Doe^Jane", "InstitutionAddress": "Elm Street 160"})
    for text in ("COR_IW_TSE_LEFT", "SAG 3D DESS WE 160", "T2 map, 7 echoes (R)", ""):
        assert words.removed_from(text) == text


def test_names_that_were_typed_into_settings_stay_out_of_sidecar_log_and_messages(
    scan, shell, tmp_path
):
    fields = {
        "PatientName": "Quisling^Zebedee",
        "SeriesDescription": "COR QUISLING PD",
        "ProtocolName": "zebedee knee",
        "StudyDescription": "Quisling, Zebedee: knee",
        "ScanOptions": "QUISLING",
        "SequenceName": "zebedee",
        "ImageComments": "Zebedee Quisling",
        "ManufacturerModelName": "Skyra of Mordovia General",
        "InstitutionName": "Mordovia General",
    }
    scan(tmp_path / "in/good", "MRN7", **fields)
    scan(tmp_path / "in/bad", "MRN8", **fields)
    for k, path in enumerate(sorted((tmp_path / "in/bad").iterdir())):
        ds = pydicom.dcmread(path)
        ds.EchoTime = 29 if k < 12 else 58
        ds.save_as(path)
    done = shell("oa-convert in -v --visit 00m --side left -o out --failed failed.tsv", status=1)
    shown = done.stdout + done.stderr + (tmp_path / "failed.tsv").read_text()
    for path in (tmp_path / "out").iterdir():
        shown += path.name + (path.read_text() if path.suffix == ".json" else "")
    assert "1 done, 0 kept, 1 failed" in done.stderr
    for word in ("quisling", "zebedee", "mordovia"):
        assert word not in shown.lower()
    (sidecar,) = (tmp_path / "out").glob("*.json")
    assert json.loads(sidecar.read_text())["EchoTime"] == 0.029


def test_messages_of_dcm2niix_name_nobody(scan, tmp_path):
    scan(tmp_path / "s", PatientName="Knee^Quisling", ReceiveCoilName="QUISLING")
    for k, path in enumerate(sorted((tmp_path / "s").iterdir())):
        ds = pydicom.dcmread(path)
        ds.ReceiveCoilName = f"Quisling {k % 2}"
        ds.save_as(path)
    said = " ".join(convert(tmp_path / "s").warnings)
    assert "coil" in said and "uisling" not in said.lower()


@pytest.mark.parametrize("keyword", ["ReceiveCoilName", "ProtocolName"])
def test_messages_of_dcm2niix_quote_no_header(scan, tmp_path, keyword):
    scan(tmp_path / "s")
    for k, path in enumerate(sorted((tmp_path / "s").iterdir())):
        ds = pydicom.dcmread(path)
        setattr(ds, keyword, f"Zebra 'Yak' {k % 2}")
        ds.save_as(path)
    said = " ".join(convert(tmp_path / "s").warnings)
    assert re.search("varies|variation", said) and "'...'" in said
    assert not re.search("zebra|yak", said, re.IGNORECASE)


@pytest.mark.parametrize(
    "message, shown",
    [
        ("Slices not stacked: coil varies 'A'B' vs 'C'", "Slices not stacked: coil varies '...'"),
        (
            "interpolated protocol 'A B' may be odd. 000012",
            "interpolated protocol '...' may be odd. 000012",
        ),
        ("Unable to open '/000012'", "Unable to open '/000012'"),
        (
            "Unsupported transfer syntax '1.2.840.10008.1.2.4.100' (see www.nitrc.org)",
            "Unsupported transfer syntax '1.2.840.10008.1.2.4.100' (see www.nitrc.org)",
        ),
        ("Siemens' own", "Siemens' own"),
    ],
)
def test_what_a_message_quotes_is_left_out_but_for_files_and_syntaxes(message, shown):
    assert _without_quotes(message) == shown
