"""oa-embed: slices to ImageNet features."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.manifest import file_stem, read_rows
from oatools.core.options import (
    force_option,
    inputs_argument,
    out_dir_option,
    require_inputs,
    run_options,
    seed_option,
)
from oatools.core.runner import RunOptions, run_rows

_READERS = 16  # for a GPU, unless -j says otherwise


@command("oa-embed")
@inputs_argument()
@out_dir_option("the feature files", required=False)
@click.option(
    "--backbone",
    default="efficientnet_b0",
    show_default=True,
    metavar="NAME",
    help="A timm model's name.",
)
@click.option(
    "--weights",
    default="pretrained",
    show_default=True,
    metavar="pretrained|random|FILE",
    help="timm's own download, seeded random ones, or a .safetensors file or torch state dict.",
)
@click.option(
    "--slices",
    type=click.IntRange(1),
    metavar="N",
    help="Only this many slices around the middle (default: all).",
)
@click.option(
    "--range",
    "span",
    type=(click.IntRange(1), click.IntRange(1)),
    metavar="FIRST LAST",
    help="Only these slices, counted from 1.",
)
@click.option(
    "--triplet", is_flag=True, help="Red and blue are the slices before and behind (2.5D)."
)
@click.option(
    "--window",
    type=(click.FloatRange(0, 100), click.FloatRange(0, 100)),
    default=(1.0, 99.0),
    show_default=True,
    metavar="LOW HIGH",
    help="Percentiles of the volume that become black and white.",
)
@click.option(
    "--augment",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Store the features of N varied copies beside the plain ones.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "torch"]),
    default="auto",
    show_default=True,
    help="What computes: OpenVINO on a CPU and PyTorch on a GPU, or as named.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bf16", "float16"]),
    default="auto",
    show_default=True,
    help="Of the arithmetic: float32 on a CPU and float16 on a GPU, or as named.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Slices at a time (default: what suits the device).",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Where to compute.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Of the numbers in the file.",
)
@click.option(
    "--check", is_flag=True, help="Verify feature files instead: good rows pass, bad ones fail."
)
@seed_option
@force_option
@run_options
@click.pass_context
def main(
    context: click.Context,
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path | None,
    force: bool,
    check: bool,
    run: RunOptions,
    **options,
) -> int:  # noqa: ANN003
    """Turn every slice of a volume into the features of an ImageNet backbone.

    Writes one HDF5 file a volume: features (slices x channels), slice positions, and attributes
    that say exactly how they were made. Volumes are taken as oa-orient leaves them, slices in the
    last axis.
    """
    require_inputs(inputs)
    if check:
        table = read_rows(inputs, null_separated).require("path")
        from oatools.features.checking import Checker

        # One after the other, since each is held against the first good one.
        return run_rows(console, table, Checker(), replace(run, jobs=1))
    if out_dir is None:
        raise UsageError(
            "-o names the folder for the feature files; give it, or --check to verify files"
        )
    if options["window"][0] >= options["window"][1]:
        raise UsageError("--window needs two percentiles, the lower first, such as 1 99")
    span = options.pop("span")
    if span and options["slices"]:
        raise UsageError("--range and --slices exclude each other; give one")
    if span and span[0] > span[1]:
        raise UsageError("--range needs two slices, the first one first, such as 10 30")
    table = read_rows(inputs, null_separated).require("path")
    from oatools.features.engine import FLOAT16, FLOAT32, EngineSettings, best_device
    from oatools.features.rows import EmbedSettings, embed_volume

    device = best_device(options.pop("device"))
    gpu = device != "cpu"
    if options["precision"] == FLOAT16 and not gpu:
        raise UsageError("--precision float16 is for a GPU; use bf16 on a CPU")
    if gpu and context.get_parameter_source("jobs") is click.core.ParameterSource.DEFAULT:
        run = replace(run, jobs=min(_READERS, len(os.sched_getaffinity(0))))
    precision = options.pop("precision")
    engine = EngineSettings(
        options.pop("backbone"),
        options.pop("weights"),
        options["seed"],
        options.pop("engine"),
        device,
        (FLOAT16 if gpu else FLOAT32) if precision == "auto" else precision,
        options.pop("batch_size"),
        threads=2 if gpu else run.jobs,
        channels=3 if options["triplet"] else 1,
    )
    slices = span or options.pop("slices")
    options.pop("slices", None)
    settings = EmbedSettings(engine, slices, **options)
    work = partial(embed_volume, out_dir=out_dir, settings=settings, force=force)
    # More volumes than threads that compute: one is read ahead while another is written.
    ahead = replace(run, jobs=run.jobs + 2)
    status = run_rows(
        console,
        table,
        work,
        ahead,
        target=lambda row: str(out_dir / file_stem(row)),
        workers="threads",
    )
    if engine.weights == "random":
        console.note(
            "the weights are random: the features show that the pipe works, and nothing about patients"
        )
    return status
