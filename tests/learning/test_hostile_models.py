"""Models, interrupted trainings and tables in which is what nobody wrote, with digests that are right."""

import os
import re
import struct

import h5py
import numpy as np
import pytest
import torch

from oatools.core.errors import ItemError, UsageError
from oatools.explain.knee import backbone_of, preprocessing_of
from oatools.learning import checkpoint as resuming
from oatools.learning import sealed
from oatools.learning.checkpoint import Checkpoint
from oatools.learning.files import KEY, load_model, save_model
from oatools.learning.folds import split_training
from oatools.learning.model import predict
from oatools.learning.settings import preset
from oatools.learning.training import fit

from .conftest import TRAIN, rewrite

SETTINGS = preset("paper", conv=4, units=8, hidden=4, epochs=4, patience=4)
DEEP: list = []
for _ in range(400):
    DEEP = [DEEP]


@pytest.fixture
def model(make, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(path, fit(make(knees=24, channels=12), SETTINGS, 0), endpoint="jsn12")
    return path


def forge(path, key, change):
    """Write a file anew after a change of its record and tensors, sealed as if it were ours."""
    record, tensors = sealed.read_sealed(path, key)
    record.pop(sealed.SEAL)
    change(record, tensors)
    sealed.write_sealed(path, key, record, tensors)


#: What a record may be made to say by hand, and what is said of it.
RECORDS = {
    "nothing of the knees": ({"training_knees": None}, "'training_knees' is null"),
    "cautions that are a number": ({"cautions": 3}, "'cautions' is '3', not a list of texts"),
    "a caution of its own": ({"cautions": ["x"]}, "there is no caution 'x'"),
    "no feature space": ({"feature_space": []}, "'feature_space' is a list, not an object"),
    "a feature space of numbers": (
        {"feature_space": {"backbone": 1}},
        "'backbone' is '1', not text",
    ),
    "deep JSON": ({"feature_space": {"preprocessing": DEEP}}, "it is nested too deep"),
    "joined by a number": ({"joined": 1}, "'joined' is '1', not a list of texts"),
    "a part that is none": ({"linear": ["median"]}, "its parts are those of no model"),
    "a part twice": ({"linear": ["mean", "mean"]}, "its parts are those of no model"),
    "no part at all": ({"networks": 0}, "its parts are those of no model"),
    "a clinical part without variables": (
        {"linear": ["clinical"], "clinical": []},
        "its parts are those of no model",
    ),
    "networks without end": ({"networks": 10**9}, "'networks' is '1000000000', not a whole"),
    "a weight that is none": (
        {"parts": [{"name": "mean", "weight": -1, "roc_auc": 0.5}]},
        "'weight' is '-1', not a finite number",
    ),
    "a threshold that is none": ({"threshold": float("nan")}, "'threshold' is 'nan', not a finite"),
    "a threshold of 7": ({"threshold": 7}, "'threshold' is '7', not a finite number from 0 to 1"),
    "a clinical variable twice": (
        {"clinical": [{"name": "bmi", "fill": 1, "mean": 1, "sd": 1}] * 2},
        "a clinical variable is there twice",
    ),
    "a deviation of nothing": (
        {"clinical": [{"name": "bmi", "fill": 1, "mean": 1, "sd": 0}]},
        "'sd' is '0', not a finite number from 1e-12 to inf",
    ),
    "a fill of 1e400": (
        {"clinical": [{"name": "bmi", "fill": 10**400, "mean": 1, "sd": 1}]},
        "'fill' is ",
    ),
    "channels by the billion": ({"channels": 10**12}, "'channels' is '1000000000000', not a whole"),
    "weights of nowhere": ({"weights": {"source": "x", "sha256": ""}}, "there are no weights 'x'"),
    "a seed that is a list": (
        {"weights": {"source": "random", "sha256": "", "seed": [1]}},
        "'seed' is a list",
    ),
    "versions that are none": ({"versions": {}}, "it has no 'oatools'"),
    "half a letter": ({"endpoint": "\ud800"}, "'endpoint' is "),
}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_that_nobody_wrote_is_refused_by_the_field(model, kind):
    more, said = RECORDS[kind]
    forge(model, KEY, lambda record, _: record.update(more))
    with pytest.raises(UsageError, match=re.escape(said)) as refused:
        load_model(model)
    assert str(refused.value).endswith("train it again") and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["settings", "clinical", "joined", "feature_space", "versions"])
