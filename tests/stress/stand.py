"""The stand: small synthetic material, made once, and what every command gives on it when nothing disturbs it."""

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stress.runs import BIN, Outcome, environment, in_child, run
from stress.trial import Place

SMALL = "--slices 3 --units 4 --hidden 4 --conv 4 --epochs 2"
EMBED = "--weights random --backbone mobilenetv3_small_050 --slices 3"
#: The knee whose files are named or damaged: of the material's seed.
KNEE = "9000038_00m_right"
#: What is made, in this order; each reads what was made before it, and `two.tsv`, the first rows of
#: `n4.tsv`, and the tables of `made_tables`. The second is the name of what it prints.
MATERIAL = (
    ("oa-phantom oai --patients 10 --matrix 64 --sequence cor-iw-tse --seed 1", "series.tsv"),
    ("oa-convert oai/00m -o nii", "nii.tsv"),
    ("oa-orient nii.tsv -o oriented", "oriented.tsv"),
    ("oa-n4 oriented.tsv --iterations 3 -o n4", "n4.tsv"),
    (f"oa-embed n4.tsv {EMBED} -o features", "features.tsv"),
    ("oa-label oai/tables --endpoint jsn12 --flow flow.tsv", "labels.tsv"),
    (
        f"oa-train features.tsv --labels labels.tsv --clinical bmi {SMALL} -o model.safetensors",
        "model.tsv",
    ),
    ("oa-predict model.safetensors --with-clinical labels.tsv features.tsv", "predicted.tsv"),
    ("oa-pairs draw labels.tsv --no-strata --pairs 2 --key key.tsv", "pairs.tsv"),
)
#: What the trials of the short form do not need.
MORE_MATERIAL = (
    ("oa-label oai/tables --endpoint jsn --until 48m", "timed.tsv"),
    (
        f"oa-train features.tsv --labels timed.tsv --clinical bmi {SMALL} -o followup.safetensors",
        "followup.tsv",
    ),
    (
        f"oa-cv features.tsv --labels labels.tsv {SMALL} -k 2 --repeats 1 --no-compare -o cv",
        "cv.tsv",
    ),
    (
        "oa-cam model.safetensors --with-clinical labels.tsv --montage 1 -o cam two.tsv",
        "maps.tsv",
    ),
    ("oa-view maps.tsv --with-clinical labels.tsv -o view", "viewed.tsv"),
    ("oa-pairs page pairs.tsv n4.tsv -o page", "paged.tsv"),
    (
        "oa-validate scored.tsv --bootstrap 100 --recalibrate logistic --recalibration recalibration.json",
        "validated.tsv",
    ),
)


@dataclass(frozen=True)
class Job:
    """One command on the stand's material: its words, and the material that it reads.

    `rows` is False where it does not work row by row; `workers` is True where it has processes of its own;
    `varies` where its table tells of the machine at that moment.
    """

    name: str
    words: str
    reads: tuple[str, ...]
    rows: bool = True
    workers: bool = False
    varies: bool = False


