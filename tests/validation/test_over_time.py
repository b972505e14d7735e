"""oa-validate with labels that say when it happened, and risks by time."""

import numpy as np
import pytest
from sksurv.metrics import brier_score, concordance_index_ipcw, cumulative_dynamic_auc
from sksurv.util import Surv

from oatools.core.errors import UsageError
from oatools.scored.followed import read_followed, remarks, says_when
from oatools.validation.groups import Grouping
from oatools.validation.over_time import validate_over_time

AT = (24, 48)


def planted(seed=0, patients=120, folds=0):
    """Rows of two knees a patient: exponential times, continuous losses, and the true risks."""
    rng = np.random.default_rng(seed)
    predictions = ["knee\tsubject\trisk_24m\trisk_48m\tprobability\tfold\tcaution"]
    labels = ["knee\tsubject\ttime\tevent\tsex\tkl\tendpoint"]
    rows = []
    for patient in range(patients):
        shared = rng.normal()
        for side in ("left", "right"):
            score = 0.6 * shared + 0.8 * rng.normal()
            happens, lost = rng.exponential(70 * np.exp(-score)), rng.uniform(10, 90)
            time, event = min(happens, lost), happens <= lost
            risks = [1 - np.exp(-at / 70 * np.exp(score)) for at in AT]
            subject = 9_000_000 + patient
            knee, sex = f"{subject}_00m_{side}", ("female", "male")[patient % 2]
            fold = patient % folds + 1 if folds else "n/a"
            predictions.append(
                f"{knee}\t{subject}\t{risks[0]:.9f}\t{risks[1]:.9f}\t{risks[1]:.9f}\t{fold}\tn/a"
            )
            kl = 4 if patient < 3 else 2
            labels.append(f"{knee}\t{subject}\t{time:.9f}\t{int(event)}\t{sex}\t{kl}\ttkr-until96m")
            rows.append((round(time, 9), event, sex, [round(risk, 9) for risk in risks]))
    return "\n".join(predictions) + "\n", "\n".join(labels) + "\n", rows


@pytest.fixture
def written(tmp_path):
    def write(**options):
        predictions, labels, rows = planted(**options)
        (tmp_path / "p.tsv").write_text(predictions)
        (tmp_path / "l.tsv").write_text(labels)
        return rows

    return write


def values_of(part):
    return {value.metric: value for value in part.values}


def test_numbers_are_those_of_scikit_survival_in_all_knees_and_in_groups(written, tmp_path):
    rows = written()
    knees = read_followed(tmp_path / "p.tsv", tmp_path / "l.tsv", ["sex"])
    assert knees.at == AT and knees.endpoint == "tkr-until96m" and remarks(knees) == []
    parts = validate_over_time(knees, [Grouping("sex")])
    assert [(part.by, part.name) for part in parts] == [
        *(("", "all"), ("sex", "female"), ("sex", "male"))
    ]
    for part in parts:
        own = [row for row in rows if part.name in ("all", row[2])]
        surv = Surv.from_arrays([row[1] for row in own], [row[0] for row in own])
        risk = np.array([row[3] for row in own])
        found = values_of(part)
        theirs = concordance_index_ipcw(surv, surv, risk[:, 1], tau=48)[0]
        assert found["uno_c"].value == pytest.approx(theirs, abs=1e-9)
        for place, at in enumerate(AT):
            area = cumulative_dynamic_auc(surv, surv, risk[:, place], [at])[0][0]
            assert found[f"auc_{at}m"].value == pytest.approx(area, abs=1e-9)
            score = brier_score(surv, surv, 1 - risk[:, place], [at])[1][0]
            assert found[f"brier_{at}m"].value == pytest.approx(score, abs=1e-9)
        for name, value in found.items():
            assert value.low < value.value < value.high, name
        assert part.events == sum(row[1] for row in own) and part.patients == len(own) // 2
    # The risks are those by which the times were drawn.
    everybody = values_of(parts[0])
    for at in AT:
        assert (
            everybody[f"observed_expected_{at}m"].low
            < 1
            < everybody[f"observed_expected_{at}m"].high
        )
        assert (
            everybody[f"calibration_slope_{at}m"].low
            < 1
            < everybody[f"calibration_slope_{at}m"].high
        )