def test_a_record_that_lacks_a_field_is_refused(model, name):
    forge(model, KEY, lambda record, _: record.pop(name))
    with pytest.raises(UsageError, match=f"it has no '{name}'"):
        load_model(model)


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("pooling", "x", "no pooling 'x'"),
        ("units", 1 << 40, "'units' is '1099511627776', not a whole number"),
        (
            "units",
            1 << 20,
            "pooling.bias_hh' is (1, 24), torch.float32, not (1, 3145728)",
        ),  # 12 TB if allocated
        ("dropout", "0.5", "'dropout' is '0.5', not a finite number"),
        ("instance", [True], "'instance' is a list, not a list of finite numbers"),
        ("balanced", 1, "'balanced' is '1', not true or false"),
        ("unknown", 1, "there is no setting 'unknown'"),
    ],
)
def test_settings_that_nobody_set_are_refused_before_memory_is_taken(model, name, value, said):
    forge(model, KEY, lambda record, _: record["settings"].update({name: value}))
    with pytest.raises(UsageError, match=re.escape(said)):
        load_model(model)


def change_tensor(name, change):
    def act(_, tensors):
        tensors[name] = change(tensors[name])

    return act


@pytest.mark.parametrize(
    "change, said",
    [
        (
            change_tensor("networks.output.weight", lambda t: t.fill_(torch.nan)),
            "tensor 'networks.output.weight' holds numbers that are not finite",
        ),
        (
            change_tensor("networks.output.weight", torch.Tensor.double),
            "tensor 'networks.output.weight' is",
        ),
        (
            change_tensor("networks.output.weight", lambda t: t[:, :1].clone()),
            "tensor 'networks.output.weight' is (1, 1, 4)",
        ),
        (
            lambda _, tensors: tensors.pop("networks.offset"),
            "tensor 'networks.offset' is missing",
        ),
        (
            lambda _, tensors: tensors.update(more=torch.zeros(1)),
            "there is a tensor 'more' too many",
        ),
        (
            change_tensor("networks.branches.0.feature_sd", torch.zeros_like),
            "holds a deviation that is not positive",
        ),
    ],
)
def test_tensors_that_are_not_those_of_the_network_are_refused_by_name(model, change, said):
    forge(model, KEY, change)
    with pytest.raises(UsageError, match=re.escape(said)):
        load_model(model)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\1",
        struct.pack("<Q", 2**63) + b'{"__metadata__":{"oatools":',
        struct.pack("<Q", 40_000) + b"[" * 40_000,
        struct.pack("<Q", 27) + b'{"__metadata__":{"oatools":',
        struct.pack("<Q", 38) + b'{"__metadata__":{"oatools":"[1,2,3]"}}',
    ],
)
def test_headers_that_are_none_are_one_clean_error(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="m.safetensors is ") as refused:
        load_model(path)
    assert "\n" not in str(refused.value)


def test_a_pipe_or_a_folder_is_no_model_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UsageError, match="is not a model"):
            load_model(path)


def test_a_bit_that_changed_anywhere_in_a_model_is_noticed(model):
    whole = model.read_bytes()
    length = 8 + struct.unpack("<Q", whole[:8])[0]
    for at in (*range(40, length, 997), *range(length, len(whole), 211)):
        content = bytearray(whole)
        content[at] ^= 4
        model.write_bytes(content)
        with pytest.raises(UsageError):
            load_model(model)


PREPARED = {
    "window": [1.0, 99.0],
    "size": 224,
    "interpolation": "bicubic",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "slices": [3, 8],
    "triplet": False,
}


