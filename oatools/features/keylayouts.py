"""The names that other programs give to the tensors of networks that timm has, too.

Each layout is known by a tensor's name that it alone has, and told in names of timm's. Sources: the
state dicts of torchvision, of the repositories facebookresearch/dinov2 and dinov3, of transformers'
Dinov2Model, Dinov2WithRegistersModel and DINOv3ViTModel, and of BMEII-AI/RadImageNet.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

Tensors = dict[str, torch.Tensor]
Translation = Callable[[Tensors, Mapping[str, torch.Tensor]], Tensors]


class LayoutError(Exception):
    """Tensors in a known layout that do not fit the network; the text says which, and how."""


@dataclass(frozen=True)
class Layout:
    """A layout of names: what it is called, the tensors that show it, and how to translate it.

    `translate` takes tensors by their names in the layout, without prefixes, and the network's own
    state dict.
    """

    name: str
    marks: tuple[str, ...]
    translate: Translation


def _from_torchvision(state: Tensors, wanted: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the state dict of torchvision's EfficientNet or MobileNet under timm's names.

    Both list the same layers in the same order; every pair must agree in its last name and in
    shape.
    """
    theirs = [key for key in state if key.startswith("features.")]
    for ours, key in zip(wanted, theirs, strict=False):
        same_name = ours.rpartition(".")[2] == key.rpartition(".")[2]
        if not same_name or wanted[ours].shape != state[key].shape:
            shapes = f"{tuple(state[key].shape)}, where '{ours}' has {tuple(wanted[ours].shape)}"
            raise LayoutError(f"torchvision's tensor '{key}' has shape {shapes}")
    if len(theirs) != len(wanted):
        raise LayoutError(f"holds {len(theirs)} of torchvision's tensors, not {len(wanted)}")
    return {ours: state[key] for ours, key in zip(wanted, theirs, strict=True)}


#: The children of torchvision's ResNet in order, as a `Sequential` of them numbers them.
_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _from_numbered_resnet(state: Tensors, _: Mapping[str, torch.Tensor]) -> Tensors:
    """Return a ResNet whose layers are numbered, as RadImageNet's, under timm's names."""
    renamed = {}
    for key, tensor in state.items():
        number, _dot, rest = key.partition(".")
        known = number.isdecimal() and int(number) < len(_CHILDREN)
        renamed[f"{_CHILDREN[int(number)]}.{rest}" if known else key] = tensor
    return renamed


