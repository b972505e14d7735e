"""Weights as training programs leave them; what timm itself reads of each file is the measure."""

import argparse
import os
import pickle
import re
import shutil
import subprocess
import types
import zipfile
from contextlib import suppress

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import load_state_dict as timm_reads

from oatools.core.errors import UsageError
from oatools.features.backbone import load_backbone
from oatools.features.checkpointfile import read_checkpoint

NAME = "resnet10t"


def state(seed, classes=7):
    torch.manual_seed(seed)
    network = timm.create_model(NAME, pretrained=False, num_classes=classes)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
    return network.state_dict()


LAST, AVERAGED = state(1), state(2)


def before(prefix, tensors):
    return {f"{prefix}{key}": value for key, value in tensors.items()}


def load(path, tensors):
    """Load a file, see that the network has these tensors, and return what is said of them."""
    loaded = load_backbone(NAME, str(path))
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, tensors[key]), key
    return loaded.record.weights


#: Files as timm's own trainer and others leave them, which timm reads rightly too.
AS_TIMM = {
    "timm's trainer": {
        "epoch": 3,
        "arch": NAME,
        "state_dict": LAST,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
        "args": argparse.Namespace(lr=0.1, model=NAME),
        "state_dict_ema": AVERAGED,
        "metric": 71.5,
    },
    "the averaged network of DeiT": {"model": LAST, "model_ema": AVERAGED, "epoch": 299},
    "compiled, on several GPUs": {"state_dict": before("_orig_mod.module.", LAST)},
    "on several GPUs, compiled": {"state_dict": before("module._orig_mod.", LAST)},
    "averaged and on several GPUs": {
        "state_dict": before("module.", LAST),
        "state_dict_ema": before("module.", AVERAGED),
    },
    "nothing averaged yet": {"state_dict": LAST, "state_dict_ema": None},
    "alone": LAST,
}


@pytest.mark.parametrize("kind", AS_TIMM)
@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "safetensors"])
def test_the_weights_are_those_that_timm_takes(tmp_path, kind, suffix):
    path = tmp_path / f"w.{suffix}"
    torch.save(AS_TIMM[kind], path)
    with torch.serialization.safe_globals([argparse.Namespace]):
        torch.save(AS_TIMM[kind], tmp_path / "t.pth")
        expected = timm_reads(str(tmp_path / "t.pth"))
    if "fc.bias" not in expected:
        pytest.skip("this timm takes off one wrapper of two")
    weights = load(path, expected)
    is_averaged = torch.equal(expected["fc.bias"], AVERAGED["fc.bias"])
    assert ("averaged weights" in weights.note()) == is_averaged
    assert (", averaged (" in weights.label()) == is_averaged


