"""One patient is never two, however tables write them: in folds, in the inner split, in joins."""

import numpy as np
import pytest

from oatools.core.errors import UsageError
from oatools.learning.cohort import make_cohort
from oatools.learning.files import read_record

from .conftest import CV, TRAIN, rewrite

#: What becomes of the id of every left knee in the labels, where right ones say `7001`, `7002`, ...
WAYS = {
    "a blank behind": lambda s: f"{s} ",
    "a blank before": lambda s: f"  {s}",
    "a no-break space": lambda s: f"{s}\u00a0",
    "a zero-width space": lambda s: f"\u200b{s}",
    "a mark of byte order": lambda s: f"\ufeff{s}",
    "a spreadsheet's number": lambda s: f"{s}.0",
}


def patients_apart(text, rows):
    """How many patients of a table of folds have knees in two of them, by the name of the knee."""
    folds = {}
    for row in rows(text):
        folds.setdefault(row["knee"].split("_")[0], set()).add(row["fold"])
    assert len(folds) == 20
    return sum(len(own) > 1 for own in folds.values())


@pytest.mark.parametrize("way", WAYS)
def test_both_knees_of_a_patient_stay_in_one_fold(study, run, tmp_path, rows, way):
    study(knees=40)

    def change(row):
        if row["knee"].endswith("left"):
            row["subject"] = WAYS[way](row["subject"])

    rewrite(tmp_path / "labels.tsv", change)
    done = run(f"{CV} -o cv")
    written = (tmp_path / "cv/folds.tsv").read_text()
    assert patients_apart(written, rows) == 0
    assert all(row["knee"].startswith(f"{row['subject']}_") for row in rows(written))
    assert "40 knees of 20 patients used" in done.stderr
    assert done.stderr.count("patients also in other folds: 0") == 2


def test_letters_in_another_case_are_the_same_patient(study, run, tmp_path, rows):
    study(knees=40)
    for name in ("features.tsv", "labels.tsv"):

        def change(row, name=name):
            row["knee"] = row["knee"].replace("9000", "M9000")
            small = name == "labels.tsv" and row["knee"].endswith("left")
            row["subject"] = row["knee"].split("_")[0]
            if small:
                row["subject"] = row["subject"].lower()
                row["knee"] = row["knee"].lower()

        rewrite(tmp_path / name, change)
    done = run(f"{CV} -o cv")
    assert "40 knees of 20 patients used" in done.stderr
    written = rows((tmp_path / "cv/folds.tsv").read_text())
    assert patients_apart((tmp_path / "cv/folds.tsv").read_text(), rows) == 0
    assert written[0] == {"knee": "m9000000_00m_left", "subject": "m9000000", "fold": "1"} | {
        "fold": written[0]["fold"]
    }


def test_the_same_people_give_the_same_models_however_they_are_written(study, run, tmp_path):
    study(knees=40)
    plain = run(TRAIN).stdout
    before = (tmp_path / "m.safetensors").read_bytes()

    def change(row):
        row["subject"] = f"{row['subject']}.0" if row["knee"].endswith("left") else row["subject"]
        row["knee"] = f"\u00a0{row['knee']}".replace("_left", "_LEFT")

    rewrite(tmp_path / "labels.tsv", change)
    (tmp_path / "m.safetensors").unlink()
    assert run(TRAIN).stdout == plain
    assert (tmp_path / "m.safetensors").read_bytes() == before


@pytest.mark.parametrize("way", WAYS)
def test_the_inner_split_keeps_both_knees_on_one_side(study, run, tmp_path, way):
    study(knees=40)

    def change(row):
        if row["knee"].endswith("left"):
            row["subject"] = WAYS[way](row["subject"])

    rewrite(tmp_path / "labels.tsv", change)
    done = run(TRAIN)
    assert "\t40\t20\t" in done.stdout  # knees, patients
    held = read_record(tmp_path / "m.safetensors")["validation_knees"]
    sides = {}
    for knee in held:
        sides.setdefault(knee.split("_")[0], []).append(knee)
    assert held and all(len(own) == 2 for own in sides.values())


