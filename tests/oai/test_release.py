import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.dicom.headers import Header
from oatools.oai.release import (
    locate,
    may_be_inventory,
    place_of,
    read_inventory,
    set_aside,
    subject_from,
)


@pytest.mark.parametrize(
    "path, visit, folder_visit, participant, key",
    [
        (
            "00m/0.E.1/9999999/20050131/10000001",
            "00m",
            "00m",
            "9999999",
            "0.E.1/9999999/20050131/10000001",
        ),
        (
            "/x/results/0.C.2/9999999/20050131/10000001",
            "00m",
            None,
            "9999999",
            "0.C.2/9999999/20050131/10000001",
        ),
        (
            "48m/48m/6.E.2/9999999/20090131/10000001",
            "48m",
            "48m",
            "9999999",
            "6.E.2/9999999/20090131/10000001",
        ),
        (
            "Package_3/results/18m/2.D.2/9999999/20060731/10000001.tar.gz",
            "18m",
            "18m",
            "9999999",
            "2.D.2/9999999/20060731/10000001",
        ),
        (
            "results%2F4.G.1%2F9999999%2F20070731%2F10000001",
            "30m",
            None,
            "9999999",
            "4.G.1/9999999/20070731/10000001",
        ),
        (
            "s3://bucket/submission_1/00m/0.E.1/9999999/20050131/10000001.tar.gz",
            "00m",
            "00m",
            "9999999",
            "0.E.1/9999999/20050131/10000001",
        ),
        (
            "96m/10.C.1/9999999/20130131/10000001",
            "96m",
            "96m",
            "9999999",
            "10.C.1/9999999/20130131/10000001",
        ),
        (
            "00m/0.E.1/9999999/20050131/10000001/efs",
            "00m",
            "00m",
            "9999999",
            "0.E.1/9999999/20050131/10000001",
        ),
        ("11.C.1/9999999/20130131/10000001", None, None, "9999999", None),
        ("0.E.1/1999999/20050131/10000001", "00m", None, None, None),
        ("study/0.H.1/9999999/x", None, None, "9999999", None),
        ("scans/knee", None, None, None, None),
    ],
)
def test_a_path_says_what_it_can(path, visit, folder_visit, participant, key):
    place = place_of(path)
    assert (place.visit, place.folder_visit, place.participant) == (
        visit,
        folder_visit,
        participant,
    )
    assert place.key == key


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("latin-1"))
    return path


def test_the_two_kinds_of_inventory_read_alike(tmp_path):
    contents = put(
        tmp_path / "contents_00m.csv",
        "FOLDER,ParticipantID,SeriesDescription\r\n0.E.1/9999999/20050131/10000001,9999999,SAG_3D_DESS_LEFT \r\n"
        "total,1,\r\n",
    )
    nda = put(
        tmp_path / "image03.txt",
        '"subjectkey"\t"image_file"\t"image_description"\r\n"The key"\t"The file"\t"What"\r\n'
        '"K"\t"s3://b/submission_1/0.E.1/9999999/20050131/10000001.tar.gz"\t"SAG_3D_DESS_LEFT"\r\n',
    )
    (one,), (other,) = read_inventory(contents), read_inventory(nda)
    assert (one.key, one.description) == (other.key, other.description)
    assert one.description == "SAG_3D_DESS_LEFT"


def test_a_file_that_is_no_inventory_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no inventory"):
        list(read_inventory(put(tmp_path / "contents.csv", "a,b\n1,2\n")))
    assert may_be_inventory("X/Contents.0E1.CSV") and may_be_inventory("image03.txt")
    assert not may_be_inventory("image03") and not may_be_inventory("labels.tsv")


@pytest.mark.parametrize(
    "local",
    [
        "image03/00m/{k}.tar.gz",
        "00m/{k}.tar.gz",
        "{k}.tar.gz",
        "00m/{k}/",
        "results/00m/{k}/",
        "submission_1/00m/{k}.tar.gz",
        "image03/submission_1/00m/{k}/",
    ],
)
def test_a_listed_series_is_found_wherever_the_download_put_it(tmp_path, local):
    inventory = put(
        tmp_path / "image03.txt",
        "image_file\timage_description\n"
        "s3://b/submission_1/00m/0.E.1/9999999/20050131/10000001.tar.gz\tX\n",
    )
    (listed,) = read_inventory(inventory)
    assert locate(listed, tmp_path) is None
    path = tmp_path / local.format(k=listed.key)
    if local.endswith("/"):
        path.mkdir(parents=True)
    else:
        put(path, "")
    assert locate(listed, tmp_path) == path


@pytest.mark.parametrize(
    "path, person_visit",
    [
        ("00m/0.E.1/9999999/20050131/10000001", "9999999/00m"),
        ("x/results/0.C.2/9999999", "9999999/00m"),
        ("x/0.A.1/9999999/20040101", "9999999/00m"),
        ("results%2F4.G.1%2F9999999%2F20070731%2F10000001.tar.gz", "9999999/30m"),
        ("9888888/00m/0.E.1", None),  # somebody's folder above the release
        ("9888888/00m/0.E.1/9999999/20050131", "9999999/00m"),
        ("00m", None),
        ("scans/9999999", None),
    ],
)
def test_a_path_says_whose_folder_at_which_visit_it_lies_in(path, person_visit):
    assert place_of(path).person_visit == person_visit