#: Files of which timm itself would need more than a path; each with what it must give.
OTHERS = {
    "lightning": ({"state_dict": before("model.", LAST), "hyper_parameters": {"lr": 1}}, LAST),
    "lightning, compiled": ({"state_dict": before("model._orig_mod.", LAST)}, LAST),
    "lightning, averaged": (
        {"state_dict": before("model.", LAST) | before("model_ema.module.", AVERAGED)},
        AVERAGED,
    ),
    "a plain script's": ({"model_state_dict": LAST, "optimizer_state_dict": {}}, LAST),
    "net": ({"net": before("module.", LAST), "acc": 71.0}, LAST),
    "ema in a folder of its own": (
        {"model": LAST, "ema": {"decay": 0.999, "module": AVERAGED}},
        AVERAGED,
    ),
    "self-supervised": (
        {
            "student": before("module.backbone.", LAST),
            "teacher": before("backbone.", AVERAGED),
        },
        AVERAGED,
    ),
    "an encoder": (before("encoder.", LAST) | {"projector.0.weight": torch.ones(3)}, LAST),
    "with another head": (LAST | {"fc.weight": torch.ones(3, 512)}, LAST),
    "without counters": (
        {key: value for key, value in LAST.items() if "num_batches" not in key},
        LAST | {key: torch.tensor(0) for key in LAST if "num_batches" in key},
    ),
    "an average of PyTorch": (
        {"n_averaged": torch.tensor(5)} | before("module.", AVERAGED),
        AVERAGED,
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_wrappings_are_taken_off(tmp_path, kind):
    checkpoint, expected = OTHERS[kind]
    torch.save(checkpoint, tmp_path / "w.ckpt")
    assert bool(load(tmp_path / "w.ckpt", expected).averaged) == (expected is AVERAGED)


def test_prefixes_and_averages_are_found_in_safetensors_too_whatever_the_name(tmp_path):
    both = before("online_model.", LAST) | before("ema_model.", AVERAGED)
    save_file(both, tmp_path / "w.bin")
    weights = load(tmp_path / "w.bin", AVERAGED)
    assert weights.label() == "file w.bin, averaged (ema_model)"


def test_torchvisions_names_are_found_behind_a_prefix(tmp_path):
    import torchvision

    network = torchvision.models.mobilenet_v2(weights=None)
    torch.save({"state_dict": before("model.", network.state_dict())}, tmp_path / "w.pth")
    loaded = load_backbone("mobilenetv2_100", str(tmp_path / "w.pth")).network
    assert torch.equal(loaded.conv_stem.weight, network.features[0][0].weight)


class Settings:
    """A class of a training program, which is not imported."""

    made = 0

    def __init__(self):
        Settings.made += 1
        self.lr = 0.1

    def __setstate__(self, state):
        Settings.made += 100


def test_objects_of_a_training_program_are_passed_over_and_not_made(tmp_path, monkeypatch):
    module = types.ModuleType("their_training")
    module.Settings = Settings
    monkeypatch.setitem(__import__("sys").modules, "their_training", module)
    monkeypatch.setattr(Settings, "__module__", "their_training")
    torch.save({"state_dict": LAST, "config": Settings(), "numpy": __import__("numpy").float64(3)},
               tmp_path / "w.ckpt")  # fmt: skip
    made = Settings.made
    load(tmp_path / "w.ckpt", LAST)
    assert Settings.made == made


class Evil:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("place", ["config", "fc.weight"])
def test_what_a_file_wants_executed_is_not(tmp_path, capsys, place):
    import os

    for number, evil in enumerate(
        [Evil(print, "executed"), Evil(os.system, "echo executed"), Evil(eval, "print('executed')")]
    ):
        path = tmp_path / f"w{number}.pth"
        torch.save(LAST | {place: evil}, path)
        with pytest.raises(UsageError, match="cannot be opened as plain tensors") as refused:
            load_backbone(NAME, str(path))
        assert re.search("it names .* not executed", str(refused.value))
    assert "executed" not in capsys.readouterr().out


def without(tensors, *names):
    return {key: value for key, value in tensors.items() if key not in names}


REFUSED = {
    "one is missing": (
        without(LAST, "layer2.0.bn1.weight"),
        r"has no tensor 'layer2.0.bn1.weight', of \d+ that the backbone needs; is backbone right",
    ),
    "three are missing": (
        without(LAST, "conv1.0.weight", "layer1.0.bn1.bias", "layer4.0.bn2.running_var"),
        "has no tensor 'conv1.0.weight' and 2 others, of",
    ),
    "averaged without statistics": (
        {
            "state_dict": LAST,
            "ema": {key: value for key, value in LAST.items() if "running" not in key},
        },
        r"w.pth \('ema'\): has no tensor 'conv1.1.running_mean' and \d+ others",
    ),
    "two networks": (
        before("encoder_q.", LAST) | before("encoder_k.", LAST),
        "holds 2 networks of this kind .'encoder_k', 'encoder_q'",
    ),
    "no tensors": ({"epoch": 3, "best": 0.7}, "holds no tensors, but epoch, best"),
    "a list": ([1, 2], "holds no state dict but one list"),
    "not finite": (
        LAST | {"conv1.0.weight": LAST["conv1.0.weight"] * float("nan")},
        "not finite",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line_that_counts(tmp_path, kind):
    checkpoint, said = REFUSED[kind]
    torch.save(checkpoint, tmp_path / "w.pth")
    with pytest.raises(UsageError, match=said) as refused:
        load_backbone(NAME, str(tmp_path / "w.pth"))
    assert "\n" not in str(refused.value)


def test_a_deeper_network_is_refused_though_all_tensors_are_there(tmp_path):
    torch.save(timm.create_model("resnet34", pretrained=False).state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        UsageError,
        match="w.pth: has 'layer1.2.conv1.weight' and 95 others, which the backbone does not have",
    ):
        load_backbone("resnet18", str(tmp_path / "w.pth"))


def test_a_whole_network_is_refused_by_its_class(tmp_path):
    torch.save(timm.create_model(NAME, pretrained=False), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="holds no state dict but a whole object of timm.models"):
        load_backbone(NAME, str(tmp_path / "w.pth"))


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>Not found</html>", "a page of the web"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
        (b"PK\x03\x04" + bytes(200), "cannot be opened as plain tensors"),
        (b"hello, world", "torch.save did not write it|not a readable safetensors file"),
    ],
)
def test_what_is_no_file_of_weights_is_named(tmp_path, content, said):
    for suffix in ("pth", "safetensors"):
        path = tmp_path / f"w.{suffix}"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=said):
            read_checkpoint(path)


def test_a_program_of_torchscript_is_named(tmp_path, recwarn):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "w.pt")
    recwarn.clear()
    with pytest.raises(UsageError, match="holds a program of TorchScript and not plain weights"):
        read_checkpoint(tmp_path / "w.pt")
    assert len(recwarn) == 0


