"""The result of a reading study in sentences, for the section of a paper that reports it."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from oatools.core.provenance import Caution
from oatools.learning.cautions import made_with
from oatools.reading.compare import Comparison
from oatools.reading.score import ALL, ALL_PAIRS, CONFIDENCE_DIGITS, MEAN, Method, ReaderScore
from oatools.reading.strata import strata_in_words

_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_INTERVALS = {
    "exact": "exact intervals after Clopper and Pearson, which take pairs for independent",
    "clustered": "exact intervals on the effective number of pairs, after Korn and Graubard",
    "bootstrap": "percentile intervals of {draws} bootstrap draws",
}
_NOT_DEFINED = "not defined"


@dataclass(frozen=True)
class _Result:
    """All that was found, by which the sentences choose their words."""

    overall: dict[str, ReaderScore]
    strata: list[ReaderScore]
    comparisons: Sequence[Comparison]
    readers: Sequence[str]
    models: Sequence[str]
    method: Method

    @property
    def tested(self) -> int:
        """The number of differences with a p, for which Holm's are adjusted."""
        return sum(_is_known(found.p_difference) for found in self.comparisons)


def describe_result(
    scores: Sequence[ReaderScore],
    comparisons: Sequence[Comparison],
    readers: Sequence[str],
    models: Sequence[str],
    method: Method,
    cautions: Collection[Caution] = (),
) -> str:
    """Return what `oa-pairs score` found, as one paragraph of English."""
    first = (readers or models)[0]
    result = _Result(
        overall={score.reader: score for score in scores if score.stratum == ALL_PAIRS},
        strata=[s for s in scores if s.reader == first and s.stratum != ALL_PAIRS],
        comparisons=comparisons,
        readers=readers,
        models=models,
        method=method,
    )
    sentences = [
        _design(result),
        *_shares(result),
        *_agreements(result),
        *_differences(result),
        *_times_and_confidence(result),
        _methods(result),
        _limits(result),
        made_with(cautions),
    ]
    return " ".join(sentence for sentence in sentences if sentence) + "\n"


def _design(result: _Result) -> str:
    """The sentence on how many read how many pairs of which strata."""
    strata = ""
    if result.strata:
        words = strata_in_words([score.stratum for score in result.strata])
        parts = [f"{score.pairs} with {words[score.stratum]}" for score in result.strata]
        strata = f" ({', '.join(parts)})"
    count = len(result.readers or result.models)
    noun = "reader" if result.readers else "model"
    if count != 1:
        noun += "s"
    pairs = _pairs(next(iter(result.overall.values())).pairs)
    return (
        f"{_word(count).capitalize()} {noun} ranked {pairs} of a knee that progressed and one that "
        f"did not{strata}."
    )


def _shares(result: _Result) -> Iterable[str]:
    """The sentences on the shares of readers, of their mean, and of models."""
    interval = result.method.interval
    for name in result.readers:
        yield _share(result.overall[name], f"Reader {name}", interval)
    mean = result.overall.get(MEAN)
    if mean is not None and _is_known(mean.share):
        yield (
            f"The mean of the {_word(len(result.readers))} readers, each over the pairs that they "
            f"answered, was {_percent(mean.share)} (95 % CI {_percent_interval(mean)})."
        )
    for name in result.models:
        yield _share(result.overall[name], f"Model {name}", interval)


def _share(score: ReaderScore, who: str, interval: str) -> str:
    if not score.answered:
        return f"{who} ranked no pair."
    said = f"{who} ranked {score.right} of {_pairs(score.answered)} correctly"
    if score.ties:
        said += f" and {score.ties} as equal"
    if score.n_unanswered:
        said += f", and left {score.n_unanswered} unanswered"
    bounds = f"{interval} 95 % CI {_percent_interval(score)}"
    return f"{said} ({_percent(score.share)}; {bounds})."


def _agreements(result: _Result) -> Iterable[str]:
    """The sentences on how far readers agree: each two of them, then all."""
    for found in result.comparisons:
        if {found.one, found.other} <= set(result.readers) and _is_known(found.agreement):
            yield (
                f"Readers {found.one} and {found.other} chose the same knee in "
                f"{_percent(found.agreement)} of {found.pairs} pairs (Cohen's kappa "
                f"{_kappa(found)})."
            )
    for found in result.comparisons:
        if found.other == ALL and _is_known(found.kappa):
            yield (
                f"Over all {_word(len(result.readers))} readers, on {found.pairs} pairs, Fleiss' "
                f"kappa was {_kappa(found)}."
            )


def _differences(result: _Result) -> Iterable[str]:
    """The sentences on models against readers, their mean, and other models."""
    for found in result.comparisons:
        with_model = {found.one, found.other} & set(result.models)
        if with_model and _is_known(found.difference):
            yield _difference(found, result)