_TWO = ("two.tsv", "oriented", "n4")
_COHORT = ("features.tsv", "features", "labels.tsv")
_READ = ("answers.tsv", "pairs.tsv", "key.tsv", "predicted.tsv")
_TOLD = (
    *("n4.tsv", "n4", "features", "cam", "cv", "page", "view"),
    *("model.safetensors", "followup.safetensors", "recalibration.json"),
)
SCORE = "oa-pairs score answers.tsv --pairs pairs.tsv --key key.tsv --model predicted.tsv"
ENRICH = "oa-enrich scored.tsv --bootstrap 100 --against kl=2:3 --against other.tsv"
VALIDATE = "oa-validate scored.tsv --bootstrap 100 --by kl --by age=60,70 --against other.tsv"
INFO = (
    f"n4.tsv n4/{KNEE}_cor-iw-tse.nii.gz features/{KNEE}_cor-iw-tse.h5 cam/{KNEE}_cor-iw-tse.nii.gz "
    "model.safetensors followup.safetensors cv page view"
)
JOBS = tuple(
    Job(*given)
    for given in (
        ("phantom", "oa-phantom new --patients 3 --matrix 64 --sequence cor-iw-tse --seed 2", ()),
        ("phantom -j 2", "oa-phantom new --patients 3 --matrix 64 --seed 2 -j 2", (), True, True),
        ("convert", "oa-convert oai/00m -o out", ("oai",)),
        ("convert -j 2", "oa-convert oai/00m -o out -j 2", ("oai",), True, True),
        ("orient", "oa-orient nii.tsv -o out", ("nii.tsv", "nii")),
        ("orient -j 2", "oa-orient nii.tsv -o out -j 2", ("nii.tsv", "nii"), True, True),
        (
            "n4",
            "oa-n4 oriented.tsv --iterations 3 -o out --field field",
            ("oriented.tsv", "oriented"),
        ),
        (
            "n4 itk -j 2",
            "oa-n4 oriented.tsv --engine itk --iterations 3 -o out -j 2",
            ("oriented.tsv", "oriented"),
            True,
            True,
        ),
        ("embed", f"oa-embed n4.tsv {EMBED} -o out", ("n4.tsv", "n4")),
        ("embed -j 2", f"oa-embed n4.tsv {EMBED} -o out -j 2", ("n4.tsv", "n4"), True, True),
        ("label", "oa-label oai/tables --endpoint jsn12 --flow flow.tsv", ("oai",), False),
        (
            "train",
            f"oa-train features.tsv --labels labels.tsv --clinical bmi {SMALL} -o m.safetensors",
            _COHORT,
            False,
        ),
        (
            "train --resume",
            f"oa-train features.tsv --labels labels.tsv --clinical bmi {SMALL} --resume -o m.safetensors",
            _COHORT,
            False,
        ),
        (
            "cv",
            f"oa-cv features.tsv --labels labels.tsv --clinical bmi {SMALL} -k 2 --repeats 1 --no-compare -o out",
            _COHORT,
            False,
        ),
        (
            "cv -j 2",
            f"oa-cv features.tsv --labels labels.tsv --clinical bmi {SMALL} -k 2 --repeats 1 -o out -j 2",
            _COHORT,
            False,
            True,
        ),
        (
            "predict",
            "oa-predict model.safetensors --with-clinical labels.tsv features.tsv --failed failed.tsv",
            ("model.safetensors", *_COHORT),
        ),
        (
            "cam",
            "oa-cam model.safetensors --with-clinical labels.tsv --montage 1 -o out two.tsv",
            ("model.safetensors", "labels.tsv", *_TWO),
        ),
        (
            "draw",
            "oa-pairs draw labels.tsv --no-strata --pairs 2 --key key.tsv",
            ("labels.tsv",),
            False,
        ),
        ("page", "oa-pairs page pairs.tsv n4.tsv -o out", ("pairs.tsv", "n4.tsv", "n4"), False),
        (
            "label --until",
            "oa-label oai/tables --endpoint jsn --until 48m --flow flow.tsv --curve curve.svg",
            ("oai",),
            False,
        ),
        (
            "train on follow-up",
            f"oa-train features.tsv --labels timed.tsv --clinical bmi {SMALL} -o m.safetensors",
            ("features.tsv", "features", "timed.tsv"),
            False,
        ),
        (
            "cv of follow-up",
            f"oa-cv features.tsv --labels timed.tsv --clinical bmi {SMALL} -k 2 --repeats 1 --no-compare -o out",
            ("features.tsv", "features", "timed.tsv"),
            False,
        ),
        (
            "cv --leave-out",
            f"oa-cv features.tsv --labels labels.tsv {SMALL} --leave-out site --no-compare --flow flow.tsv -o out",
            (*_COHORT, "flow.tsv"),
            False,
        ),
        (
            "predict follow-up",
            "oa-predict followup.safetensors --with-clinical timed.tsv features.tsv --failed failed.tsv",
            ("followup.safetensors", "features.tsv", "features", "timed.tsv"),
        ),
        (
            "predict --recalibration",
            "oa-predict model.safetensors --with-clinical labels.tsv --recalibration recalibration.json features.tsv",
            ("model.safetensors", "recalibration.json", *_COHORT),
        ),
        (
            "score",
            f"{SCORE} --compare compare.tsv --figure figure.svg --paragraph p.txt",
            _READ,
            False,
        ),
        (
            "enrich",
            f"{ENRICH} --compare compare.tsv --decision d.tsv --figure figure.svg --paragraph p.txt",
            ("scored.tsv", "other.tsv"),
            False,
        ),
        (
            "validate",
            f"{VALIDATE} --compare compare.tsv --recalibrate logistic --recalibration r.json "
            "--figure figure.svg --paragraph p.txt",
            ("scored.tsv", "other.tsv"),
            False,
        ),
        (
            "view",
            "oa-view maps.tsv --with-clinical labels.tsv -o out",
            ("maps.tsv", "labels.tsv", "cam", "n4"),
        ),
        ("view -j 2", "oa-view n4.tsv -o look.html -j 2", ("n4.tsv", "n4"), True, True),
        ("info", f"oa-info {INFO}", _TOLD),
        ("doctor", "oa-doctor -o out", (), False, False, True),
        (
            "check",
            "oa-check nii oriented n4 features cv page view cam model.safetensors followup.safetensors",
            (
                *("nii", "oriented", "n4", "features", "cv", "page", "view", "cam"),
                *("model.safetensors", "followup.safetensors"),
            ),
        ),
    )
)


