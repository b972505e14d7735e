import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from oatools.learning.mixture import SMALLEST, mix, mix_if_worth, parts_text
from oatools.learning.outcome import Classes


def drawn(knees=2000, seed=0, strength=1.0):
    """Labels from known log odds, and two parts that see half of these each, with noise."""
    random = np.random.default_rng(seed)
    one, two, nothing = random.normal(size=(3, knees))
    odds = strength * (one + two) - 1.5
    label = (random.random(knees) < 1 / (1 + np.exp(-odds))).astype(int)
    return label, odds, one, two, nothing


def test_weights_are_those_of_a_logistic_regression_where_all_of_them_help():
    label, _, one, two, _ = drawn()
    found = mix(Classes(label), {"one": one, "two": two})
    model = LogisticRegression(C=np.inf, tol=1e-9).fit(np.stack([one, two], axis=1), label)
    # Apart from the price, which 2,000 knees hardly feel.
    assert found.weights["one"] == pytest.approx(model.coef_[0][0], abs=0.02)
    assert found.weights["two"] == pytest.approx(model.coef_[0][1], abs=0.02)
    assert found.intercept == pytest.approx(model.intercept_[0], abs=0.02)


def test_a_part_that_is_too_sure_of_itself_is_set_right():
    label, odds, *_ = drawn()
    for factor in (0.2, 1.0, 5.0):
        found = mix(Classes(label), {"sure": factor * odds + 3})
        assert found.weights["sure"] * factor == pytest.approx(1, abs=0.15)
        joined = found.log_odds({"sure": factor * odds + 3})
        assert (1 / (1 + np.exp(-joined))).mean() == pytest.approx(label.mean(), abs=1e-4)


def test_a_part_that_says_nothing_or_the_contrary_gets_no_weight():
    silent = 0
    for seed in range(20):
        label, odds, *_, nothing = drawn(knees=400, seed=seed)
        found = mix(Classes(label), {"good": odds, "nothing": nothing})
        silent += "nothing" not in found.weights
        assert "contrary" not in mix(Classes(label), {"good": odds, "contrary": -odds}).weights
    # Half of all noise points the wrong way; the price takes the weight of most of the rest.
    assert silent >= 12


def test_where_no_part_helps_the_knees_are_still_ranked_and_the_probability_is_the_prevalence():
    random = np.random.default_rng(2)
    label = (np.arange(300) % 5 == 0).astype(int)
    wrong = random.normal(size=300) - 0.5 * label
    worse = random.normal(size=300) - 2.0 * label
    found = mix(Classes(label), {"worse": worse, "wrong": wrong})
    assert found.weights == {"wrong": SMALLEST}
    odds = found.log_odds({"wrong": wrong})
    assert len(set(odds)) == 300 and roc_auc_score(label, odds) == roc_auc_score(label, wrong)
    assert (1 / (1 + np.exp(-odds))).mean() == pytest.approx(0.2, abs=0.005)


def test_two_halves_of_the_truth_are_better_than_either():
    label, odds, one, two, _ = drawn()
    fresh = drawn(seed=1)
    found = mix(Classes(label), {"one": one, "two": two})
    joined = found.log_odds({"one": fresh[2], "two": fresh[3]})
    best = roc_auc_score(fresh[0], fresh[1])
    assert roc_auc_score(fresh[0], joined) > best - 0.005
    assert roc_auc_score(fresh[0], fresh[2]) < best - 0.05


def test_parts_are_named_with_the_heaviest_first():
    parts = [
        {"name": "mean", "weight": 0.25},
        {"name": "network", "weight": 0.5},
        {"name": "sd", "weight": 0.0},
    ]
    assert parts_text({"parts": parts}) == "network 0.50, mean 0.25"
    assert parts_text({}) == "network alone"


def test_a_part_without_an_error_is_not_made_endlessly_sure():
    label = np.arange(40) % 2
    found = mix(Classes(label), {"perfect": 2.0 * label - 1})
    assert 1 < found.weights["perfect"] <= 5