def test_a_folds_file_may_write_ids_in_any_form_and_splits_nobody(study, run, tmp_path, rows):
    study(knees=40)
    run(f"{CV} -o first")
    text = (tmp_path / "first/folds.tsv").read_text()
    (tmp_path / "f.tsv").write_text(text)

    def change(row):
        row["knee"] = f" {row['knee']}\u200b".upper()
        row["subject"] = f"{row['subject']}.0\u00a0"

    rewrite(tmp_path / "f.tsv", change)
    by_file = CV.replace("-k 2", "--folds-file f.tsv")
    run(f"{by_file} -o again")
    assert (tmp_path / "again/folds.tsv").read_text() == text

    def split(row):
        if row["knee"].strip() == "9000003_00M_LEFT\u200b":
            row["fold"] = "3"

    rewrite(tmp_path / "f.tsv", split)
    refused = run(f"{by_file} -o split", status=2)
    assert "patient 9000003 is in folds" in refused.stderr
    header, *lines = text.splitlines()
    (tmp_path / "f.tsv").write_text(
        "\n".join([header, *lines, lines[0].replace("_0", " _0")]) + "\n"
    )
    refused = run(f"{by_file} -o twice", status=2)
    assert "'9000000_00m_left' and '9000000 _00m_left' are both 9000000_00m_left" in refused.stderr
    (tmp_path / "f.tsv").write_text(text.replace("9000003\t", "img7\t"))
    refused = run(f"{by_file} -o other", status=2)
    assert "of patient 9000003 by its name, and of img7 by the column" in refused.stderr


def rename(digits):
    """Give patients ids of so many digits, and knees names that do not hold them."""

    def change(row):
        number = int(row["knee"].split("_")[0]) - 8999999
        row["subject"] = f"{number:0{digits}d}"
        row["knee"] = f"knee-{2 * number + row['knee'].endswith('left')}"

    return change


@pytest.mark.parametrize("command", [f"{CV} -o cv", TRAIN])
def test_zeros_that_meet_are_an_error_that_names_both_and_others_are_fine(
    study, run, tmp_path, rows, command
):
    study(knees=40)
    for name in ("features.tsv", "labels.tsv"):
        rewrite(tmp_path / name, rename(4))
    assert "40 knees of 20 patients used" in run(command).stderr

    def lose(row):
        if int(row["knee"].split("-")[1]) % 2:
            row["subject"] = row["subject"].lstrip("0")

    text = (tmp_path / "features.tsv").read_text()
    (tmp_path / "features.tsv").write_text(text.replace("\tsubject\t", "\tperson\t"))
    rewrite(tmp_path / "labels.tsv", lose)
    refused = run(f"{command} --force", status=2)
    assert refused.stderr.count("\n") == 1
    assert (
        "labels.tsv: patients 0001 and 1 differ in leading zeros alone, and may be one"
        in refused.stderr
    )
    # Where the features' table knows better, it is that which is named.
    (tmp_path / "features.tsv").write_text(text)
    refused = run(f"{command} --force", status=2)
    assert "knee-3 is of patient 0001 in features.tsv, and of 1 in labels.tsv" in refused.stderr


@pytest.mark.parametrize("command", [f"{CV} -o cv", TRAIN])
def test_tables_that_disagree_on_whose_knee_it_is_are_refused(study, run, tmp_path, command):
    study(knees=40)
    names = iter(range(100))
    whole = (tmp_path / "labels.tsv").read_text()
    rewrite(tmp_path / "labels.tsv", lambda row: row.update(subject=f"img{next(names):04d}"))
    refused = run(command, status=2)
    assert refused.stderr.count("\n") == 1
    assert (
        "labels.tsv: 9000000_00m_right is of patient 9000000 by its name, and of img0000 by the "
        "column 'subject'; write one patient in one way"
    ) in refused.stderr

    # A knee's name need not say whose it is: then the features' table does.
    (tmp_path / "labels.tsv").write_text(whole)
    for name in ("features.tsv", "labels.tsv"):
        rewrite(tmp_path / name, lambda row: row.update(knee=row["knee"].replace("_00m_", "-")))
    assert "40 knees of 20 patients used" in run(command).stderr
    names = iter(range(100))
    rewrite(tmp_path / "labels.tsv", lambda row: row.update(subject=f"img{next(names):04d}"))
    refused = run(f"{command} --force", status=2)
    assert (
        "9000000-right is of patient 9000000 in features.tsv, and of img0000 in labels.tsv"
        in refused.stderr
    )


@pytest.mark.parametrize("table", ["features.tsv", "labels.tsv"])
def test_a_knee_that_is_there_in_two_forms_is_there_twice(study, run, tmp_path, table):
    study(knees=40)
    path = tmp_path / table
    line = path.read_text().splitlines()[1]
    with path.open("a", encoding="utf-8") as out:
        out.write(line.replace("9000000_00m_right\t", "9000000_00m_right\u00a0\t") + "\n")
    refused = run(f"{CV} -o cv", status=2)
    assert (
        r"'9000000_00m_right' and '9000000_00m_right\xa0' are both 9000000_00m_right"
        in refused.stderr
    )