@dataclass(frozen=True)
class Reference:
    """What a command gives when nothing disturbs it: its table, its files (digests by name), and the time it took.

    `out` is None where the table is another one every time.
    """

    out: str | None
    files: dict[str, str]
    sizes: list[int]
    seconds: float

    def is_other(self, out: bytes) -> bool:
        """Whether a table is another than the one that it should be."""
        return self.out is not None and out.decode() != self.out

    def rows(self) -> int:
        """The number of lines of the table."""
        return len((self.out or "").splitlines())


class Stand:
    """The material and the references in a folder, which is filled when it is empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.material = folder / "material"
        self.cache = folder / "networks"

    def build(self, is_short: bool = False) -> None:
        """Make the material, where it lacks or was made by another version of the package."""
        made, ours = self.folder / "made", _package_digest()
        whole = f"{ours} and more"
        there = made.read_text() if made.exists() else ""
        if there == whole or (is_short and there == ours):
            return
        if there != ours:
            for name in ("material", "references", "readers", "networks", "making"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self.cache.mkdir(parents=True)
            self.cache.chmod(0o777)
            place = Place(self.folder / "making").make()
            for table, text in made_tables().items():
                (place.work / table).write_text(text)
            self._make(place, MATERIAL)
            made.write_text(ours)
        if not is_short:
            made.unlink()
            place = Place(self.folder / "making").make()
            place.work.rmdir()
            self.material.rename(place.work)
            self._make(place, MORE_MATERIAL)
            made.write_text(whole)

    def jobs(self) -> list[Job]:
        """The jobs of this installation: oa-check may not be there yet."""
        return [job for job in JOBS if (BIN / job.words.split()[0]).exists()]

    def lay(self, place: Place, reads: Sequence[str], copies: bool = False) -> None:
        """Put material into a trial's folder: as links, or as copies that a trial may spoil."""
        for name in reads:
            source, target = self.material / name, place.work / name
            if not copies:
                target.symlink_to(source)
            elif source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)

    def reference(self, job: Job) -> Reference:
        return Reference(**json.loads(self._reference_file(job).read_text()))

    def environment(self, place: Place, **changed: str | None) -> dict[str, str]:
        return environment(place, self.cache, **changed)

    def call(
        self, words: str, place: Place, cache: str | None = None, forked: bool = False
    ) -> Outcome:
        """Run a command to its end: as a process of its own, or in a forked child, which has the libraries already."""
        changed = {} if cache is None else {"OATOOLS_CACHE": str(place.work / cache)}
        env = self.environment(place, **changed)
        if forked:
            return in_child(partial(run_command, words), place, env)
        return run(words.split(), place, env)

    def _reference_file(self, job: Job) -> Path:
        return self.folder / "references" / f"{job.name}.json"

    def _make(self, place: Place, material: Sequence[tuple[str, str]]) -> None:
        """Run commands in a place, and make its folder that of the material."""
        for words, table in material:
            done = self.call(words, place)
            expect_success(words, done)
            (place.work / table).write_bytes(done.out)
            if table == "n4.tsv":
                lines = done.out.splitlines(keepends=True)
                (place.work / "two.tsv").write_bytes(b"".join(lines[:3]))
        place.work.rename(self.material)
        shutil.rmtree(place.root)

    def refer(self, job: Job) -> None:
        """Run a job with nothing to disturb it, where that was not done."""
        target = self._reference_file(job)
        if target.exists():
            return
        place = Place(self.folder / "making").make()
        self.lay(place, job.reads)
        start = time.monotonic()
        done = run(job.words.split(), place, self.environment(place))
        seconds = time.monotonic() - start
        expect_success(job.words, done)
        files = snapshot(place.work)
        sizes = [(place.work / name).stat().st_size for name in files]
        given = Reference(None if job.varies else done.out.decode(), files, sizes, seconds)
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(given.__dict__))
        shutil.rmtree(place.root)


