"""oa-view: what goes into the page, where the heat lies, what is refused, and what stays."""

import base64
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from oatools.checking.check import check
from oatools.imaging.volume import Shown, Volume, encode_volume
from oatools.reading.images import unpack


def shown(oa, page, name):
    """The values (slices, rows, columns) that the page shows of a volume."""
    for knee in oa.content(page)["knees"]:
        for series in knee["series"]:
            if name.startswith(series["file"][:-2]):
                shape = (series["slices"], series["rows"], series["columns"])
    packed = re.search(r'","([^"]*)"', (page / "volumes" / f"{name}.js").read_text())[1]
    return unpack(base64.b64decode(packed), shape)


def brightest(values):
    return np.unravel_index(values.argmax(), values.shape)


@pytest.mark.parametrize("axes", ["PLI", "RAS", "AIL", "LPS"])
def test_heat_lies_where_it_belongs_whatever_the_axes_of_scan_and_map(tmp_path, oa, axes):
    # On the right knee's lateral side, 4 columns from its edge, 3 rows from the top, second slice from behind.
    scan = oa.write_scan(tmp_path / "1_00m_right_cor-iw-tse.nii.gz")
    oa.write_heat(tmp_path / "first.nii.gz", scan, (4, 16, 1), oa.attention)
    heat = oa.turned(tmp_path / "first.nii.gz", tmp_path / "heat.nii.gz", "RIA")
    (tmp_path / "first.json").rename(tmp_path / "heat.json")
    volume = oa.turned(scan, tmp_path / "turned.nii.gz", axes)
    row = f"1_00m_right\tright\tcor-iw-tse\t{volume}\t{heat}"
    table = f"knee\tside\tsequence\tpath\theat\n{row}\n"
    done = oa("view", "-o", tmp_path / "view", given=table)
    assert done.exit_code == 0, done.stderr
    page = tmp_path / "view"
    scan_shown = shown(oa, page, "00001-1-s")
    assert brightest(scan_shown) == (1, 3, 4) and np.count_nonzero(scan_shown > 200) == 8
    map_shown = shown(oa, page, "00001-1-h")
    assert brightest(map_shown) == (1, 3, 4)
    assert map_shown[1, 3, 4] == 255 and np.count_nonzero(map_shown) == 1
    (series,) = oa.content(page)["knees"][0]["series"]
    assert series["ends"] == ["lateral", "medial"] and series["up"] == ["superior", "inferior"]
    assert series["along"] == ["posterior", "anterior"] and series["side"] == "right"
    assert (series["heat"]["top"], series["heat"]["hottest"]) == (2.0, 1)
    assert series["attention"] == oa.attention


def test_a_table_older_than_its_heat_maps_is_said_to_be(knees, oa):
    """The map's own notes say positive, beside a number that is below the threshold."""
    same = oa("view", knees / "cam.tsv", "-o", knees / "same")
    assert same.exit_code == 0 and "probability" not in same.stderr
    older = (knees / "cam.tsv").read_text().replace("\t0.75\t", "\t0.075\t")
    (knees / "older.tsv").write_text(older)
    done = oa("view", knees / "older.tsv", "-o", knees / "view")
    said = "the table's probability is 0.075, and 0.750 where the heat map was made"
    assert done.exit_code == 0 and f"1_00m_right cor-iw-tse: {said}" in done.stderr
    lines = [line for knee in oa.content(knees / "view")["knees"] for line in knee["said"]]
    assert sum("0.750 where the heat map was made" in line for line in lines) == 1


def test_attention_runs_as_the_slices_do(tmp_path, oa):
    """Of a volume whose slices run from front to back, the first is shown last."""
    scan = oa.write_scan(tmp_path / "scan.nii.gz")
    volume = oa.turned(scan, tmp_path / "1_00m_right_cor-iw-tse.nii.gz", "LSP")
    oa.write_heat(tmp_path / "heat.nii.gz", volume, (4, 16, 5), oa.attention)
    table = f"knee\tside\tsequence\tpath\theat\nk\tright\tcor-iw-tse\t{volume}\t{tmp_path}/heat.nii.gz\n"
    oa("view", "-o", tmp_path / "view", given=table)
    (series,) = oa.content(tmp_path / "view")["knees"][0]["series"]
    assert series["attention"] == oa.attention[::-1]
    assert series["heat"]["hottest"] == 1