@pytest.mark.parametrize(
    "more, said",
    [
        ({"size": 10**6}, "'size' is '1000000'"),
        ({"window": [99.0, 1.0]}, "'window' is not two percentiles"),
        ({"std": [0.5, 0.0, 0.5]}, "'std' is not positive"),
        ({"mean": [1.0]}, "'mean' is a list, not 3 numbers"),
        ({"slices": [8, 3]}, "'last' is '3'"),
        ({"slices": "all"}, "'slices' is 'all'"),
        ({"triplet": "no"}, "'triplet' is 'no'"),
        ({"interpolation": None}, "'interpolation' is null"),
    ],
)
def test_a_model_that_does_not_say_how_its_images_were_made_explains_none(model, more, said):
    loaded = load_model(model)
    loaded.record["feature_space"]["preprocessing"] = PREPARED
    assert preprocessing_of(loaded).slices == (3, 8)
    loaded.record["feature_space"]["preprocessing"] = {**PREPARED, **more}
    with pytest.raises(UsageError, match=re.escape(said)):
        preprocessing_of(loaded)
    del loaded.record["feature_space"]["backbone"]
    with pytest.raises(UsageError, match="it has no 'backbone'"):
        backbone_of(loaded)


def test_an_answer_that_is_no_number_is_an_error_and_no_prediction(model):
    loaded = load_model(model)
    with pytest.raises(ItemError, match="the model's answer is not a finite number"):
        predict(loaded, [np.full((9, 12), np.nan, np.float32)], np.full((1, 1), 28.0))
    assert 0 <= predict(loaded, [np.zeros((9, 12), np.float32)], np.full((1, 1), 1e12))[0][0] <= 1


@pytest.fixture
def interrupted(make, tmp_path):
    """The file of a training after two epochs, and the training to go on with."""
    cohort, path = make(knees=24, channels=12), tmp_path / "m.resume"
    split = split_training(cohort, SETTINGS.validation, 0)
    writer = Checkpoint(path, "this", every=0)
    seen = []

    def keep(progress):
        seen.append(Checkpoint.write(writer, progress))
        if len(seen) == 2:
            raise KeyboardInterrupt

    writer.write = keep
    with pytest.raises(KeyboardInterrupt):
        writer.fit(cohort, SETTINGS, 0, split, resume=False)
    said = []

    def go_on():
        epochs = []
        going = Checkpoint(path, "this", every=0, say=said.append)
        going.write = lambda progress: epochs.append(len(progress.history))
        return going.fit(cohort, SETTINGS, 0, split, resume=True), epochs, said

    return path, go_on, fit(cohort, SETTINGS, 0, split)


FORGED = {
    "a loss that is none": lambda record, _: record.update(history=[0.5, float("nan")]),
    "more epochs than there are": lambda record, _: record.update(history=[0.5] * 9),
    "another optimiser": lambda record, _: record["groups"][0].update(weight_decay=0.9),
    "an optimiser for nobody": lambda record, _: record["groups"].append(record["groups"][0]),
    "no optimisers": lambda record, _: record.update(groups=[]),
    "a tensor too many": lambda _, tensors: tensors.update({"state/x": torch.zeros(1)}),
    "an optimiser of lists": lambda record, _: record.update(groups=[[]]),
    "an optimiser that is a word": lambda record, _: record.update(groups="x"),
    "a step size that is none": lambda record, _: record["groups"][0].update(lr="x"),
    "weights that are none": change_tensor("state/output.weight", lambda t: t.fill_(torch.inf)),
    "a tensor of another shape": change_tensor("best/output.weight", lambda t: t[:, :1].clone()),
    "no moment": lambda _, tensors: tensors.pop("optimiser/0/exp_avg"),
    "a moment of nothing": lambda _, tensors: tensors.update({"optimiser/x/y": torch.zeros(1)}),
    "a moment too many": lambda _, tensors: tensors.update({"optimiser/99/step": torch.zeros(())}),
}


@pytest.mark.parametrize("kind", [*FORGED, "a bit", "cut", "no digest"])
def test_a_damaged_file_of_a_training_is_said_and_training_begins_anew(interrupted, kind):
    path, go_on, wanted = interrupted
    if kind in FORGED:
        forge(path, resuming.KEY, FORGED[kind])
    content = path.read_bytes()
    if kind == "a bit":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif kind == "cut":
        path.write_bytes(content[:-9])
    elif kind == "no digest":
        path.write_bytes(content.replace(b"content_sha256", b"content_sha255"))
    model, epochs, said = go_on()
    assert said == [f"warning: {path} is damaged; training begins anew"]
    assert epochs[0] == 1
    for name, value in wanted.module.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], value), name