def test_a_file_that_was_cut_is_refused(tmp_path):
    torch.save(LAST, tmp_path / "w.pth")
    save_file(LAST, tmp_path / "w.safetensors")
    for path in (tmp_path / "w.pth", tmp_path / "w.safetensors"):
        path.write_bytes(path.read_bytes()[:-5000])
        with pytest.raises(UsageError, match="cannot be opened|not a readable"):
            read_checkpoint(path)


def averaged_parameters():
    """The parameters of the averaged network, in the order of `Module.parameters`."""
    network = timm.create_model(NAME, pretrained=False, num_classes=7)
    network.load_state_dict(AVERAGED)
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("where", ["ema", "ema_state", "top"])
def test_averaged_parameters_in_a_list_take_the_places_of_those_of_the_last_step(
    tmp_path, where, prefix
):
    """As torch_ema and diffusers keep them: parameters alone, without names."""
    shadows = {"decay": 0.999, "num_updates": 7, "shadow_params": averaged_parameters()}
    inside = shadows if where == "top" else {where: shadows}
    torch.save({"model": before(prefix, LAST), **inside}, tmp_path / "w.pth")
    buffers = {k: v for k, v in LAST.items() if "running" in k or "num_batches" in k}
    weights = load(tmp_path / "w.pth", {**AVERAGED, **buffers})
    name = "shadow_params" if where == "top" else where
    assert f"w.pth holds averaged weights ('{name}'), which are taken" in weights.note()


def test_averaged_parameters_that_do_not_fit_are_refused_and_not_passed_over(tmp_path):
    for wrong in (averaged_parameters()[:-1], averaged_parameters()[::-1]):
        torch.save({"model": LAST, "ema": {"shadow_params": wrong}}, tmp_path / "w.pth")
        with pytest.raises(UsageError, match=r"parameters without names .'ema'., which do not fit"):
            load_backbone(NAME, str(tmp_path / "w.pth"))


def test_a_bit_that_changed_in_an_archive_is_noticed_which_pytorch_passes_over(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(LAST, path)
    content = bytearray(path.read_bytes())
    at = content.index(LAST["fc.weight"].numpy().tobytes()) + 6
    content[at] ^= 1
    path.write_bytes(content)
    assert not torch.equal(torch.load(path, weights_only=True)["fc.weight"], LAST["fc.weight"])
    with pytest.raises(UsageError, match="is damaged, by the checksum of "):
        read_checkpoint(path)


def test_an_archive_that_is_larger_unpacked_is_refused_before_that(tmp_path):
    torch.save(LAST, tmp_path / "w.pth")
    with (
        zipfile.ZipFile(tmp_path / "w.pth") as whole,
        zipfile.ZipFile(tmp_path / "p.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in whole.namelist():
            packed.writestr(member, whole.read(member))
    with pytest.raises(UsageError, match="p.pth: is packed, as torch.save packs nothing"):
        read_checkpoint(tmp_path / "p.pth")


class Payload:
    """Whatever unpickles it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("form", ["archive", "legacy", "pickle"])
def test_what_would_be_executed_is_not(tmp_path, form, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function, *arguments in (
        (os.system, "touch done"),
        (eval, "open('done', 'w')"),
        (open, "done", "w"),
        (subprocess.call, ["touch", "done"]),
        (shutil.copy, __file__, "done"),
        (os.mkdir, "done"),
        (torch.load, "done"),
    ):
        holds = {"state_dict": LAST, "args": Payload(function, *arguments)}
        if form == "pickle":
            (tmp_path / "w.pth").write_bytes(pickle.dumps({**holds, "state_dict": {}}))
        else:
            torch.save(holds, "w.pth", _use_new_zipfile_serialization=form == "archive")
        # Refused, or an empty stand-in in its place.
        with suppress(UsageError):
            load_backbone(NAME, "w.pth")
        assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_a_checkpoint_that_holds_itself_ends(tmp_path):
    inside = {"a": torch.zeros(2)}
    inside["model"] = inside
    torch.save(inside, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="w.pth: wraps itself"):
        load_backbone(NAME, str(tmp_path / "w.pth"))
