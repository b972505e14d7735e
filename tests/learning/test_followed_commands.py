"""The commands with labels of follow-up: what they print, write, keep and refuse."""

import csv
import io
import json

import numpy as np
import pytest
from safetensors import safe_open
from sklearn.metrics import roc_auc_score
from sksurv.metrics import concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

from .conftest import rewrite

FAST = "--preset paper --epochs 2 --conv 4 --units 4 --hidden 4"
CV = f"oa-cv features.tsv --labels followed.tsv --clinical bmi -k 3 --repeats 1 {FAST} -o cv"
TRAIN = f"oa-train features.tsv --labels followed.tsv {FAST} -o m.safetensors"


@pytest.fixture
def followed(study, tmp_path):
    """Knees that are shifted the further the sooner it happens to them, and their follow-up."""
    knees = study(knees=90, strength=2.0, clinical=3.0)
    rng = np.random.default_rng(0)
    lines = (tmp_path / "labels.tsv").read_text().splitlines()[1:]
    out = ["knee\tsubject\ttime\tevent\tfrom\tto\tended\tbmi\tendpoint"]
    for line in lines:
        knee, subject, label, bmi, _ = line.split("\t")
        happens = rng.exponential(25 if label == "1" else 120)
        lost = rng.uniform(12, 130)
        start, stop = 0, None
        for visit in (12, 24, 36, 48, 72, 96):
            if visit > lost:
                break
            if happens <= visit:
                stop = visit
                break
            start = visit
        ended = "event" if stop else ("end" if start == 96 else "lost")
        cells = [knee, subject, stop or start, int(stop is not None), start, stop or "n/a", ended]
        out.append("\t".join(map(str, [*cells, bmi, "jsn-until96m"])))
    (tmp_path / "followed.tsv").write_text("\n".join(out) + "\n")
    return knees


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def as_surv(rows):
    event = np.array([row["event"] == "1" for row in rows])
    return Surv.from_arrays(event, np.array([float(row["time"]) for row in rows])), event


def test_cv_tells_risks_and_its_numbers_are_those_of_scikit_survival(run, followed, tmp_path):
    done = run(CV)
    rows = rows_of(done.stdout)
    assert {row["knee"] for row in rows} == set(followed)
    assert list(rows[0]) == [
        *("knee", "subject", "visit", "side", "time", "event", "from", "to"),
        *("risk_12m", "risk_24m", "risk_48m", "risk_96m", "probability", "fold", "caution"),
    ]
    for row in rows:
        risks = [float(row[f"risk_{at}m"]) for at in (12, 24, 48, 96)]
        assert risks == sorted(risks) and row["probability"] == row["risk_96m"]
    assert done.stdout == (tmp_path / "cv/predictions.tsv").read_text()
    metrics = rows_of((tmp_path / "cv/metrics.tsv").read_text())
    own = {
        (row["scope"], row["metric"]): float(row["value"])
        for row in metrics
        if row["model"] == "images+clinical" and row["value"] != "n/a"
    }
    for fold in "123":
        of_fold = [row for row in rows if row["fold"] == fold]
        # A knee that is lost was still seen at its last visit.
        known = [
            {**row, "time": str(float(row["time"]) + (row["event"] == "0") * 1e-9)}
            for row in of_fold
        ]
        surv, _ = as_surv(known)
        risk = np.array([float(row["risk_96m"]) for row in of_fold])
        theirs = concordance_index_ipcw(surv, surv, risk, tau=96 + 1e-6)[0]
        assert own[f"fold-{fold}", "uno_c"] == pytest.approx(theirs, abs=2e-6)
        area = cumulative_dynamic_auc(surv, surv, risk, [24])[0][0]
        assert own[f"fold-{fold}", "auc_24m"] == pytest.approx(area, abs=2e-6)
    mean = np.mean([own[f"fold-{fold}", "uno_c"] for fold in "123"])
    assert own["mean", "uno_c"] == pytest.approx(mean, abs=1e-6)
    known = [r for r in rows if float(r["time"]) >= 24 or r["event"] == "1"]
    status = [r["event"] == "1" and float(r["time"]) <= 24 for r in known]
    area = roc_auc_score(status, [float(r["risk_24m"]) for r in known])
    assert own["pooled", "roc_auc_24m"] == pytest.approx(area, abs=2e-6)
    assert own["pooled", "known_24m"] == len(known) and own["pooled", "events_24m"] == sum(status)
    said = done.stderr
    assert "Uno's C" in said and "by 24m" in said
    names = {path.name for path in (tmp_path / "cv").iterdir()}
    assert {"risk-groups.png", "auc-by-time.svg", "calibration.png", "report.html"} <= names
    assert not {"roc.png", "confusion.png"} & names
    page = (tmp_path / "cv/report.html").read_text()
    assert "By event" in page and "Uno&#39;s C" in page and "threshold</th>" not in page
    card = (tmp_path / "cv/model-card.md").read_text()
    assert "| 15 output | the risk within a time" in card and "median" in card
    again = run(CV)
    assert again.stdout == done.stdout and "0 models trained, 6 kept" in again.stderr


