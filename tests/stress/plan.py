"""Which trials there are, and how many of each are drawn."""

import random
from collections.abc import Iterable

from stress import bombs, faults, fuzz, kills
from stress.stand import Stand
from stress.trial import Trial

#: How many trials of each kind the long form has.
LONG = {"kills": 200, "faults": 300, "bombs": len(bombs.BOMBS), "fuzz": 20_000}
#: The short form has these trials, so many times each: those of the commands that start fast.
SHORT = {
    "kill convert": 1,
    "kill orient": 2,
    "kill predict": 1,
    "disk full: orient": 1,
    "several at once: orient": 1,
    "streams: label": 1,
    "odd input: orient": 2,
    "bomb sparse.tar": 1,
    "fuzz volume packed": 3,
    "fuzz volume repacked": 3,
    "fuzz volume to orient": 3,
    "fuzz volume unpacked": 3,
    "fuzz sidecar": 3,
    "fuzz rows of": 3,
    "fuzz tables as": 3,
    "fuzz tables of NDA": 3,
    "fuzz tables of MOST": 3,
    "fuzz tables of courses": 1,
    "fuzz plain table": 3,
    "fuzz features": 3,
    "fuzz model": 3,
    "fuzz archive": 3,
    "fuzz DICOM": 3,
    "fuzz predictions and answers": 3,
    "fuzz predictions to": 2,
}


def everything(stand: Stand) -> list[Trial]:
    return kills.trials(stand.jobs()) + faults.trials(stand) + bombs.trials() + fuzz.trials()


def long_form(
    trials: list[Trial], share: float = 1.0, kinds: Iterable[str] = tuple(LONG), first: int = 0
) -> list[tuple[Trial, int]]:
    """The trials and their seeds, from `first` on, mixed, so that a part of them is a part of every kind."""
    chosen = []
    for kind in kinds:
        amount = LONG[kind]
        of_kind = [trial for trial in trials if trial.kind == kind]
        random.Random(kind).shuffle(of_kind)
        seeds: dict[str, int] = {}
        for i in range(round(amount * share)):
            trial = of_kind[i % len(of_kind)]
            seeds[trial.name] = seeds.get(trial.name, first - 1) + 1
            chosen.append((trial, seeds[trial.name]))
    random.Random(0).shuffle(chosen)
    return chosen


def short_form(trials: list[Trial]) -> list[tuple[Trial, int]]:
    """A few trials of each kind."""
    chosen = []
    for name, count in SHORT.items():
        chosen += named(trials, name, range(count))
    return chosen


def named(trials: list[Trial], start: str, seeds: Iterable[int]) -> list[tuple[Trial, int]]:
    """The trials with this name, or else all whose names start so."""
    by_name = {trial.name: trial for trial in trials if trial.name.startswith(start)}
    found = [by_name[start]] if start in by_name else list(by_name.values())
    return [(trial, seed) for trial in found for seed in seeds]


let_go = faults.let_go
