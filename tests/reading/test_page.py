import json
import os
import re
import shutil
import zlib
from collections import Counter

import nibabel
import numpy as np
import pytest
from scipy.stats import binomtest, spearmanr

from oatools.reading import images

PAIRS = "knee\tsubject\tvisit\tside\tpair\tplace\tage\n"


def knee(subject, side="left"):
    return f"{subject}_00m_{side}"


@pytest.fixture
def study(tmp_path, make_volume):
    """Three pairs, coronal and sagittal volumes of all six knees."""
    rows, volumes = [], ["knee\tsequence\tpath"]
    for n in range(6):
        subject, side = 9000000 + n, "left" if n % 2 else "right"
        cells = [
            knee(subject, side),
            str(subject),
            "00m",
            side,
            f"{n // 2 + 1:03d}",
            "AB"[n % 2],
            str(50 + n),
        ]
        rows.append("\t".join(cells))
        for sequence, slices in (("cor-iw-tse", "coronal"), ("sag-3d-dess", "sagittal")):
            path = tmp_path / f"{cells[0]}_{sequence}.nii"
            nibabel.save(make_volume(n, side=side, slices=slices), path)
            volumes.append(f"{cells[0]}\t{sequence}\t{path.name}")
    (tmp_path / "pairs.tsv").write_text(PAIRS + "\n".join(rows) + "\n")
    (tmp_path / "volumes.tsv").write_text("\n".join(volumes) + "\n")
    return tmp_path


def shown(folder):
    text = (folder / "study.js").read_text(encoding="ascii")
    return json.loads(re.fullmatch(r"reading\.study\((.*)\);\n", text, re.DOTALL)[1])


def unpacked(folder, name, shape):
    import base64

    text = (folder / "volumes" / f"{name}.js").read_text(encoding="ascii")
    name_said, data = re.fullmatch(r'reading\.volume\("([^"]*)","([^"]*)"\);\n*', text).groups()
    assert name_said == name
    return images.unpack(base64.b64decode(data), shape)


def test_a_page_is_a_folder_of_plain_files(study, shell, rows):
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading --title 'A study'")
    names = sorted(
        str(path.relative_to(study / "reading"))
        for path in (study / "reading").rglob("*")
        if path.is_file()
    )
    volumes = [f"volumes/00{n}-{place}-{s}.js" for n in (1, 2, 3) for place in "AB" for s in (1, 2)]
    others = ["checksums.sha256", "index.html", "reader.css", "reader.js", "study.js"]
    assert names == sorted([*others, *volumes])
    printed = rows(done.stdout)
    assert [row["page"] for row in printed] == volumes
    assert printed[0]["path"] == "9000000_00m_right_cor-iw-tse.nii"
    assert "3 pairs in reading/index.html" in done.stderr
    found = shown(study / "reading")
    assert found["title"] == "A study"
    assert found["variables"] == ["Age, years"]
    assert [pair["values"] for pair in found["pairs"]] == [
        {"A": [str(50 + n)], "B": [str(51 + n)]} for n in (0, 2, 4)
    ]
    assert [(s["name"], s["columns"], s["rows"], s["slices"]) for s in found["sequences"]] == [
        ("cor-iw-tse", 24, 20, 7),
        ("sag-3d-dess", 24, 20, 7),
    ]
    frame = images.common_frame([study / "9000003_00m_left_sag-3d-dess.nii"], "sag-3d-dess")
    expected = images.grey_values(study / "9000003_00m_left_sag-3d-dess.nii", "left", frame)
    assert np.array_equal(unpacked(study / "reading", "002-B-2", (7, 20, 24)), expected)


def test_the_same_page_is_the_same_bytes_whatever_the_jobs(study, shell):
    shell(
        "oa-pairs page pairs.tsv volumes.tsv -o one && oa-pairs page pairs.tsv volumes.tsv -j 3 -o two && diff -r one two"
    )