def _difference(found: Comparison, result: _Result) -> str:
    # The model comes first, since it is the model that is held against somebody.
    model, other, sign = found.one, found.other, 1
    if found.one not in result.models:
        model, other, sign = found.other, found.one, -1
    points = 100 * sign * found.difference
    interval = _NOT_DEFINED
    if _is_known(found.low):
        low, high = sorted([100 * sign * found.low, 100 * sign * found.high])
        interval = f"{_signed(low)} to {_signed(high)}"
    if other == MEAN:
        whom, both = "the mean of the readers", "the model and all readers"
    elif other in result.models:
        whom, both = f"model {other}", "both"
    else:
        whom, both = f"reader {other}", "both"
    p = f"p {_p(found.p_difference)}"
    if result.tested > 1 and _is_known(found.p_holm):
        p += f", Holm's p {_p(found.p_holm)}"
    if _is_known(found.p_mcnemar):
        p += f", McNemar's p {_p(found.p_mcnemar)}"
    return (
        f"On the {found.pairs} pairs that {both} ranked, model {model} differed from {whom} by "
        f"{_signed(points)} percentage points (95 % CI {interval}; {p})."
    )


def _times_and_confidence(result: _Result) -> Iterable[str]:
    """The sentences on how long each reader took, and how sure it was."""
    for name in result.readers:
        score = result.overall[name]
        said = []
        if _is_known(score.seconds):
            said.append(f"took a median of {score.seconds:.0f} s a pair")
        if _is_known(score.confidence):
            said.append(f"gave a mean confidence of {score.confidence:.{CONFIDENCE_DIGITS}f} of 5")
        if _is_known(score.confidence_auc):
            said[-1] += (
                " (the chance that a correct answer was the more confident one: "
                f"{score.confidence_auc:.2f})"
            )
        if said:
            yield f"Reader {name} {' and '.join(said)}."


def _methods(result: _Result) -> str:
    """The sentence on how intervals and p values were made."""
    method = result.method
    over = "groups of pairs that share a patient" if method.n_shared else "pairs"
    parts = ["Shares have " + _INTERVALS[method.interval].format(draws=method.draws)]
    if any(score.ties for score in result.overall.values()):
        parts.append("ties count one half")
    is_compared = any(_is_known(found.difference) for found in result.comparisons)
    of_what = "differences and means" if is_compared else "means"
    if method.random_readers:
        parts.append(
            "intervals of the readers' mean and of differences from it are those of Obuchowski and "
            f"Rockette with the degrees of freedom of Hillis, for random readers and random {over}"
        )
        of_what = "other differences" if is_compared else ""
    if of_what and (is_compared or MEAN in result.overall):
        parts.append(f"intervals of {of_what} are Student's t over {over}")
    if any(_is_known(found.kappa) for found in result.comparisons):
        parts.append(
            f"those of kappa the middle 95 % of {method.draws} bootstrap draws of {over} "
            f"(seed {method.seed})"
        )
    if is_compared:
        parts.append(_p_values(result))
    return "; ".join(parts) + "."


def _p_values(result: _Result) -> str:
    """The clause on what p values are, and for what they are adjusted."""
    if result.tested < 2:
        return (
            "p values are two-sided, from the same t and from the exact test of McNemar, which "
            "takes pairs for independent, and are not adjusted for multiple comparisons"
        )
    return (
        "p values are two-sided, from the same t; those of Holm are adjusted for all "
        f"{_word(result.tested)} differences that were tested, between readers, models and the "
        "readers' mean; those of the exact test of McNemar take pairs for independent, and are not "
        "adjusted for multiple comparisons"
    )


def _limits(result: _Result) -> str:
    """The sentences on what the pairs share, and of whom the results speak."""
    sentences = []
    if result.method.n_shared:
        groups = max(score.groups or 0 for score in result.overall.values())
        sentences.append(
            f"{result.method.n_shared} pairs share a patient with another; the pairs make {groups} "
            "groups that share none."
        )
    if result.method.random_readers:
        sentences.append(
            "Readers are taken as a sample: their mean, and differences from it, speak of all "
            "readers whom these stand for, and all other results of these readers alone."
        )
    elif len(result.readers) > 1:
        sentences.append(
            "Readers are taken as fixed: the results speak of these readers, and not of all "
            "radiologists."
        )
    return " ".join(sentences)


def _is_known(value: float) -> bool:
    return not math.isnan(value)


def _word(number: int) -> str:
    return _COUNTS[number] if number < len(_COUNTS) else str(number)


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _percent_interval(score: ReaderScore) -> str:
    if not _is_known(score.low):
        return _NOT_DEFINED
    return f"{100 * score.low:.1f} to {100 * score.high:.1f} %"


def _kappa(found: Comparison) -> str:
    """The kappa of a comparison with its interval, where they are defined."""
    if not _is_known(found.kappa):
        return f"is {_NOT_DEFINED}"
    kappa = _decimal(found.kappa, 2)
    if not _is_known(found.kappa_low):
        return kappa
    return f"{kappa}, 95 % CI {_decimal(found.kappa_low, 2)} to {_decimal(found.kappa_high, 2)}"


def _p(value: float) -> str:
    if not _is_known(value):
        return f"is {_NOT_DEFINED}"
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _signed(value: float) -> str:
    return _decimal(value, 1, "+")


def _decimal(value: float, digits: int, sign: str = "") -> str:
    """A number with a true minus sign, and without a sign where it is zero as shown."""
    shown = f"{value:{sign}.{digits}f}"
    if not float(shown):
        shown = f"{0:.{digits}f}"
    return shown.replace("-", "\N{MINUS SIGN}")