def test_times_that_are_days_are_doubted_on_standard_error_and_in_the_report(
    run, followed, tmp_path
):
    def in_days(row):
        for name in ("time", "from", "to"):
            if row[name] != "n/a":
                row[name] = str(round(float(row[name]) * 30.4375))

    rewrite(tmp_path / "followed.tsv", in_days)
    done = run(f"{CV} --no-compare")
    assert "years: is 'time' in months?" in done.stderr
    assert "in months?" in (tmp_path / "cv/model-card.md").read_text()


def test_cv_takes_other_times_and_permutes(run, followed, tmp_path):
    done = run(f"{CV} --no-compare --at 24,60m --permute-labels 2")
    assert "risk_24m\trisk_60m\tprobability" in done.stdout
    assert (tmp_path / "cv/null.tsv").read_text().startswith("permutation\tconcordance\n")
    assert " as they are, p " in done.stderr
    null = {
        row["metric"]: row["value"]
        for row in rows_of((tmp_path / "cv/metrics.tsv").read_text())
        if row["scope"] == "permuted labels"
    }
    assert set(null) == {"concordance", "first_run", "p"}
    at_all = run(f"{CV} --no-compare --at 200", status=2)
    assert "nobody is followed for 200 months" in at_all.stderr
    assert "give --at earlier times" in at_all.stderr
    assert "is not a list of months" in run(f"{CV} --at soon", status=2).stderr
    assert "is not a list of months" in run(f"{CV} --at 0", status=2).stderr


def test_predictions_of_another_run_are_put_beside(run, followed, tmp_path):
    run(f"{CV} --no-compare")
    second = CV.replace("-o cv", "-o other") + " --no-compare --seed 3 --folds-file cv/folds.tsv"
    second = second.replace("-k 3 ", "")
    done = run(f"{second} --against cv/predictions.tsv")
    assert "images+clinical - cv: Uno's C" in done.stderr
    metrics = rows_of((tmp_path / "other/metrics.tsv").read_text())
    own = rows_of((tmp_path / "cv/metrics.tsv").read_text())

    def c_of(rows, model):
        return next(
            r["value"]
            for r in rows
            if (r["model"], r["scope"], r["metric"]) == (model, "mean", "uno_c")
        )

    assert c_of(metrics, "cv") == c_of(own, "images+clinical")
    lacking = run(f"{second} --at 24m,60m --against cv/predictions.tsv", status=2)
    assert "no column 'risk_60m'" in lacking.stderr
    rewrite(tmp_path / "cv/predictions.tsv", lambda row: row.update({"time": "30"}))
    other = run(f"{second} --against cv/predictions.tsv", status=2).stderr
    assert "has time '30'" in other and "compare on the same labels" in other


