import dataclasses
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from oatools.core.errors import UsageError
from oatools.learning.batches import Draws, to_tensors
from oatools.learning.course import Training, clip_gradients_, training_loss
from oatools.learning.crossval import Plan, fold_path, validate
from oatools.learning.files import KEY, load_model, save_model
from oatools.learning.folds import assign_folds
from oatools.learning.metrics import choose_threshold, roc_auc
from oatools.learning.model import Networks, predict
from oatools.learning.outcome import Classes
from oatools.learning.scaling import fit_clinical
from oatools.learning.settings import Settings, preset
from oatools.learning.training import fit

from .conftest import fit_on, with_features

# Knees of two classes have no follow-up.
NOBODY_FOLLOWED = torch.zeros(0)
QUICK = preset("paper", conv=16, units=16, hidden=16, epochs=40, patience=10, learning_rate=3e-3)


def held_out(cohort, tmp_path, settings=QUICK, seed=0):
    fold = assign_folds(cohort.subject, cohort.label, 3, 0)
    return validate(cohort, fold, Plan((settings,), seed, compare=False), tmp_path)


def test_a_signal_planted_in_two_slices_is_found_and_attended_to(make, tmp_path):
    cohort = make(knees=200, strength=3.0)
    result = held_out(cohort, tmp_path)
    assert roc_auc(cohort.label, result.first.probability) > 0.85
    positives = [a for a, y in zip(result.attention, cohort.label, strict=True) if y]
    mass = np.mean([a[2] + a[5] for a in positives])
    assert mass > 1.3 * np.mean([2 / len(a) for a in positives])


def test_permuted_labels_give_about_a_half(make, tmp_path):
    cohort = make(knees=200)
    cohort = replace(cohort, label=np.random.default_rng(3).permutation(cohort.label))
    assert abs(roc_auc(cohort.label, held_out(cohort, tmp_path).first.probability) - 0.5) < 0.12


def test_a_clinical_variable_is_not_drowned_by_many_channels_of_noise(make, tmp_path):
    cohort = make(knees=200, channels=640, strength=0.0, clinical=6.0)
    result = held_out(cohort, tmp_path, replace(QUICK, learning_rate=5e-4))
    assert roc_auc(cohort.label, result.first.probability) > 0.8


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(make, tmp_path):
    cohort = make()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(hash(name) % 1000)  # the state outside must not matter
        save_model(tmp_path / name, fit(cohort, QUICK, seed))
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_training_leaves_the_global_random_state_and_threads_alone(make):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(make(), replace(QUICK, epochs=2), 0)
    assert (torch.get_rng_state() == before).all() and torch.get_num_threads() == threads


def test_nothing_of_the_test_fold_reaches_the_model(make, tmp_path):
    cohort = make()
    fold = assign_folds(cohort.subject, cohort.label, 4, 0)
    train, test = np.flatnonzero(fold != 1), np.flatnonzero(fold == 1)
    wild_clinical, wild_label = cohort.clinical.copy(), cohort.label.copy()
    wild_clinical[test] = -1e6
    wild_label[test] = 1 - wild_label[test]

    def wild_features(i, values):
        # Longer knees in the test fold move the places of all others: that must not matter either.
        return np.full((30, values.shape[1]), 1e4, np.float32) if i in test else values

    wild = with_features(cohort, wild_features)
    wild = replace(wild, clinical=wild_clinical, label=wild_label)
    save_model(tmp_path / "a", fit_on(cohort, train, QUICK, 0))
    save_model(tmp_path / "b", fit_on(wild, train, QUICK, 0))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_threshold_epoch_and_scaling_come_from_the_inner_split_by_patient(make):
    cohort = make()
    train = np.arange(60)
    model = fit_on(cohort, train, QUICK, 0)
    names = list(cohort.knee)
    fitting, held = (
        [names.index(k) for k in model.record[which]]
        for which in ("training_knees", "validation_knees")
    )
    assert sorted(fitting + held) == train.tolist()
    assert not {cohort.subject[i] for i in fitting} & {cohort.subject[i] for i in held}
    rows = np.concatenate([cohort.slices(i) for i in fitting])
    np.testing.assert_allclose(
        model.module.networks.branches[0].feature_mean.numpy(),
        rows.mean(axis=0),
        rtol=1e-4,
        atol=1e-5,
    )
    assert model.scaling.fill[0] == np.median(cohort.clinical[fitting, 0])
    probability, _ = predict(model, [cohort.slices(i) for i in held], cohort.clinical[held])
    assert model.threshold == choose_threshold(cohort.label[held], probability, "youden")