def test_sequences_are_shown_in_the_order_asked_for(study, shell):
    shell(
        "oa-pairs page pairs.tsv volumes.tsv --sequence sag-3d-dess --sequence cor-iw-tse -o reading"
    )
    assert [s["name"] for s in shown(study / "reading")["sequences"]] == [
        "sag-3d-dess",
        "cor-iw-tse",
    ]
    shell("oa-pairs page pairs.tsv volumes.tsv --sequence sag-3d-dess -o single")
    assert len(list((study / "single" / "volumes").iterdir())) == 6


def test_volumes_are_those_of_the_pairs_however_their_knees_are_written(study, shell):
    shell("oa-pairs page pairs.tsv volumes.tsv -o one")
    text = (study / "volumes.tsv").read_text()
    (study / "volumes.tsv").write_text(text.replace("_left\t", "_LEFT\u00a0\t"))
    shell("oa-pairs page pairs.tsv volumes.tsv -o two && diff -r one two")


def test_pairs_joined_with_their_volumes_need_no_other_table(study, shell):
    head, *lines = (study / "pairs.tsv").read_text().splitlines()
    paths = dict.fromkeys(line.split("\t")[0] for line in lines)
    joined = [f"{head}\tsequence\tpath"] + [
        f"{line}\tcor-iw-tse\t{line.split(chr(9))[0]}_cor-iw-tse.nii" for line in lines
    ]
    assert len(paths) == 6
    (study / "joined.tsv").write_text("\n".join(joined) + "\n")
    shell("oa-pairs page joined.tsv -o reading")
    shell("oa-pairs page pairs.tsv volumes.tsv --sequence cor-iw-tse -o same")
    shell("diff -r reading same")


def test_a_broken_volume_leaves_its_pair_out_and_the_others_in(study, shell, rows):
    (study / "9000002_00m_right_cor-iw-tse.nii").write_bytes(b"no volume")
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading --failed failed.tsv", status=1)
    assert "oa-pairs: 9000002_00m_right cor-iw-tse: " in done.stderr
    assert "1 of 3 pairs are left out" in done.stderr
    assert [pair["pair"] for pair in shown(study / "reading")["pairs"]] == ["001", "003"]
    left = sorted(path.name for path in (study / "reading" / "volumes").iterdir())
    assert left == sorted(f"00{n}-{place}-{s}.js" for n in (1, 3) for place in "AB" for s in (1, 2))
    assert [row["knee"] for row in rows((study / "failed.tsv").read_text())] == [
        "9000002_00m_right"
    ]
    # What is printed is what is shown.
    assert [row["page"] for row in rows(done.stdout)] == [f"volumes/{name}" for name in left]


def test_a_knee_without_a_sequence_is_named_and_its_pair_left_out(study, shell):
    lines = (study / "volumes.tsv").read_text().splitlines()
    (study / "volumes.tsv").write_text(
        "\n".join(line for line in lines if "9000005_00m_left\tsag" not in line) + "\n"
    )
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading", status=1)
    assert "9000005_00m_left sag-3d-dess: no volume of sag-3d-dess" in done.stderr
    assert len(shown(study / "reading")["pairs"]) == 2


def test_no_page_is_left_where_no_pair_is_whole(study, shell):
    for path in study.glob("*_cor-iw-tse.nii"):
        path.write_bytes(path.read_bytes()[:600])  # the header is whole
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading", status=1)
    assert "3 of 3 pairs are left out" in done.stderr
    assert done.stderr.splitlines()[-1] == "oa-pairs: no page is made"
    assert not (study / "reading").exists()
    assert not [path for path in study.iterdir() if path.name.startswith(".")]


def test_a_page_is_replaced_only_when_asked_and_nothing_else_ever(study, shell):
    shell("oa-pairs page pairs.tsv volumes.tsv -o reading")
    other = "oa-pairs page pairs.tsv volumes.tsv --sequence cor-iw-tse -o reading"
    assert (
        "reading exists, and is the page of other pairs, volumes or words; use --force"
        in shell(other, status=2).stderr
    )
    shell("oa-pairs page pairs.tsv volumes.tsv --sequence cor-iw-tse -o reading --force")
    assert len(list((study / "reading" / "volumes").iterdir())) == 6
    (study / "precious").mkdir()
    (study / "precious" / "file").write_text("x")
    refused = shell("oa-pairs page pairs.tsv volumes.tsv -o precious --force", status=2)
    assert "precious exists and is no reading page" in refused.stderr
    assert (study / "precious" / "file").exists()