@pytest.mark.parametrize(
    "sequence, kind",
    [
        ("cor-mpr", "reformats, locators and maps"),
        ("ax-mpr", "reformats, locators and maps"),
        ("mp-locator", "reformats, locators and maps"),
        ("mp-locator-thigh", "reformats, locators and maps"),
        ("sag-t2-calc", "reformats, locators and maps"),
        ("prescription-thigh", "reformats, locators and maps"),
        ("sag-t2-map", "multi-echo series for T2 maps"),
        ("ax-t1-thigh", "scans of thighs"),
        ("cor-iw-tse", None),
        ("sag-iw-tse", None),
        ("sag-3d-dess", None),
        ("cor-t1-3d-flash", None),
        ("cor-fisp", None),
        ("", None),
    ],
)
def test_what_is_no_volume_of_a_knee_is_set_aside(sequence, kind):
    assert set_aside(sequence, "9999999") == kind
    assert set_aside(sequence, "anon-1234abcd") is None and set_aside(sequence, None) is None


@pytest.mark.parametrize(
    "written", ["9999999", "9999999 ", " 9999999", "9999999.0", "9999999\ufeff"]
)
def test_a_participants_number_is_read_however_it_is_written(written):
    header = Header({"PatientID": written, "StudyDescription": "OAI^MR^12 MONTH^LEFT"})
    assert subject_from(header, place_of("x")) == "9999999"
    with pytest.raises(ItemError, match="folder of 9888888, but its header says 9999999"):
        subject_from(header, place_of("0.E.1/9888888/20050131/10000001"))


@pytest.mark.parametrize(
    "fields, path, participant",
    [
        # What a hospital's own number looks like, too.
        ({}, "x", None),
        ({}, "export/9123456/series3", None),
        ({"StudyDescription": "MRI KNEE WITHOUT CONTRAST"}, "9123456", None),
        ({"StudyDescription": "KOAI^MR", "SeriesDescription": "COR_IW_TSE_LEFT"}, "x", None),
        ({"AccessionNumber": "A0166100000"}, "x", None),
        # What is OAI's by its header, its barcode or its folders.
        ({"StudyDescription": "OAI^MR^ENROLLMENT^RIGHT "}, "flat/x", "9123456"),
        ({"StudyDescription": "oai^mr^96 month^left"}, "x", "9123456"),
        ({"AccessionNumber": "016610000001"}, "x", "9123456"),
        ({}, "00m/0.E.1/9123456/20050131/10000001", "9123456"),
        ({}, "image03/12m/1.C.2/9123456/20050131/10000001.tar.gz", "9123456"),
        ({}, "results%2F1.E.1%2F9123456/x", "9123456"),
    ],
)
def test_a_number_of_seven_digits_is_a_participants_where_more_than_its_form_says_so(
    fields, path, participant
):
    header = Header({"PatientID": "9123456", **fields})
    assert subject_from(header, place_of(path)) == participant


def test_a_header_without_an_id_is_the_folders_in_the_layout_alone():
    empty = Header({"PatientID": None})
    assert subject_from(empty, place_of("0.E.1/9888888/20050131/10000001")) == "9888888"
    assert subject_from(empty, place_of("9888888/scan")) is None


@pytest.mark.parametrize(
    "inventory",
    [
        "00m/0.E.1/contents.csv",
        "0.E.1/contents.0E1.csv",
        "00m/contents.csv",
        "contents.csv",
        "00m/0.E.1/9999999/contents.csv",
        "00m/0.E.1/9999999/20050131/contents.csv",
    ],
)
@pytest.mark.parametrize("suffix", ["", ".tar.gz", ".tar.gz.partial", ".partial"])
def test_an_inventory_inside_the_release_finds_its_series(tmp_path, monkeypatch, inventory, suffix):
    text = "Folder,SeriesDescription\n0.E.1/9999999/20050131/10000001,X\n"
    path = put(tmp_path / inventory, text)
    (listed,) = read_inventory(path)
    release = tmp_path / inventory.split("0.E.1")[0].removesuffix("contents.csv")
    series = release / f"{listed.key}{suffix}"
    put(series, "")
    assert locate(listed, path.parent) == series
    monkeypatch.chdir(path.parent)
    found = locate(listed, path.parent.relative_to(path.parent))
    assert found is not None and found.resolve() == series.resolve()


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "name,separator,above",
    [
        ("image03.csv", ",", ""),
        ("image03_knees.CSV", ";", ""),
        ("image03.txt", ";", ""),
        ("image03.tsv", "\t", ""),
        ("image03.csv", ";", "sep=;\r\n"),
        ("contents.csv", ";", ""),
        ("contents.csv", ",", "sep=,\n"),
    ],
)
def test_an_inventory_that_was_saved_again(tmp_path, encoding, name, separator, above):
    if name.startswith("contents"):
        lines = (
            ("Folder", "ParticipantID", "SeriesDescription"),
            ("0.E.1/9999999/20050131/10000001", "9999999", "SAG_3D_DESS_LEFT"),
        )
    else:
        lines = (
            ("subjectkey", "image_description", "image_file"),
            (
                "K",
                "SAG_3D_DESS_LEFT",
                "s3://b/submission_1/0.E.1/9999999/20050131/10000001.tar.gz",
            ),
        )
    text = above + "".join(separator.join(line) + "\r\n" for line in lines)
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    assert may_be_inventory(path)
    (found,) = read_inventory(path)
    assert (found.key, found.description) == (
        "0.E.1/9999999/20050131/10000001",
        "SAG_3D_DESS_LEFT",
    )
