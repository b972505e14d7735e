"""oa-embed: slices to ImageNet features."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.errors import UsageError
from oatools.core.helptext import Example, heading
from oatools.core.manifest import print_table, read_rows, tables_among
from oatools.core.options import (
    inputs_argument,
    out_dir_option,
    replacing_options,
    require_inputs,
    run_options,
    seed_option,
)
from oatools.core.outfolder import FEATURES, IntoFolder, for_one_file, names_file
from oatools.core.replacing import Replace
from oatools.core.runner import Done, RunOptions, run_rows

if TYPE_CHECKING:
    from oatools.features.engine import EngineSettings

_RANDOM = (
    "the weights are random: the features show that the pipe works, and nothing about patients"
)


def _list_backbones(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from oatools.features import catalogue

        print_table(catalogue.COLUMNS, catalogue.rows())
        context.exit()


@command(
    "oa-embed",
    examples=(
        Example(
            "All slices, on 8 cores",
            "oa-embed -j 8 -o features < n4.tsv > features.tsv",
        ),
        Example(
            "The medial compartment of sagittal scans, enlarged",
            "oa-n4 -o n4 < oriented.tsv | oa-embed --compartment medial --slices 8 --crop 100 -o "
            "medial > medial.tsv",
        ),
    ),
)
@inputs_argument()
@out_dir_option("the feature files", required=False, one=FEATURES)
@heading("Backbone")
@click.option(
    "--backbone",
    default="tf_efficientnet_lite0",
    show_default=True,
    metavar="NAME",
    help="Name of a timm model, or of another that --list-backbones names.",
)
@click.option(
    "--weights",
    default="pretrained",
    show_default=True,
    metavar="pretrained|random|FILE",
    help="Take ImageNet's, seeded random weights, or a .safetensors file or state dict.",
)
@click.option(
    "--size",
    type=click.IntRange(16, 4096),
    metavar="N",
    help="Resize images to N x N pixels (default: the backbone's own size).",
)
@click.option(
    "--tokens",
    type=click.Choice(["cls", "mean", "cls+mean"]),
    help="Tokens of a vision transformer that make the features (default: the backbone's own).",
)
@heading("Slices and images")
@click.option(
    "--slices",
    type=click.IntRange(1),
    metavar="N",
    help="Take only this many slices around the middle (default: all).",
)
@click.option(
    "--range",
    "span",
    type=(click.IntRange(1), click.IntRange(1)),
    metavar="FIRST LAST",
    help="Take only these slices, counted from 1.",
)
@click.option(
    "--crop",
    type=float,
    metavar="MM",
    help="Take a square of this side around the joint, which is found in the image.",
)
@click.option(
    "--compartment",
    type=click.Choice(["medial", "lateral", "both"]),
    help="Take the slices of a compartment (sagittal stacks).",
)
@click.option(
    "--triplet",
    is_flag=True,
    help="Use the slices before and behind as red and blue (2.5D).",
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
    help="Store the features of N augmented copies beside the plain ones.",
)
@heading("Computing")
@click.option(
    "--engine",
    type=click.Choice(["auto", "openvino", "torch"]),
    default="auto",
    show_default=True,
    help="Software that computes; auto is OpenVINO on a CPU and PyTorch on a GPU.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bf16", "float16"]),
    default="auto",
    show_default=True,
    help="Precision of the arithmetic; auto is float32 on a CPU and float16 on a GPU.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="Number of slices to compute at a time (default: what suits the device).",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N][,...]",
    help="Device to compute on; auto is the first GPU, or the CPU if there is none.",
)
@heading("Output")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    default="float32",
    show_default=True,
    help="Type of the numbers in the file.",
)
@heading("Instead of embedding")
@click.option(
    "--also-as",
    type=click.Choice(["clam", "stamp", "trident"]),
    multiple=True,
    help="Write the files so that this program, too, reads them as its own; may be repeated.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Verify feature files instead: good rows pass, bad ones fail.",
)
@click.option(
    "--list-backbones",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_backbones,
    help="Print backbones that are known, with their licences and where to get weights, and exit.",
)
@seed_option
@replacing_options
@run_options
@click.pass_context
def main(
    context: click.Context,
    console: Console,
    inputs: tuple[str, ...],
    null_separated: bool,
    out_dir: Path | None,
    backbone: str,
    weights: str,
    size: int | None,
    tokens: str | None,
    slices: int | None,
    span: tuple[int, int] | None,
    crop: float | None,
    compartment: str | None,
    triplet: bool,
    window: tuple[float, float],
    augment: int,
    engine: str,
    precision: str,
    batch_size: int | None,
    device: str,
    dtype: str,
    also_as: tuple[str, ...],
    check: bool,
    seed: int,
    replacing: Replace,
    run: RunOptions,
) -> int:
    """Turn every slice of a volume into the features of an image backbone.

    Writes one HDF5 file a volume: features (slices x channels), slice positions, and attributes
    that say exactly how they were made. Volumes are taken as oa-orient leaves them, slices in the
    last axis.
    """
    require_inputs(inputs)
    if check:
        return _check(console, inputs, null_separated, run)
    if out_dir is None:
        raise UsageError(
            "-o names the folder for the feature files", "give it, or --check to verify files"
        )
    _check_ranges(window, span, slices)
    table = read_rows(inputs, null_separated).require("path")
    from oatools.features.embed import EmbedSettings
    from oatools.features.engine import EngineSettings
    from oatools.features.rows import embed_row, features_path

    devices = _devices(device)
    chosen_engine = EngineSettings(
        backbone=backbone,
        weights=weights,
        seed=seed,
        engine=engine,
        device=devices[0],
        precision=precision,
        batch=batch_size,
        size=size,
        tokens=tokens or "",
    )
    jobs_are_given = context.get_parameter_source("jobs") is not ParameterSource.DEFAULT
    jobs = run.jobs if jobs_are_given else None
    settings = EmbedSettings(
        engine=chosen_engine,
        slices=span or slices,
        crop=crop,
        compartment=compartment,
        window=window,
        triplet=triplet,
        augment=augment,
        dtype=dtype,
        also_as=also_as,
    ).resolve(jobs)
    embedded: list[str] = []
    work = partial(embed_row, out=out_dir, settings=settings, replacing=replacing)
    folder = out_dir
    if names_file(out_dir, FEATURES):
        table, folder = for_one_file(table, out_dir), out_dir.parent
    with _computing(work, settings.engine, devices, run.timeout) as (work, workers):
        status = run_rows(
            console,
            table,
            IntoFolder(folder, work, touches=replacing is Replace.OUTDATED),
            replace(run, jobs=settings.engine.volumes_in_hand(jobs)),
            target=lambda row: str(features_path(row, out_dir)),
            workers=workers,
            reads=[*tables_among(inputs), *([weights] if Path(weights).is_file() else [])],
            on_done=lambda row, _: embedded.append(row["path"]),
        )
    if weights == "random" and embedded:
        console.note(_RANDOM)
    return status


@contextmanager
def _computing(
    work: "partial[Done]", engine: "EngineSettings", devices: list[str], timeout: float | None
) -> "Iterator[tuple[partial[Done], Literal['processes', 'threads']]]":
    """Yield the work on rows with what reads volumes and computes, and the workers to do it."""
    if not engine.on_gpu:
        from oatools.features.volumereaders import VolumeReaders

        yield partial(work, read=VolumeReaders(timeout).read), "threads"
        return
    from oatools.features.served import EngineServer, served_engine

    with EngineServer([replace(engine, device=device) for device in devices]) as server:
        yield partial(work, opened=partial(served_engine, server.address)), "processes"


def _check_ranges(
    window: tuple[float, float], span: tuple[int, int] | None, slices: int | None
) -> None:
    """Raise a `UsageError` for numbers in the wrong order, or two choices of slices."""
    if window[0] >= window[1]:
        raise UsageError("--window needs two percentiles, the lower first, such as 1 99")
    if span and slices:
        raise UsageError("--range and --slices exclude each other", "give one")
    if span and span[0] > span[1]:
        raise UsageError("--range needs two slices, the first one first, such as 10 30")


def _devices(device: str) -> list[str]:
    """Return the devices that are named, which are GPUs where there are several."""
    devices = device.split(",")
    if len(devices) > 1 and not all(each.startswith("cuda:") for each in devices):
        raise UsageError(
            f"--device is '{device}'", "several devices are GPUs, such as cuda:0,cuda:1"
        )
    if len(set(devices)) < len(devices):
        raise UsageError(f"--device names one twice ('{device}')")
    return devices


def _check(console: Console, inputs: tuple[str, ...], null_separated: bool, run: RunOptions) -> int:
    """Verify feature files one after the other, since each is compared with the first good one."""
    table = read_rows(inputs, null_separated).require("path")
    from oatools.features.rows import Checker

    return run_rows(console, table, Checker(), replace(run, jobs=1))
