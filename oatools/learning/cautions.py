"""The sentences in which commands, reports and pictures state a `Caution`."""

from collections.abc import Sequence

from oatools.core.provenance import Caution

#: What each caution is about, as half a sentence.
MEANINGS = {
    Caution.RANDOM_WEIGHTS: "the backbone was not trained",
    Caution.PHANTOMS: "the images are synthetic",
    Caution.LEAKY_SPLIT: (
        "knees and not patients are split, so that both knees of a person can be on both sides: "
        "results are too good"
    ),
}


def report_warning(caution: Caution) -> str:
    """Return the sentence that heads a report, with the caution in capitals."""
    title, meaning = caution.value.upper(), MEANINGS[caution]
    if caution is Caution.LEAKY_SPLIT:
        return f"{title}: {meaning}."
    consequence = "These numbers show that the pipeline runs, and nothing about patients."
    return f"{title}: {meaning}. {consequence}"


def figure_mark(caution: Caution) -> str:
    """Return the words written on every figure, so that the caution travels with it."""
    return caution.value.capitalize()


def features_warning(caution: Caution) -> str:
    """Return what is said of features before they are trained on."""
    return (
        f"the features come from {caution.value}: they show that the pipe works, "
        "and nothing about patients"
    )


def model_warning(cautions: Sequence[Caution]) -> str:
    """Return what is said of a model that was trained on such features; empty without cautions."""
    if not cautions:
        return ""
    named = " and ".join(caution.value for caution in cautions)
    return f"the model was trained on features from {named}: it says nothing about patients"
