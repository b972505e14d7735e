"""Hazards and follow-up, held against Poisson and complementary log-log regression of statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from scipy.optimize import approx_fprime
from sksurv.metrics import concordance_index_censored

from oatools.core.errors import UsageError
from oatools.core.records import Fields, RecordError
from oatools.learning.course import hazard_losses
from oatools.learning.followup import (
    FollowUp,
    doubts_about,
    is_followed,
    read_follow_up,
    times_of_cohort,
)
from oatools.learning.hazard import Hazards, Intervals, concordance, fit_hazards, pieces_of
from oatools.learning.outcome import Happened

ENDS = np.array([12.0, 24.0, 48.0])
VISITS = (12, 24, 36, 48, 72, 96)


def exact(knees=400, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=knees)
    happens, lost = rng.exponential(40 * np.exp(-score)), rng.uniform(6, 60, size=knees)
    return FollowUp.of(np.minimum(happens, lost), happens <= lost), score


def seen_at_visits(knees=600, seed=0, missed=0.0):
    """Knees that are looked at once a visit, lost after some; the score is the log hazard ratio."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=knees)
    happens, lost = rng.exponential(70 * np.exp(-score)), rng.uniform(12, 130, size=knees)
    start, stop = np.zeros(knees), np.full(knees, np.inf)
    for knee in range(knees):
        for visit in VISITS:
            if visit > lost[knee] or (visit > 12 and rng.uniform() < missed):
                continue
            if happens[knee] <= visit:
                stop[knee] = visit
                break
            start[knee] = visit
    return FollowUp.between(start, stop), score


def test_rates_without_scores_are_events_by_exposure():
    """By hand: 3 events in 12 + 6 + 6 + 3 + 12 months of the first year, 1 in 12 + 8 of the second."""
    found = FollowUp.of([30.0, 6.0, 6.0, 3.0, 20.0], [False, True, True, True, True])
    hazards = fit_hazards(found, np.array([12.0, 24.0]))
    np.testing.assert_allclose(hazards.rates, [3 / (12 + 6 + 6 + 3 + 12), 1 / (18 + 8)], rtol=1e-6)
    # Behind its end the last rate goes on: the first knee was there for 18 months of it.
    np.testing.assert_allclose(
        hazards.cumulative([12, 36]), [36 / 39, 36 / 39 + 24 / 26], rtol=1e-6
    )


def test_rates_of_visits_are_those_of_the_life_table():
    """10 knees, 2 with it at 12 months, 3 of the 8 at 24: S is 0.8 and 0.5."""
    stop = [12.0] * 2 + [24.0] * 3 + [np.inf] * 5
    start = [0.0] * 2 + [12.0] * 3 + [24.0] * 5
    hazards = fit_hazards(FollowUp.between(start, stop), np.array([12.0, 24.0]))
    np.testing.assert_allclose(hazards.risk(np.zeros(1), [12, 24])[0], [0.2, 0.5], rtol=1e-6)


def test_rates_with_scores_are_those_of_poisson_regression():
    follow_up, score = exact()
    hazards = fit_hazards(follow_up, ENDS, score)
    exposure = Hazards(ENDS, np.ones(3)).exposure(follow_up.time)
    piece = np.minimum(np.searchsorted(ENDS, follow_up.time), 2)
    rows, events, offsets = [], [], []
    for knee, times in enumerate(exposure):
        for k, months in enumerate(times):
            if months > 0:
                rows.append(np.eye(3)[k])
                events.append(follow_up.event[knee] and piece[knee] == k)
                offsets.append(np.log(months) + score[knee])
    theirs = sm.GLM(
        np.array(events, dtype=float), np.array(rows), sm.families.Poisson(), offset=offsets
    ).fit(tol=1e-12)
    np.testing.assert_allclose(np.log(hazards.rates), theirs.params, atol=1e-5)


