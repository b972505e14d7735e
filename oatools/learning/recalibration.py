"""Recalibrations: what makes the probabilities of a model mean what they say in other knees."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from oatools.core.errors import UsageError
from oatools.learning.metrics import log_odds

#: What is written in a file of a recalibration.
FORMAT = "oatools recalibration 1"


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
    try:
        fields = json.loads(Path(path).read_bytes())
        if not isinstance(fields, Mapping) or fields.get("format") != FORMAT:
            raise ValueError
        found = Recalibration(
            kind=str(fields["kind"]),
            intercept=float(fields["intercept"]),
            slope=float(fields["slope"]),
            knees=int(fields["knees"]),
            patients=int(fields["patients"]),
            events=int(fields["events"]),
            cautions=tuple(map(str, fields["cautions"])),
        )
        is_sound = math.isfinite(found.intercept) and 0 < found.slope < math.inf
    except (ValueError, KeyError, TypeError):
        is_sound = False
    if not is_sound:
        raise UsageError(f"{path}: no recalibration of oa-validate", "make one with it")
    return found
