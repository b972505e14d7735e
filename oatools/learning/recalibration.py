"""Recalibrations: what makes the probabilities of a model mean what they say in other knees."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from oatools.core.errors import UsageError
from oatools.core.paths import other_kind
from oatools.core.records import Fields, RecordError, parse_json
from oatools.learning.metrics import log_odds

#: What is written in a file of a recalibration.
FORMAT = "oatools recalibration 1"

_MOST_BYTES = 1 << 16  # some hundred are written


@dataclass(frozen=True)
class Recalibration:
    """New log odds are `intercept` + `slope` x those of a model.

    `kind` is `large` where the slope is held at 1. It was fitted on `knees` of `patients`, of which
    `events` had the event; `cautions` are those about them.
    """

    kind: str
    intercept: float
    slope: float
    knees: int = 0
    patients: int = 0
    events: int = 0
    cautions: tuple[str, ...] = ()

    def apply(self, probability: np.ndarray) -> np.ndarray:
        """Return recalibrated probabilities."""
        return np.asarray(expit(self.intercept + self.slope * log_odds(probability)))

    def to_json(self) -> dict[str, Any]:
        """Return what is written in its file."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "intercept": self.intercept,
            "slope": self.slope,
            "knees": self.knees,
            "patients": self.patients,
            "events": self.events,
            "cautions": list(self.cautions),
        }


def recalibration_bytes(found: Recalibration) -> bytes:
    """Return the file of a recalibration."""
    return (json.dumps(found.to_json(), indent=2) + "\n").encode()


def read_recalibration(path: str | Path) -> Recalibration:
    """Read the file of a recalibration. Raises a `UsageError` for any other file."""
    if kind := other_kind(path):
        raise UsageError(f"{path} is {kind}, not the file of a recalibration", "give the file")
    with Path(path).open("rb") as file:
        content = file.read(_MOST_BYTES)
    try:
        fields = Fields.of(parse_json(content))
        if fields.text("format") != FORMAT:
            raise RecordError("another format")
        return Recalibration(
            kind=fields.text("kind"),
            intercept=fields.number("intercept"),
            slope=fields.number("slope", least=math.nextafter(0, 1)),
            knees=fields.whole("knees"),
            patients=fields.whole("patients"),
            events=fields.whole("events"),
            cautions=tuple(fields.texts("cautions")),
        )
    except RecordError as error:
        raise UsageError(
            f"{path}: no recalibration of oa-validate: {error}", "make one with it"
        ) from None