def test_rates_of_visits_with_scores_are_those_of_complementary_log_log_regression():
    follow_up, score = seen_at_visits()
    ends = np.array([12.0, 24, 36, 48, 72, 96])
    hazards = fit_hazards(follow_up, ends, score)
    rows, events, offsets = [], [], []
    for knee in range(len(follow_up)):
        for k, end in enumerate(ends):
            last = follow_up.stop[knee] if follow_up.event[knee] else follow_up.start[knee]
            if end <= last:
                rows.append(np.eye(6)[k])
                events.append(follow_up.stop[knee] == end)
                offsets.append(score[knee])
    family = sm.families.Binomial(sm.families.links.CLogLog())
    theirs = sm.GLM(np.array(events, dtype=float), np.array(rows), family, offset=offsets).fit(
        tol=1e-12
    )
    widths = np.diff(np.append(0, ends))
    np.testing.assert_allclose(np.log(hazards.rates * widths), theirs.params, atol=1e-5)


@pytest.mark.parametrize("missed", [0.0, 0.4])
def test_visits_that_were_missed_leave_hazards_as_they_are(missed):
    """The planted rate is 1/70 a month at a score of 0."""
    follow_up, score = seen_at_visits(knees=20_000, missed=missed)
    hazards = fit_hazards(follow_up, pieces_of(follow_up), score)
    np.testing.assert_allclose(hazards.rates, 1 / 70, rtol=0.1)


def test_a_regression_of_hazards_is_poisson_regression_where_one_rate_holds():
    follow_up, score = exact()
    other = np.random.default_rng(1).normal(size=len(score))
    columns = np.stack([score, other], axis=1)
    outcome = Happened.of(follow_up, fit_hazards(follow_up, np.array([1000.0])))
    model = outcome.regression()
    model.fit(columns, 1e6, 1e-8, 1000)
    design = sm.add_constant(columns)
    theirs = sm.GLM(
        follow_up.event.astype(float),
        design,
        sm.families.Poisson(),
        offset=np.log(follow_up.time * outcome.hazards.rates[0]),
    ).fit(tol=1e-12)
    np.testing.assert_allclose([model.bias, *model.weight], theirs.params, atol=1e-4)
    stronger = outcome.regression()
    stronger.fit(columns, 1e-3, 1e-8, 1000)
    assert np.abs(stronger.weight).max() < 0.3 < model.weight[0]


def mixed():
    """Exact, between visits, within an empty interval far out, and lost."""
    start = np.array([5.0, 12.0, 0.0, 30.0, 0.0])
    stop = np.array([5.0, 24.0, 48.0, np.inf, np.inf])
    return FollowUp.between(start, stop), Hazards(ENDS, np.array([0.01, 0.03, 0.02]))


def test_losses_are_the_likelihood_written_out():
    follow_up, hazards = mixed()
    score = np.array([0.5, -1.0, 2.0, 0.3, 1.0])
    ratio = np.exp(score)
    hand = [
        -(np.log(0.01) + 0.5 - 0.05 * ratio[0]),
        -np.log(np.exp(-0.12 * ratio[1]) - np.exp(-0.48 * ratio[1])),
        -np.log(1 - np.exp(-(0.12 + 0.36 + 0.48) * ratio[2])),
        (0.12 + 0.36 + 0.12) * ratio[3],
        0.0,
    ]
    intervals = Intervals.of(follow_up, hazards)
    np.testing.assert_allclose(intervals.losses(score), hand, rtol=1e-12)
    slopes = approx_fprime(score, lambda values: intervals.losses(values).sum(), 1e-7)
    np.testing.assert_allclose(intervals.slopes(score), slopes, atol=1e-5)
    columns = np.stack([intervals.free, intervals.width, intervals.exact], axis=1)
    logits = torch.tensor(np.stack([np.full(5, 0.7), score + 0.7], axis=1), requires_grad=True)
    losses = hazard_losses(logits, torch.from_numpy(columns))
    hand[0] += np.log(0.01)  # which no score changes
    np.testing.assert_allclose(losses.detach(), hand, rtol=1e-9, atol=1e-12)
    losses.sum().backward()
    np.testing.assert_allclose(logits.grad[:, 1], slopes, atol=1e-5)


