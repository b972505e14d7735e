"""oa-validate as people call it, and what oa-predict makes of its recalibration."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from scipy.special import expit, logit

COLUMNS = "by group metric value ci_low ci_high knees patients events reason caution"


def table(text):
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture
def study(tmp_path):
    """150 patients with two knees; the score tells nothing in men, and is too extreme."""
    random = np.random.default_rng(0)
    predictions = ["knee\tsubject\tprobability\tpredicted\tcaution"]
    labels = ["knee\tsubject\tside\tlabel\tsex\tage\tsite\tendpoint"]
    for patient in range(150):
        sex = ("female", "male")[patient % 2]
        for side in ("left", "right"):
            knee = f"{9000100 + patient}_00m_{side}"
            odds = -1.2 + random.standard_normal()
            event = int(random.random() < expit(odds if sex == "female" else -1.0))
            probability = expit(2 * odds)
            called = int(probability > 0.2)
            predictions.append(
                f"{knee}\t{9000100 + patient}\t{probability:.5f}\t{called}\trandom weights"
            )
            site = "C" if patient < 4 else "AB"[patient % 3 == 0]
            age = 45 + patient % 35
            labels.append(
                f"{knee}\t{9000100 + patient}\t{side}\t{event}\t{sex}\t{age}\t{site}\tjsn12"
            )
    (tmp_path / "predictions.tsv").write_text("\n".join(predictions) + "\n")
    (tmp_path / "labels.tsv").write_text("\n".join(labels) + "\n")
    return tmp_path


CALL = "oa-validate predictions.tsv --labels labels.tsv --bootstrap 200"


def test_a_row_for_each_metric_of_all_knees_and_of_each_group(study, shell):
    done = shell(f"{CALL} --by sex --by age=55,65 --by site --prevalence 0.1")
    rows = table(done.stdout)
    assert list(rows[0]) == COLUMNS.split()
    groups = list(dict.fromkeys((row["by"], row["group"]) for row in rows))
    assert groups == [
        ("n/a", "all"),
        *(("sex", name) for name in ("female", "male")),
        *(("age", name) for name in ("below 55", "55 to below 65", "65 and above")),
        *(("site", name) for name in "ABC"),
        *((by, "groups differ") for by in ("sex", "age", "site")),
    ]
    by = {(r["by"], r["group"], r["metric"]): r for r in rows}
    area = by["n/a", "all", "roc_auc"]
    assert float(area["ci_low"]) < float(area["value"]) < float(area["ci_high"])
    assert (area["knees"], area["patients"]) == ("300", "150")
    female, male = (by["sex", sex, "roc_auc"] for sex in ("female", "male"))
    assert float(female["ci_low"]) > 0.5 > float(male["ci_low"])
    assert float(by["sex", "groups differ", "p_holm"]["value"]) < 0.05
    assert float(by["n/a", "all", "calibration_slope"]["value"]) < 0.6
    assert float(by["n/a", "all", "precision_at_prevalence_0.1"]["value"]) < 0.3
    withheld = [row for row in rows if row["group"] == "C"]
    assert len(withheld) == 1 and "fewer than 10" in withheld[0]["reason"]
    assert "the numbers of 1 group are withheld" in done.stderr
    assert {row["caution"] for row in rows} == {"random weights"}


def test_a_figure_and_a_paragraph(study, shell):
    shell(f"{CALL} --by sex --by site --figure v.svg --paragraph v.txt")
    assert ElementTree.parse(study / "v.svg").getroot().tag.endswith("svg")
    text = (study / "v.txt").read_text()
    assert text.count("\n") == 1
    for said in (
        "Of 300 knees of 150 patients",
        "had the event (jsn12)",
        "(probabilities are too extreme)",
        "Withheld, for fewer than 10 knees with or without the event: site C.",
        "Of 4 groups the area was least in sex male",
        "These numbers were made with random weights, and say nothing about patients.",
    ):
        assert said in text, said


def test_a_threshold_calls_other_knees(study, shell):
    def sensitivity(more):
        rows = table(shell(f"{CALL} {more}").stdout)
        return next(float(r["value"]) for r in rows if r["metric"] == "sensitivity")

    assert sensitivity("--threshold 0.01") > sensitivity("") > sensitivity("--threshold 0.6")


def test_a_recalibration_is_a_file_for_oa_predict(study, shell):
    shell(f"{CALL} --recalibrate logistic --recalibration r.json")
    fields = json.loads((study / "r.json").read_text())
    assert fields["kind"] == "logistic" and fields["cautions"] == ["random weights"]
    # Recalibrated by hand, the same knees have the slope 1 and as many events as expected.
    lines = (study / "predictions.tsv").read_text().splitlines()
    mended = [lines[0]]
    for line in lines[1:]:
        cells = line.split("\t")
        p = expit(fields["intercept"] + fields["slope"] * logit(float(cells[2])))
        mended.append("\t".join([*cells[:2], f"{p:.8f}", *cells[3:]]))
    (study / "mended.tsv").write_text("\n".join(mended) + "\n")
    rows = table(shell("oa-validate mended.tsv --labels labels.tsv --bootstrap 100").stdout)
    found = {row["metric"]: float(row["value"]) for row in rows if row["value"] != "n/a"}
    assert found["calibration_slope"] == pytest.approx(1, abs=1e-3)
    assert found["observed_expected"] == pytest.approx(1, abs=1e-3)
    refused = shell("oa-predict no.safetensors --recalibration labels.tsv f.tsv", status=2)
    assert "no recalibration of oa-validate" in refused.stderr


def test_other_predictions_are_compared_with_holm(study, shell):
    lines = (study / "predictions.tsv").read_text().splitlines()
    random = np.random.default_rng(3)
    for name in ("other", "third"):
        rows = [lines[0]]
        for line in lines[1:]:
            cells = line.split("\t")
            rows.append("\t".join([*cells[:2], f"{random.random():.4f}", *cells[3:]]))
        (study / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    shell(f"{CALL} --against other.tsv --against third.tsv --compare c.tsv --paragraph v.txt")
    rows = table((study / "c.tsv").read_text())
    assert [(r["one"], r["other"]) for r in rows] == [
        ("predictions", "other"),
        ("predictions", "third"),
        ("other", "third"),
    ]
    for row in rows:
        assert float(row["p_holm"]) >= float(row["p"])
        difference = float(row["one_auc"]) - float(row["other_auc"])
        assert float(row["difference"]) == pytest.approx(difference, abs=1e-5)
    assert "The area of predictions less that of other was" in (study / "v.txt").read_text()


def test_scores_may_be_compared_within_a_column(study, shell):
    plain = table(shell(CALL).stdout)[0]
    within = table(shell(f"{CALL} --within site --paragraph v.txt").stdout)[0]
    assert plain["metric"] == within["metric"] == "roc_auc"
    assert plain["value"] != within["value"]
    assert "of pairs of knees of the same site" in (study / "v.txt").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--by sx", "did you mean 'sex'?"),
        ("--by sex --by sex", "--by sex is there twice"),
        ("--by sex=5", "'sex' is 'female', which is no number"),
        ("--by age=9,3", "groups by 'age=9,3'"),
        ("--prevalence 2", "give --prevalence above 0"),
        ("--threshold 7", "give --threshold from 0 to 1"),
        ("--recalibrate large", "need each other"),
        ("--compare c.tsv", "--compare needs --against"),
        ("--against predictions.tsv", "would be called predictions"),
        ("--within sit", "did you mean 'site'?"),
        ("--figure x.gif", "ends in .png or .svg"),
        ("--paragraph predictions.tsv", "predictions.tsv"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(study, shell, more, said):
    done = shell(f"{CALL} {more}", status=2)
    assert said in done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
