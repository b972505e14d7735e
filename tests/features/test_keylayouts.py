"""Weights under the names of other libraries; those libraries' own networks are the measure."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from oatools.core.errors import UsageError
from oatools.features import architectures, catalogue
from oatools.features.backbone import load_backbone
from oatools.features.keylayouts import layout_of, looks_like
from oatools.features.weightsfile import load_weights

PIXELS = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(4))
_TINY = {"embed_dim": 32, "depth": 3, "num_heads": 2}


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="its networks are the measure of ours")


def randomised(module, seed=5):
    """A network with numbers in every tensor that make its features differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.dtype.is_floating_point and "running_var" not in name:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
            elif "running_var" in name:
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return module.eval()


def close(ours, theirs):
    """The largest difference of a feature vector by its norm, which float32 explains."""
    difference = (ours - theirs).norm(dim=1) / theirs.norm(dim=1)
    assert ours.shape == theirs.shape and difference.max() < 1e-5
    assert theirs.std(dim=0).norm() > 1e-3 * theirs.norm()  # that features say something


#: transformers' networks at a small size, and the options that make timm's the same.
PAIRS = {
    "dinov2": (
        ("Dinov2Model", "Dinov2Config", {"patch_size": 8, "image_size": 64}),
        ("vit_small_patch14_dinov2", {"patch_size": 8, "img_size": 64}),
    ),
    "dinov2, gated": (
        ("Dinov2Model", "Dinov2Config", {"patch_size": 8, "image_size": 64,
                                         "use_swiglu_ffn": True}),
        ("vit_giant_patch14_dinov2", {"patch_size": 8, "img_size": 64, "mlp_ratio": 5.5}),
    ),
    "dinov2 with registers": (
        ("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig",
         {"patch_size": 8, "image_size": 64, "num_register_tokens": 4}),
        ("vit_small_patch14_reg4_dinov2", {"patch_size": 8, "img_size": 64}),
    ),
    "dinov3": (
        ("DINOv3ViTModel", "DINOv3ViTConfig",
         {"patch_size": 16, "image_size": 64, "num_register_tokens": 4, "intermediate_size": 128}),
        ("vit_small_patch16_dinov3_qkvb", {"img_size": 64}),
    ),
    "dinov3, gated": (
        ("DINOv3ViTModel", "DINOv3ViTConfig",
         {"patch_size": 16, "image_size": 64, "num_register_tokens": 4, "intermediate_size": 96,
          "use_gated_mlp": True, "hidden_act": "silu"}),
        ("vit_huge_plus_patch16_dinov3_qkvb", {"img_size": 64, "mlp_ratio": 3.0,
                                               "swiglu_align_to": 8}),
    ),
}  # fmt: skip


def pair(transformers, kind):
    """A random network of transformers, and timm's of the same architecture."""
    (model, config, settings), (name, options) = PAIRS[kind]
    if name not in timm.list_models():
        pytest.skip(f"this timm has no {name}")
    settings = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, **settings}
    theirs = randomised(getattr(transformers, model)(getattr(transformers, config)(**settings)))
    return theirs, timm.create_model(name, num_classes=0, **{**_TINY, **options})


@pytest.mark.parametrize("written", ["as it runs", "as it is saved"])
@pytest.mark.parametrize("kind", PAIRS)
def test_transformers_networks_are_computed_as_transformers_does(
    transformers, tmp_path, kind, written
):
    theirs, ours = pair(transformers, kind)
    if written == "as it runs":
        save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    else:  # under the names that its files had from the first
        theirs.save_pretrained(tmp_path)
    load_weights(ours, tmp_path / "model.safetensors")
    ours.eval()
    with torch.no_grad():
        expected = theirs(PIXELS).last_hidden_state
        prefix = ours.num_prefix_tokens
        close(architectures.TokenFeatures(ours, "cls")(PIXELS), expected[:, 0])
        close(architectures.TokenFeatures(ours, "mean")(PIXELS), expected[:, prefix:].mean(dim=1))
        both = architectures.TokenFeatures(ours, "cls+mean")(PIXELS)
        close(both, torch.cat([expected[:, 0], expected[:, prefix:].mean(dim=1)], dim=1))