CALL = "oa-pairs page pairs.tsv volumes.tsv -o reading"


def bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_page_that_is_there_whole_and_the_same_is_kept(study, shell):
    first = shell(CALL)
    made = (study / "reading" / "study.js").stat()
    again = shell(CALL)
    assert again.stdout == first.stdout
    assert again.stderr == "oa-pairs: 3 pairs in reading/index.html, kept\n"
    assert (study / "reading" / "study.js").stat() == made
    before = bytes_of(study / "reading")
    for damage in ("volumes/002-B-2.js", "reader.js", "study.js", "checksums.sha256"):
        path = study / "reading" / damage
        path.write_bytes(path.read_bytes()[:-3])
        mended = shell(CALL)
        assert f"{damage}" in mended.stderr and "the page is made again" in mended.stderr
        assert bytes_of(study / "reading") == before
    # A volume that was prepared anew is another page's.
    image = nibabel.load(study / "9000001_00m_left_cor-iw-tse.nii")
    nibabel.save(image.slicer[:, :, ::-1], study / "9000001_00m_left_cor-iw-tse.nii")
    refused = shell(CALL, status=2)
    assert "reading exists, and is the page of other pairs, volumes or words" in refused.stderr
    assert bytes_of(study / "reading") == before


def test_a_page_that_is_damaged_beyond_recognition_is_said_to_be(study, shell):
    shell(CALL)
    path = study / "reading" / "study.js"
    path.write_text(path.read_text().replace('"source"', '"sourse"'))
    before = bytes_of(study / "reading")
    refused = shell(CALL, status=2)
    assert (
        "reading exists, and cannot be told from another page, as reading/study.js was changed "
        "since it was made; use --force" in refused.stderr
    )
    assert bytes_of(study / "reading") == before


def test_a_page_that_lacks_a_pair_is_tried_again(study, shell):
    broken = study / "9000002_00m_right_cor-iw-tse.nii"
    content = broken.read_bytes()
    broken.write_bytes(b"no volume")
    shell(CALL, status=1)
    before = bytes_of(study / "reading")
    again = shell(CALL, status=1)
    assert "reading lacks 1 pair; it is made again" in again.stderr
    assert bytes_of(study / "reading") == before
    broken.write_bytes(content)
    shell(CALL)
    assert [pair["pair"] for pair in shown(study / "reading")["pairs"]] == ["001", "002", "003"]


@pytest.mark.parametrize(
    "foreign", ["answers.tsv", ".hidden", "volumes/notes.txt", "volumes/../mine/thesis.txt", "link"]
)
def test_a_page_that_holds_anything_else_is_never_replaced(study, shell, foreign):
    shell(CALL)
    path = study / "reading" / foreign
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(study) if foreign == "link" else path.write_text("weeks of work")
    before = bytes_of(study / "reading")
    refused = shell(f"{CALL} --sequence cor-iw-tse --force", status=2)
    name = foreign.replace("volumes/../", "")
    assert f"reading holds {name}, no part of the page, which is not replaced" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert bytes_of(study / "reading") == before


@pytest.mark.parametrize(
    "content", ["export const x = 1;", "reading.study([1, 2]);\n", "", "reading.study({"]
)
def test_a_folder_with_a_file_study_js_of_another_kind_is_no_page(study, shell, content):
    foreign = study / "reading"
    foreign.mkdir()
    (foreign / "study.js").write_text(content)
    (foreign / "thesis.txt").write_text("years of work")
    before = bytes_of(foreign)
    refused = shell(f"{CALL} --force", status=2)
    assert "reading exists and is no reading page" in refused.stderr
    assert bytes_of(foreign) == before


