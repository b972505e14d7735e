"""Tables of predictions and labels as candidates, and what is wrong with them."""

import math

import pytest

from oatools.core.errors import UsageError
from oatools.core.provenance import Caution
from oatools.scored.knees import read_scored
from oatools.scored.rules import parse_rule

PREDICTIONS = """knee\tsubject\tlabel\tprobability\tfold\tcaution
9000099_00m_left\t9000099\t1\t0.7\t1\tn/a
9000099_00m_right\t9000099\t0\t0.2\t1\tphantoms
9000296_00m_left\t9000296\t0\t0.4\t2\tn/a
9000622_00m_right\t9000622\tn/a\t0.1\t2\tn/a
"""
LABELS = """knee\tsubject\tlabel\tkl\tjsn\tendpoint
9000099_00m_left\t9000099\t1\t2\t-0.81\tjsn12
9000099_00m_right\t9000099\t0\t3\t0.02\tjsn12
9000296_00m_left\t9000296\t0\tn/a\t-0.10\tjsn12
9001104_00m_left\t9001104\t1\t2\t-0.60\tjsn12
"""


@pytest.fixture
def written(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_labels_say_how_knees_fared_and_what_rules_go_by(written):
    found = read_scored(
        written("p.tsv", PREDICTIONS),
        written("l.tsv", LABELS),
        rules=[parse_rule("kl=2:")],
        change="jsn",
    )
    assert found.knee == ("9000099_00m_left", "9000099_00m_right", "9000296_00m_left")
    assert found.label.tolist() == [1, 0, 0]
    assert found.subject.tolist() == [0, 0, 1]
    assert found.fold.tolist() == [0, 0, 1]
    assert found.scores["score"].tolist() == [0.7, 0.2, 0.4]
    assert found.change.tolist() == [-0.81, 0.02, -0.10]
    assert found.columns["kl"][:2].tolist() == [2, 3] and math.isnan(found.columns["kl"][2])
    assert (found.unlabelled, found.unscored) == (1, 1)
    assert found.endpoint == "jsn12"
    assert found.cautions == {Caution.PHANTOMS}
    assert (found.patients, found.folds) == (2, 2)


def test_predictions_may_hold_the_labels_themselves(written):
    found = read_scored(written("p.tsv", PREDICTIONS))
    assert found.label.tolist() == [1, 0, 0]
    assert (found.unlabelled, found.unscored) == (1, 0)


def test_other_programs_may_name_no_fold_and_no_patient(written):
    """One patient may then not be told from another but by the form of a knee's name."""
    text = "knee\tprobability\tlabel\n9000099_00m_left\t0.7\t1.0\n9000099_00m_right\t0.1\t0\nk3\t0.2\t0\n"
    found = read_scored(written("p.tsv", text))
    assert found.subject.tolist()[0] == found.subject.tolist()[1] != found.subject.tolist()[2]
    assert found.folds == 1
    assert found.label.tolist() == [1, 0, 0]


def test_further_predictions_are_of_the_same_knees(written):
    other = PREDICTIONS.replace("0.7", "0.3")
    found = read_scored(written("p.tsv", PREDICTIONS), others={"clinical": written("o.tsv", other)})
    assert list(found.scores) == ["score", "clinical"]
    assert found.scores["clinical"].tolist() == [0.3, 0.2, 0.4]


@pytest.mark.parametrize(
    ("predictions", "labels", "said"),
    [
        (PREDICTIONS.replace("900", "800"), LABELS, "no knee of .* has a label in"),
        (PREDICTIONS, LABELS.replace("1\t2\t-0.81", "0\t2\t-0.81"), "has label '1', and 0 in"),
        (PREDICTIONS.replace("0.7", "1.7"), LABELS, "probability '1.7', which is not from 0 to 1"),
        (PREDICTIONS.replace("0.7", "n/a"), LABELS, "probability 'n/a'"),
        (PREDICTIONS.replace("0.7", "high"), LABELS, "'high', which is no finite number"),
        (PREDICTIONS.replace("\t1\t0.7", "\t2\t0.7"), None, "has label '2'"),
        (PREDICTIONS.replace("probability", "p"), LABELS, "no column 'probability'"),
        (PREDICTIONS, LABELS.replace("label", "outcome"), "no column 'label'"),
        (PREDICTIONS.replace("label", "outcome"), None, "nothing says how the knees fared"),
        (PREDICTIONS, LABELS.replace("\t2\t-0.81", "\ttwo\t-0.81"), "'two', which is no finite"),
        (PREDICTIONS, LABELS.replace("kl\t", "KL\t"), "no column 'kl'"),
        (PREDICTIONS.split("\n")[0] + "\n", LABELS, "no predictions"),
        (PREDICTIONS, LABELS.replace("jsn12\n9000296", "pain\n9000296"), "several endpoints"),
        (
            PREDICTIONS.replace("9000099\t0\t0.2", "9000777\t0\t0.2"),
            LABELS,
            "is of patient 9000099",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_line(written, predictions, labels, said):
    with pytest.raises(UsageError, match=said) as error:
        read_scored(
            written("p.tsv", predictions),
            None if labels is None else written("l.tsv", labels),
            rules=[parse_rule("kl=2:")] if labels else [],
        )
    assert "\n" not in str(error.value)


def test_predictions_of_fewer_knees_are_not_compared(written):
    fewer = "\n".join(PREDICTIONS.split("\n")[:2]) + "\n"
    with pytest.raises(UsageError, match="no prediction for 2 of the 3 knees"):
        read_scored(written("p.tsv", PREDICTIONS), others={"o": written("o.tsv", fewer)})


FOLLOWED = """knee\tsubject\ttime\tevent\tfrom\tto\tkl\tendpoint
9000099_00m_left\t9000099\t12\t1\t0\t12\t2\tjsn-until96m
9000099_00m_right\t9000099\t48\t1\t12\t48\t3\tjsn-until96m
9000296_00m_left\t9000296\t24\t0\t24\tn/a\t2\tjsn-until96m
9000622_00m_right\t9000622\t12\t0\t12\tn/a\t1\tjsn-until96m
9001104_00m_left\t9001104\t72\t1\t48\t72\t1\tjsn-until96m
"""
RISKS = "knee\tsubject\trisk_24m\trisk_96m\tprobability\tfold\n" + "".join(
    f"{line.split(chr(9))[0]}\t{line.split(chr(9))[1]}\t0.{n}\t0.{n + 3}\t0.{n + 3}\t1\n"
    for n, line in enumerate(FOLLOWED.splitlines()[1:], start=1)
)


def test_labels_of_follow_up_are_asked_for_a_time_and_risks_are_those_of_it(written):
    """By 24 months: the first had it, the second between 12 and 48, the fourth was lost at 12."""
    found = read_scored(written("p.tsv", RISKS), written("l.tsv", FOLLOWED), at=24)
    assert found.knee == ("9000099_00m_left", "9000296_00m_left", "9001104_00m_left")
    assert found.label.tolist() == [1, 0, 0]
    assert found.scores["score"].tolist() == [0.1, 0.3, 0.5]
    assert found.unlabelled == 2 and found.endpoint == "jsn-until96m within 24 months"
    later = read_scored(written("p.tsv", RISKS), written("l.tsv", FOLLOWED), at=96)
    assert later.label.tolist() == [1, 1, 1]
    assert later.scores["score"].tolist() == [0.4, 0.5, 0.8]


def test_predictions_of_follow_up_may_hold_it_themselves(written):
    both = [
        f"{risk}\t{line.split(chr(9), 2)[2]}"
        for risk, line in zip(RISKS.splitlines(), FOLLOWED.splitlines(), strict=True)
    ]
    found = read_scored(written("p.tsv", "\n".join(both) + "\n"), at=24)
    assert found.label.tolist() == [1, 0, 0] and found.unlabelled == 2
    with pytest.raises(UsageError, match="it says when something happened"):
        read_scored(written("p.tsv", "\n".join(both) + "\n"))


def test_a_time_that_cannot_be_answered_is_refused(written):
    with pytest.raises(UsageError, match="it says when something happened, and not"):
        read_scored(written("p.tsv", RISKS), written("l.tsv", FOLLOWED))
    with pytest.raises(UsageError, match="no risk within 48 months; there are 24m, 96m"):
        read_scored(written("p.tsv", RISKS), written("l.tsv", FOLLOWED), at=48)
    with pytest.raises(UsageError, match="its labels are of two classes, and of no times"):
        read_scored(written("p.tsv", PREDICTIONS), written("l.tsv", LABELS), at=24)


def test_probabilities_of_a_model_of_classes_may_be_held_against_follow_up(written):
    plain = PREDICTIONS.replace("\tlabel", "\told")
    found = read_scored(written("p.tsv", plain), written("l.tsv", FOLLOWED), at=24)
    assert found.label.tolist() == [1, 0] and found.scores["score"].tolist() == [0.7, 0.4]