def test_prediction_finds_clinical_variables_however_their_knees_are_written(
    study, run, tmp_path, rows
):
    study(knees=40)
    run(f"{TRAIN} --clinical bmi")
    score = "oa-predict m.safetensors --with-clinical clinical.tsv features.tsv"
    # As `oa-label --endpoint none` makes it: no outcome in it.
    lines = ["knee\tsubject\tvisit\tside\tjsw\tbmi"]
    for row in rows((tmp_path / "labels.tsv").read_text()):
        identity = row["knee"].replace("_", "\t")
        lines.append(f"{row['knee']}\t{identity}\t4.2\t{row['bmi']}")
    text = "\n".join(lines) + "\n"
    (tmp_path / "clinical.tsv").write_text(text)
    plain = run(score)
    assert "'bmi' is missing" not in plain.stderr
    refused = run(TRAIN.replace("labels.tsv", "clinical.tsv") + " --force", status=2)
    assert refused.stderr.count("\n") == 1
    assert "clinical.tsv: no column 'label', so nothing says how the knees fared" in refused.stderr
    assert "a table without an outcome is for prediction" in refused.stderr

    def change(row):
        row["knee"] = f" {row['knee']}".upper()
        row["subject"] += ".0"

    rewrite(tmp_path / "clinical.tsv", change)
    assert run(score).stdout == plain.stdout
    table = (tmp_path / "features.tsv").read_text()
    rewrite(tmp_path / "features.tsv", lambda row: row.update(knee=row["knee"].upper() + "\u00a0"))
    again = run(score)
    assert "'bmi' is missing" not in again.stderr
    given, found = rows(plain.stdout), rows(again.stdout)
    assert [r["probability"] for r in found] == [r["probability"] for r in given]
    assert [r["knee"] for r in found] == [r["knee"].upper() + "\u00a0" for r in given]
    (tmp_path / "features.tsv").write_text(table)
    (tmp_path / "clinical.tsv").write_text(text.replace("9000000", "09000000"))
    failed = run(score, status=1)
    assert len(rows(failed.stdout)) == 38
    assert (
        "clinical.tsv has 09000000_00m_right, which differs in leading zeros alone" in failed.stderr
    )


def test_prediction_takes_no_clinical_variables_of_another_patient(study, run, tmp_path, rows):
    study(knees=40)
    for name in ("features.tsv", "labels.tsv"):
        rewrite(tmp_path / name, lambda row: row.update(knee=row["knee"].replace("_00m_", "-")))
    run(f"{TRAIN} --clinical bmi")
    rewrite(
        tmp_path / "labels.tsv",
        lambda row: row.update(subject="9000099") if row["knee"] == "9000000-right" else None,
    )
    failed = run("oa-predict m.safetensors --with-clinical labels.tsv features.tsv", status=1)
    assert len(rows(failed.stdout)) == 39
    assert "the knee is of patient 9000000, and of 9000099 in labels.tsv" in failed.stderr


def test_the_commands_say_once_a_table_where_two_forms_of_ids_meet(study, run, tmp_path):
    study(knees=40)
    assert "two forms" not in run(f"{TRAIN} --clinical bmi").stderr
    for name, form in (("labels.tsv", " {}"), ("features.tsv", "{}")):
        rewrite(tmp_path / name, lambda row, form=form: row.update(knee=form.format(row["knee"])))
    said = (
        "features.tsv and labels.tsv: 20 ids are written in two forms, such as '9000000' and "
        "' 9000000', which count as one\n"
    )
    done = run(f"{TRAIN} --clinical bmi")
    assert done.stderr.count(said) == done.stderr.count("two forms") == 1
    done = run("oa-predict m.safetensors --with-clinical labels.tsv features.tsv --timeout 0")
    # The table of clinical variables has its own patients in the other form, too.
    for tables in ("labels.tsv", "labels.tsv and features.tsv"):
        said = f"oa-predict: {tables}: 20 ids are written in two forms, such as ' 9000000' and "
        assert done.stderr.count(said) == 1
    assert done.stderr.count("two forms") == 2
    assert "two forms" not in run(f"{TRAIN} --clinical bmi -q").stderr


def arrays(knees, subjects):
    label = [n % 2 for n in range(len(knees))]
    return make_cohort(knees, subjects, label, [np.ones((3, 4)) for _ in knees])


def test_arrays_from_python_are_of_the_same_people_too():
    cohort = arrays(["b", "A ", "c", "d"], ["P1", "p1\u00a0", "2.0", "2"])
    assert cohort.knee == ("a", "b", "c", "d")
    assert cohort.subject == ("p1", "p1", "2", "2")
    for knees, subjects, message in (
        (["a", "A", "c", "d"], ["1", "1", "2", "2"], "'a' and 'A' are both a"),
        (["a", "b", "c", "d"], ["1", "01", "2", "2"], "patients 1 and 01 differ in leading zeros"),
        (["5_00m_left", "b", "c", "d"], ["1", "1", "2", "2"], "patient 5 by its name, and of 1"),
    ):
        with pytest.raises(UsageError, match=message):
            arrays(knees, subjects)