def test_a_whole_file_of_a_training_is_gone_on_from_without_a_word(interrupted):
    _, go_on, _ = interrupted
    _, epochs, said = go_on()
    assert epochs[0] == 3 and said == []


def test_one_bad_feature_file_is_one_failed_knee_and_ends_no_training(study, run, tmp_path):
    study(knees=40)
    bad = {
        "9000001_00m_left": {"preprocessing": "[" * 20_000},
        "9000002_00m_left": {"weights_sha256": [1, 2]},
        "9000003_00m_right": {"OatoolsSteps": "[[]]"},
        "9000004_00m_right": {"backbone": 3},
    }
    for knee, attributes in bad.items():
        with h5py.File(tmp_path / f"features/{knee}_cor-iw-tse.h5", "r+") as file:
            file.attrs.update(attributes)
    (tmp_path / "features/9000005_00m_left_cor-iw-tse.h5").write_bytes(b"\x89HDF\r\n\x1a\n" * 9)
    done = run(TRAIN, status=1)
    assert (
        "35 knees of 20 patients used" in done.stderr and "5 with unusable features" in done.stderr
    )
    assert done.stderr.count("embed the volume again") == 5 and "Traceback" not in done.stderr


def test_a_clinical_value_that_nothing_measures_is_refused_by_name_and_value(study, run, tmp_path):
    study(knees=40)
    run(f"{TRAIN} --clinical bmi")
    table = (tmp_path / "features.tsv").read_text().splitlines()
    header = f"{table[0]}\tbmi\n"
    (tmp_path / "one.tsv").write_text(f"{header}{table[1]}\t1e300\n{table[2]}\t28\n")
    done = run("oa-predict m.safetensors one.tsv", status=1)
    assert "column 'bmi' holds '1e300', which is more than anything that is measured" in done.stderr
    assert len(done.stdout.splitlines()) == 2 and "nan" not in done.stdout
    rewrite(tmp_path / "labels.tsv", lambda row: row.update(bmi="-1e300"))
    refused = run(f"{TRAIN} --clinical bmi", status=2)
    assert "column 'bmi' holds '-1e300'" in refused.stderr


def test_features_without_a_digest_are_said_once_of_all(study, run, tmp_path):
    study(knees=40)
    for path in sorted((tmp_path / "features").iterdir())[:3]:
        with h5py.File(path, "r+") as file:
            for name in ("features_sha256", "record_sha256", "OatoolsSteps"):
                del file.attrs[name]
    done = run(TRAIN)
    first = "features/9000000_00m_right_cor-iw-tse.h5 and 2 more files"
    assert f"{first}: holds no digest of its numbers" in done.stderr
    done = run("oa-predict m.safetensors features.tsv")
    assert "3 rows: the feature file holds no digest of its numbers" in done.stderr


def test_a_variable_that_was_found_later_is_taken_by_whoever_insists(study, run, tmp_path):
    study(knees=40)
    text = (tmp_path / "labels.tsv").read_text().replace("bmi", "bmi_12m", 1)
    (tmp_path / "labels.tsv").write_text(text)
    refused = run(f"{TRAIN} --clinical bmi_12m", status=2)
    assert "or insist with --allow-label-leakage" in refused.stderr
    done = run(f"{TRAIN} --clinical bmi_12m --allow-label-leakage")
    assert "warning: by its name, 'bmi_12m' was found after the visit" in done.stderr


def test_a_row_that_is_there_twice_is_called_that(study, run, tmp_path):
    study(knees=40)
    table = tmp_path / "features.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, lines[3]]) + "\n")
    assert "features.tsv: 1 row that came before counted once" in run(TRAIN).stderr
    table.write_text("\n".join([*lines, lines[3].replace("features/", "./features/")]) + "\n")
    said = run(TRAIN, status=2).stderr
    assert "9000001_00m_right has two rows of cor-iw-tse; keep one of them" in said
    table.write_text("\n".join([*lines, lines[3].replace("\tcor-", "\tsag-")]) + "\n")
    assert "choose with --sequence, or drop rows" in run(TRAIN, status=2).stderr