def test_a_part_chosen_among_many_on_the_same_knees_has_to_bring_more():
    """The best of 30 parts that know nothing is let in by a mixture, and seldom by this one."""
    let_in = plain = 0
    for seed in range(12):
        label, odds, *_ = drawn(knees=400, seed=seed)
        noise = np.random.default_rng(100 + seed).normal(size=(30, 400))
        losses = []
        for each in noise:
            mixture = mix(Classes(label), {"good": odds, "chosen": each})
            losses.append(Classes(label).loss(mixture.log_odds({"good": odds, "chosen": each})))
        parts = {"good": odds, "chosen": noise[int(np.argmin(losses))]}
        plain += "chosen" in mix(Classes(label), parts).weights
        let_in += "chosen" in mix_if_worth(Classes(label), parts, "chosen").weights
    assert plain >= 10 and let_in <= 3


@pytest.mark.parametrize(
    ("help", "is_kept"), [(0.0, False), (0.2, False), (0.5, True), (1.0, True)]
)
def test_the_gain_is_that_of_scikit_learns_log_loss_and_has_to_be_that_of_schwarz(help, is_kept):
    label, _, one, two, nothing = drawn(knees=400, seed=3)
    parts = {"one": one, "two": help * two + nothing}
    losses = []
    for names in (["one"], ["one", "two"]):
        used = {name: parts[name] for name in names}
        probability = expit(mix(Classes(label), used).log_odds(used))
        losses.append(sklearn_log_loss(label, probability, normalize=False))
    kept = "two" in mix_if_worth(Classes(label), parts, "two").weights
    assert kept == (losses[0] - losses[1] > np.log(400) / 2)
    assert kept == is_kept
    assert mix_if_worth(Classes(label), {"two": two}, "two") == mix(Classes(label), {"two": two})


@pytest.mark.parametrize(("knees", "strength"), [(90, 4.0), (2000, 0.4)])
def test_a_share_of_the_strongest_signal_costs_as_much_be_it_strong_or_weak(knees, strength):
    """The slope of the likelihood along each weight, against scikit-learn's slope of each part."""
    label, _, one, two, _ = drawn(knees=knees, seed=7, strength=strength)
    parts = {"one": one, "two": 3.0 * two}
    deviations = []
    for odds in parts.values():
        model = LogisticRegression(C=np.inf, tol=1e-9).fit(odds[:, None], label)
        deviations.append(model.coef_[0][0] * odds.std())
    mixture = mix(Classes(label), parts)
    assert list(mixture.weights) == ["one", "two"]
    missed = expit(mixture.log_odds(parts)) - label
    costs = [-missed @ odds for odds in parts.values()]
    assert costs[0] == pytest.approx(4 * (mixture.weights["one"] - 1), abs=0.02)  # trust
    assert costs[1] == pytest.approx(2.5 * parts["two"].std() / max(deviations), rel=0.02)


def test_the_first_of_several_parts_is_trusted_as_it_is_by_two_nats():
    """Beside a part that is to be left out, against SciPy's minimum of what the manual says."""
    label, odds, *_ = drawn(knees=60, seed=5)
    sure = 2.5 * odds

    def cost(values, trust):
        weight, level = values
        probability = expit(weight * (sure - sure.mean()) + level)
        return sklearn_log_loss(label, probability, normalize=False) + trust * (weight - 1) ** 2

    found = mix(Classes(label), {"sure": sure, "contrary": -odds}).weights
    expected, freely = (minimize(cost, [1, -1], args=(trust,)).x[0] for trust in (2, 0))
    assert list(found) == ["sure"]
    assert found["sure"] == pytest.approx(expected, abs=1e-3)
    assert abs(expected - freely) > 0.02
    assert mix(Classes(label), {"sure": sure}).weights["sure"] == pytest.approx(freely, abs=1e-3)
