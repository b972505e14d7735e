"""The files that commands read, each laid out among good ones, and the ways in which one of them is damaged."""

import gzip
import os
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stress.foreign import (
    damage_dicom,
    damage_hdf5,
    damage_nifti_header,
    damage_series,
    forge_features,
    forge_model,
    hide_program,
)
from stress.mutations import (
    Mutation,
    damage_bytes,
    damage_json,
    damage_members,
    damage_safetensors,
    damage_text,
    either,
    inside_gzip,
)
from stress.runs import in_child
from stress.stand import (
    EMBED,
    ENRICH,
    INFO,
    KNEE,
    SCORE,
    SMALL,
    VALIDATE,
    Stand,
    expect_success,
    run_command,
)
from stress.trial import Place

Damage = Callable[[Path, random.Random], None]
#: What must be as without damage: all files and the table, or the table alone.
EVERYTHING, ROWS = ("",), ("rows",)


@dataclass(frozen=True)
class Reader:
    """A command over inputs one of which is damaged.

    `lay` puts the good inputs into a place. One of the files that `damaged` matches is damaged. `item` is in the rows
    and in the names of the files that depend on it; all others must come out as ever. None: all depend on it.
    With success, the item's rows, and its files with one of the endings `faithful`, must be as without damage.
    `is_noticed`: damage must be told, never be passed over. `goes_on`: other outputs are right after a failure.
    """

    name: str
    share: int
    words: str
    lay: Callable[[Stand, Path], None]
    damaged: str
    damage: Damage
    item: str | None = None
    faithful: tuple[str, ...] | None = None
    is_noticed: bool = False
    goes_on: bool = False
    cache: str | None = None


def bytes_of(mutation: Mutation) -> Damage:
    """Damage a file by a change of its bytes."""

    def damage(path: Path, chance: random.Random) -> None:
        path.write_bytes(mutation(path.read_bytes(), chance))

    return damage


def one_of(*damages: Damage) -> Damage:
    """Damage a file in one of several ways."""

    def damage(path: Path, chance: random.Random) -> None:
        chance.choice(damages)(path, chance)

    return damage


def _knees(stand: Stand) -> list[str]:
    """The first three knees of the material; the second one's files are damaged."""
    lines = (stand.material / "n4.tsv").read_text().splitlines()
    return [line.split("\t")[0] for line in lines[1:4]]


def _rows(stand: Stand, work: Path, table: str, *folders: str) -> None:
    """Three rows of a table, `three.tsv`, and copies of the files that belong to them."""
    lines = (stand.material / table).read_text().splitlines(keepends=True)
    chosen = [lines[0], *[line for line in lines[1:] if line.split("\t")[0] in _knees(stand)]]
    (work / "three.tsv").write_text("".join(chosen))
    for folder in folders:
        (work / folder).mkdir()
        for knee in _knees(stand):
            for path in (stand.material / folder).glob(f"{knee}*"):
                shutil.copy2(path, work / folder)


def _lay_rows(
    table: str, *folders: str, also: tuple[str, ...] = ()
) -> Callable[[Stand, Path], None]:
    def lay(stand: Stand, work: Path) -> None:
        _rows(stand, work, table, *folders)
        _links(stand, work, also)

    return lay


def _lay_copies(*names: str, also: tuple[str, ...] = ()) -> Callable[[Stand, Path], None]:
    """Copies of whole parts of the material, and links to those that are not damaged."""

    def lay(stand: Stand, work: Path) -> None:
        stand.lay(Place(work.parent), names, copies=True)
        _links(stand, work, also)

    return lay


def _lay_made(words: str, before: Callable[[Stand, Path], None]) -> Callable[[Stand, Path], None]:
    """What a command leaves: a second run of it meets its own outputs, one of them damaged."""

    def lay(stand: Stand, work: Path) -> None:
        before(stand, work)
        expect_success(words, stand.call(words, Place(work.parent)))

    return lay