def test_probabilities_follow_the_prevalence_although_the_classes_are_weighed(make):
    cohort = make(knees=300, strength=0.3)
    rare = np.flatnonzero((cohort.label == 0) | (np.arange(300) % 4 == 0))
    model = fit_on(cohort, rare, replace(QUICK, learning_rate=1e-3), 0)
    probability, _ = predict(model, [cohort.slices(i) for i in rare], cohort.clinical[rare])
    assert abs(probability.mean() - cohort.label[rare].mean()) < 0.08


def test_a_model_comes_back_from_its_file_with_identical_probabilities(make, tmp_path):
    cohort = make()
    model = save_model(tmp_path / "m.safetensors", fit(cohort, QUICK, 0), endpoint="jsn12")
    again = load_model(tmp_path / "m.safetensors")
    knees = [cohort.slices(i) for i in range(80)]
    assert (
        predict(model, knees, cohort.clinical)[0] == predict(again, knees, cohort.clinical)[0]
    ).all()
    assert again.record == json.loads(json.dumps(model.record))
    assert again.threshold == model.threshold and again.settings == QUICK
    with safe_open(tmp_path / "m.safetensors", framework="np") as file:
        record = json.loads(file.metadata()[KEY])
    assert record["clinical"][0]["name"] == "bmi" and record["endpoint"] == "jsn12"
    assert record["feature_space"]["backbone"] == "efficientnet_b0"