def made_tables() -> dict[str, str]:
    """Tables that no command makes: answers of readers, and predictions of more knees than the material has.

    Both knees of 60 people. One in three has the event, and those of higher predictions more often.
    """
    scored = ["knee\tsubject\tside\tprobability\tlabel\tage\tkl\tfold"]
    other = ["knee\tprobability\tfold"]
    followed = ["knee\tsubject\ttime\tevent\tfrom\tto\tage\trisk_12m\trisk_24m\tprobability"]
    for i in range(120):
        knee, subject, event = f"k{i:03d}", f"p{i // 2:02d}", int(i % 3 == 0)
        probability, age = 0.1 + i * 37 % 70 / 100 + 0.15 * event, 50 + i * 7 % 30
        fold, time = 1 + i // 2 % 2, 6 + i * 11 % 43 if event else 48
        side = ("left", "right")[i % 2]
        scored.append(
            f"{knee}\t{subject}\t{side}\t{probability:.2f}\t{event}\t{age}\t{i % 4}\t{fold}"
        )
        other.append(f"{knee}\t{1 - probability:.2f}\t{fold}")
        course = f"{max(0, time - 12)}\t{time}" if event else "48\tn/a"
        risks = f"{probability / 2:.3f}\t{0.7 * probability:.3f}\t{probability:.2f}"
        followed.append(f"{knee}\t{subject}\t{time}\t{event}\t{course}\t{age}\t{risks}")
    answers = ["reader\tpair\tchoice", "A\t001\tA", "A\t002\tB", "B\t001\tn/a", "B\t002\tA"]
    tables = {"scored": scored, "other": other, "followed": followed, "answers": answers}
    return {f"{name}.tsv": "\n".join(lines) + "\n" for name, lines in tables.items()}


def _package_digest() -> str:
    """The digest of the installed package's own files."""
    import oatools

    total = hashlib.sha256()
    for path in sorted(Path(oatools.__file__).parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def run_command(words: str) -> None:
    """Run a command in this process, which it ends."""
    name, *arguments = words.split()
    module = importlib.import_module(f"oatools.commands.{name.removeprefix('oa-')}")
    module.main(arguments, name)


def expect_success(words: str, done: Outcome) -> None:
    """End the harness where a command fails with nothing done to it."""
    if done.status != 0:
        raise SystemExit(
            f"nothing was disturbed, and this failed ({done.status}): {words}\n{done.err}"
        )


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder, by its relative name; links, as those to material, are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not (Path(parent) / name).is_symlink()]
        for path in (Path(parent) / name for name in names):
            if not path.is_symlink():
                yield os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace"), path


def snapshot(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder; a file that goes meanwhile is left out."""
    found = {}
    for name, path in files_below(folder):
        with contextlib.suppress(FileNotFoundError):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