def as_published(theirs, pieces=(None,) * 3):
    """transformers' DINO under the names of its own repositories, as its authors' files have them.

    `pieces` gives each block the number of its piece, as their training keeps them.
    """
    state = {key.removeprefix("model."): value for key, value in theirs.state_dict().items()}
    is_third = "embeddings.patch_embeddings.weight" in state
    if is_third:
        renamed = {"embeddings.patch_embeddings.weight": "patch_embed.proj.weight",
                   "embeddings.patch_embeddings.bias": "patch_embed.proj.bias",
                   "norm.weight": "norm.weight", "norm.bias": "norm.bias",
                   "embeddings.register_tokens": "storage_tokens"}  # fmt: skip
    else:
        renamed = {"embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
                   "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
                   "layernorm.weight": "norm.weight", "layernorm.bias": "norm.bias",
                   "embeddings.position_embeddings": "pos_embed",
                   "embeddings.register_tokens": "register_tokens"}  # fmt: skip
    renamed |= {"embeddings.cls_token": "cls_token"}
    published = {new: state[old] for old, new in renamed.items() if old in state}
    published["mask_token"] = state["embeddings.mask_token"].reshape(1, -1)
    if is_third:
        published["rope_embed.periods"] = torch.ones(4)
    for number, piece in enumerate(pieces):
        layer = state_of(state, f"{'' if is_third else 'encoder.'}layer.{number}.")
        place = f"blocks.{number}." if piece is None else f"blocks.{piece}.{number}."
        published |= before(place, block(layer, is_third))
    return published


def state_of(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def block(layer, is_third):
    """The tensors of a block, under its authors' names."""
    named = {}
    for end in ("weight", "bias"):
        named |= {f"norm{part}.{end}": layer[f"norm{part}.{end}"] for part in (1, 2)}
        named[f"attn.proj.{end}"] = layer[f"attention.o_proj.{end}"]
        nothing = torch.zeros_like(layer[f"attention.q_proj.{end}"])
        parts = [layer.get(f"attention.{part}_proj.{end}", nothing) for part in "qkv"]
        named[f"attn.qkv.{end}"] = torch.cat(parts)
        mlp = {key.split(".")[1]: value for key, value in layer.items() if key.endswith(end)
               and key.startswith("mlp.")}  # fmt: skip
        if "gate_proj" not in mlp:
            names = {"fc1": "up_proj" if is_third else "fc1",
                     "fc2": "down_proj" if is_third else "fc2"}  # fmt: skip
        elif is_third:
            names = {"w1": "gate_proj", "w2": "up_proj", "w3": "down_proj"}
        else:
            mlp["both"] = torch.cat([mlp["gate_proj"], mlp["up_proj"]])
            names = {"w12": "both", "w3": "down_proj"}
        named |= {f"mlp.{new}.{end}": mlp[old] for new, old in names.items()}
    named |= {f"ls{part}.gamma": layer[f"layer_scale{part}.lambda1"] for part in (1, 2)}
    if is_third:  # what the mask takes out is not learnt, and may be anything
        mask = torch.cat([torch.ones(32), torch.zeros(32), torch.ones(32)])
        named["attn.qkv.bias_mask"] = mask
        named["attn.qkv.bias"] = torch.where(mask == 0, 9.0, named["attn.qkv.bias"])
    return named


def before(prefix, tensors):
    return {f"{prefix}{key}": value for key, value in tensors.items()}


@pytest.mark.parametrize("kind", PAIRS)
def test_files_of_dinos_own_repositories_are_computed_as_transformers_does(
    transformers, tmp_path, kind
):
    theirs, ours = pair(transformers, kind)
    torch.save(as_published(theirs), tmp_path / "dino_pretrain.pth")
    load_weights(ours, tmp_path / "dino_pretrain.pth")
    with torch.no_grad():
        expected = theirs(PIXELS).last_hidden_state
        close(architectures.TokenFeatures(ours.eval(), "cls")(PIXELS), expected[:, 0])


@pytest.mark.parametrize("kind", PAIRS)
def test_files_of_dinos_own_repositories_give_the_tensors_that_timm_takes(
    transformers, tmp_path, kind, capsys
):
    theirs, ours = pair(transformers, kind)
    published = as_published(theirs)
    torch.save(published, tmp_path / "dino_pretrain.pth")
    load_weights(ours, tmp_path / "dino_pretrain.pth")
    if kind.startswith("dinov2"):
        from timm.models.vision_transformer import checkpoint_filter_fn
    else:
        from timm.models.eva import checkpoint_filter_fn
    expected = checkpoint_filter_fn(dict(published), ours)
    assert expected.keys() == ours.state_dict().keys()
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[key]), key