@pytest.mark.parametrize("score", [-1e6, 1e6])
def test_scores_beyond_all_reason_give_numbers(score):
    follow_up, hazards = mixed()
    intervals, far = Intervals.of(follow_up, hazards), np.full(5, score)
    assert np.isfinite(intervals.losses(far)).all() and np.isfinite(intervals.slopes(far)).all()
    assert ((hazards.risk(far, [12, 96]) >= 0) & (hazards.risk(far, [12, 96]) <= 1)).all()
    columns = np.stack([intervals.free, intervals.width, intervals.exact], axis=1)
    logits = torch.tensor([[0.0, score]] * 5, requires_grad=True)
    hazard_losses(logits, torch.from_numpy(columns)).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_the_level_of_some_knees_is_events_by_what_was_expected():
    follow_up, _ = exact()
    outcome = Happened.of(follow_up)
    assert outcome.level() == pytest.approx(0, abs=1e-4)
    some = outcome.take(np.arange(100))
    expected = outcome.hazards.cumulative(follow_up.time[:100]).sum()
    assert some.level() == pytest.approx(np.log(follow_up.event[:100].sum() / expected), abs=1e-4)


def test_concordance_of_exact_times_is_harrells():
    follow_up, score = exact()
    theirs = concordance_index_censored(follow_up.event, follow_up.time, score)[0]
    assert concordance(follow_up, score) == pytest.approx(theirs, abs=1e-12)
    assert concordance(follow_up, -score) == pytest.approx(1 - theirs, abs=1e-12)
    assert concordance(follow_up, np.zeros(len(score))) == 0.5


def test_of_two_events_at_the_same_time_none_is_the_first():
    follow_up = FollowUp.of([5.0, 5.0, 9.0], [True, True, False])
    assert concordance(follow_up, np.array([1.0, 2.0, 0.0])) == 1


def test_concordance_between_visits_counts_pairs_of_known_order():
    """Pairs: 1 had it by 12 months, when 2, 3 and 4 were seen without; 2 by 24, when 3 was.

    Of 2 and 4 nothing is known: 4 was lost at 12 months. So there are 4 pairs.
    """
    follow_up = FollowUp.between([0, 12, 36, 12], [12, 24, np.inf, np.inf])
    assert concordance(follow_up, np.array([4.0, 3.0, 2.0, 1.0])) == 1
    assert concordance(follow_up, np.array([1.5, 3.0, 2.0, 1.0])) == pytest.approx(2 / 4)
    assert concordance(follow_up, np.array([2.0, 3.0, 2.0, 1.0])) == pytest.approx(2.5 / 4)
    assert np.isnan(concordance(FollowUp.between([5, 5], [np.inf, 9]), np.zeros(2)))


def test_pieces_have_events_and_end_with_years():
    stop = [12.0] * 6 + [24.0] * 2 + [36.0] * 4 + [72.0] * 5 + [96.0] * 1
    assert pieces_of(FollowUp.between([0.0] * 18, stop)).tolist() == [12, 36, 96]
    # The last ends when nobody is followed any more, and its rate is of all who were until then.
    assert pieces_of(FollowUp.of([3.0, 40.0], [True, False])).tolist() == [40]
    assert pieces_of(FollowUp.of([12.0] * 9 + [30.5], [True] * 10)).tolist() == [30.5]
    late = FollowUp.of([6.0] * 5 + [60.0] + [96.0] * 4, [True] * 6 + [False] * 4)
    hazards = fit_hazards(late, pieces_of(late))
    assert hazards.ends.tolist() == [96]
    assert hazards.rates[0] == pytest.approx(6 / (5 * 6 + 60 + 4 * 96), rel=1e-6)


ROW = {"knee": "9000099_00m_right", "time": "24", "event": "1", "from": "12", "to": "24"}


