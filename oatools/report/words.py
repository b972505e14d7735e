"""The words for what is predicted: a label of two classes, or an event within some time."""

from dataclasses import dataclass

from oatools.learning.results import CrossValidation


@dataclass(frozen=True)
class Words:
    """How a report speaks of knees and of what a model is judged by.

    `main` is the metric that comes first, `area` how well knees that were set aside are ordered,
    `outcome` what knees are grouped by, `positive` and `negative` its groups in a sentence, and
    `groups` the same in a table. `interval` says how intervals are found.
    """

    main: str
    area: str
    outcome: str
    positive: str
    negative: str
    groups: tuple[str, str]
    interval: str


CLASSES = Words(
    main="ROC AUC",
    area="ROC AUC",
    outcome="label",
    positive="positive",
    negative="negative",
    groups=("label 0", "label 1"),
    interval="after Obuchowski (Biometrics 1997;53:567-578)",
)
FOLLOWED = Words(
    main="Uno's C",
    area="concordance",
    outcome="event",
    positive="with the event",
    negative="without it",
    groups=("no event", "event"),
    interval="by leaving out each in turn (jackknife)",
)


def words_of(result: CrossValidation) -> Words:
    """Return the words for the knees of a cross-validation."""
    return CLASSES if result.cohort.follow_up is None else FOLLOWED
