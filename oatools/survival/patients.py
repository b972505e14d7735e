"""The cohort without each of its patients, as weights: how often each knee is there."""

from collections.abc import Iterator

import numpy as np

# Weights that are made at a time.
_BLOCK = 1 << 22


def without_each(subject: np.ndarray) -> Iterator[np.ndarray]:
    """Yield blocks (rows of the block, knees) of weights: 1 + the number of patients rows in all.

    `subject` (knees,) are numbers of patients, in any order and with gaps. The first row is all
    ones. In the rows after it the knees of one patient, from the lowest number up, are 0.
    """
    people, member = np.unique(subject, return_inverse=True)
    yield np.ones((1, len(subject)))
    at_a_time = max(1, _BLOCK // max(len(subject), 1))
    for start in range(0, len(people), at_a_time):
        left_out = np.arange(start, min(start + at_a_time, len(people)))
        yield (member != left_out[:, None]).astype(np.float64)