def test_lists_of_files_that_no_page_has_remove_nothing(study, shell):
    """A page's folder says itself what is its own, but not just anything."""
    import hashlib

    shell(CALL)
    (study / "thesis.txt").write_text("years of work")
    (study / "reading" / "notes.txt").write_text("weeks of work")
    lines = f"{'0' * 64}  ../thesis.txt\n{'0' * 64}  notes.txt\n{'0' * 64}  volumes/../../x.js\n"
    own = hashlib.sha256(lines.encode()).hexdigest()
    (study / "reading" / "checksums.sha256").write_text(f"# these lines: {own}\n{lines}")
    assert "reading holds notes.txt" in shell(f"{CALL} --force", status=2).stderr
    (study / "reading" / "notes.txt").unlink()
    shell(f"{CALL} --force")
    assert (study / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("umask,folder,file", [("077", 0o700, 0o600), ("002", 0o775, 0o664)])
def test_a_page_has_the_permissions_that_the_umask_leaves(study, shell, umask, folder, file):
    shell(f"umask {umask}; {CALL} --sequence cor-iw-tse")
    modes = {p.is_dir(): set() for p in (study / "reading").rglob("*")}
    for path in (study / "reading", *(study / "reading").rglob("*")):
        modes[path.is_dir()].add(path.stat().st_mode & 0o777)
    assert modes == {True: {folder}, False: {file}}


@pytest.mark.parametrize(
    "change,message",
    [
        (("\tage\n", "\tlabel\n"), "column 'label', which may tell readers the answer"),
        (("\tage\n", "\tjsn\n"), "column 'jsn', which may tell readers the answer"),
        (("\t003\tB", "\t003\tA"), "pair 003 does not have one knee A and one knee B"),
        (("\t003\tB", "\t004\tB"), "pair 003 does not have one knee A and one knee B"),
        (("00m\tleft\t003", "00m\tn/a\t003"), "side 'n/a' is neither left nor right"),
        (("\tage\n", "\tJSN_24m\n"), "column 'JSN_24m', which may tell readers the answer"),
        (
            ("9000005_00m_left\t9000005", "9000005_00m_left\t9000004"),
            "9000005_00m_left is of patient 9000005 by its name, and of 9000004 by the column",
        ),
        (
            ("9000005_00m_left\t9000005", "k5\t9000004\u00a0"),
            "pair 003 has two knees of patient 9000004",
        ),
        (
            ("9000005_00m_left\t9000005\t00m\tleft", "9000004_00m_right\t9000004\t00m\tright"),
            "at both places",
        ),
    ],
)
def test_pairs_that_cannot_be_shown_are_refused(study, shell, change, message):
    text = (study / "pairs.tsv").read_text()
    assert change[0] in text
    (study / "pairs.tsv").write_text(text.replace(*change))
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading", status=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (study / "reading").exists()


@pytest.mark.parametrize(
    "call,message",
    [
        (
            "page pairs.tsv volumes.tsv --sequence ax-t2 -o reading",
            "no volume of sequence 'ax-t2'; there are cor-iw-tse, sag",
        ),
        (
            "page pairs.tsv -o reading",
            "has no columns 'sequence' and 'path': give tables of volumes",
        ),
        (
            "page pairs.tsv volumes.tsv --show side -o reading",
            "--show side: it is no clinical variable",
        ),
        ("page pairs.tsv volumes.tsv --show age --show age -o reading", "asked for twice"),
        ("page pairs.tsv volumes.tsv --show iq -o reading", "--show iq: "),
        ("page pairs.tsv volumes.tsv", "Missing option '-o'"),
        ("page pairs.tsv twice.tsv -o reading", "9000001_00m_left has two volumes of cor-iw-tse"),
        ("page pairs.tsv others.tsv -o reading", "no knee of the pairs is in the volumes"),
        (
            "page pairs.tsv nowhere.tsv -o reading",
            "no volume of cor-iw-tse can be read: nowhere.nii: no such file; check",
        ),
    ],
)
def test_calls_that_give_no_page_are_refused(study, shell, call, message):
    text = (study / "volumes.tsv").read_text()
    (study / "twice.tsv").write_text(text + "9000001_00m_left\tcor-iw-tse\tother.nii\n")
    (study / "others.tsv").write_text(text.replace("900000", "800000"))
    (study / "nowhere.tsv").write_text(re.sub(r"\S+\.nii", "nowhere.nii", text))
    done = shell(f"oa-pairs {call}", status=2)
    assert message in done.stderr
    assert done.stdout == ""
    assert not (study / "reading").exists()


def test_only_clinical_variables_are_shown_unless_others_are_asked_for(study, shell):
    """A table that was joined with its volumes says what the scanner called them, and with it the side."""
    head, *lines = (study / "pairs.tsv").read_text().splitlines()
    joined = [f"{head}\teffusion\twomac_pain\tdescription\tsequence\tpath"]
    joined += [
        f"{line}\t{n % 2}\t5\tCOR_IW_TSE_LEFT\tcor-iw-tse\t{line.split(chr(9))[0]}_cor-iw-tse.nii"
        for n, line in enumerate(lines)
    ]
    (study / "joined.tsv").write_text("\n".join(joined) + "\n")
    done = shell("oa-pairs page joined.tsv -o plain")
    assert (
        "oa-pairs: readers see age, and cor-iw-tse\noa-pairs: and not effusion, womac_pain, description: --show"
        in done.stderr
    )
    assert shown(study / "plain")["variables"] == ["Age, years"]
    assert "COR_IW" not in (study / "plain" / "study.js").read_text()
    shell("oa-pairs page joined.tsv --show effusion --show age -o more")
    assert shown(study / "more")["variables"] == ["effusion", "Age, years"]
    assert shown(study / "more")["pairs"][0]["values"] == {"A": ["0", "50"], "B": ["1", "51"]}


def test_volumes_that_were_corrected_otherwise_are_refused(study, shell):
    def corrected(knee, **parameters):
        steps = [
            {"tool": "oa-orient", "parameters": {}},
            {"tool": "oa-n4", "parameters": parameters},
        ]
        (study / f"{knee}_cor-iw-tse.json").write_text(json.dumps({"OatoolsSteps": steps}))

    knees = [line.split("\t")[0] for line in (study / "pairs.tsv").read_text().splitlines()[1:]]
    for name in knees[:5]:
        corrected(name, shrink=4)
    refused = shell("oa-pairs page pairs.tsv volumes.tsv -o reading", status=2)
    assert (
        "9000000_00m_right_cor-iw-tse.nii and 9000005_00m_left_cor-iw-tse.nii did not go through the same"
        in refused.stderr
    )
    corrected(knees[5], shrink=2)
    shell("oa-pairs page pairs.tsv volumes.tsv -o reading", status=2)
    shell("oa-pairs page pairs.tsv volumes.tsv --sequence sag-3d-dess -o other")
    corrected(knees[5], shrink=4)
    shell("oa-pairs page pairs.tsv volumes.tsv -o reading")


def test_a_knee_that_lies_on_the_other_side_is_named(study, shell, make_volume):
    nibabel.save(make_volume(9, side="right"), study / "9000001_00m_left_cor-iw-tse.nii")
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading")
    assert (
        "9000001_00m_left cor-iw-tse: the table says left, but the volume's centre lies 90 mm to the right"
        in done.stderr
    )
    assert "look whether lateral and medial" in done.stderr


def test_volumes_may_be_given_as_files(study, shell, rows):
    (study / "nii").mkdir()
    for path in study.glob("*_cor-iw-tse.nii"):
        path.rename(study / "nii" / path.name)
    done = shell("oa-pairs page pairs.tsv nii/*.nii -o reading")
    assert len(rows(done.stdout)) == 6
    assert "pairs.tsv nii/x.nii" not in done.stderr


def test_the_study_is_known_by_what_it_shows_and_not_by_how_it_was_packed(
    study, shell, monkeypatch, make_volume
):
    grey = np.random.default_rng(0).integers(0, 256, (3, 20, 24), dtype=np.uint8)
    checks = {}
    for level in (0, 9):
        with monkeypatch.context() as patched:
            patched.setattr(
                images.zlib, "compress", lambda data, _, level=level: packed(data, level)
            )
            checks[level] = images.write_script(study / f"{level}.js", "x", grey)
    assert (study / "0.js").read_bytes() != (study / "9.js").read_bytes()
    assert checks[0] == checks[9]
    assert checks[0] != images.write_script(study / "other.js", "x", grey[::-1])
    # The study's name holds every checksum.
    shell("oa-pairs page pairs.tsv volumes.tsv -o one")
    nibabel.save(make_volume(77, side="right"), study / "9000000_00m_right_cor-iw-tse.nii")
    shell("oa-pairs page pairs.tsv volumes.tsv -o other")
    one, other = shown(study / "one"), shown(study / "other")
    assert one["id"] != other["id"]
    assert [
        a["files"] == b["files"] for a, b in zip(one["pairs"], other["pairs"], strict=True)
    ] == [False, True, True]


def packed(data, level):
    packer = zlib.compressobj(level)
    return packer.compress(data) + packer.flush()


def test_fail_fast_makes_no_page(study, shell):
    (study / "9000002_00m_right_cor-iw-tse.nii").write_bytes(b"no volume")
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading --fail-fast", status=1)
    assert done.stderr.splitlines()[-1] == "oa-pairs: no page is made"
    assert not (study / "reading").exists()


def test_an_empty_folder_is_taken_and_one_that_comes_to_be_meanwhile_is_not(study, shell):
    (study / "empty").mkdir()
    shell("oa-pairs page pairs.tsv volumes.tsv -o empty")
    assert (study / "empty" / "index.html").is_file()
    from oatools.core.errors import UsageError
    from oatools.reading.pagefolder import new_folder

    with (
        pytest.raises(UsageError, match="empty2 exists; use force"),
        new_folder(study / "empty2") as folder,
    ):
        (folder / "study.js").write_text('reading.study({"title": "mine"});\n')
        (study / "empty").rename(study / "empty2")
    assert shown(study / "empty2")["title"] == "Reading study"
    assert not [path for path in study.iterdir() if path.name.startswith(".")]


def test_phantoms_are_called_so(study, shell):
    shell("oa-pairs page pairs.tsv volumes.tsv -o reading")
    assert shown(study / "reading")["phantoms"] is False
    (study / "9000001_00m_left_cor-iw-tse.json").write_text('{"Phantom": true}')
    shell("oa-pairs page pairs.tsv volumes.tsv -o reading --force")
    assert shown(study / "reading")["phantoms"] is True


def test_volumes_smaller_than_the_grid_are_counted(study, shell, make_volume):
    nibabel.save(make_volume(9, shape=(24, 18, 5)), study / "9000001_00m_left_cor-iw-tse.nii")
    done = shell("oa-pairs page pairs.tsv volumes.tsv -o reading")
    assert (
        "1 of 6 volumes of cor-iw-tse are smaller than the largest, and get black margins"
        in done.stderr
    )


def test_over_a_thousand_pairs_nothing_but_the_image_tells_the_progressor(
    tmp_path, shell, rows, make_volume
):
    """Progressors differ from their partners in all that a file can differ in, save what the image shows."""
    labels, volumes = ["knee\tsubject\tvisit\tside\tlabel\tjsn\tage"], ["knee\tsequence\tpath"]
    (tmp_path / "in").mkdir()
    for n in range(2000):
        progresses = n < 1000
        name = f"{9000000 + n}_00m_left"
        labels.append(
            f"{name}\t{9000000 + n}\t00m\tleft\t{int(progresses)}\t{'-0.8' if progresses else '0.1'}\t60"
        )
        image = make_volume(n, shape=(10, 9, 4), spacing=(0.5, 0.5, 3.0))
        data = np.maximum(image.dataobj, 380 if progresses else 0)  # a flatter image packs better
        path = (
            tmp_path
            / "in"
            / f"{'progressor' if progresses else 'partner'}-{n}.nii{'.gz' if progresses else ''}"
        )
        # In range, type, header and compression the two kinds have nothing in common.
        made = nibabel.Nifti1Image(
            data.astype(np.float32) * 12.25 if progresses else data, image.affine
        )
        made.header["descrip"] = b"progressor" if progresses else b"partner"
        nibabel.save(made, path)
        path.with_name(path.name.split(".")[0] + ".json").write_text(
            json.dumps({"SeriesDescription": path.name})
        )
        volumes.append(f"{name}\tcor-iw-tse\t{path.relative_to(tmp_path)}")
    (tmp_path / "labels.tsv").write_text("\n".join(labels) + "\n")
    (tmp_path / "volumes.tsv").write_text("\n".join(volumes) + "\n")
    shell("oa-pairs draw labels.tsv --stratum :-0.5:1000 --key key.tsv > pairs.tsv")
    shell("oa-pairs page pairs.tsv volumes.tsv -o reading > page.tsv")
    key = {row["pair"]: row for row in rows((tmp_path / "key.tsv").read_text())}
    assert len(key) == 1000

    files = sorted((tmp_path / "reading" / "volumes").iterdir())
    assert [path.name for path in files] == [
        f"{n:04d}-{place}-1.js" for n in range(1, 1001) for place in "AB"
    ]
    assert len({path.stat().st_size for path in files}) == 1
    assert len({path.stat().st_mode for path in files}) == 1
    everything = b"".join(
        path.read_bytes() for path in (tmp_path / "reading").iterdir() if path.is_file()
    )
    everything = re.sub(rb"[0-9a-f]{64}", b"", everything)  # digests may hold any digits
    for word in (
        b"progressor",
        b"partner",
        b"9000",
        b"_00m",
        b"left_",
        b".nii",
        b"descrip",
        b"-0.8",
    ):
        assert word not in everything
    found = shown(tmp_path / "reading")
    assert list(found) == [
        "title",
        "question",
        "answer",
        "about",
        "draw",
        "phantoms",
        "variables",
        "sequences",
        "pairs",
        "id",
        "made",
        "source",
    ]
    assert {row["draw"] for row in key.values()} == {found["draw"]}
    assert [pair["pair"] for pair in found["pairs"]] == sorted(key)

    ranges = Counter()
    for path in files:
        grey = unpacked(tmp_path / "reading", path.stem, (4, 9, 10))
        ranges[int(grey.min()), int(grey.max())] += 1
    assert ranges == {(0, 255): 2000}

    places = [key[pair]["place"] for pair in sorted(key)]
    assert binomtest(places.count("A"), 1000).pvalue > 1e-3
    assert (
        binomtest(sum(a == b for a, b in zip(places, places[1:], strict=False)), 999).pvalue > 1e-3
    )
    assert spearmanr(np.arange(1000), [p == "A" for p in places]).pvalue > 1e-3
    assert spearmanr(np.arange(1000), [int(key[p]["subject"]) for p in sorted(key)]).pvalue > 1e-3
    # The order in which the files were written is that of their names, too.
    assert [row["page"] for row in rows((tmp_path / "page.tsv").read_text())] == [
        f"volumes/{p.name}" for p in files
    ]


def test_a_page_whose_folder_is_removed_while_it_is_written_is_an_error(tmp_path):
    from oatools.reading.pagefolder import new_folder

    with (
        pytest.raises(FileNotFoundError, match="removed while it was written") as caught,
        new_folder(tmp_path / "page") as folder,
    ):
        shutil.rmtree(folder)
    assert caught.value.filename == str(tmp_path / "page") and os.listdir(tmp_path) == []


def test_a_page_whose_folder_is_made_anew_by_its_next_file_is_an_error(tmp_path):
    """What was written before is gone: the rest under the page's name would be a page of holes."""
    from oatools.core.files import write_text
    from oatools.reading.pagefolder import new_folder, write_study

    with (
        pytest.raises(FileNotFoundError, match="removed while it was written"),
        new_folder(tmp_path / "page") as folder,
    ):
        write_text(folder / "volumes" / "001-A-1.js", "first")
        folder.rename(tmp_path / "moved")
        write_text(folder / "volumes" / "001-B-1.js", "second")
        write_study(folder, {"pairs": ["001"]})
    assert os.listdir(tmp_path) == ["moved"]
