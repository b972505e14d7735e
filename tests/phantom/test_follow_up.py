"""Planted times: their hazards, the tables that show them, and the truth that states them."""

import csv
import itertools
import math
import re
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis
from statsmodels.duration.hazard_regression import PHReg

from oatools.core.errors import UsageError
from oatools.core.files import tree_digest
from oatools.oai.labels import label_knees
from oatools.phantom.attendance import CONTACTS, draw_attendance
from oatools.phantom.course import draw_followed, followed_widths
from oatools.phantom.download import prepare
from oatools.phantom.hazards import Hazard, best_auc, best_c, hazard_for, log_level
from oatools.phantom.people import PhantomSettings, index_of, make_people, stream
from oatools.phantom.planting import draw_latent, visible
from oatools.phantom.replacement import day_of

PLAIN = PhantomSettings(patients=40, seed=11, sequences=("cor-iw-tse",), matrix=32)
FOLLOWED = replace(PLAIN, patients=60, follow_up=96)
STUDY = replace(FOLLOWED, patients=2500, seed=3, progressors=0.14, jsn_auc=0.65)
FILES = {0: "00", 12: "01", 24: "03", 36: "05", 48: "06", 72: "08", 96: "10"}
DAYS_A_MONTH = 30.4375
# Tables, truth and settings as commit 81cff2d wrote them, before there was a follow-up.
BEFORE = {
    "ascii": (
        "95c8fad8088ac35b6e0aba3e312eb0039d3a7adbdc578ec3985cfa3e85604e6f",
        "48bf0b1bbcd64b3453d5fda6f358f60c9e59a47274fb1e9f4cf8ec2e9988af9c",
        "2b8dfeb5c19c0a4a18e043f2ac888828b4d8f4dbcfb35ed0c3965419f2f6f0ae",
    ),
    "nda": (
        "49dd4e280ea9eaa54695b5c793ba2d752c9eeaf9ff73985fdbdaff0d09eadb3a",
        "48bf0b1bbcd64b3453d5fda6f358f60c9e59a47274fb1e9f4cf8ec2e9988af9c",
        "9ae47e3dc5789ef32e144645c2f9c7083ba98f35347c0477c268b044a207073f",
    ),
    "most": (
        "0f0db9c21be586be6bdaa4ee37f73ee5ed5cd9438904c043f1463e7988cebd3c",
        "3029a5ce06793fabb2d842ee390a561f88f2bc0692f0b192e9bfcb43827c5c64",
        "5a6c3d08a9b1a84eba4fd61976cae40e7287f6e6a04714b810f98aad03f82c16",
    ),
}
# months: mean, SD, P25, median and P75 of the change of the minimum width in the study, mm
PUBLISHED = {
    12: (-0.064, 0.569, -0.287, -0.022, 0.200),
    24: (-0.189, 0.636, -0.434, -0.113, 0.135),
    36: (-0.328, 0.736, -0.587, -0.224, 0.050),
    48: (-0.400, 0.788, -0.686, -0.258, 0.026),
    72: (-0.473, 0.860, -0.813, -0.339, 0.030),
    96: (-0.644, 1.006, -1.070, -0.432, -0.026),
}


def read(path, delimiter="|", quoting=csv.QUOTE_NONE):
    with path.open(encoding="latin-1", newline="") as lines:
        return list(csv.DictReader(lines, delimiter=delimiter, quoting=quoting))


