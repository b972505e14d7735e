"""oa-embed: slices to ImageNet features."""

from functools import partial
from pathlib import Path

import click

from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import file_stem, read_rows
from oatools.core.options import (
    command,
    force_option,
    inputs_argument,
    out_dir_option,
    require_inputs,
    run_options,
    seed_option,
)
from oatools.core.runner import RunOptions, run_rows


@command("oa-embed")
@inputs_argument()
@out_dir_option("the feature files")
@click.option("--backbone", default="efficientnet_b0", show_default=True, metavar="NAME", help="A timm model's name.")
@click.option(
    "--weights",
    default="pretrained",
    show_default=True,
    metavar="pretrained|random|FILE",
    help="timm's own download, seeded random ones, or a .safetensors file or torch state dict.",
)
@click.option(
    "--slices", type=click.IntRange(1), metavar="N", help="Only this many slices around the middle (default: all)."
)
@click.option(
    "--window",
    type=(click.FloatRange(0, 100), click.FloatRange(0, 100)),
    default=(1.0, 99.0),
    show_default=True,
    metavar="LOW HIGH",
    help="Percentiles of the volume that become black and white.",
)
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Slices at a time.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]", help="Where to compute.")
@seed_option
@force_option
@run_options
def main(console: Console, inputs: tuple[str, ...], null_separated: bool, out_dir: Path, force: bool,
         run: RunOptions, **settings) -> int:  # noqa: ANN003  # fmt: skip
    """Turn every slice of a volume into the features of an ImageNet backbone.

    Writes one HDF5 file a volume: features (slices x channels), slice positions, and attributes that say exactly
    how they were made. Volumes are taken as oa-orient leaves them, slices in the last axis.
    """
    require_inputs(inputs)
    if settings["window"][0] >= settings["window"][1]:
        raise UsageError("--window needs two percentiles, the lower first, such as 1 99")
    table = read_rows(inputs, null_separated).require("path")
    from oatools.features.embed import EmbedSettings, embed_volume

    work = partial(embed_volume, out_dir=out_dir, settings=EmbedSettings(**settings), force=force)
    status = run_rows(console, table, work, run, target=lambda row: str(out_dir / file_stem(row)))
    if settings["weights"] == "random":
        console.note("the weights are random: the features show that the pipe works, and nothing about patients")
    return status
