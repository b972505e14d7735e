"""Trainings side by side: each learns what it learns alone, on the CPU and on a GPU."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from oatools.core.errors import UsageError
from oatools.learning import workers
from oatools.learning.batches import Draws
from oatools.learning.course import log_odds, run_together, usable_device
from oatools.learning.folds import assign_folds, split_folds
from oatools.learning.followup import FollowUp
from oatools.learning.settings import Settings, preset
from oatools.learning.training import Fitting

CPU = torch.device("cpu")
SMALL = Settings(
    linear=(), conv=8, units=8, hidden=8, epochs=5, patience=3, batch=16, learning_rate=3e-3
)
#: Every pooling, and what else makes a training another one.
KINDS = [
    SMALL,
    replace(SMALL, pooling="gru", schedule="cosine"),
    replace(SMALL, pooling="gated", instance=(6, 5), dropout=0.2),
    replace(SMALL, pooling="transformer", units=16, hidden=0),
    replace(SMALL, pooling="max", precision="bf16", balanced=True),
    preset("paper", conv=8, units=8, hidden=8, epochs=5, patience=3, dropout=0.0),
]


def trainings(cohort, settings, folds=3):
    splits = split_folds(cohort, assign_folds(cohort.subject, cohort.label, folds, 0), 0.2, 0)
    begun = [Fitting.begin(cohort, settings, 0, split, {}) for split in splits]
    return [fitting.training for fitting in begun]


def require_alike(one, other, atol):
    assert len(one.history) == len(other.history)
    np.testing.assert_allclose(one.history, other.history, atol=atol, rtol=0)
    known = other.networks.state_dict()
    for name, value in one.networks.state_dict().items():
        torch.testing.assert_close(value, known[name], atol=10 * atol, rtol=0)


def name_of(settings):
    return f"{settings.inner}-{settings.pooling}"


@pytest.mark.parametrize("settings", KINDS, ids=name_of)
def test_a_training_learns_beside_others_what_it_learns_alone(make, settings):
    cohort = make(knees=90, strength=3.0)
    alone, together = trainings(cohort, settings), trainings(cohort, settings)
    untrained = copy.deepcopy(alone[0].networks.state_dict())
    for training in alone:
        run_together([training], CPU)
    run_together(together, CPU)
    # A layer norm makes much of the last digits.
    tolerance = 1e-3 if settings.pooling == "transformer" else 1e-5
    for one, other in zip(alone, together, strict=True):
        require_alike(one, other, tolerance)
    changed = alone[0].networks.state_dict()
    assert not torch.equal(untrained["output.weight"], changed["output.weight"])
    assert len({tuple(each.history) for each in alone}) == 3


def followed(make):
    """Knees as above, followed: to those of one class it happens sooner."""
    cohort = make(knees=90, strength=3.0)
    rng = np.random.default_rng(0)
    start = rng.choice([0.0, 12.0, 24.0], size=90)
    stop = np.where(cohort.label == 1, start + 12.0, np.inf)
    start[cohort.label == 0] += 24.0
    return replace(cohort, follow_up=FollowUp.between(start, stop))


FOLLOWED_KINDS = [SMALL, replace(SMALL, pooling="gru"), KINDS[-1]]


@pytest.mark.parametrize("settings", FOLLOWED_KINDS, ids=name_of)
def test_trainings_of_follow_up_are_side_by_side_what_they_are_alone(make, settings):
    cohort = followed(make)
    alone, together = trainings(cohort, settings), trainings(cohort, settings)
    for training in alone:
        run_together([training], CPU)
    run_together(together, CPU)
    for one, other in zip(alone, together, strict=True):
        require_alike(one, other, 1e-5)
        assert one.history[-1] < one.history[0] or len(one.history) > 1


@pytest.mark.parametrize("settings", FOLLOWED_KINDS, ids=name_of)
def test_a_gpu_learns_follow_up_as_a_cpu_does(make, settings):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    runs = [trainings(followed(make), settings) for _ in range(3)]
    run_together(runs[0], CPU)
    for run in runs[1:]:
        run_together(run, torch.device("cuda"))
    for of_cpu, one, two in zip(*runs, strict=True):
        require_alike(of_cpu, one, 1e-3)
        require_alike(one, two, 0)


def test_each_member_learns_from_its_own_knees_and_is_watched_on_the_others(make):

    cohort = make(knees=90, strength=6.0)
    (training,) = trainings(cohort, replace(SMALL, epochs=30, patience=30, dropout=0.0))[:1]
    fits = training.fits
    assert (fits.sum(dim=0) == len(fits) - 1).all()  # each knee is set aside once
    for member in range(len(fits)):
        knees, _ = training.order(4, versions=1)
        own = knees[member].ravel()
        assert sorted(own[own >= 0]) == torch.nonzero(fits[member])[:, 0].tolist()
        sizes = (knees[member] >= 0).sum(axis=1)
        assert sizes.min() >= 1 and np.ptp(sizes) <= 1 and sizes.max() <= 16
        assert training.held(member).tolist() == torch.nonzero(~fits[member])[:, 0].tolist()
    first, again, later = (training.order(epoch, 1)[0] for epoch in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, later)
    assert not np.array_equal(first[0], first[1])
    run_together([training], CPU)
    odds = log_odds(training.held_logits())
    label = training.knees.label.numpy()
    assert np.isfinite(odds).all() and odds[label == 1].mean() > odds[label == 0].mean() + 1


def test_the_best_epoch_is_what_comes_out(make):
    cohort, quick = make(knees=60, strength=0.5), replace(SMALL, learning_rate=0.03)
    long = trainings(cohort, replace(quick, epochs=12, patience=4))[:2]
    run_together(long, CPU)
    best = int(np.argmin(long[0].history)) + 1
    short = trainings(cohort, replace(quick, epochs=best, patience=12))[:2]
    run_together(short, CPU)
    assert short[0].history == long[0].history[:best] and best < len(long[0].history)
    require_alike(short[0], replace(long[0], history=long[0].history[:best]), 0)


def test_a_device_that_is_not_there_is_refused_by_name():
    for name in ("meta", "cuda:97", "tpu9"):
        with pytest.raises(UsageError, match=f"'{name}'"):
            usable_device(name)
    assert usable_device("cpu") == CPU


def test_a_loss_that_is_no_number_is_said(make):
    (training,) = trainings(make(knees=60), SMALL)[:1]
    training.knees.values[0, 0] = torch.inf
    with pytest.raises(UsageError, match="validation loss of epoch 1 is not a finite number"):
        run_together([training], CPU)


@pytest.mark.parametrize("settings", KINDS, ids=name_of)
def test_a_gpu_learns_what_a_cpu_learns_and_twice_the_same(make, settings):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    cohort, device = make(knees=90, strength=3.0), torch.device("cuda")
    runs = [trainings(cohort, settings) for _ in range(3)]
    run_together(runs[0], CPU)
    for run in runs[1:]:
        run_together(run, device)
    tolerance = 1e-2 if settings.precision == "bf16" else 1e-3
    for of_cpu, one, two in zip(*runs, strict=True):
        require_alike(of_cpu, one, tolerance)
        require_alike(one, two, 0)


def test_tasks_trained_together_give_what_each_gives_alone(make, tmp_path):
    """The way of a GPU, taken on the CPU: linear parts by processes, then all networks at once."""
    cohort = make(knees=60, strength=2.0)
    settings = replace(SMALL, linear=("mean",), epochs=4)
    tried = (settings, replace(settings, learning_rate=1e-4))
    splits = split_folds(cohort, assign_folds(cohort.subject, cohort.label, 3, 0), 0.2, 0)
    swapped = np.random.default_rng(0).permutation(len(cohort))
    tasks = [workers.Task(f"fold {k}", split, tried, 0) for k, split in enumerate(splits)]
    tasks.append(workers.Task("permuted", splits[0], tried, 0, places=swapped, clinical=False))
    apart = dict(workers.run(cohort, tasks, 1, tmp_path))
    together = dict(workers.run(cohort, tasks, 2, tmp_path, device="cpu:0"))
    assert apart.keys() == together.keys() == {0, 1, 2, 3}
    for number, expected in apart.items():
        np.testing.assert_allclose(together[number], expected, atol=1e-5)
    one = workers.fit_best_on_device(cohort, tasks[1], "cpu:0")
    np.testing.assert_allclose(tasks[1].finish(cohort, one), apart[1], atol=1e-5)
    assert [each["settings"]["learning_rate"] for each in one.record["tried"]] == [3e-3, 1e-4]
    with pytest.raises(UsageError, match="'cuda:97'"):
        next(workers.run(cohort, tasks, 1, tmp_path, device="cuda:97"))


def test_an_epoch_is_that_of_a_plain_loop(make):
    """PyTorch's own layer, loss, clipping and optimiser, on the mean of each knee's slices."""
    settings = replace(SMALL, pooling="mean", hidden=0, dropout=0.3, epochs=1, balanced=True)
    cohort = make(knees=60)
    (training,) = trainings(cohort, settings)[:1]
    training.knees.values.mul_(8)  # so that gradients are longer than 1
    first = copy.deepcopy(training.networks.output)
    run_together([training], CPU)
    knees, channels = training.knees, cohort.channels
    for member in range(len(training.fits)):
        layer = torch.nn.Linear(channels + 1, 2)
        with torch.no_grad():
            layer.weight.copy_(first.weight[member])
            layer.bias.copy_(first.bias[member])
        optimiser = torch.optim.AdamW(layer.parameters(), 3e-3, weight_decay=0.05)
        drawn = Draws(0, 0, member)
        longest = 0.0
        for batch in training.order(0, 1)[0][member]:
            kept = torch.from_numpy(drawn.kept(0.3, 16, channels))
            vectors = []
            for place, knee in enumerate(batch[batch >= 0]):
                start, length = int(knees.start[knee]), int(knees.length[knee])
                mean = knees.values[0, start : start + length].mean(dim=0)
                vectors.append(torch.cat([mean * kept[place] / 0.7, knees.clinical[knee]]))
            label = knees.label[batch[batch >= 0]]
            losses = torch.nn.functional.cross_entropy(
                layer(torch.stack(vectors)), label, training.weights[member], reduction="none"
            )
            optimiser.zero_grad()
            losses.mean().backward()
            longest = max(longest, float(torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)))
            optimiser.step()
        assert longest > 1.5
        torch.testing.assert_close(
            training.networks.output.weight[member], layer.weight, atol=1e-5, rtol=1e-4
        )
