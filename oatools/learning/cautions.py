"""The sentences in which commands, reports and pictures state a `Caution`."""

from collections.abc import Collection, Sequence

from oatools.core.provenance import Caution

#: What each caution is about, as half a sentence.
MEANINGS = {
    Caution.RANDOM_WEIGHTS: "the backbone was not trained",
    Caution.PHANTOMS: "the images are synthetic",
    Caution.UNKNOWN_MAKING: (
        "whether all were made alike, and of the images that they are said to be of, cannot be "
        "checked"
    ),
    Caution.TRAINING_KNEES: (
        "the model was trained on knees of these patients, and knew how they fared: results are "
        "too good"
    ),
    Caution.LEAKY_SPLIT: (
        "knees and not patients are split, so that both knees of a person can be on both sides: "
        "results are too good"
    ),
}


#: What makes numbers say nothing at all about patients.
SYNTHETIC = (Caution.RANDOM_WEIGHTS, Caution.PHANTOMS)


def report_warning(caution: Caution) -> str:
    """Return the sentence that heads a report, with the caution in capitals."""
    title, meaning = caution.value.upper(), MEANINGS[caution]
    if caution not in SYNTHETIC:
        return f"{title}: {meaning}."
    consequence = "These numbers show that the pipeline runs, and nothing about patients."
    return f"{title}: {meaning}. {consequence}"


def figure_mark(caution: Caution) -> str:
    """Return the words written on every figure, so that the caution travels with it."""
    return caution.value.capitalize()


def features_warning(caution: Caution) -> str:
    """Return what is said of features before they are trained on."""
    if caution not in SYNTHETIC:
        return f"{caution.value}: {MEANINGS[caution]}"
    return (
        f"the features come from {caution.value}: they show that the pipe works, "
        "and nothing about patients"
    )


def model_warning(cautions: Sequence[Caution]) -> str:
    """Return what is said of a model that was trained on such features; empty without cautions."""
    said = []
    synthetic = [caution.value for caution in cautions if caution in SYNTHETIC]
    if synthetic:
        named = " and ".join(synthetic)
        said.append(f"features from {named}: it says nothing about patients")
    if Caution.UNKNOWN_MAKING in cautions:
        said.append(
            f"{Caution.UNKNOWN_MAKING.value}: whether these were made alike cannot be checked"
        )
    return f"the model was trained on {', and on '.join(said)}" if said else ""


def made_with(cautions: Collection[Caution]) -> str:
    """Return the sentence of a paragraph on what makes its numbers worth less; empty if nothing."""
    named = sorted(caution.value for caution in cautions)
    if not named:
        return ""
    nothing = ", and say nothing about patients" if set(cautions) & set(SYNTHETIC) else ""
    return f"These numbers were made with {' and '.join(named)}{nothing}."


def as_sentence(text: str) -> str:
    """Return a message as a sentence, with a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}."
