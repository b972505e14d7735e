import pytest

from oatools.core.errors import UsageError
from oatools.oai.release import locate, may_be_inventory, place_of, read_inventory


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
