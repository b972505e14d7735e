"""oa-phantom: a synthetic download of a study, with findings planted in its images."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oatools.core.cli import command
from oatools.core.console import Console
from oatools.core.helptext import Example, argument, heading
from oatools.core.manifest import IDENTITY, Row, Table
from oatools.core.options import run_options, seed_option
from oatools.core.outfolder import IntoFolder
from oatools.core.runner import Done, RunOptions, run_rows

if TYPE_CHECKING:
    from oatools.phantom.people import PhantomSettings

_OAI = ("cor-iw-tse", "sag-iw-tse", "sag-3d-dess")
# The last visit with an X-ray, and its months since enrolment.
_FOLLOW_UPS = {"12m": 12, "24m": 24, "36m": 36, "48m": 48, "72m": 72, "96m": 96}
# The sequences of each form.
_FORMS = {"ascii": _OAI, "nda": _OAI, "most": ("hr-cor-stir", "sag-pd-fat-sat")}
_SEQUENCES = (*_OAI, *_FORMS["most"])


@command(
    "oa-phantom",
    examples=(
        Example(
            "A small cohort, coronal scans only",
            "oa-phantom oai --patients 60 --sequence cor-iw-tse --matrix 192 -j 4 > series.tsv",
        ),
        Example(
            "Through the pipe",
            "oa-convert oai/00m -o nii | oa-orient -o oriented | oa-n4 -o n4 | oa-embed -o "
            "features > features.tsv",
        ),
    ),
)
@argument(
    "folder",
    "Folder for the download, made if missing.",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
)
@heading("People")
@click.option(
    "--patients",
    type=click.IntRange(1, 20_000),
    default=40,
    show_default=True,
    metavar="N",
    help="Number of people, each with both knees.",
)
@seed_option
@click.option(
    "--form",
    type=click.Choice(list(_FORMS)),
    default="ascii",
    show_default=True,
    help="Form of the download: OAI's release, OAI in the NIMH Data Archive, or one like MOST.",
)
@heading("Images")
@click.option(
    "--sequence",
    "sequences",
    multiple=True,
    type=click.Choice(_SEQUENCES),
    help="Sequence to write; repeatable. [default: all of the form]",
)
@click.option(
    "--images/--no-images",
    "with_images",
    default=True,
    help="Write the images, or no more than tables and truth.",
)
@click.option(
    "--matrix",
    type=click.IntRange(32, 1024),
    default=384,
    show_default=True,
    metavar="M",
    help="In-plane matrix of the same field of view; the study's is 384.",
)
@click.option(
    "--bias",
    type=click.Choice(["waves", "array", "birdcage", "flexible", "mixed"]),
    default="waves",
    show_default=True,
    help="Bias of the images: random waves, or that of a coil, drawn for each knee; mixed: of any "
    "coil.",
)
@heading("Sites")
@click.option(
    "--sites",
    type=click.IntRange(2, 5),
    metavar="N",
    help="Give each of N sites a scanner of its own: from sharp and noisy to blurred and calm.",
)
@click.option(
    "--site-odds",
    type=click.FloatRange(0, min_open=True),
    default=4.0,
    show_default=True,
    metavar="X",
    help="How much likelier a knee that narrows is at the last of these sites, beside the first; 1 "
    "for sites that tell nothing.",
)
@heading("Outcome")
@click.option(
    "--progressors",
    type=float,
    default=0.3,
    show_default=True,
    metavar="P",
    help="Fraction of knees whose joint space narrows; 0.14 in the study.",
)
@click.option(
    "--painful",
    type=float,
    default=0.4,
    show_default=True,
    metavar="P",
    help="Fraction of knees that hurt.",
)
@click.option(
    "--jsn-auc",
    type=float,
    default=0.95,
    show_default=True,
    metavar="AUC",
    help="Best possible AUC for narrowing: of an observer who reads the severity exactly.",
)
@click.option(
    "--pain-auc",
    type=float,
    default=0.95,
    show_default=True,
    metavar="AUC",
    help="Best possible AUC for pain, likewise.",
)
@click.option(
    "--follow-up",
    type=click.Choice(list(_FOLLOW_UPS)),
    help="Plant times to narrowing, lost grades and replacement, with X-rays to this visit, losses "
    "and deaths. [default: outcomes of a year, X-rays to 48m]",
)
@run_options
def main(
    console: Console,
    folder: Path,
    patients: int,
    seed: int,
    form: str,
    sequences: tuple[str, ...],
    with_images: bool,
    matrix: int,
    bias: str,
    sites: int | None,
    site_odds: float,
    progressors: float,
    painful: float,
    jsn_auc: float,
    pain_auc: float,
    follow_up: str | None,
    run: RunOptions,
) -> int:
    """Write a synthetic download of the study into DIR: images, tables, and the truth behind them.

    \b
        oa-phantom demo --patients 60 --sequence cor-iw-tse --matrix 192 -j 4 > series.tsv
        oa-convert demo/00m -o nii

    All of it is invented; no figure made from it says anything about people. The images carry
    findings whose size follows a severity. The severities of the two groups are set apart so that
    an ideal observer reaches the AUC given by --jsn-auc and --pain-auc: no reader can do better in
    the long run. DIR/truth.tsv states what was planted where.

    A folder made with the same settings is completed; any other that is not empty is refused.
    """
    from oatools.phantom.download import prepare
    from oatools.phantom.people import PhantomSettings

    settings = PhantomSettings(
        patients=patients,
        seed=seed,
        form=form,
        sequences=tuple(name for name in _SEQUENCES if name in (sequences or _FORMS[form])),
        matrix=matrix,
        bias=bias,
        sites=sites or 0,
        site_odds=site_odds if sites else 1.0,
        progressors=progressors,
        painful=painful,
        jsn_auc=jsn_auc,
        pain_auc=pain_auc,
        follow_up=_FOLLOW_UPS[follow_up] if follow_up else 0,
    )
    planned = prepare(folder, settings)
    rows = planned if with_images else []
    console.note(
        f"synthetic data; best possible AUC {jsn_auc:g} for narrowing, {pain_auc:g} for pain"
    )
    table = Table(list(IDENTITY), iter(rows), "the phantom", len(rows))
    return run_rows(console, table, IntoFolder(folder, partial(_write, settings)), run)


def _write(settings: "PhantomSettings", row: Row) -> Done:
    from oatools.phantom.download import make_series

    warnings: list[str] = []
    is_new = make_series(settings, row, warnings.append)
    return Done({}, kept=not is_new, warnings=tuple(warnings))
