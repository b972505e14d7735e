"""The same scan twice, and subjects that are no patients."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest

from oatools.core.errors import UsageError
from oatools.features.featurefile import read_features, write_features
from oatools.learning.identity import Witness, check_patients, known_side
from oatools.learning.load import load_cohort

from ..conftest import rewrite_attributes
from .conftest import CV, TRAIN, rewrite


@pytest.fixture
def load(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study(knees=40)

    def call():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            load_cohort("features.tsv", "labels.tsv")
        return [str(each.message) for each in said]

    return call


def feature_file(tmp_path, knee):
    return tmp_path / f"features/{knee}_cor-iw-tse.h5"


def mark(tmp_path, knee, **attributes):
    rewrite_attributes(feature_file(tmp_path, knee), **attributes)


@pytest.mark.parametrize("command", [f"{CV} -o cv", TRAIN])
def test_a_volume_under_two_patients_is_refused_by_its_digest(
    study,
    run,
    tmp_path,
    command,
):
    study(knees=40)
    for knee in ("9000002_00m_left", "9000011_00m_right"):
        mark(tmp_path, knee, source_sha256="5e" * 32)
    refused = run(command, status=2)
    assert refused.stderr.splitlines()[-1].endswith(
        "9000002_00m_left (patient 9000002) and 9000011_00m_right (patient 9000011) have the same "
        "scan; find out whose it is, and drop the other row"
    )
    # Of one patient no fold is harmed, and one of the two labels is still of another scan.
    mark(tmp_path, "9000011_00m_right", source_sha256="5f" * 32)
    mark(tmp_path, "9000002_00m_right", source_sha256="5e" * 32)
    done = run(command)
    said = "warning: 9000002_00m_left and 9000002_00m_right have the same scan"
    order = "warning: 9000002_00m_right and 9000002_00m_left have the same scan"
    assert done.stderr.count(said) + done.stderr.count(order) == 1


def test_the_same_numbers_under_two_patients_are_the_same_scan(load, tmp_path):
    assert load() == []
    found = read_features(feature_file(tmp_path, "9000003_00m_left"))
    moved = replace(found, position=found.position + 40)  # as the other side would lie
    write_features(feature_file(tmp_path, "9000017_00m_right"), moved)
    with pytest.raises(UsageError, match="9000003_00m_left .* 9000017_00m_right .* the same scan;"):
        load()
    write_features(feature_file(tmp_path, "9000017_00m_left"), moved)
    with pytest.raises(UsageError, match=r"have the same scan \(and 1 more pair\)"):
        load()
    # A single number that differs makes another scan.
    other = found.features.copy()
    other[0, 0] += 1e-3
    for side in ("left", "right"):
        write_features(
            feature_file(tmp_path, f"9000017_00m_{side}"),
            replace(found, features=other + (side == "left")),
        )
    assert load() == []


def test_a_path_that_stands_in_two_rows_is_the_same_scan(load, tmp_path):
    def change(row):
        if row["knee"] == "9000005_00m_left":
            row["path"] = row["path"].replace("9000005_00m_left", "9000006_00m_left")

    rewrite(tmp_path / "features.tsv", change)
    with pytest.raises(UsageError, match="9000005_00m_left .* 9000006_00m_left .* the same scan"):
        load()


def number_knees(tmp_path, knee, subject, tables=("features.tsv", "labels.tsv")):
    """Write other names of knees, and other subjects, by the number of the row, patient and side."""
    for table in tables:
        numbers = iter(range(1000))

        def change(row, numbers=numbers):
            patient, _, side = row["knee"].split("_")
            place = {"n": next(numbers), "p": int(patient) - 9000000, "side": side, "s": side[0]}
            row["knee"] = knee.format(**place)
            row["subject"] = subject.format(**place, knee=row["knee"])

        rewrite(tmp_path / table, change)


def forget(tmp_path, table, *columns):
    """Take columns, and what the names of feature files tell, out of a table."""
    text = (tmp_path / table).read_text()
    for column in columns:
        text = re.sub(rf"(^|\t){column}(?=\t)", rf"\1no_{column}", text, count=1)
    (tmp_path / table).write_text(text)


def hide_names(tmp_path):
    numbers = iter(range(1000))

    def change(row):
        path = f"features/f{next(numbers):03d}.h5"
        (tmp_path / row["path"]).rename(tmp_path / path)
        row["path"] = path

    rewrite(tmp_path / "features.tsv", change)


@pytest.mark.parametrize(
    "knee, subject",
    [
        ("p{p:03d}-{side}", "img{n}"),
        ("p{p:03d}_{s}", "{n}"),
        ("p{p:03d}{s}", "{n}"),
        ("Knee {p} {side} 00m", "x{n}"),
        ("k{n}", "p{p:03d}-{s}"),
        ("k{n}", "{p:03d}{s}"),
        ("k{n}", "{p:03d} {side}"),
    ],
)
def test_a_number_a_knee_is_refused_where_names_or_ids_show_the_patient(
    load, tmp_path, knee, subject
):
    hide_names(tmp_path)
    number_knees(tmp_path, knee, subject)
    with pytest.raises(UsageError, match=r"differ in side or visit alone \(and 19 more pairs\)"):
        load()


def test_a_number_a_knee_is_refused_where_feature_files_know_the_patient(load, tmp_path):
    number_knees(tmp_path, "k{n}", "{n}", ["labels.tsv", "features.tsv"])
    (said,) = load()  # the features' table agrees, so that it must be known to somebody
    assert "are of patients 0 and 1, but of one by their feature files (9000000)" in said
    forget(tmp_path, "features.tsv", "subject")
    with pytest.raises(UsageError, match="but of one by their feature files .9000000. .and 19"):
        load()
    hide_names(tmp_path)
    (said,) = load()
    assert "every knee has a subject of its own, 20 left and 20 right ones" in said
    for n in range(40):
        path = tmp_path / f"features/f{n:03d}.h5"
        rewrite_attributes(path, subject=f"HOSP-{n // 2}.0")
    with pytest.raises(UsageError, match="but of one by their feature files .hosp-0.0. .and 19"):
        load()


@pytest.mark.parametrize("ends", ["12", "ab"])
def test_knees_that_are_two_of_a_name_are_doubted(ends):
    own = [(f"{9000000 + n // 2}_{ends[n % 2]}", f"s{n}", "n/a") for n in range(20)]
    (said,) = check_patients(knees(*own), "labels")
    assert "but most are two of a name, such as 9000000_" in said
    numbers = [(f"img_{n}", f"s{n}", "n/a") for n in range(20)]
    assert check_patients(knees(*numbers), "labels") == []
    together = [(name, subject[:2], side) for name, subject, side in own]
    assert check_patients(knees(*together), "labels") == []


def test_a_subject_that_repeats_the_knee_is_said(load, tmp_path):
    hide_names(tmp_path)
    number_knees(tmp_path, "k{n}", "{knee}")
    (said,) = load()
    assert "labels.tsv: the column 'subject' repeats the name of the knee" in said


@pytest.mark.parametrize("command", [f"{CV} -o cv", TRAIN])
def test_the_commands_say_it_and_one_patient_for_all_is_refused(
    study,
    run,
    tmp_path,
    command,
):
    study(knees=40)
    hide_names(tmp_path)
    number_knees(tmp_path, "k{n}", "{n}")
    assert run(command).stderr.count("warning: labels.tsv: every knee has a subject of its") == 1
    for table in ("features.tsv", "labels.tsv"):
        rewrite(tmp_path / table, lambda row: row.update(subject="me"))
    refused = run(f"{command} --force", status=2)
    assert "labels.tsv: all 40 knees are of patient me; write the patient" in refused.stderr


def knees(*each):
    return [Witness(f"{knee}", subject, side) for knee, subject, side in each]


def test_one_knee_a_patient_is_nothing_to_speak_of():
    own = [(f"p{n}_00m_{side}", f"p{n}", side) for n, side in enumerate(["left", "right"] * 5)]
    assert check_patients(knees(*own), "labels") == []
    one_side = [(f"k{n}", f"x{n}", "left") for n in range(9)]
    assert check_patients(knees(*one_side), "labels") == []
    unknown = [(f"k{n}", f"x{n}", "n/a") for n in range(9)]
    assert check_patients(knees(*unknown), "labels") == []


def test_letters_that_are_no_sides_are_left_alone():
    sites = [("k1", "l-001", "n/a"), ("k2", "r-001", "n/a"), ("k3", "l-002", "n/a")]
    assert check_patients(knees(*sites), "labels") == []
    # The ids end like sides, but the knees are others.
    ends = [("k1", "1l", "right"), ("k2", "1r", "left"), ("k3", "2l", "right")]
    assert check_patients(knees(*ends), "labels") == []


@pytest.mark.parametrize(
    "row, labelled, side",
    [
        ({"knee": "k1", "side": "left"}, {"side": "right"}, "left"),
        ({"knee": "k1", "side": "n/a"}, {"side": " R"}, "right"),
        ({"knee": "12-LEFT"}, {}, "left"),
        ({"knee": "bright"}, {}, "n/a"),
        ({"knee": "k1", "side": "both"}, {}, "n/a"),
    ],
)
def test_the_side_of_a_knee_is_what_its_rows_or_its_name_say(row, labelled, side):
    assert known_side(row, labelled) == side


def test_features_that_are_all_alike_are_no_scan(load, tmp_path):
    for knee in ("9000003_00m_left", "9000009_00m_left"):
        found = read_features(feature_file(tmp_path, knee))
        write_features(
            feature_file(tmp_path, knee), replace(found, features=np.ones_like(found.features[:8]),
            position=found.position[:8])
        )  # fmt: skip
    assert load() == []