def _links(stand: Stand, work: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (work / name).symlink_to(stand.material / name)


def _lay_unpacked(stand: Stand, work: Path) -> None:
    """Volumes without gzip and without sidecars, as other programs leave them."""
    for knee in _knees(stand):
        packed = next((stand.material / "oriented").glob(f"{knee}*.nii.gz"))
        (work / f"{knee}.nii").write_bytes(gzip.decompress(packed.read_bytes()))


def _series(stand: Stand) -> list[Path]:
    lines = (stand.material / "series.tsv").read_text().splitlines()
    return [stand.material / line.split("\t")[-1] for line in lines[1:4]]


def _lay_series(stand: Stand, work: Path) -> None:
    for knee, folder in zip(_knees(stand), _series(stand), strict=True):
        shutil.copytree(folder, work / "series" / knee)


def _lay_archives(stand: Stand, work: Path) -> None:
    """A series in an archive of each kind; `KNEE`'s is the one that is damaged."""
    first, second, third = _series(stand)
    with tarfile.open(work / "first.tar", "w") as tar:
        tar.add(first, "a")
    with tarfile.open(work / "second.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(second, "b")
    for name, folder in (("second.zip", second), ("third.zip", third)):
        with zipfile.ZipFile(work / name, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(folder.iterdir()):
                packed.write(path, f"c/{path.name}")
    with tarfile.open(work / "second.tar", "w") as tar:
        tar.add(second, "b")


def _lay_inventory(stand: Stand, work: Path) -> None:
    (work / "release").mkdir()
    shutil.copy2(stand.material / "oai/00m/contents.csv", work / "release")
    (work / "release/0.E.1").symlink_to(stand.material / "oai/00m/0.E.1")


def _lay_phantom(words: str) -> Callable[[Stand, Path], None]:
    def lay(stand: Stand, work: Path) -> None:
        expect_success(words, stand.call(words, Place(work.parent)))

    return lay


def _lay_plain(stand: Stand, work: Path) -> None:
    """One plain table of another study."""
    lines = [line.split("\t") for line in (stand.material / "labels.tsv").read_text().splitlines()]
    kept = [0, 1, 2, 3, 5, 7]
    header = "knee,subject,visit,side,jsw,age,outcome"
    rows = [",".join([*(line[i] for i in kept), line[4]]) for line in lines[1:]]
    (work / "plain.csv").write_text("\n".join([header, *rows]) + "\n")


def _lay_plain_followup(stand: Stand, work: Path) -> None:
    """One plain table of another study, of several visits of each knee."""
    lines = ["subject,visit,side,jsw,kl,replaced"]
    for i in range(12):
        for month in (0, 12, 24, 36)[: 2 + i % 3]:
            width = 4.2 - month / 12 * (0.4 if i % 2 else 0.05)
            replaced = int(i == 5 and month == 36)
            lines.append(
                f"p{i},{month:02d}m,{('left', 'right')[i % 2]},{width:.2f},{i % 3},{replaced}"
            )
    (work / "plain.csv").write_text("\n".join(lines) + "\n")


def _lay_key(stand: Stand, work: Path) -> None:
    """Series, the key of their pseudonyms, and the table of who is who."""
    _lay_series(stand, work)
    (work / "ids.key").write_text(f"{'k' * 43}\n")
    expect_success(_WITH_KEY, stand.call(_WITH_KEY, Place(work.parent)))
    shutil.rmtree(work / "out")


def _lay_folds(stand: Stand, work: Path) -> None:
    _links(stand, work, ("features", "features.tsv"))
    stand.lay(Place(work.parent), ["labels.tsv"], copies=True)
    lines = [line.split("\t") for line in (work / "labels.tsv").read_text().splitlines()[1:]]
    progressors = {line[1] for line in lines if line[4] == "1"}
    people = sorted({line[1] for line in lines}, key=lambda person: (person in progressors, person))
    rows = [f"{line[0]}\t{1 + people.index(line[1]) % 2}" for line in lines]
    (work / "folds.tsv").write_text("\n".join(["knee\tfold", *rows]) + "\n")


def _lay_checkpoint(stand: Stand, work: Path) -> None:
    """What an interrupted training leaves."""
    _links(stand, work, ("features", "features.tsv", "labels.tsv"))

    # Before the child is forked, whose limits its libraries are beyond.
    from oatools.learning.checkpoint import Checkpoint

    def interrupted() -> None:
        write, fit = Checkpoint.write, Checkpoint.fit

        def write_and_stop(self: Checkpoint, progress: object) -> None:
            write(self, progress)
            os._exit(0)

        def fit_writing_often(self: Checkpoint, *given: object) -> object:
            self.every = 0.0
            return fit(self, *given)

        Checkpoint.write, Checkpoint.fit = write_and_stop, fit_writing_often
        run_command(TRAIN)

    place = Place(work.parent)
    in_child(interrupted, place, stand.environment(place))
    if not list(work.glob("*.resume")):
        raise SystemExit(f"no checkpoint was left: {(place.root / 'err').read_text()}")


def _lay_model_of_all_parts(*also: str) -> Callable[[Stand, Path], None]:
    """A model all of whose parts have a weight: the knees of phantoms ask for few of them."""

    def lay(stand: Stand, work: Path) -> None:
        _links(stand, work, ("features", "features.tsv", "labels.tsv", *also))

        from oatools.learning import mixture
        from oatools.learning.files import read_record

        def of_all(outcome: object, parts: dict[str, object], doubted: str) -> mixture.Mixture:
            return mixture.Mixture(dict.fromkeys(parts, 0.3), -0.5)

        def train() -> None:
            mixture.mix_if_worth = of_all
            run_command(TRAIN.replace("m.safetensors", "parts.safetensors"))

        place = Place(work.parent)
        done = in_child(train, place, stand.environment(place))
        expect_success("oa-train with all parts", done)
        parts = read_record(work / "parts.safetensors")["parts"]
        if len(parts) < 3 or not all(part["weight"] for part in parts):
            raise SystemExit(f"not all parts have a weight: {parts}")

    return lay


def _lay_weights(ending: str) -> Callable[[Stand, Path], None]:
    def lay(stand: Stand, work: Path) -> None:
        import timm
        import torch
        from safetensors.torch import save_file

        torch.manual_seed(0)
        state = timm.create_model("mobilenetv3_small_050").state_dict()
        path = work / f"weights{ending}"
        save_file(state, path) if ending == ".safetensors" else torch.save(
            {"state_dict": state}, path
        )
        _rows(stand, work, "n4.tsv", "n4")

    return lay


def _lay_networks(stand: Stand, work: Path) -> None:
    _rows(stand, work, "n4.tsv", "n4")
    shutil.copytree(stand.cache, work / "networks")


TRAIN = (
    f"oa-train features.tsv --labels labels.tsv --clinical bmi {SMALL} --resume -o m.safetensors"
)
_CV = f"oa-cv features.tsv --labels labels.tsv {SMALL} -k 2 --repeats 1 --no-compare -o out"
_PREDICT = "oa-predict model.safetensors --with-clinical labels.tsv"
_PREDICT_BY_PARTS = "oa-predict parts.safetensors --with-clinical labels.tsv features.tsv"
_PAGE = "oa-pairs page pairs.tsv n4.tsv -o page"
_N4 = "oa-n4 three.tsv --iterations 1 -o out"
_ORIENT = "oa-orient three.tsv -o out"
_EMBED = f"oa-embed three.tsv {EMBED} -o out"
_CONVERT = "oa-convert series -o out"
_LABEL = "oa-label new/tables --endpoint"
_WITH_KEY = "oa-convert series -o out --id-key ids.key --id-table who.tsv"
_TRAIN_TIMED = TRAIN.replace("labels.tsv", "timed.tsv")
_PREDICT_TIMED = "oa-predict followup.safetensors --with-clinical timed.tsv features.tsv"
_RECALIBRATED = f"{_PREDICT} --recalibration recalibration.json features.tsv"
_VIEW = "oa-view maps.tsv --with-clinical labels.tsv -o seen"
_TELL = "followed.tsv --at 24m --bootstrap 100"

_bytes, _text, _json = bytes_of(damage_bytes), bytes_of(damage_text), bytes_of(damage_json)
_volume = one_of(
    _bytes, bytes_of(inside_gzip(damage_bytes)), bytes_of(inside_gzip(damage_nifti_header))
)
_archive = bytes_of(either(damage_bytes, damage_members, damage_members))
_model = one_of(_bytes, bytes_of(damage_safetensors))

READERS = (
    # Volumes and what lies beside them.
    Reader("volume packed", 6, _N4, _lay_rows("oriented.tsv", "oriented"), f"oriented/{KNEE}*.nii.gz", _bytes, KNEE, (".nii.gz",)),
    Reader("volume repacked", 6, _N4, _lay_rows("oriented.tsv", "oriented"), f"oriented/{KNEE}*.nii.gz", _volume, KNEE),
    Reader("volume to orient", 6, _ORIENT, _lay_rows("nii.tsv", "nii"), f"nii/{KNEE}*.nii.gz", _volume, KNEE),
    Reader("volume unpacked", 6, "oa-orient --side left --side-check trust -o out {nii}", _lay_unpacked, f"{KNEE}.nii", one_of(_bytes, bytes_of(damage_nifti_header)), KNEE),
    Reader("volume to embed", 1, _EMBED, _lay_rows("n4.tsv", "n4"), f"n4/{KNEE}*.nii.gz", _volume, KNEE),
    Reader("volume to explain", 1, "oa-cam model.safetensors --with-clinical labels.tsv --montage 1 -o out three.tsv", _lay_rows("n4.tsv", "n4", also=("model.safetensors", "labels.tsv")), f"n4/{KNEE}*.nii.gz", _volume, KNEE),
    Reader("sidecar", 6, _N4, _lay_rows("oriented.tsv", "oriented"), f"oriented/{KNEE}*.json", _json, KNEE),
    Reader("sidecar to orient", 6, _ORIENT, _lay_rows("nii.tsv", "nii"), f"nii/{KNEE}*.json", _json, KNEE),
    # Tables of rows.
    Reader("rows of volumes", 4, _ORIENT, _lay_rows("nii.tsv", "nii"), "three.tsv", _text, goes_on=True),
    Reader("rows of features", 4, _PREDICT + " features.tsv", _lay_copies("features.tsv", also=("features", "model.safetensors", "labels.tsv")), "features.tsv", _text, goes_on=True),
    Reader("inventory", 4, "oa-convert --list release/contents.csv", _lay_inventory, "release/contents.csv", _text, goes_on=True),
    Reader("inventory of NDA", 4, "oa-convert --list new/image03.txt", _lay_phantom("oa-phantom new --form nda --patients 2 --matrix 32 --sequence cor-iw-tse"), "new/image03.txt", _text, goes_on=True),
    # Tables of a study.
    Reader("tables as ASCII", 6, _LABEL + " jsn12", _lay_phantom("oa-phantom new --patients 20 --no-images"), "new/tables/*/*.txt", _text),
    Reader("tables of NDA", 6, _LABEL + " jsn12", _lay_phantom("oa-phantom new --form nda --patients 20 --no-images"), "new/tables/*.txt", _text),
    Reader("tables of MOST", 6, _LABEL + " jsn-grade --horizon 30m", _lay_phantom("oa-phantom new --form most --patients 20 --no-images"), "new/tables/*", _text),
    Reader("plain table", 6, "oa-label plain.csv --endpoint given", _lay_plain, "plain.csv", _text),
    Reader("tables of courses", 4, _LABEL + " jsn --until 48m --curve curve.svg", _lay_phantom("oa-phantom new --patients 12 --no-images"), "new/tables/*/*.txt", _text),
    Reader("tables of courses of NDA", 4, _LABEL + " tkr --until 48m", _lay_phantom("oa-phantom new --form nda --patients 20 --no-images"), "new/tables/*.txt", _text),
    Reader("plain table of courses", 4, "oa-label plain.csv --endpoint jsn --until 36m", _lay_plain_followup, "plain.csv", _text),
    Reader("plain table of replacements", 2, "oa-label plain.csv --endpoint tkr --until 36m", _lay_plain_followup, "plain.csv", _text),
    Reader("tables to expect", 2, "oa-label new/tables --expect oai", _lay_phantom("oa-phantom new --patients 12 --no-images"), "new/tables/*/*.txt", _text),
    # Features and models.
    Reader("features", 10, _PREDICT + " three.tsv", _lay_rows("features.tsv", "features", also=("model.safetensors", "labels.tsv")), f"features/{KNEE}*.h5", one_of(_bytes, damage_hdf5), KNEE, ROWS),
    Reader("features, checked", 4, "oa-embed --check three.tsv", _lay_rows("features.tsv", "features"), f"features/{KNEE}*.h5", one_of(_bytes, damage_hdf5), KNEE),
    Reader("features to train on", 3, TRAIN, _lay_copies("features", also=("features.tsv", "labels.tsv")), f"features/{KNEE}*.h5", one_of(_bytes, damage_hdf5), faithful=EVERYTHING, goes_on=True),
    Reader("model", 12, _PREDICT + " features.tsv", _lay_copies("model.safetensors", also=("features", "features.tsv", "labels.tsv")), "model.safetensors", _model, faithful=ROWS),
    Reader("model to explain", 2, "oa-cam model.safetensors --with-clinical labels.tsv --montage 1 -o out two.tsv", _lay_copies("model.safetensors", also=("n4", "two.tsv", "labels.tsv", "oriented")), "model.safetensors", _model, faithful=(".nii.gz",)),
    Reader("model of all parts", 8, _PREDICT_BY_PARTS, _lay_model_of_all_parts(), "parts.safetensors", _model, faithful=ROWS),
    Reader("model of all parts, forged", 4, _PREDICT_BY_PARTS, _lay_model_of_all_parts(), "parts.safetensors", forge_model),
    Reader("model of all parts to explain", 2, "oa-cam parts.safetensors --with-clinical labels.tsv --montage 1 -o out two.tsv", _lay_model_of_all_parts("n4", "two.tsv", "oriented"), "parts.safetensors", _model, faithful=(".nii.gz",)),
    Reader("checkpoint", 4, TRAIN, _lay_checkpoint, "m.safetensors.resume", _model, faithful=EVERYTHING),
    Reader("features, forged", 3, _PREDICT + " three.tsv", _lay_rows("features.tsv", "features", also=("model.safetensors", "labels.tsv")), f"features/{KNEE}*.h5", forge_features, KNEE),
    Reader("model, forged", 4, _PREDICT + " features.tsv", _lay_copies("model.safetensors", also=("features", "features.tsv", "labels.tsv")), "model.safetensors", forge_model),
    Reader("checkpoint, forged", 3, TRAIN, _lay_checkpoint, "m.safetensors.resume", forge_model),
    Reader("weights with a program", 2, _EMBED.replace("random", "weights.pth") + " --engine torch", _lay_weights(".pth"), "weights.pth", hide_program, goes_on=True),
    Reader("weights .pth", 2, _EMBED.replace("random", "weights.pth") + " --engine torch", _lay_weights(".pth"), "weights.pth", one_of(_bytes, bytes_of(damage_members)), goes_on=True),
    Reader("weights .safetensors", 2, _EMBED.replace("random", "weights.safetensors") + " --engine torch", _lay_weights(".safetensors"), "weights.safetensors", _model, goes_on=True),
    Reader("network kept", 2, _EMBED, _lay_networks, "networks/*/*", one_of(_bytes, _json), faithful=(".h5",), cache="networks"),
    # Models of follow-up.
    Reader("model of follow-up", 6, _PREDICT_TIMED, _lay_copies("followup.safetensors", also=("features", "features.tsv", "timed.tsv")), "followup.safetensors", _model, faithful=ROWS),
    Reader("model of follow-up, forged", 4, _PREDICT_TIMED, _lay_copies("followup.safetensors", also=("features", "features.tsv", "timed.tsv")), "followup.safetensors", forge_model),
    Reader("model of follow-up to explain", 1, "oa-cam followup.safetensors --with-clinical timed.tsv --montage 1 -o out two.tsv", _lay_copies("followup.safetensors", also=("n4", "two.tsv", "timed.tsv", "oriented")), "followup.safetensors", _model, faithful=(".nii.gz",)),
    Reader("labels of follow-up", 4, _TRAIN_TIMED, _lay_copies("timed.tsv", also=("features", "features.tsv")), "timed.tsv", _text),
    Reader("labels of follow-up to validate on", 1, f"{_CV} --no-network".replace("labels.tsv", "timed.tsv"), _lay_copies("timed.tsv", also=("features", "features.tsv")), "timed.tsv", _text, goes_on=True),
    # Labels, folds, predictions, readers' answers.
    Reader("clinical variables", 4, _PREDICT + " features.tsv", _lay_copies("labels.tsv", also=("features", "features.tsv", "model.safetensors")), "labels.tsv", _text, goes_on=True),
    Reader("labels", 4, TRAIN, _lay_copies("labels.tsv", also=("features", "features.tsv")), "labels.tsv", _text),
    Reader("folds", 1, f"{_CV} --folds-file folds.tsv".replace("-k 2", ""), _lay_folds, "folds.tsv", _text),
    Reader("labels to draw from", 4, "oa-pairs draw labels.tsv --no-strata --pairs 2 --key key.tsv", _lay_copies("labels.tsv"), "labels.tsv", _text),
    Reader("pairs", 4, "oa-pairs page pairs.tsv n4.tsv -o out", _lay_copies("pairs.tsv", also=("n4", "n4.tsv")), "pairs.tsv", _text, goes_on=True),
    Reader("predictions and answers", 8, SCORE, _lay_copies("answers.tsv", "pairs.tsv", "key.tsv", "predicted.tsv"), "*.tsv", _text),
    Reader("predictions to validate", 6, f"{VALIDATE} --recalibrate large --recalibration r.json", _lay_copies("scored.tsv", "other.tsv"), "*.tsv", _text),
    Reader("risks to validate", 4, f"oa-validate {_TELL} --by age=60,70", _lay_copies("followed.tsv"), "followed.tsv", _text),
    Reader("predictions and labels to validate", 4, "oa-validate other.tsv --labels scored.tsv --bootstrap 100 --by side", _lay_copies("other.tsv", "scored.tsv"), "*.tsv", _text),
    Reader("predictions to enrich", 6, f"{ENRICH} --compare compare.tsv --decision d.tsv --paragraph p.txt", _lay_copies("scored.tsv", "other.tsv"), "*.tsv", _text),
    Reader("risks to enrich", 4, f"oa-enrich {_TELL} --eligible age=55:", _lay_copies("followed.tsv"), "followed.tsv", _text),
    Reader("recalibration", 6, _RECALIBRATED, _lay_copies("recalibration.json", also=("features", "features.tsv", "model.safetensors", "labels.tsv")), "recalibration.json", one_of(_bytes, _json, _json)),
    Reader("flow", 1, f"{_CV} --no-network --flow flow.tsv", _lay_copies("flow.tsv", also=("features", "features.tsv", "labels.tsv")), "flow.tsv", _text, goes_on=True),
    Reader("predictions of others", 1, f"{_CV} --no-network --against cv.tsv", _lay_copies("cv.tsv", also=("features", "features.tsv", "labels.tsv")), "cv.tsv", _text, goes_on=True),
    # What is looked at.
    Reader("volume to look at", 3, "oa-view three.tsv -o seen", _lay_rows("n4.tsv", "n4"), f"n4/{KNEE}*.nii.gz", _volume, goes_on=True),
    Reader("sidecar to look at", 2, "oa-view three.tsv -o seen", _lay_rows("n4.tsv", "n4"), f"n4/{KNEE}*.json", _json, goes_on=True),
    Reader("heat map to look at", 3, _VIEW, _lay_copies("cam", "maps.tsv", also=("n4", "labels.tsv")), f"cam/{KNEE}*.nii.gz", _volume, goes_on=True),
    Reader("record of a heat map to look at", 3, _VIEW, _lay_copies("cam", "maps.tsv", also=("n4", "labels.tsv")), f"cam/{KNEE}*.[jt]s*", one_of(_json, _text), goes_on=True),
    Reader("rows to look at", 4, _VIEW, _lay_copies("maps.tsv", "labels.tsv", also=("n4", "cam")), "*.tsv", _text, goes_on=True),
    Reader("looked at before", 3, _VIEW, _lay_made(_VIEW, _lay_copies("maps.tsv", also=("n4", "cam", "labels.tsv"))), "seen/**/*.*", _bytes, faithful=EVERYTHING, goes_on=True),
    Reader("told of", 8, f"oa-info {INFO}", _lay_copies("n4.tsv", "n4", "features", "cam", "cv", "page", "view", "model.safetensors", "followup.safetensors"), f"[cfn]*/{KNEE}*", one_of(_bytes, _json), KNEE),
    Reader("told of folders", 6, f"oa-info {INFO}", _lay_copies("n4.tsv", "n4", "features", "cam", "cv", "page", "view", "model.safetensors", "followup.safetensors"), "[cpv][vai]*/*.*", one_of(_bytes, _text)),
    Reader("told of models", 6, f"oa-info {INFO}", _lay_copies("n4.tsv", "n4", "features", "cam", "cv", "page", "view", "model.safetensors", "followup.safetensors"), "*.safetensors", _model),
    # Keys of pseudonyms.
    Reader("key and table of ids", 2, _WITH_KEY, _lay_key, "[iw]*", one_of(_bytes, _text)),
    # What a run of before has left.
    Reader("oriented before", 4, _ORIENT, _lay_made(_ORIENT, _lay_rows("nii.tsv", "nii")), f"out/{KNEE}*", one_of(_bytes, _json), KNEE, EVERYTHING),
    Reader("corrected before", 4, _N4, _lay_made(_N4, _lay_rows("oriented.tsv", "oriented")), f"out/{KNEE}*", one_of(_bytes, _json), KNEE, EVERYTHING),
    Reader("converted before", 2, _CONVERT, _lay_made(_CONVERT, _lay_series), f"out/{KNEE}*", one_of(_bytes, _json), KNEE, EVERYTHING),
    Reader("embedded before", 2, _EMBED, _lay_made(_EMBED, _lay_rows("n4.tsv", "n4")), f"out/{KNEE}*", one_of(_bytes, damage_hdf5), KNEE, EVERYTHING),
    Reader("cross-validated before", 1, _CV, _lay_made(_CV, _lay_copies("features.tsv", also=("features", "labels.tsv"))), "out/*.[stm]*", _bytes, faithful=EVERYTHING, goes_on=True),
    Reader("page of before", 3, _PAGE, _lay_made(_PAGE, _lay_copies("pairs.tsv", also=("n4", "n4.tsv"))), "page/**/*.*", _bytes, faithful=EVERYTHING, goes_on=True),
    Reader("phantom of before", 2, "oa-phantom new --patients 2 --matrix 32 --sequence cor-iw-tse", _lay_phantom("oa-phantom new --patients 2 --matrix 32 --sequence cor-iw-tse"), "new/**/*", _bytes, faithful=EVERYTHING, goes_on=True),
    # DICOM and archives.
    Reader("DICOM file", 8, _CONVERT, _lay_series, f"series/{KNEE}/*", one_of(_bytes, damage_dicom), KNEE),
    Reader("DICOM series", 4, _CONVERT, _lay_series, f"series/{KNEE}", damage_series, KNEE, (".nii.gz",)),
    Reader("archive .tar.gz", 4, "oa-convert first.tar second.tar.gz third.zip -o out", _lay_archives, "second.tar.gz", one_of(_archive, bytes_of(inside_gzip(damage_bytes))), KNEE),
    Reader("archive .tar", 4, "oa-convert first.tar second.tar third.zip -o out", _lay_archives, "second.tar", _archive, KNEE),
    Reader("archive .zip", 4, "oa-convert first.tar second.zip third.zip -o out", _lay_archives, "second.zip", _archive, KNEE),
    # Everything that oa-check is given.
    Reader("checked", 6, "oa-check oriented features model.safetensors", _lay_copies("oriented", "features", "model.safetensors"), "*/*", _bytes, is_noticed=True),
    Reader("checked folders", 6, "oa-check cv page view cam followup.safetensors", _lay_copies("cv", "page", "view", "cam", "followup.safetensors"), "**/*.*", _bytes, is_noticed=True),
)  # fmt: skip