#: transformers' names, and those of the repositories of DINO; a layer's follow its number.
_TRANSFORMERS = (
    (r"^embeddings\.(cls_token|mask_token|register_tokens)$", r"\1"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.(?:projection\.)?", "patch_embed.proj."),
    (r"^(?:encoder\.|model\.)?layer\.(\d+)\.", r"blocks.\1."),
    (r"^layernorm\.", "norm."),
    (r"\.attention\.attention\.([qkv])(?:uery|ey|alue)\.", r".attn.\1."),
    (r"\.attention\.([qkv])_proj\.", r".attn.\1."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.w12."),
    (r"\.mlp\.weights_out\.", ".mlp.w3."),
)
_GATED = ((".mlp.gate_proj.", ".mlp.w1."), (".mlp.up_proj.", ".mlp.w2."))
_PLAIN = ((".mlp.up_proj.", ".mlp.fc1."),)


def _from_transformers(state: Tensors, wanted: Mapping[str, torch.Tensor]) -> Tensors:
    """Return transformers' DINOv2 or DINOv3 under timm's names."""
    is_gated = any(".mlp.gate_proj." in key for key in state)
    down = (".mlp.down_proj.", ".mlp.w3." if is_gated else ".mlp.fc2.")
    renamed: Tensors = {}
    for key, tensor in state.items():
        for pattern, replacement in _TRANSFORMERS:
            key = re.sub(pattern, replacement, key)
        for old, new in (*(_GATED if is_gated else _PLAIN), down):
            key = key.replace(old, new)
        renamed[key] = tensor
    return _from_dino(_joined_attention(renamed), wanted)


def _joined_attention(state: Tensors) -> Tensors:
    """Put the parts q, k and v of attention together; a bias that one lacks is zero."""
    joined = {key: each for key, each in state.items() if not re.search(r"\.attn\.[qkv]\.", key)}
    for key in state:
        if not key.endswith(".attn.q.weight"):
            continue
        stem = key.removesuffix("q.weight")
        weights = [state.get(f"{stem}{part}.weight") for part in "qkv"]
        biases = [state.get(f"{stem}{part}.bias") for part in "qkv"]
        if any(weight is None for weight in weights):
            raise LayoutError(f"has '{key}' without the other two parts of attention")
        joined[f"{stem}qkv.weight"] = torch.cat([each for each in weights if each is not None])
        if any(bias is not None for bias in biases):
            nothing = state[key].new_zeros(state[key].shape[0])
            present = [nothing if bias is None else bias for bias in biases]
            joined[f"{stem}qkv.bias"] = torch.cat(present)
    return joined


#: What DINO's training keeps beside the network: the token for masked patches, constants, heads.
_TRAINING = re.compile(
    r"(^|\.)(mask_token|bias_mask|periods|inv_freq)$|^(dino_head|ibot_head|local_cls_norm)\."
)


def _from_dino(state: Tensors, wanted: Mapping[str, torch.Tensor]) -> Tensors:
    """Return a vision transformer of the repositories of DINOv2 or DINOv3 under timm's names."""
    renamed: Tensors = {}
    for key, tensor in state.items():
        if _TRAINING.search(key):
            continue
        mask = state.get(f"{key}_mask")  # DINOv3 multiplies biases by it, where it was set
        if mask is not None and mask.shape == tensor.shape and mask.isfinite().all():
            tensor = tensor * mask
        # Trained in pieces: the first number is the piece's, and the second counts all blocks.
        key = re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key)
        key = re.sub(r"^(register|storage)_tokens$", "reg_token", key)
        renamed[key] = tensor
    return _as_wanted(_gated(renamed, wanted), wanted)


def _gated(state: Tensors, wanted: Mapping[str, torch.Tensor]) -> Tensors:
    """Name the gated layers as timm: both that go in as one (w12), or each by itself (w1, w2)."""
    if not any(".mlp.w3." in key for key in state):
        return state
    is_apart = any(".mlp.fc1_g." in key for key in wanted)
    named: Tensors = {}
    for key, tensor in state.items():
        if ".mlp.w1." in key and not is_apart:
            other = state.get(key.replace(".w1.", ".w2."))
            if other is None:
                raise LayoutError(f"has '{key}' without its other half")
            named[key.replace(".w1.", ".fc1.")] = torch.cat([tensor, other])
        elif ".mlp.w2." not in key or is_apart:
            for old, new in ((".w12.", ".fc1."), (".w1.", ".fc1_g."), (".w2.", ".fc1_x.")):
                key = key.replace(f".mlp{old}", f".mlp{new}")
            named[key.replace(".mlp.w3.", ".mlp.fc2.")] = tensor
    return named


def _as_wanted(state: Tensors, wanted: Mapping[str, torch.Tensor]) -> Tensors:
    """Fit what timm keeps in other forms: layer scales, biases, positions, images in grey."""
    fitted: Tensors = {}
    for key, tensor in state.items():
        scale = re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", key)
        if scale != key and scale in wanted:
            fitted[scale] = tensor
        elif key.endswith("attn.qkv.bias") and key not in wanted and f"{key[:-4]}weight" in wanted:
            fitted |= _apart(key, tensor, wanted)
        else:
            fitted[key] = tensor
    if "reg_token" in wanted and "pos_embed" in wanted and {"cls_token", "pos_embed"} <= set(state):
        # Beside registers timm keeps positions of patches alone, and the class token's with it.
        positions = state["pos_embed"]
        if positions.ndim == 3 and positions.shape[2:] == state["cls_token"].shape[2:]:
            fitted["cls_token"] = state["cls_token"] + positions[:, :1]
            fitted["pos_embed"] = positions[:, 1:]
    grey, colour = fitted.get("patch_embed.proj.weight"), wanted.get("patch_embed.proj.weight")
    if grey is not None and colour is not None and (grey.shape[1:2], colour.shape[1]) == ((1,), 3):
        # Summed over three equal channels, it is what it was over one.
        fitted["patch_embed.proj.weight"] = grey.expand(-1, 3, -1, -1) / 3
    return fitted


def _apart(key: str, bias: torch.Tensor, wanted: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the biases of queries and values; DINOv3 masks those of keys.

    timm's networks without them are for weights whose biases are all zero.
    """
    query, _, value = bias.chunk(3)
    query_key, value_key = key.replace("qkv.bias", "q_bias"), key.replace("qkv.bias", "v_bias")
    if query_key in wanted:
        return {query_key: query, value_key: value}
    if query.any() or value.any():
        raise LayoutError(
            f"tensor '{key}' is not zero, and the backbone has none: take timm's of that name with "
            "_qkvb behind it"
        )
    return {}


_TORCHVISION = Layout("torchvision's EfficientNet or MobileNet", ("features.0.0.weight",),
                      _from_torchvision)  # fmt: skip
_TRANSFORMERS_DINO = Layout(
    "transformers' DINOv2 or DINOv3",
    ("embeddings.patch_embeddings.projection.weight", "embeddings.patch_embeddings.weight"),
    _from_transformers,
)
_NUMBERED = Layout(
    "a ResNet whose layers are numbered, as RadImageNet's", ("4.0.conv1.weight",),
    _from_numbered_resnet,
)  # fmt: skip
_DINO = Layout(
    "the repositories of DINOv2 and DINOv3",
    (
        *("storage_tokens", "register_tokens", "mask_token"),
        *("blocks.0.0.norm1.weight", "blocks.0.mlp.w3.weight"),
    ),
    _from_dino,
)
#: In the order in which they are looked for.
LAYOUTS = (_TORCHVISION, _TRANSFORMERS_DINO, _NUMBERED, _DINO)

#: Further files that are known when they are seen, and fit none of their own accord.
_SEEN = (
    ("layer1.0.conv1.bias", "RadImageNet's ResNet of Keras, which is another network"),
    ("image_encoder.patch_embed.proj.weight", "Segment Anything"),
    ("conv_stem.weight", "timm's EfficientNet or MobileNet"),
    ("_conv_stem.weight", "efficientnet-pytorch"),
    ("layer1.0.conv1.weight", "a ResNet of timm's or torchvision's"),
    ("cls_token", "a vision transformer of timm's"),
)


def layout_of(names: Iterable[str], wanted: Iterable[str]) -> tuple[Layout, str] | None:
    """Return the layout of a file's names, and the mark by which it was known.

    None where it has none of these, or the network has that very name.
    """
    names, wanted = list(names), set(wanted)
    for layout in LAYOUTS:
        for mark in layout.marks:
            if mark not in wanted and any(_ends_with(name, mark) for name in names):
                return layout, mark
    return None


def looks_like(names: Iterable[str]) -> str:
    """Say whose names these look like; an empty text where nothing tells."""
    names = list(names)
    known = [(mark, layout.name) for layout in LAYOUTS for mark in layout.marks]
    for mark, words in (*known, *_SEEN):
        if any(_ends_with(name, mark) for name in names):
            return words
    return ""


def _ends_with(name: str, mark: str) -> bool:
    return name == mark or name.endswith(f".{mark}")