@pytest.mark.parametrize(
    ("cells", "start", "stop"),
    [
        ({}, 12, 24),
        ({"from": "n/a", "to": "n/a"}, 24, 24),
        ({"time": "7.5", "from": "7.5", "to": "7.5"}, 7.5, 7.5),
        ({"event": "0", "from": "24", "to": "n/a"}, 24, np.inf),
        ({"event": "0", "time": "0", "from": "0", "to": "n/a"}, 0, np.inf),
    ],
)
def test_follow_up_is_read(cells, start, stop):
    found = read_follow_up([ROW | cells], "labels.tsv")
    assert (found.start[0], found.stop[0]) == (start, stop)
    plain = {name: (ROW | cells)[name] for name in ("knee", "time", "event")}
    assert read_follow_up([plain], "labels.tsv").time[0] == found.time[0]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"time": "-1"}, "labels.tsv: 9000099_00m_right has time '-1'"),
        ({"time": "soon"}, "has time 'soon'"),
        ({"to": "inf"}, "has to 'inf'"),
        ({"event": "2"}, "has event '2'"),
        ({"event": "n/a"}, "has event 'n/a'"),
        ({"time": "0", "from": "0", "to": "0"}, "at the visit itself"),
        ({"from": "30"}, "not within 30 to 24"),
        ({"time": "30"}, "at 30 months, which is not within 12 to 24"),
    ],
)
def test_follow_up_that_cannot_be_is_refused(cells, said):
    with pytest.raises(UsageError, match=said):
        read_follow_up([ROW | cells], "labels.tsv")


def test_a_knee_that_nobody_saw_again_is_left_out():
    assert (
        is_followed(ROW) and is_followed(ROW | {"time": "0"}) and is_followed(ROW | {"time": "?"})
    )
    assert not is_followed(ROW | {"time": "0", "event": "0"})
    assert not is_followed(ROW | {"time": "n/a"}) and not is_followed(ROW | {"event": "n/a"})


def test_times_are_the_usual_ones_or_those_asked_for():
    found = FollowUp.of([20.0, 70.0], [True, False])
    assert times_of_cohort(found, ()) == (24, 48, 60)
    assert times_of_cohort(found, (60.0, 30.0, 60.0)) == (30, 60)
    assert times_of_cohort(FollowUp.of([7.0, 9.0], [True, False]), ()) == (9,)
    with pytest.raises(UsageError, match="at 12 months nothing has happened yet"):
        times_of_cohort(found, (12.0,))
    with pytest.raises(UsageError, match="nobody is followed for 96 months; the longest is 70"):
        times_of_cohort(found, (96.0,))
    assert times_of_cohort(None, ()) == ()
    with pytest.raises(UsageError, match="of two classes"):
        times_of_cohort(None, (12.0,))


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1, None),
        (30.4375, "half of the knees are followed for more than 1461 months, which is 122 years"),
        (1 / 12, "nobody is followed for longer than 8 months"),
    ],
)
def test_times_that_cannot_be_months_are_doubted(factor, said):
    time = np.array([12.0, 24.0, 48.0, 96.0, 96.0]) * factor
    found = doubts_about(FollowUp.of(time, [True, True, False, False, False]))
    assert (found == []) if said is None else (said in found[0] and len(found) == 1)


def test_one_knee_that_is_followed_much_longer_than_all_others_is_doubted():
    time = np.array([96.0] * 60 + [300.0])
    (said,) = doubts_about(FollowUp.of(time, [True] + [False] * 60))
    assert said.startswith("one knee is followed for 300 months, and 95 % for 96 at most")


@pytest.mark.parametrize(
    "record",
    [
        {"ends": [12.0], "rates": [0.1, 0.2]},
        {"ends": [], "rates": []},
        {"ends": [24.0, 12.0], "rates": [0.1, 0.2]},
        {"ends": [0.0], "rates": [0.1]},
        {"ends": [12.0], "rates": [-0.1]},
        {"ends": [12.0]},
        {"ends": list(map(float, range(1, 200))), "rates": [0.1] * 199},
    ],
)
def test_hazards_that_are_none_are_refused(record):
    good = {"ends": [12.0, 24.0], "rates": [0.1, 0.0]}
    assert Hazards.from_record(Fields(good)).as_record() == good
    with pytest.raises(RecordError):
        Hazards.from_record(Fields(record))