def test_files_that_are_no_models_of_ours_are_refused_by_name(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "pickle").write_bytes(b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.")
    save_file({"w": np.zeros(3)}, tmp_path / "other")
    save_file({"w": np.zeros(3)}, tmp_path / "broken", {KEY: '{"format": 2}'})
    save_file({"w": np.zeros(3)}, tmp_path / "newer", {KEY: '{"format": 99}'})
    for name in ("text", "pickle", "other", "broken", "newer", "absent"):
        with pytest.raises(UsageError, match=name):
            load_model(tmp_path / name)


def test_cross_validation_scores_every_knee_once_by_a_model_that_has_not_seen_its_patient(
    make, tmp_path
):
    cohort = make()
    result = held_out(cohort, tmp_path)
    for number, record in enumerate(result.records, start=1):
        seen = {k.split("_")[0] for k in record["training_knees"] + record["validation_knees"]}
        tested = {s for s, f in zip(cohort.subject, result.fold, strict=True) if f == number}
        assert not seen & tested and seen | tested == set(cohort.subject)
    model = load_model(fold_path(tmp_path, 2))
    i = int(np.flatnonzero(result.fold == 2)[0])
    alone = predict(model, [cohort.slices(i)], cohort.clinical[i : i + 1])[0][0]
    assert result.first.probability[i] == np.round(alone, 9)  # the digits of the table


def test_processes_give_the_bytes_that_one_process_gives_and_finished_folds_are_kept(
    make, tmp_path
):
    cohort = make(knees=40)
    fold = assign_folds(cohort.subject, cohort.label, 2, 0)
    quick = replace(QUICK, epochs=3)
    one, two = (
        validate(cohort, fold, Plan((quick,), 0, jobs=j), tmp_path / name)
        for name, j in (("one", 1), ("two", 2))
    )
    assert one.kept == two.kept == 0 and one.trained == 4 and list(one.models) == list(two.models)
    assert all((one.models[m].probability == two.models[m].probability).all() for m in one.models)
    assert all(
        (tmp_path / "one" / f"fold-{n}.safetensors").read_bytes()
        == (tmp_path / "two" / f"fold-{n}.safetensors").read_bytes()
        for n in (1, 2)
    )
    fold_path(tmp_path / "one", 2).unlink()
    again = validate(cohort, fold, Plan((quick,), 0), tmp_path / "one")
    assert again.kept == 3 and (again.first.probability == one.first.probability).all()
    with pytest.raises(UsageError, match="was made with seed 0, not 1"):
        validate(cohort, fold, Plan((quick,), 1), tmp_path / "one")
    wider = replace(quick, hidden=quick.hidden + 1)
    said = f"with other settings \\(hidden {quick.hidden}, not {wider.hidden}\\)"
    with pytest.raises(UsageError, match=said):
        validate(cohort, fold, Plan((wider,), 0), tmp_path / "one")
    assert not [
        p for p in (tmp_path / "two").iterdir() if p.name.startswith(".")
    ]  # the shared features are gone


def test_a_patient_in_two_folds_is_refused_wherever_the_folds_came_from(make, tmp_path):
    cohort = make(knees=40)
    with pytest.raises(UsageError, match="is in folds 1 and 2"):
        validate(cohort, np.arange(40) % 2 + 1, Plan((QUICK,), 0), tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"kernel": 4}, {"dropout": 1.0}, {"slices": 0}, {"validation": 0.9}, {"batch": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_batch_is_padded_to_its_own_longest_knee(make):
    cohort = make(knees=30)
    module, tensors = tensors_of(cohort)
    short = torch.from_numpy(np.flatnonzero(cohort.length < cohort.length.max())[:3])
    values, mask, clinical = tensors.take(short)
    assert values.shape[1] == mask.shape[1] == cohort.length[short].max() < cohort.length.max()
    everyone = tensors.take(torch.arange(30))
    assert everyone.values.shape[1] == cohort.length.max()
    whole = module.classify(everyone.values[short], everyone.mask[short], clinical)[0]
    torch.testing.assert_close(module.classify(values, mask, clinical)[0], whole)


def with_copies(cohort, copies):
    return dataclasses.replace(cohort, augmented=np.stack(copies))


def tensors_of(cohort, settings=QUICK):
    """All knees as tensors, under a network whose scaling changes nothing."""
    scaling = fit_clinical(cohort.clinical, cohort.clinical_names)
    module = Networks(1, cohort.channels, 1, settings)
    everyone = np.arange(len(cohort))
    outcome = cohort.outcome(everyone)
    return module, to_tensors(cohort, everyone, scaling, module, settings.precision, outcome)


def test_a_batch_draws_every_version_of_its_knees(make):
    cohort = make(knees=30)
    _, tensors = tensors_of(with_copies(cohort, [cohort.features + 5, cohort.features + 10]))
    batch, seen = torch.arange(30), set()
    plain = torch.tensor([float(cohort.slices(knee)[0, 0]) for knee in range(30)])
    for epoch in range(20):
        version = torch.from_numpy(Draws(0, epoch, 0).versions(3, 30))
        shift = (tensors.take(batch, version).values[:, 0, 0] - plain).round().int()
        seen |= {(k, int(s)) for k, s in enumerate(shift)}
    assert {s for _, s in seen} == {0, 5, 10} and len(seen) > 80


def test_augmented_copies_are_learnt_from_and_do_not_judge(make):
    """The signal is clear in the copies alone: a model that trains on them finds it; plain knees still judge it."""
    noise, signal = make(knees=120, strength=0.5, seed=3), make(knees=120, strength=4.0, seed=3)
    assert np.array_equal(noise.label, signal.label)
    settings = dataclasses.replace(QUICK, augmented=True)
    model = fit(with_copies(noise, [signal.features] * 4), settings, 0)
    probability, _ = predict(model, [signal.slices(i) for i in range(120)], signal.clinical)
    without = fit(noise, QUICK, 0)
    blind, _ = predict(without, [signal.slices(i) for i in range(120)], signal.clinical)
    assert roc_auc(signal.label, probability) > 0.9 > 0.75 > roc_auc(signal.label, blind)
    held = [list(noise.knee).index(k) for k in model.record["validation_knees"]]
    plain, _ = predict(model, [noise.slices(i) for i in held], noise.clinical[held])
    assert model.record["validation_roc_auc"] == roc_auc(noise.label[held], plain)


def test_augmented_copies_do_not_decide_the_epoch(make):
    cohort = make(knees=30)
    module, plain = tensors_of(cohort)
    _, augmented = tensors_of(with_copies(cohort, [cohort.features * 3]))
    fits = torch.arange(30)[None] % 3 > 0
    one, other = (
        Training(
            module, tensors, Classes(cohort.label), fits, torch.ones(1, 2), QUICK, 0
        ).held_logits()
        for tensors in (plain, augmented)
    )
    assert torch.equal(one[~fits[0]], other[~fits[0]]) and one[fits[0]].isnan().all()


def test_copies_stay_with_their_knees(make):
    cohort = make(knees=20)
    with_one = with_copies(cohort, [cohort.features + 1])
    some = with_one.take(np.array([7, 2, 11]))
    assert np.array_equal(some.augmented[0], some.features + 1)
    assert np.array_equal(some.slices(1), cohort.slices(2))
    assert with_one.digest(np.arange(20)) != cohort.digest(np.arange(20))


def test_the_loss_is_that_of_pytorch_and_the_focal_factor_that_of_lin():
    torch.manual_seed(0)
    logits, label, weights = (
        torch.randn(50, 2).double(),
        torch.randint(0, 2, (50,)),
        torch.tensor([0.6, 3.0]).double(),
    )
    everyone = torch.ones(1, 50, dtype=torch.bool)
    for smoothing in (0.0, 0.1):
        settings = preset("paper", smoothing=smoothing)
        found = training_loss(
            logits[None], label[None], NOBODY_FOLLOWED, weights[None], everyone, settings
        )
        theirs = torch.nn.functional.cross_entropy(
            logits, label, weights, label_smoothing=smoothing
        )
        torch.testing.assert_close(found[0], theirs)
    p = torch.softmax(logits, dim=1)[torch.arange(50), label].numpy()
    w = weights[label].numpy()
    expected = (w * (1 - p) ** 2 * -np.log(p)).sum() / w.sum()
    settings = preset("paper", focal=2.0)
    found = training_loss(
        logits[None], label[None], NOBODY_FOLLOWED, weights[None], everyone, settings
    )
    assert found.item() == pytest.approx(expected)


def test_order_and_dropout_are_drawn_by_seed_epoch_and_member():
    values = Draws(0, 3, 1).kept(0.4, 400, 500)
    assert values.mean() == pytest.approx(0.6, abs=0.01)
    assert not np.array_equal(values[0], values[1])
    assert np.array_equal(values, Draws(0, 3, 1).kept(0.4, 400, 500))
    order = Draws(0, 3, 1).order(50)
    assert sorted(order) == list(range(50))
    for other in (Draws(0, 4, 1), Draws(1, 3, 1), Draws(0, 3, 0)):
        assert not np.array_equal(order, other.order(50))
        assert abs((values == other.kept(0.4, 400, 500)).mean() - 0.52) < 0.01


def test_each_member_loses_by_the_knees_that_it_fits_alone():
    torch.manual_seed(0)
    logits = torch.randn(2, 6, 2)
    label = torch.tensor([[0, 1, 1, 0, 0, 1], [1, 1, 0, 0, 1, 0]])
    weights = torch.tensor([[1.0, 1.0], [0.5, 2.0]])
    fits = torch.tensor([[True] * 4 + [False] * 2, [False] * 2 + [True] * 4])
    for settings in (Settings(), preset("paper")):
        found = training_loss(logits, label, NOBODY_FOLLOWED, weights, fits, settings)
        for member, own in enumerate((slice(0, 4), slice(2, 6))):
            theirs = torch.nn.functional.cross_entropy(
                logits[member, own], label[member, own], weights[member], reduction="none"
            )
            by = 4 if settings.loss_over == "cohort" else weights[member][label[member, own]].sum()
            torch.testing.assert_close(found[member], theirs.sum() / by)
    nobody = training_loss(logits, label, NOBODY_FOLLOWED, weights, fits & False, Settings())
    assert nobody.tolist() == [0, 0]


def test_the_gradient_of_each_member_is_shortened_by_itself_as_pytorch_does():
    torch.manual_seed(0)
    shapes = [(3, 4, 5), (3, 7), (3, 1, 2)]
    parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for each in parameters:
        each.grad = torch.randn(each.shape) * torch.tensor([0.01, 1.0, 9.0]).view(
            -1, *[1] * (each.dim() - 1)
        )
    alone = []
    for member in range(3):
        own = [torch.nn.Parameter(torch.zeros(shape[1:])) for shape in shapes]
        for each, together in zip(own, parameters, strict=True):
            each.grad = together.grad[member].clone()
        torch.nn.utils.clip_grad_norm_(own, 1.0)
        alone.append([each.grad for each in own])
    clip_gradients_(parameters)
    for member in range(3):
        for each, together in zip(alone[member], parameters, strict=True):
            torch.testing.assert_close(together.grad[member], each)
    assert torch.linalg.vector_norm(alone[0][0]) < 0.1


def test_a_cosine_ends_where_it_should_and_other_settings_change_the_model(make, tmp_path):
    cohort, seen = make(knees=40), []
    cosine = replace(QUICK, epochs=8, patience=8, schedule="cosine")
    fit(
        cohort,
        cosine,
        0,
        keep=lambda p: seen.append(p.optimiser["param_groups"][0]["lr"]),
    )
    expected = [3e-3 * (1 + np.cos(np.pi * e / 8)) / 2 for e in range(8)]
    np.testing.assert_allclose(seen, expected)
    changed = [
        {},
        {"focal": 2.0},
        {"smoothing": 0.2},
        {"schedule": "cosine"},
        {"precision": "bf16"},
        {"dropout": 0.0},
    ]
    losses = [
        fit(cohort, replace(QUICK, epochs=4, **c), 0).record["validation_loss"] for c in changed
    ]
    assert len(set(losses)) == len(changed)


def test_bf16_learns_what_float32_learns(make, tmp_path):
    cohort = make(knees=200, strength=3.0)
    areas = [
        roc_auc(
            cohort.label,
            held_out(cohort, tmp_path / p, replace(QUICK, precision=p)).first.probability,
        )
        for p in ("float32", "bf16")
    ]
    assert abs(areas[0] - areas[1]) < 0.02 and min(areas) > 0.85