def test_the_map_of_another_grid_fails_as_one_row(knees, oa):
    image = nibabel.load(knees / "heat1.nii.gz")
    affine = image.affine.copy()
    affine[0, 3] += 3
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), knees / "heat1.nii.gz")
    done = oa("view", knees / "cam.tsv", "-o", knees / "view")
    assert done.exit_code == 1
    assert "does not lie on the voxels of the volume (3 mm apart)" in done.stderr
    assert [knee["knee"] for knee in oa.content(knees / "view")["knees"]] == [
        "2_00m_left",
        "3_00m_left",
    ]


def test_nothing_is_left_of_a_row_that_fails_half_way(knees, oa):
    (knees / "heat1.nii.gz").write_bytes((knees / "2_00m_left_cor-iw-tse.nii.gz").read_bytes())
    assert oa("view", knees / "cam.tsv", "-o", knees / "view").exit_code == 1
    left = sorted(path.name for path in (knees / "view" / "volumes").iterdir())
    assert left == ["00002-1-s.js", "00003-1-s.js"]


def test_the_page_says_what_is_known_and_hides_the_label(knees, oa):
    done = oa("view", knees / "cam.tsv", "-o", knees / "view")
    assert done.exit_code == 0, done.stderr
    assert "the label is hidden: --show-label would show it" in done.stderr
    assert done.stdout.splitlines()[1].endswith(f"\t{knees}/view/index.html")
    found = oa.content(knees / "view")
    assert found["variables"] == [["age", "Age, years"], ["sex", "Sex"]]
    first = found["knees"][0]
    assert first["values"] == ["61", "female"]
    assert (first["probability"], first["threshold"]) == (0.75, 0.4)
    assert "The model is a toy." in first["said"]
    about = "The model was trained on features from phantoms: it says nothing about patients."
    assert about in first["said"] and about in found["knees"][1]["said"]
    assert first["series"][0]["steps"] == ["oa-cam 0.1.0: method gradcam, class 1, grid input"]
    labelled = oa("view", knees / "cam.tsv", "-o", knees / "other", "--show-label")
    assert labelled.exit_code == 0
    assert [k["values"][-1] for k in oa.content(knees / "other")["knees"]] == ["1", "0", "0"]


def test_clinical_values_of_a_table_and_volumes_of_another(knees, oa):
    (knees / "labels.tsv").write_text("knee\tsex\tbmi\tlabel\n2_00m_left\t1\t27.5\t1\n")
    volume = f"{knees}/2_00m_left_cor-iw-tse.nii.gz"
    (knees / "n4.tsv").write_text(f"knee\tsequence\tpath\n2_00m_left\tcor-iw-tse\t{volume}\n")
    predicted = "knee\tsequence\tpath\tprobability\n2_00m_left\tcor-iw-tse\tf/2.h5\t0.31\n"
    refused = oa("view", "-o", knees / "view", given=predicted)
    assert refused.exit_code == 1
    assert "f/2.h5 is no volume; give --volumes" in refused.stderr
    with_tables = ("--volumes", knees / "n4.tsv", "--with-clinical", knees / "labels.tsv")
    done = oa("view", "-o", knees / "view", *with_tables, given=predicted)
    assert done.exit_code == 0, done.stderr
    (knee,) = oa.content(knees / "view")["knees"]
    assert (knee["values"], knee["probability"]) == (["male", "27.5"], 0.31)


