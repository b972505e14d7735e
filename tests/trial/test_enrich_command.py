"""oa-enrich as people call it."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

COLUMNS = """
    enroll share candidates enrolled events event_rate event_rate_low event_rate_high mean
    mean_low mean_high sd per_arm per_arm_low per_arm_high randomised randomised_low
    randomised_high screened screened_low screened_high screened_per_event cost cost_low
    cost_high patients_saved patients_saved_low patients_saved_high cost_saved cost_saved_low
    cost_saved_high reason caution
"""


def table(text):
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture
def study(tmp_path):
    """120 patients with two knees; a fifth has the event, those of grade 3 more often."""
    random = np.random.default_rng(0)
    predictions = ["knee\tsubject\tvisit\tside\tlabel\tprobability\tfold\tcaution"]
    clinical = ["knee\tprobability\tfold"]
    labels = ["knee\tsubject\tlabel\tkl\tjsn\tendpoint"]
    for patient in range(120):
        for side in ("left", "right"):
            knee = f"{9000100 + patient}_00m_{side}"
            grade = int(random.integers(1, 4))
            event = int(random.random() < (0.1, 0.2, 0.35)[grade - 1])
            probability = 1 / (1 + np.exp(1.5 - event - random.standard_normal()))
            cells = [knee, 9000100 + patient, "00m", side, event, f"{probability:.4f}"]
            predictions.append("\t".join(map(str, [*cells, patient % 5 + 1, "phantoms"])))
            clinical.append(f"{knee}\t{grade / 4}\t{patient % 5 + 1}")
            loss = -0.5 * event + 0.2 * random.standard_normal()
            labels.append(f"{knee}\t{9000100 + patient}\t{event}\t{grade}\t{loss:.2f}\tjsn12")
    (tmp_path / "cv").mkdir()
    for name, lines in (
        ("cv/predictions.tsv", predictions),
        ("cv/predictions-clinical.tsv", clinical),
        ("labels.tsv", labels),
    ):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path


CALL = "oa-enrich cv/predictions.tsv --labels labels.tsv --bootstrap 200"


def test_a_row_for_all_comers_and_one_for_each_share(study, shell):
    done = shell(CALL)
    rows = table(done.stdout)
    assert list(rows[0]) == COLUMNS.split()
    assert [row["enroll"] for row in rows] == ["all"] + ["cv"] * 9
    assert [float(row["share"]) for row in rows] == [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert {row["candidates"] for row in rows} == {"240"}
    assert {row["caution"] for row in rows} == {"phantoms"}
    for row in rows:
        assert (
            float(row["event_rate_low"]) < float(row["event_rate"]) < float(row["event_rate_high"])
        )
        assert float(row["randomised"]) == 2 * float(row["per_arm"])
        assert row["cost"] == row["mean"] == row["reason"] == "n/a"
    assert shell(CALL).stdout == done.stdout


def test_a_row_of_too_few_events_is_withheld(study, shell):
    done = shell(f"{CALL} --share 0.5 --share 0.03")
    *_, row = table(done.stdout)
    assert "fewer than 10" in row["reason"] and float(row["events"]) < 10
    assert row["event_rate"] == row["randomised"] == row["patients_saved_low"] == "n/a"
    assert "the numbers of 1 row are withheld (column reason)" in done.stderr


def test_labels_may_be_those_of_the_predictions_and_a_pipe_may_bring_them(study, shell):
    own = shell("oa-enrich cv/predictions.tsv --bootstrap 200")
    assert own.stdout == shell(CALL).stdout
    piped = shell("cat cv/predictions.tsv | oa-enrich - --share 0.5 --bootstrap 200")
    assert [row["enroll"] for row in table(piped.stdout)] == ["all", "score"]


def test_rules_and_other_predictions_are_compared_at_the_same_share(study, shell):
    more = "--share 0.5 --against kl=3 --against cv/predictions-clinical.tsv --compare c.tsv"
    done = shell(f"{CALL} {more}")
    assert [(r["enroll"], r["share"]) for r in table(done.stdout)][:3] == [
        ("all", "1.0000"),
        ("cv", "0.5000"),
        ("cv clinical", "0.5000"),
    ]
    rule, like = table(done.stdout)[3:]
    assert (rule["enroll"], like["enroll"]) == ("kl=3", "cv")
    assert rule["share"] == like["share"]
    compared = table((study / "c.tsv").read_text())
    assert [(r["one"], r["other"]) for r in compared] == [("cv", "kl=3"), ("cv", "cv clinical")]
    for row in compared:
        difference = float(row["one_rate"]) - float(row["other_rate"])
        assert float(row["difference"]) == pytest.approx(difference, abs=2e-4)
        assert float(row["ci_low"]) < difference < float(row["ci_high"])


def test_figure_paragraph_and_decision_curves(study, shell):
    costs = "--cost-screen 500 --cost-patient 20000 --dropout 0.1"
    files = "--figure f.svg --paragraph p.txt --decision d.tsv"
    done = shell(f"{CALL} --against kl=3 {costs} {files}")
    everybody = table(done.stdout)[0]
    assert float(everybody["cost"]) == 20000 * float(everybody["randomised"])
    root = ElementTree.parse(study / "f.svg").getroot()
    assert root.tag.endswith("svg")
    drawn = (study / "f.svg").read_text()
    for label in ("Candidates enrolled", "Candidates screened", "Patients randomised", "Cost"):
        assert f"<!-- {label} -->" in drawn
    text = (study / "p.txt").read_text()
    assert text.count("\n") == 1
    half = next(r for r in table(done.stdout) if r["share"] == "0.5000")
    for said in (
        f"Of 240 knees of 120 patients, {everybody['events']} had the event (jsn12)",
        "prevents 30 % of events",
        "with 10 % lost to follow-up",
        f"takes {int(half['randomised']):,}",
        "would not have the event",
        "Against the rule kl=3",
        "500 to score a candidate, 20,000 a randomised patient",
        "These numbers were made with phantoms, and say nothing about patients.",
    ):
        assert said in text, said
    rows = table((study / "d.tsv").read_text())
    assert [row["threshold"] for row in rows][:3] == ["0.01", "0.02", "0.03"]
    assert len(rows) == 50 and {row["caution"] for row in rows} == {"phantoms"}
    # The same call writes the same, and so needs no leave to replace.
    shell(f"{CALL} --against kl=3 {costs} {files}")
    refused = shell(f"{CALL} --seed 1 --against kl=3 {costs} {files}", status=2)
    assert re.search(r"exists; use --force", refused.stderr)


def test_candidates_may_be_those_in_a_rule_and_the_outcome_a_mean(study, shell):
    done = shell(f"{CALL} --eligible kl=2:3 --change jsn --share 0.5 --paragraph p.txt")
    everybody, half = table(done.stdout)
    inside = sum(row["kl"] in "23" for row in table((study / "labels.tsv").read_text()))
    assert everybody["candidates"] == str(inside)
    assert f"{inside} of 240 knees are in kl=2:3" in done.stderr
    assert float(half["mean"]) < float(everybody["mean"]) < 0
    assert "of the mean change" in (study / "p.txt").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--effect 0", "an effect of 0; give --effect above 0"),
        ("--cost-screen -3", "a cost of -3; give --cost-screen of 0 or more"),
        ("--share 1.5", "a share of 1.5; give --share above 0"),
        ("--against kl=3:2", "the rule 'kl=3:2'"),
        ("--against kl=3 --against kl=3", "--against kl=3 is there twice"),
        ("--against KL=3", "no column 'KL'"),
        ("--against kl2", "--against kl2 is no file, and no rule; write a rule as kl=2:3"),
        ("--against no/predictions.tsv", "no/predictions.tsv: No such file"),
        ("--against cv/predictions.tsv", "would be called cv"),
        ("--eligible kl=9", "no knee is in the rule kl=9"),
        ("--change JSN", "did you mean 'jsn'?"),
        ("--figure f.pdf", "ends in .png or .svg"),
        ("--paragraph labels.tsv", "labels.tsv"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(study, shell, more, said):
    before = (study / "labels.tsv").read_text()
    done = shell(f"{CALL} {more}", status=2)
    assert said in done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert (study / "labels.tsv").read_text() == before