class Download:
    """The tables of a download in the ASCII form, read by the csv module alone."""

    def __init__(self, folder):
        self.folder = folder
        self.truth = {row["knee"]: row for row in read(folder / "truth.tsv", "\t")}
        self.outcomes = {row["id"]: row for row in self.table("Outcomes99")}
        self.enrolled = {
            row["ID"]: datetime.strptime(row["V00EVDATE"], "%m/%d/%Y")
            for row in self.table("Enrollees")
        }
        self.widths = self.cells("kxr_qjsw_duryea", "MCMJSW")
        self.kl = self.cells("kxr_sq_bu", "XRKL")
        self.medial = self.cells("kxr_sq_bu", "XRJSM")

    def table(self, name):
        return read(next(self.folder.rglob(f"{name}.txt")))

    def cells(self, table, column):
        """Numbers, or None: knee -> (months, project) -> cell."""
        found = {name: {} for name in self.truth}
        for month, number in FILES.items():
            for row in self.table(f"{table}{number}"):
                cell = row[f"V{number}{column}"]
                value = None if cell.startswith(".") else float(cell.split(":")[0])
                side = {"1: Right": "right", "2: Left": "left"}[row["SIDE"]]
                visits = found[f"{row['ID']}_00m_{side}"]
                assert (month, row["READPRJ"]) not in visits
                visits[month, row["READPRJ"]] = value
        return found

    def column(self, name):
        return np.array([float(row[name]) for row in self.truth.values()])

    def days_to_replacement(self, knee, letter):
        """Days to the confirmed replacement of a knee, 0 before enrolment, infinity for none."""
        row = self.outcomes[knee.split("_")[0]]
        if row[f"V99E{letter}KBLRP"] == "1: Yes":
            return 0
        is_confirmed = row[f"V99E{letter}KRPCF"].startswith("3")
        return int(row[f"V99E{letter}KDAYS"]) if is_confirmed else math.inf


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("followed") / "oai"
    prepare(folder, FOLLOWED)
    return Download(folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("followed") / "study"
    prepare(folder, STUDY)
    return Download(folder)


def test_coxs_regression_finds_the_coefficient_of_an_easy_outcome_too():
    hazard, rng = hazard_for(0.3, 0.95), np.random.default_rng(1)
    latent = np.array([draw_latent(rng)[0] for _ in range(10_000)])
    months = np.array([hazard.time(severity, score) for score, severity in latent])
    (coefficient,), (error,) = cox(months, latent[:, 1:])
    assert abs(coefficient - hazard.b) < error < 0.05


@pytest.fixture(scope="module")
def people():
    """Many people of whom no table is written."""
    return make_people(replace(STUDY, patients=5000, seed=14, jsn_auc=0.8))


@pytest.mark.parametrize("form,sequence", [("ascii", 0), ("nda", 0), ("most", 1)])
def test_without_a_follow_up_every_byte_is_as_it_was(tmp_path, form, sequence):
    name = ("cor-iw-tse", "hr-cor-stir")[sequence]
    prepare(tmp_path / "oai", replace(PLAIN, form=form, sequences=(name,)))
    parts = ("tables", "truth.tsv", "phantom.json")
    assert tuple(tree_digest(tmp_path / "oai" / part) for part in parts) == BEFORE[form]


def cohort(people):
    """Severity and KL at enrolment, width (mm), and planted times of everybody's left knee."""
    knees = [person.knees[0] for person in people]
    severity = np.array([knee.jsn_severity for knee in knees])
    kl = np.array([knee.grades.kl for knee in knees], dtype=float)
    width = np.array([knee.jsw[0] for knee in knees])
    return severity, kl, width, [knee.times for knee in knees]


def cox(months, covariates, end=96.0):
    """Coefficients and their standard errors, of events up to the end."""
    observed = np.minimum(months, end)
    fitted = PHReg(observed, covariates, status=(months <= end).astype(int), ties="efron").fit()
    return fitted.params, fitted.bse


def test_coxs_regression_finds_the_planted_coefficient_and_baseline_of_narrowing(people):
    severity, _, _, times = cohort(people)
    months = np.array([each.jsn for each in times])
    hazard = hazard_for(0.14, 0.8)
    # another library
    outcome = np.array(
        [(month <= 96, min(month, 96)) for month in months],
        dtype=[("event", bool), ("time", float)],
    )
    model = CoxPHSurvivalAnalysis(ties="efron").fit(severity[:, None], outcome)
    (coefficient,), (error,) = cox(months, severity[:, None])
    assert model.coef_[0] == pytest.approx(coefficient, abs=1e-4)
    assert 0 < error < 0.05
    assert abs(coefficient - hazard.b) < error
    for month in (12, 24, 48, 96):
        # 0.6 of the power, worked here: L(12) (t / 12)^0.6 at a severity of 0
        planted = math.exp(hazard.log_level) * (month / 12) ** 0.6
        assert model.cum_baseline_hazard_(month) == pytest.approx(planted, rel=0.08)


def test_coxs_regression_finds_the_coefficients_of_grades_and_replacements(people):
    severity, kl, _, times = cohort(people)
    b = hazard_for(0.14, 0.8).b
    for name in ("kl", "medial"):
        months = np.array([getattr(each, name) for each in times])
        (coefficient,), (error,) = cox(months, severity[:, None])
        assert abs(coefficient - b) < 2 * error
    months = np.array([each.replacement for each in times])
    coefficients, errors = cox(months, np.column_stack([severity, kl]))
    assert np.all(np.abs(coefficients - [0.4, 1.0]) < 2 * errors)
    assert np.all(errors < 0.08)


def test_nothing_at_enrolment_tells_more_of_narrowing_than_the_severity(people):
    severity, kl, width, times = cohort(people)
    months = np.array([each.jsn for each in times])
    bmi = np.array([person.bmi for person in people])
    coefficients, errors = cox(months, np.column_stack([severity, kl, width, bmi]))
    assert np.all(np.abs(coefficients[1:]) < 2.5 * errors[1:])
    # alone they do tell, as in the study, of what the severity shows
    alone, error = cox(months, np.column_stack([kl, width]))
    assert alone[0] > 3 * error[0]


def test_severities_are_standard_normal_and_related_in_the_knees_of_a_person(people):
    severity = np.array([[knee.jsn_severity for knee in person.knees] for person in people])
    assert severity.mean() == pytest.approx(0, abs=0.03)
    assert severity.std() == pytest.approx(1, abs=0.02)
    assert np.corrcoef(severity.T)[0, 1] == pytest.approx(0.3, abs=0.04)
    knees = [knee for person in people for knee in person.knees]
    assert all(knee.anatomy.progression == visible(knee.jsn_severity) for knee in knees)
    narrowed = np.array([[knee.progressor for knee in person.knees] for person in people])
    assert 0.05 < np.corrcoef(narrowed.T)[0, 1] < 0.3


def test_the_share_of_knees_that_narrow_within_a_year_is_the_one_that_was_asked_for(people):
    knees = [knee for person in people for knee in person.knees]
    months = np.array([knee.times.jsn for knee in knees])
    assert np.mean(months <= 12) == pytest.approx(0.14, abs=0.011)  # three standard errors
    assert [knee.progressor for knee in knees] == list(months <= 12)
    # 520 and 370 of 8,361 knees of the study lose a grade of KL and of joint space
    for name, count in (("kl", 520), ("medial", 370)):
        share = np.mean([getattr(knee.times, name) <= 12 for knee in knees])
        assert share == pytest.approx(count / 8361, abs=0.008)


def test_replacements_are_as_many_as_in_the_study(people):
    knees = [knee for person in people for knee in person.knees if not knee.replacement.before]
    months = np.array([knee.times.replacement for knee in knees])
    assert np.mean(months <= 96) == pytest.approx(0.09, abs=0.009)
    # as the rates rise with time: 0.028, 0.085 and 0.30 of 108 months' by 12, 24 and 48
    of_all = [np.sum(months <= month) / np.sum(months <= 108) for month in (12, 24, 48)]
    np.testing.assert_allclose(of_all, [0.028, 0.085, 0.30], atol=0.06)
    assert day_of(0.0, 0.0) == 30  # none in the first month
    for knee in knees:
        is_planted = knee.times.replacement <= 108
        assert (knee.replacement.day is not None and knee.replacement.confirmed) == is_planted
        for month in (12, 24, 36, 48, 72, 96):
            assert knee.replacement.is_done(month) == (knee.times.replacement <= month)


def simulated(hazard, seed):
    """Severity and time of two million knees, drawn here: T = 12 (E / (L(12) exp(b s)))^(1 / 0.6)."""
    rng = np.random.default_rng(seed)
    severity = rng.standard_normal(2_000_000)
    spent = rng.standard_exponential(len(severity))
    log_time = (np.log(spent) - hazard.log_level - hazard.b * severity) / 0.6
    return severity, 12 * np.exp(np.minimum(log_time, 50))


@pytest.mark.parametrize("share,auc", [(0.3, 0.95), (0.14, 0.65), (0.3, 0.5), (0.05, 0.8)])
def test_the_best_concordance_and_aucs_are_those_of_a_million_simulated_pairs(share, auc):
    hazard = hazard_for(share, auc)
    severity, months = simulated(hazard, 1)
    assert np.mean(months <= 12) == pytest.approx(share, abs=0.0015)
    first, second = severity[::2], severity[1::2]
    one, two = months[::2], months[1::2]
    sooner, wins = np.minimum(one, two), np.where(one < two, first > second, second > first)
    for end in (24, 96):
        found = wins[sooner <= end].mean()
        assert best_c(hazard, end) == pytest.approx(found, abs=0.0025)
    for month in (12, 24, 48, 96):
        cases, controls = severity[months <= month], severity[months > month]
        assert min(len(cases), len(controls)) > 50_000
        rng = np.random.default_rng(month)
        drawn = rng.choice(cases, 1_000_000) > rng.choice(controls, 1_000_000)
        assert best_auc(hazard, month) == pytest.approx(drawn.mean(), abs=0.0025)
    assert best_auc(hazard, 12) == pytest.approx(auc, abs=1e-6)


def test_hazards_without_a_coefficient_are_those_of_the_share_alone():
    # -log(1 - 0.3) = 0.356675
    assert log_level(0.3, 0.0) == pytest.approx(math.log(0.3566749439))
    assert hazard_for(0.3, 0.5) == Hazard(0.0, log_level(0.3, 0.0))
    # half the knees have spent log(2): at (log 2 / 0.356675)^(1 / 0.6) years, or 36.317 months
    assert hazard_for(0.3, 0.5).time(5.0, 0.0) == pytest.approx(36.317, abs=0.001)
    with pytest.raises(UsageError, match="jsn_auc"):
        hazard_for(0.3, 0.9999)


def test_times_fall_with_the_severity_and_end_with_never():
    hazard = hazard_for(0.3, 0.95)
    assert hazard.time(9.0, -9.0) == 0
    assert hazard.time(-9.0, 7.0) == 99_999.99
    times = [hazard.time(severity, 0.3) for severity in np.linspace(-2, 2, 50)]
    assert all(a > b for a, b in itertools.pairwise(times) if a < 99_999.99)


def test_the_truth_counts_times_up_to_the_next_hundredth(small):
    knees = {knee.name: knee for person in make_people(FOLLOWED) for knee in person.knees}
    for name, row in small.truth.items():
        times = knees[name].times
        for column, time in (
            ("jsn_time", times.jsn),
            ("kl_time", times.kl),
            ("jsn_grade_time", times.medial),
            ("tkr_time", times.replacement),
        ):
            assert -1e-9 <= float(row[column]) - time < 0.01 + 1e-9
            for month in FILES:
                assert (float(row[column]) <= month) == (time <= month)
        assert row["kl_rise"] in ("n/a", row["kl_time"].removesuffix(".00"))


def first_visit(time):
    """The visit at which a change of this month is first to be seen, None after the last."""
    return next((month for month in FILES if month >= max(time, 1)), None)


def test_the_first_visit_with_a_loss_is_the_first_after_the_planted_time_in_every_knee(small):
    assert len(small.truth) == 120
    seen = 0
    for knee, visits in small.widths.items():
        crossing = first_visit(float(small.truth[knee]["jsn_time"]))
        start = visits.get((0, "16"))
        if start is None:
            continue
        for month in FILES:
            width = visits.get((month, "16"))
            if width is None or not month:
                continue
            lost = round(start - width, 3)
            if crossing is None or month < crossing:
                assert lost < 0.5, knee
            elif month == crossing:
                assert lost > 0.5, knee
                seen += 1
    assert seen > 25
    # as planted, gaps or not
    for knee, row in small.truth.items():
        widths = [float(row[f"jsw_{month:02d}m"]) for month in FILES]
        lost = [month for month, w in zip(FILES, widths, strict=True) if widths[0] - w >= 0.5]
        crossing = first_visit(float(row["jsn_time"]))
        assert (lost[0] if lost else None) == crossing, knee


def test_a_loss_stays_mostly_but_not_always(study):
    stays = []
    for row in study.truth.values():
        widths = {month: float(row[f"jsw_{month:02d}m"]) for month in FILES}
        crossing = first_visit(float(row["jsn_time"]))
        later = [month for month in FILES if crossing is not None and month > crossing]
        stays += [widths[0] - widths[month] >= 0.5 for month in later]
        assert abs(min(abs(widths[0] - widths[month] - 0.5) for month in FILES)) > 0.0009
    assert 0.85 < np.mean(stays) < 0.95


def test_changes_are_distributed_about_as_in_the_study(study):
    start = study.column("jsw_00m")
    for month, (mean, deviation, *quantiles) in PUBLISHED.items():
        change = study.column(f"jsw_{month:02d}m") - start
        # narrowing is a little less frequent at later visits than the study's
        assert change.mean() == pytest.approx(mean, abs=0.03 if month == 12 else 0.15)
        assert change.std() == pytest.approx(deviation, abs=0.06)
        np.testing.assert_allclose(
            np.quantile(change, [0.25, 0.5, 0.75]), quantiles, atol=0.03 if month == 12 else 0.2
        )
        assert change.min() > -5.81 and change.max() < 3.44
    assert study.column("jsw_96m").min() == 0


def test_a_knee_that_loses_more_than_it_has_keeps_its_baseline():
    assert followed_widths(2.0004, (-0.6, -3.0, -0.7)) == (2.0, 1.4, 0.0, 1.3)
    changes = [draw_followed(np.random.default_rng(n), 30.0) for n in range(300)]
    assert all(max(each[:2]) > -0.5 > each[2] for each in changes)
    assert all(min(each[:2]) > -0.5 for each in changes)


@pytest.mark.parametrize(
    "column,time,highest", [("kl", "kl_time", 4), ("medial", "jsn_grade_time", 3)]
)
def test_a_grade_is_first_lost_at_the_first_visit_after_its_planted_time(
    study, column, time, highest
):
    seen = 0
    for knee, visits in getattr(study, column).items():
        for project in ("15", "37"):
            start = visits.get((0, project))
            if start is None:
                continue
            assert start == int(start)
            crossing = first_visit(float(study.truth[knee][time]))
            for month in FILES:
                grade = visits.get((month, project))
                if grade is None:
                    continue
                assert grade <= highest
                is_worse = crossing is not None and month >= crossing and start < highest
                # a part of a grade is lost after a whole one alone
                assert (math.floor(grade) > start, grade > start) == (is_worse, is_worse)
                seen += is_worse
    assert seen > 500


def test_parts_of_a_grade_are_lost_after_a_whole_one(study):
    parts = {round(g % 1, 1) for v in study.medial.values() for g in v.values() if g is not None}
    assert parts == {0.0, 0.2, 0.4, 0.6, 0.8}


def test_grades_to_48_months_are_of_one_project_and_later_ones_of_another(study):
    late = 0
    for visits in study.kl.values():
        extended = any(month >= 72 for month, _ in visits)
        late += extended
        for month, project in visits:
            if project == "15":
                assert month <= 48
            else:
                assert project == "37" and extended and month in (0, 48, 72, 96)
        for month in (0, 48):
            # those of the extension are read again, and found the same
            assert ((month, "37") in visits) == (extended and (month, "15") in visits)
            both = [visits.get((month, project)) for project in ("15", "37")]
            assert None in both or both[0] == both[1]
    assert late > 2000
    assert {project for visits in study.widths.values() for _, project in visits} == {"16", "20"}


def test_a_knee_without_anything_left_to_lose_at_48_months_has_no_x_ray_after_that(study):
    ended = 0
    for knee, row in study.truth.items():
        is_bare = float(row["jsw_48m"]) == 0
        is_graded_4 = study.kl[knee].get((48, "15")) == 4
        if is_bare or is_graded_4:
            ended += 1
            assert not [month for month, _ in (*study.kl[knee], *study.widths[knee]) if month > 48]
    assert ended > 100
    assert any(visits.get((96, "37")) == 4 for visits in study.kl.values())  # not yet at 48


def test_nothing_is_read_after_a_death_a_loss_or_a_replacement(study):
    dead = lost = replaced = read_after = unconfirmed = 0
    gone = {
        person: int(row["V99RNTCNT"].split(":")[1].split("-")[0].replace("Baseline", "0"))
        for person, row in study.outcomes.items()
    }
    for knee in study.truth:
        person, letter = knee.split("_")[0], knee.split("_")[2][0].upper()
        row = study.outcomes[person]
        months = {month for month, _ in (*study.widths[knee], *study.kl[knee])}
        assert max(months, default=0) <= gone[person]
        lost += gone[person] < 96
        if row["V99EDDCF"].startswith("2:"):
            dead += 1
            died = datetime.strptime(row["V99EDDDATE"], "%m/%d/%Y")
            days = (died - study.enrolled[person]).days
            assert days > max(gone[person], *months, 0) * DAYS_A_MONTH
            assert row["V99EDDVSPR"] == row["V99RNTCNT"]
        else:
            names = ("V99EDDCF", "V99EDDDATE", "V99EDDVSPR")
            assert [row[name] for name in names] == [".A: Not Expected"] * 3
        days = study.days_to_replacement(knee, letter)
        if days < math.inf:
            replaced += 1
            assert days <= gone[person] * DAYS_A_MONTH
            after = sorted(month for month in months if days <= month * DAYS_A_MONTH)
            # a few are, once, at the first X-ray of all
            first = next((month for month in FILES if days <= month * DAYS_A_MONTH), None)
            assert after in ([], [first]) and (days > 0 or not after)
            read_after += bool(after)
            planted = study.truth[knee]["replaced"]
            assert str(days) == planted
        elif row[f"V99E{letter}KRPCF"].startswith("0"):
            unconfirmed += 1
    assert dead > 100 and lost > 500 and replaced > 200 and unconfirmed > 3
    assert 0 < read_after < 0.2 * replaced
    # a replacement after the last contact is not known
    known = sum(
        study.days_to_replacement(knee, knee.split("_")[2][0].upper()) < math.inf
        for knee in study.truth
    )
    assert known < sum(row["replaced"] != "n/a" for row in study.truth.values())


def test_replacements_are_reported_at_contacts_that_took_place(study):
    for row in study.outcomes.values():
        last = int(row["V99RNTCNT"].split(":")[0])
        for letter in "RL":
            if row[f"V99E{letter}KDAYS"].startswith("."):
                continue
            before, after = (int(row[f"V99E{letter}K{n}"].split(":")[0]) for n in ("VSPR", "VSAF"))
            came = draw_attendance(stream(STUDY, index_of(row["id"]), 29)).contacts
            assert {CONTACTS[before], CONTACTS[after]} <= set(came)
            assert before < after <= last
            assert row[f"V99E{letter}KVSRP"] == row[f"V99E{letter}KVSAF"]


def test_people_are_lost_missed_and_die_at_the_stated_rates_whatever_their_knees(study):
    drawn = [draw_attendance(np.random.default_rng([5, n])) for n in range(8000)]
    # 0.975 a contact for those who live: nine contacts after the first to 84 months, ten to 96
    last = np.array([each.last for each in drawn])
    died = np.array([each.death or math.inf for each in drawn])
    assert np.mean(died <= 96 * DAYS_A_MONTH) == pytest.approx(0.04 * 0.975**5, abs=0.008)
    there = [96 in each.contacts for each in drawn]
    assert np.mean(there) == pytest.approx(0.975**10 * 0.96 * 0.96, abs=0.015)
    between = [48 in each.contacts for each in drawn if each.last > 48]
    assert np.mean(between) == pytest.approx(0.96, abs=0.01)
    assert set(last) == {0, 12, 18, 24, 30, 36, 48, 60, 72, 84, 96, 108}
    # of those who come to 96 months no fewer have narrowed
    narrowed = np.array([float(row["jsn_time"]) <= 48 for row in study.truth.values()])
    is_there = np.array(
        [
            int(study.outcomes[row["subject"]]["V99RNTCNT"].split(":")[0]) >= 10
            for row in study.truth.values()
        ]
    )
    error = math.sqrt(0.28 * 0.72 * (1 / is_there.sum() + 1 / (~is_there).sum()))
    assert abs(narrowed[is_there].mean() - narrowed[~is_there].mean()) < 2.5 * error


def test_labels_of_a_year_agree_with_the_planted_time_in_every_knee(study):
    labels = label_knees(study.folder / "tables", "jsn12")
    assert len(labels.knees) > 4000
    for knee in labels.knees:
        row = study.truth[knee.name]
        is_early = float(row["jsn_time"]) <= 12
        assert (knee.label == 1, row["jsn12"]) == (is_early, str(int(is_early)))


def test_the_truth_states_coefficients_and_what_the_best_reader_reaches(small, study):
    rows = list(small.truth.values())
    hazard = hazard_for(0.3, 0.95)
    assert {row["jsn_b"] for row in rows} == {f"{hazard.b:.6f}"}
    assert {(row["tkr_b_severity"], row["tkr_b_kl"]) for row in rows} == {("0.4", "1")}
    stated = [f"jsn_best_auc_{month}m" for month in (12, 24, 48, 96)]
    # worked by simulation: see the pairs above
    assert [float(rows[0][name]) for name in stated] == [0.95, 0.9505, 0.9514, 0.9526]
    assert {row["jsn_best_c"] for row in rows} == {"0.9001"}
    assert {row["jsn12_best_auc"] for row in rows} == {"0.95"}
    for row in rows:
        severity = float(row["jsn12_severity"])
        assert float(row["jsn_predictor"]) == pytest.approx(hazard.b * severity, abs=1e-5)
        expected = 0.4 * severity + int(row["kl"])
        assert float(row["tkr_predictor"]) == pytest.approx(expected, abs=1e-5)
        names = ("jsn_time", "kl_time", "jsn_grade_time", "tkr_time")
        assert all(re.fullmatch(r"\d+\.\d\d", row[name]) for name in names)
    # in the tables of the cohort itself the reader of the predictor does about as well
    months, predictor = study.column("jsn_time"), study.column("jsn_predictor")
    is_case = months <= 12
    cases, controls = predictor[is_case], predictor[~is_case]
    assert np.mean(cases[:, None] > controls) == pytest.approx(0.65, abs=0.025)


def test_the_page_of_tables_names_the_columns_of_the_truth(small):
    page = (Path(__file__).parents[2] / "man/src/oa-tables.md").read_text()
    part = page.split("# PHANTOMS")[1].split("# EXAMPLES")[0]
    plain, followed = part.split("With `oa-phantom --follow-up`")
    named = [re.findall(r"^- `(\w+)`: ", text, re.M) for text in (plain, followed)]
    columns = list(next(iter(small.truth.values())))
    own = [name for name in columns[4:] if name not in ("jsw_72m", "jsw_96m")]
    assert own == [*named[0], *named[1]]


def test_the_archives_form_tells_the_same_but_of_deaths(small, tmp_path):
    prepare(tmp_path / "nda", replace(FOLLOWED, form="nda"))
    assert read(tmp_path / "nda/truth.tsv", "\t") == list(small.truth.values())

    def structure(name):
        return read(tmp_path / f"nda/tables/{name}.txt", "\t", csv.QUOTE_MINIMAL)[1:]

    side = {"1": "right", "2": "left"}
    for name, column, found in (
        ("oai_kxrquantjsw01", "mcmjsw", small.widths),
        ("oai_kxrsemiquant01", "xrkl", small.kl),
        ("oai_kxrsemiquant01", "xrjsm", small.medial),
    ):
        others = {knee: {} for knee in small.truth}
        for row in structure(name):
            number = row["visit"].removeprefix("V")
            month = next(m for m, n in FILES.items() if n == number)
            knee = f"{row['src_subject_id']}_00m_{side[row['side']]}"
            value = float(row[column]) if row[column] else None
            others[knee][month, row["readprj"]] = value
        assert others == found
    rows = structure("oai_outcome01")
    assert len(rows) == 60 and not [name for name in rows[0] if "dd" in name or "dth" in name]
    for row in rows:
        other = small.outcomes[row["src_subject_id"]]
        assert row["rntcnt"] == other["V99RNTCNT"].split(":")[0]
        for letter, name in itertools.product("rl", ("blrp", "date", "days", "rpcf", "vsrp")):
            cell = other[f"V99E{letter.upper()}K{name.upper()}"]
            assert row[f"{letter}k{name}"] == ("" if cell[0] == "." else cell.split(":")[0])
    assert len({row["rntcnt"] for row in rows}) > 3


def test_a_shorter_follow_up_has_the_same_people_and_ends_earlier(small, tmp_path):
    prepare(tmp_path / "two", replace(FOLLOWED, follow_up=24))
    names = sorted(path.name for path in (tmp_path / "two").rglob("kxr_*.txt"))
    assert names == [
        f"kxr_{n}{v}.txt" for n in ("qjsw_duryea", "sq_bu") for v in ("00", "01", "03")
    ]
    for row in read(tmp_path / "two/truth.tsv", "\t"):
        other = small.truth[row["knee"]]
        assert not {"jsw_36m", "jsw_48m"} & row.keys()
        same = row.keys() - {"jsn_best_c"}
        assert {name: row[name] for name in same} == {name: other[name] for name in same}
        assert float(row["jsn_best_c"]) == round(best_c(hazard_for(0.3, 0.95), 24), 4)
    first = (tmp_path / "two/tables/Outcomes_ASCII/Outcomes99.txt").read_bytes()
    assert first == (small.folder / "tables/Outcomes_ASCII/Outcomes99.txt").read_bytes()


@pytest.mark.parametrize(
    "wrong",
    [{"follow_up": 60}, {"follow_up": 96, "form": "most", "sequences": ("hr-cor-stir",)},
     {"follow_up": 48, "jsn_auc": 0.9999}],
)  # fmt: skip
def test_follow_ups_that_there_are_not_are_usage_errors_and_write_nothing(tmp_path, wrong):
    with pytest.raises(UsageError):
        prepare(tmp_path / "oai", replace(PLAIN, **wrong))
    assert not (tmp_path / "oai").exists()


def test_a_folder_is_continued_with_its_own_follow_up_alone(small):
    before = tree_digest(small.folder)
    prepare(small.folder, FOLLOWED)
    assert tree_digest(small.folder) == before
    with pytest.raises(UsageError, match="follow_up 96"):
        prepare(small.folder, replace(FOLLOWED, follow_up=0))


def run(*arguments):
    code = "from oatools.commands.phantom import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )


def test_the_command_plants_times_and_refuses_them_for_most_in_one_line(tmp_path, small):
    shared = ["--patients", "60", "--seed", "11", "--no-images", "--follow-up"]
    done = run(tmp_path / "oai", *shared, "96m")
    assert done.returncode == 0, done.stderr
    assert tree_digest(tmp_path / "oai/tables") == tree_digest(small.folder / "tables")
    refused = run(tmp_path / "most", "--form", "most", *shared, "96m")
    assert refused.returncode == 2 and not (tmp_path / "most").exists()
    assert refused.stderr == (
        "oa-phantom: the form most has no planted times; leave out --follow-up\n"
    )
    assert run(tmp_path / "other", *shared, "60m").returncode == 2