def test_a_scan_alone_has_the_side_of_its_place_or_none(tmp_path, oa):
    oa.write_scan(tmp_path / "a.nii.gz", x=90.0)
    oa.write_scan(tmp_path / "b.nii.gz", x=0.0)
    done = oa("view", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", "-o", tmp_path / "view")
    assert done.exit_code == 0, done.stderr
    placed, unknown = (knee["series"][0] for knee in oa.content(tmp_path / "view")["knees"])
    assert (placed["side"], placed["ends"]) == ("right", ["lateral", "medial"])
    assert (unknown["side"], unknown["ends"]) == (None, ["patient's left", "patient's right"])
    assert brightest(shown(oa, tmp_path / "view", "00002-1-s")) == (1, 3, 18)  # not mirrored


def odd(path, data):
    nibabel.save(nibabel.Nifti1Image(data, np.diag([0.5, 0.5, 3, 1])), path)
    return path


def test_what_cannot_be_shown_fails_row_by_row(tmp_path, oa):
    noise = np.random.default_rng(0).normal(100, 9, (8, 8, 4))
    holed = noise.copy()
    holed[1, 1, 1] = np.nan
    bad = [
        odd(tmp_path / "nan.nii", holed.astype(np.float32)),
        odd(tmp_path / "four.nii", np.stack([noise, noise], axis=3)),
        odd(tmp_path / "flat.nii", np.full((8, 8, 4), 7, np.int16)),
        odd(tmp_path / "two.nii", noise[:, :, 0]),
        tmp_path / "absent.nii",
    ]
    good = [
        odd(tmp_path / "doubles.nii", noise),
        odd(tmp_path / "tiny.nii", np.arange(1, 5, dtype=np.uint8).reshape(2, 2, 1)),
        odd(tmp_path / "bytes.nii", noise.astype(np.int8)),
    ]
    done = oa("view", *bad, *good, "-o", tmp_path / "view", "--failed", tmp_path / "failed.tsv")
    assert done.exit_code == 1
    assert "3 done, 0 kept, 5 failed" in done.stderr
    for reason in ("not finite", "4 dimensions", "do not vary", "2 dimensions", "no such file"):
        assert reason in done.stderr, reason
    assert [k["knee"] for k in oa.content(tmp_path / "view")["knees"]] == [
        "doubles",
        "tiny",
        "bytes",
    ]
    assert sorted(path.name for path in (tmp_path / "view" / "volumes").iterdir()) == [
        "00006-1-s.js",
        "00007-1-s.js",
        "00008-1-s.js",
    ]
    assert oa.content(tmp_path / "view")["missing"] == 5


def test_images_are_no_larger_than_asked_for(tmp_path, oa):
    scan = odd(
        tmp_path / "wide.nii", np.random.default_rng(0).integers(1, 99, (300, 150, 2), np.int16)
    )
    done = oa("view", scan, "-o", tmp_path / "view", "--size", "100")
    assert done.exit_code == 0, done.stderr
    series = oa.content(tmp_path / "view")["knees"][0]["series"][0]
    assert (series["columns"], series["rows"], series["pixel"]) == (100, 50, 1.5)


def files_of(place):
    paths = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    return {str(path.relative_to(place)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("name", ["view", "view.html", "view.htm"])
def test_a_page_is_kept_made_again_and_never_put_in_the_place_of_anything_else(knees, oa, name):
    out = knees / name
    assert oa("view", knees / "cam.tsv", "-o", out).exit_code == 0
    assert out.is_file() == ("." in name)
    first = files_of(out)
    kept = oa("view", knees / "cam.tsv", "-o", out)
    assert kept.exit_code == 0 and "3 rows in" in kept.stderr and "kept" in kept.stderr
    assert kept.stdout.count("\n") == 4
    assert files_of(out) == first
    other = oa("view", knees / "cam.tsv", "-o", out, "--title", "More")
    assert other.exit_code == 2 and "use --force" in other.stderr
    assert files_of(out) == first
    damaged = out / "viewer.js" if out.is_dir() else out
    damaged.write_bytes(damaged.read_bytes()[:-300])
    if out.is_dir():
        again = oa("view", knees / "cam.tsv", "-o", out)
        assert again.exit_code == 0 and "was damaged since it was made" in again.stderr
    else:
        assert oa("view", knees / "cam.tsv", "-o", out).exit_code == 0
    assert files_of(out) == first
    assert oa("view", knees / "cam.tsv", "-o", out, "--title", "More", "--force").exit_code == 0
    assert files_of(out) != first
    assert sorted(path.name for path in knees.iterdir() if path.name.startswith((".", "view"))) == [
        name
    ]


def test_what_is_no_page_stays(knees, oa):
    (knees / "mine").mkdir()
    (knees / "mine" / "letter.txt").write_text("x")
    (knees / "mine.html").write_text("<p>mine</p>")
    for out in ("mine", "mine.html"):
        done = oa("view", knees / "cam.tsv", "-o", knees / out, "--force")
        assert done.exit_code == 2 and "is no page of oa-view, and is not replaced" in done.stderr
    assert (knees / "mine.html").read_text() == "<p>mine</p>"
    assert [path.name for path in (knees / "mine").iterdir()] == ["letter.txt"]


def test_no_path_stands_in_the_page(knees, oa):
    for name in ("view", "view.html"):
        oa("view", knees / "cam.tsv", "-o", knees / name)
        for content_ in files_of(knees / name).values():
            assert str(knees).encode() not in content_ and b".nii" not in content_


def test_a_changed_or_strange_sidecar_says_nothing(knees, oa):
    sidecar = knees / "heat1.json"
    sidecar.write_text(sidecar.read_text().replace("The model is a toy.", "Mrs Miller"))
    assert oa("view", knees / "cam.tsv", "-o", knees / "view").exit_code == 0
    first = oa.content(knees / "view")["knees"][0]
    assert "Mrs Miller" not in str(first) and first["series"][0]["attention"] == []


def test_oa_check_knows_the_page(knees, oa):
    oa("view", knees / "cam.tsv", "-o", knees / "view")
    oa("view", knees / "cam.tsv", "-o", knees / "view.html")
    assert check(knees / "view", knees / "view.html") == []
    (knees / "view" / "volumes" / "00001-1-s.js").write_text("x")
    (finding,) = check(knees / "view")
    assert finding.kind == "page of oa-view" and finding.path.endswith("00001-1-s.js")
    (knees / "view" / "viewer.css").unlink()
    assert len(check(knees / "view")) == 2


@pytest.mark.parametrize("name", ["view.html", "view.htm"])
def test_oa_check_knows_a_page_that_is_one_file_by_the_digest_at_its_end(knees, oa, name):
    page, other = knees / name, knees / "other.html"
    oa("view", knees / "cam.tsv", "-o", page)
    content = page.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (changed, content[:-1], content[:middle], content + b"\n"):
        page.write_bytes(damaged)
        for found in (check(page), check(knees)):
            assert [(Path(each.path).name, each.kind) for each in found] == [
                (name, "page of oa-view")
            ]
            assert "cut short, or was changed" in found[0].error
    page.write_bytes(content)
    other.write_text("<html>a page of somebody else</html>")
    assert check(page, other) == []


def test_a_map_tells_viewers_its_quantity_and_range(tmp_path):
    data = np.linspace(0, 3, 24, dtype=np.float32).reshape(2, 3, 4)
    with (tmp_path / "heat.nii").open("wb") as stream:
        encode_volume(stream, Volume(data, np.eye(4)), None, "oa-cam", Shown("gradcam++", 0.3, 3.0))
    header = nibabel.load(tmp_path / "heat.nii").header
    assert header.get_intent() == ("estimate", (), "gradcam++")
    assert (float(header["cal_min"]), float(header["cal_max"])) == (pytest.approx(0.3), 3.0)
    assert Path(tmp_path / "heat.nii").stat().st_size == 352 + 24 * 4