def test_train_and_predict_tell_risks(run, followed, tmp_path):
    row = rows_of(run(TRAIN).stdout)[0]
    assert row["endpoint"] == "jsn-until96m" and row["events"].isdecimal()
    assert "threshold" not in row and 0 <= float(row["validation_concordance"]) <= 1
    times = [float(each["time"]) for each in rows_of((tmp_path / "followed.tsv").read_text())]
    assert float(row["months"]) == max(times)
    with safe_open(tmp_path / "m.safetensors", "numpy") as file:
        record = json.loads(file.metadata()["oatools"])
    hazards = record["hazards"]
    assert hazards["ends"][-1] == float(row["months"])
    done = run("oa-predict m.safetensors features.tsv --at 12m,40m")
    for found in rows_of(done.stdout):
        # Both are one number, the log hazard ratio, on the hazards that the model has.
        a, b = (-np.log1p(-float(found[f"risk_{at}m"])) for at in (12, 40))
        ends, rates = np.array(hazards["ends"]), np.array(hazards["rates"])
        widths = [
            np.clip(at - np.append(0, ends[:-1]), 0, np.diff(np.append(0, ends))) for at in (12, 40)
        ]
        whole = [width @ rates for width in widths]
        assert a / whole[0] == pytest.approx(b / whole[1], rel=1e-4)
        assert "predicted" not in found and found["risk_40m"] == found["probability"]
        assert found["caution"] == "random weights, training knees"
    usual = rows_of(run("oa-predict m.safetensors features.tsv").stdout)[0]
    assert [name for name in usual if name.startswith("risk_")] == [
        *("risk_12m", "risk_24m", "risk_48m", "risk_96m")
    ]
    # What oa-cv tells of a time, each of its models can tell, too.
    run(f"{CV} --no-compare")
    for fold in (1, 2, 3):
        run(f"oa-predict cv/fold-{fold}.safetensors features.tsv --at 96m")
    far = run("oa-predict m.safetensors features.tsv --at 121m", status=2).stderr
    assert "the model has learnt of" in far and "give --at earlier times" in far
    (tmp_path / "r.json").write_text(
        json.dumps(
            {
                "format": "oatools recalibration 1",
                "kind": "large",
                "intercept": 0.1,
                "slope": 1.0,
                "knees": 3,
                "patients": 3,
                "events": 1,
                "cautions": [],
            }
        )
    )
    refused = run("oa-predict m.safetensors features.tsv --recalibration r.json", status=2)
    assert "risks by time" in refused.stderr


def test_a_model_of_classes_has_no_times(run, study, followed, tmp_path):
    run(f"oa-train features.tsv --labels labels.tsv {FAST} -o c.safetensors")
    said = run("oa-predict c.safetensors features.tsv --at 12m", status=2).stderr
    assert "tells two classes apart, and no times; leave out --at" in said
    said = run(f"oa-cv features.tsv --labels labels.tsv {FAST} --at 12m -o c", status=2).stderr
    assert "of two classes, and of no times; leave out --at" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time": "-3", "event": "0", "from": "n/a", "to": "n/a"}, "has time '-3'"),
        ({"time": "soon"}, "has time 'soon'"),
        ({"event": "yes"}, "has event 'yes'"),
        ({"time": "0", "event": "1", "from": "0", "to": "0"}, "at the visit itself"),
        ({"subject": "n/a"}, "has no subject"),
    ],
)
def test_follow_up_that_cannot_be_is_told_in_one_line(run, followed, tmp_path, change, said):
    done = [0]

    def spoil(row):
        if not done[0]:
            row.update(change)
            done[0] = 1

    rewrite(tmp_path / "followed.tsv", spoil)
    told = run(CV, status=2).stderr
    assert said in told and "followed.tsv" in told and len(told.splitlines()) == 1


def test_knees_that_nobody_saw_again_are_left_out_and_all_events_or_none_refused(
    run, followed, tmp_path
):
    gone = []

    def lose(row):
        if len(gone) < 3:
            row.update({"time": "0", "event": "0", "from": "0", "to": "n/a"})
            gone.append(row["knee"])
        elif len(gone) < 4:
            row.update({"time": "n/a", "event": "n/a", "from": "n/a", "to": "n/a"})
            gone.append(row["knee"])

    rewrite(tmp_path / "followed.tsv", lose)
    done = run(f"{CV} --no-compare")
    assert not {row["knee"] for row in rows_of(done.stdout)} & set(gone)
    assert "4 without follow-up" in done.stderr
    rewrite(tmp_path / "followed.tsv", lambda row: row.update({"event": "0", "to": "n/a"}))
    none = run(CV.replace("-o cv", "-o none"), status=2).stderr
    assert "knees used have event 0; both are needed" in none


def test_a_table_with_labels_and_follow_up_is_refused(run, followed, tmp_path):
    lines = (tmp_path / "followed.tsv").read_text().splitlines()
    both = [f"{lines[0]}\tlabel", *(f"{line}\t0" for line in lines[1:])]
    (tmp_path / "followed.tsv").write_text("\n".join(both) + "\n")
    assert "it has a column 'label', and 'time' and 'event', too" in run(CV, status=2).stderr


def test_time_and_event_are_no_clinical_variables(run, followed):
    for name in ("time", "event", "from", "to", "ended"):
        said = run(CV.replace("--clinical bmi", f"--clinical {name}"), status=2).stderr
        assert f"'{name}' cannot be a clinical variable" in said