def test_biases_that_a_network_of_timms_leaves_out_must_be_zero(transformers, tmp_path):
    theirs, _ = pair(transformers, "dinov3")
    plain = timm.create_model("vit_small_patch16_dinov3", num_classes=0, img_size=64, **_TINY)
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="qkv.bias' is not zero.* _qkvb behind it"):
        load_weights(plain, tmp_path / "w.safetensors")
    state = {
        key: torch.zeros_like(value) if "_proj.bias" in key and "attention" in key
        and "o_proj" not in key else value
        for key, value in theirs.state_dict().items()
    }  # fmt: skip
    theirs.load_state_dict(state)
    save_file(state, tmp_path / "w.safetensors")
    masked = {  # DINOv3 multiplies a bias by its mask, so that this one is zero, too
        key: torch.zeros_like(value) if key.endswith("bias_mask") else value
        for key, value in as_published(theirs).items()
    } | {f"blocks.{number}.attn.qkv.bias": torch.full((96,), 9.0) for number in range(3)}
    torch.save(masked, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        load_weights(plain, tmp_path / name)
        with torch.no_grad():
            expected = theirs(PIXELS).last_hidden_state[:, 0]
            close(architectures.TokenFeatures(plain.eval(), "cls")(PIXELS), expected)


def test_mri_core_is_dinos_network_as_its_training_left_it(transformers, tmp_path, monkeypatch):
    """A teacher in pieces, behind prefixes and beside heads; layer scales it has none."""
    settings = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = transformers.Dinov2Config(patch_size=16, image_size=64, **settings)
    theirs = randomised(transformers.Dinov2Model(config))
    with torch.no_grad():
        for name, tensor in theirs.named_parameters():
            if "layer_scale" in name:
                tensor.fill_(1)
    teacher = as_published(theirs, pieces=[0, 0, 1])
    assert "blocks.1.2.norm1.weight" in teacher
    teacher = {key: value for key, value in teacher.items() if ".ls" not in key}
    heads = {"dino_head.mlp.0.weight": torch.ones(2, 2), "ibot_head.mlp.0.bias": torch.ones(2)}
    torch.save({"teacher": before("backbone.", teacher) | heads}, tmp_path / "MRI_CORE_vitb.pth")
    make = architectures._MAKERS["mri_core"]
    monkeypatch.setitem(
        architectures._MAKERS, "mri_core", lambda **more: make(img_size=64, **_TINY, **more)
    )
    loaded = load_backbone("mri_core", str(tmp_path / "MRI_CORE_vitb.pth"))
    assert loaded.record.weights.label() == "file MRI_CORE_vitb.pth, averaged (teacher)"
    with torch.no_grad():
        close(loaded.network(loaded.normalise(PIXELS)), theirs(PIXELS).last_hidden_state[:, 0])


def test_curia_sees_each_image_standardised_and_in_grey(transformers, tmp_path, monkeypatch):
    settings = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    grey = {"patch_size": 16, "image_size": 64, "num_channels": 1, "use_swiglu_ffn": True}
    theirs = randomised(transformers.Dinov2Model(transformers.Dinov2Config(**settings, **grey)))
    theirs.save_pretrained(tmp_path)
    monkeypatch.setitem(
        architectures._MAKERS,
        "curia",
        # Gated layers are rounded up to 88, of 85 and a third.
        lambda **more: architectures._curia(
            **{"img_size": 64, "mlp_ratio": 5.5, "patch_size": 16, **_TINY, **more}
        ),
    )
    loaded = load_backbone("curia", str(tmp_path / "model.safetensors"))
    images = PIXELS[:, :1]
    flat = torch.stack([(image - image.mean()) / image.std() for image in images])
    with torch.no_grad():
        expected = theirs(flat).last_hidden_state[:, 0]
        close(loaded.network(loaded.normalise(images)), expected)
        dark = loaded.network(loaded.normalise(torch.zeros(1, 1, 64, 64)))
        expected = theirs(torch.zeros(1, 1, 64, 64)).last_hidden_state[:, 0]
    torch.testing.assert_close(dark, expected, rtol=1e-5, atol=1e-5)


def test_radimagenets_resnet_is_torchvisions_whose_layers_are_numbered(tmp_path):
    from torchvision.models import resnet50

    theirs = randomised(torch.nn.Sequential(*list(resnet50(weights=None).children())[:9]))
    torch.save(before("backbone.", theirs.state_dict()), tmp_path / "ResNet50.pt")
    loaded = load_backbone("radimagenet_resnet50", str(tmp_path / "ResNet50.pt"))
    assert (loaded.record.mean, loaded.record.std) == ((0.5,) * 3, (0.5,) * 3)
    with torch.no_grad():
        expected = theirs((PIXELS * 255 - 127.5) * 2 / 255).flatten(1)
        close(loaded.network(loaded.normalise(PIXELS)), expected)


def converted_from_keras():
    """The names of RadImageNet's weights of Keras, in the form in which they are handed on."""
    state = timm.create_model("resnet50", num_classes=0).state_dict()
    return state | {
        key.replace("weight", "bias"): torch.zeros(len(value))
        for key, value in state.items()
        if value.ndim == 4
    }


WRONG = {
    "another family": (
        "mri_core",
        lambda: timm.create_model("resnet18", num_classes=0).state_dict(),
        "has no tensor 'cls_token' and 149 others, of 150 that .*by its names it is a ResNet of timm's",
    ),
    "a transformer for a network of convolutions": (
        "radimagenet_resnet50",
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(),
        "has no tensor 'conv1.weight' .*a vision transformer of timm's",
    ),
    "converted from Keras": (
        "radimagenet_resnet50",
        converted_from_keras,
        "has 'conv1.bias' and 52 others.*RadImageNet's ResNet of Keras, which is another network",
    ),
    "Segment Anything": (
        "mri_core",
        lambda: before("image_encoder.", {"patch_embed.proj.weight": torch.ones(768, 3, 16, 16)}),
        "has no tensor 'cls_token' .*by its names it is Segment Anything",
    ),
    "another width": (
        "vit_small_patch14_dinov2",
        lambda: timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(),
        r"tensor 'cls_token' has shape \(1, 1, 192\), not \(1, 1, 384\)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_for_a_name_is_told_in_one_line(tmp_path, kind):
    name, make, said = WRONG[kind]
    torch.save(make(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=said) as refused:
        load_backbone(name, str(tmp_path / "w.pth"))
    assert "\n" not in str(refused.value) and str(refused.value).endswith("is backbone right?")


def test_a_wrong_file_of_transformers_says_whose_names_it_has(transformers, tmp_path):
    theirs, _ = pair(transformers, "dinov2")
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    said = r"has no tensor 'conv_stem.weight' .*by its names it is transformers' DINOv2 or DINOv3"
    with pytest.raises(UsageError, match=said):
        load_backbone("mobilenetv2_100", str(tmp_path / "w.safetensors"))


#: The real sizes: transformers' settings, as its models on the hub have them, and timm's names.
REAL = {
    "vit_small_patch14_dinov2": ("Dinov2", {"hidden_size": 384, "num_attention_heads": 6}),
    "vit_base_patch14_dinov2": ("Dinov2", {}),
    "vit_large_patch14_dinov2": (
        "Dinov2", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    ),
    "vit_giant_patch14_dinov2": (
        "Dinov2", {"hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24,
                   "use_swiglu_ffn": True},
    ),
    "vit_base_patch14_reg4_dinov2": ("Dinov2WithRegisters", {}),
    "vit_small_patch16_dinov3_qkvb": (
        "DINOv3ViT", {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    ),
    "vit_huge_plus_patch16_dinov3_qkvb": (
        "DINOv3ViT",
        {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 20,
         "intermediate_size": 5120, "use_gated_mlp": True},
    ),
    "curia": (
        "Dinov2",
        {"image_size": 512, "patch_size": 16, "num_channels": 1, "use_swiglu_ffn": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_every_tensor_of_the_real_sizes_has_its_place(transformers, without_numbers, name):
    """In names and shapes alone, which is why it is quick."""
    kind, settings = REAL[name]
    if name not in (*timm.list_models(), *catalogue.OWN):
        pytest.skip(f"this timm has no {name}")
    base = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    if kind == "DINOv3ViT":
        base |= {"num_register_tokens": 4}
    elif "image_size" not in settings:
        base |= {"image_size": 518, "patch_size": 14}
    config = getattr(transformers, f"{kind}Config")(**base | settings)
    with torch.device("meta"):
        theirs = getattr(transformers, f"{kind}Model")(config).state_dict()
    wanted = without_numbers(name).state_dict()
    layout, mark = layout_of(theirs, wanted)
    assert mark.startswith("embeddings.patch_embeddings.")
    translated = layout.translate(theirs, wanted)
    assert {key: each.shape for key, each in translated.items()} == {
        key: each.shape for key, each in wanted.items()
    }


def test_names_that_nothing_is_known_of_are_not_called_anything():
    assert looks_like(["encoder.weight", "other.bias"]) == ""
    assert layout_of(["encoder.weight"], ["conv.weight"]) is None