def test_risks_of_a_cross_validation_are_measured_within_folds(written, tmp_path):
    rows = written(folds=3)
    knees = read_followed(tmp_path / "p.tsv", tmp_path / "l.tsv")
    (part,) = validate_over_time(knees, [])
    each = []
    for fold in range(3):
        own = [row for n, row in enumerate(rows) if (n // 2) % 3 == fold]
        surv = Surv.from_arrays([row[1] for row in own], [row[0] for row in own])
        risk = np.array([row[3][1] for row in own])
        each.append(concordance_index_ipcw(surv, surv, risk, tau=48)[0])
    assert values_of(part)["uno_c"].value == pytest.approx(np.mean(each), abs=1e-9)
    # What testers of one fold's model train in the others makes the interval wider.
    written()
    (alone,) = validate_over_time(read_followed(tmp_path / "p.tsv", tmp_path / "l.tsv"), [])
    widths = [
        values_of(each)["uno_c"].high - values_of(each)["uno_c"].low for each in (part, alone)
    ]
    assert widths[0] > 1.2 * widths[1]


def test_small_groups_are_withheld_and_one_table_may_hold_all(written, tmp_path, shell):
    written()
    done = shell("oa-validate p.tsv --labels l.tsv --by kl")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0][:3] == ["by", "group", "metric"]
    (withheld,) = [row for row in rows if row[:2] == ["kl", "4"]]
    assert withheld[2:6] == ["n/a"] * 4 and "fewer than 10 knees" in withheld[9]
    assert "the numbers of 1 group are withheld" in done.stderr
    shell("oa-predict --help")
    both = (
        "cut -f 3- l.tsv | paste p.tsv - > both.tsv && oa-validate both.tsv > one.tsv && "
        "oa-validate p.tsv --labels l.tsv > two.tsv"
    )
    shell(both)
    assert (tmp_path / "one.tsv").read_text() == (tmp_path / "two.tsv").read_text()
    piped = shell("cat p.tsv | oa-validate - --labels l.tsv")
    assert piped.stdout == (tmp_path / "two.tsv").read_text()


def test_tables_that_cannot_serve_are_refused(written, tmp_path, shell):
    written()
    assert says_when(tmp_path / "p.tsv", tmp_path / "l.tsv") and not says_when("-", None)
    assert not says_when(tmp_path / "p.tsv", None)
    for option in ("--threshold 0.3", "--within kl", "--paragraph x.txt", "--against o.tsv"):
        said = shell(f"oa-validate p.tsv --labels l.tsv {option}", status=2).stderr
        assert f"{option.split()[0]} is of one time" in said and "--at 24m" in said
    (tmp_path / "none.tsv").write_text("knee\tprobability\n9000000_00m_left\t0.3\n")
    with pytest.raises(UsageError, match="no column of a risk, such as risk_12m"):
        read_followed(tmp_path / "none.tsv", tmp_path / "l.tsv")
    (tmp_path / "odd.tsv").write_text("knee\trisk_late\n9000000_00m_left\t0.3\n")
    with pytest.raises(UsageError, match="'risk_late' names no time"):
        read_followed(tmp_path / "odd.tsv", tmp_path / "l.tsv")
    (tmp_path / "far.tsv").write_text("knee\trisk_24m\n9000000_00m_left\t1.3\n")
    with pytest.raises(UsageError, match="which is not from 0 to 1"):
        read_followed(tmp_path / "far.tsv", tmp_path / "l.tsv")
    (tmp_path / "others.tsv").write_text("knee\trisk_24m\n9700000_00m_left\t0.3\n")
    with pytest.raises(UsageError, match="share|no knee of"):
        read_followed(tmp_path / "others.tsv", tmp_path / "l.tsv")
    with pytest.raises(UsageError, match="no column 'site'"):
        read_followed(tmp_path / "p.tsv", tmp_path / "l.tsv", ["site"])
    lines = (tmp_path / "l.tsv").read_text().splitlines()
    (tmp_path / "some.tsv").write_text(
        "\n".join([*lines[:50], lines[-1].replace("9000119", "9500000")]) + "\n"
    )
    said = remarks(read_followed(tmp_path / "p.tsv", tmp_path / "some.tsv"))
    assert said == [
        "191 predictions without follow-up left out",
        "1 follow-up without a prediction left out",
    ]
