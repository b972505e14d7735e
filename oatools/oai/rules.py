"""The rules that make labels: what each endpoint says of a knee, and why one cannot be labelled."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from oatools.core.manifest import MISSING
from oatools.oai.clinical import ClinicalValue
from oatools.oai.codes import KneeId, plain
from oatools.oai.endpoints import PAIN_FREE_BELOW, Kind
from oatools.oai.grades import KL, MEDIAL_NARROWING, is_worse, whole
from oatools.oai.readings import (
    LeftOut,
    Pair,
    Problem,
    first_reading,
    is_replaced,
    pair_of,
    why_unpaired,
    why_unread,
)
from oatools.oai.study import StudyTables
from oatools.oai.widths import WIDTH


@dataclass(frozen=True)
class LabelledKnee:
    """One knee at a visit with its label, and what was measured.

    `label` is 0 or 1, None where labels were not asked for. `jsw` is the joint space width at the
    visit, mm; `change` what the label is made from: the change of the width to the horizon (mm, a
    loss is negative) or of the grade (a loss is positive). `readprj` is the reading project.
    """

    knee: KneeId
    visit: str
    label: int | None
    jsw: Decimal | None = None
    change: Decimal | None = None
    readprj: str | None = None
    clinical: Mapping[str, ClinicalValue] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The knee's token in tables, such as 9000099_00m_right."""
        return self.knee.at(self.visit)

    @property
    def subject(self) -> str:
        """The participant's id."""
        return self.knee.subject

    @property
    def side(self) -> str:
        """The side, `left` or `right`."""
        return self.knee.side


#: What an endpoint says of one knee.
Rule = Callable[[StudyTables, KneeId], LabelledKnee | LeftOut]


@dataclass
class Sorted:
    """The knees that an endpoint labels, and the others counted by the reason."""

    knees: list[LabelledKnee] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def sort_knees(tables: StudyTables, threshold: Decimal | None) -> Sorted:
    """Label the knees of a study by its endpoint, at that cut."""
    rule = _rules(threshold)[tables.endpoint.kind]
    found = Sorted()
    for knee in tables.knees:
        said = rule(tables, knee)
        if isinstance(said, LeftOut):
            found.left_out[said.reason] += 1
        else:
            found.knees.append(said)
    found.notes += _notes(tables, found.knees)
    return found


def width_pairs(tables: StudyTables) -> dict[KneeId, Pair]:
    """The two widths of each knee that a change of width can label."""
    pairs = {}
    for knee in tables.knees:
        found = _width_pair(tables, knee)
        if isinstance(found, Pair):
            pairs[knee] = found
    return pairs


def _rules(threshold: Decimal | None) -> dict[Kind, Rule]:
    # An endpoint without a threshold has no rule that looks at it.
    cut = Decimal(0) if threshold is None else threshold
    return {
        Kind.WIDTH: lambda tables, knee: _by_width(tables, knee, cut),
        Kind.KL: lambda tables, knee: _by_kl(tables, knee, cut),
        Kind.NARROWING: _by_narrowing,
        Kind.PAIN: lambda tables, knee: _by_pain(tables, knee, cut),
        Kind.GIVEN: _as_given,
        Kind.NONE: _unlabelled,
    }


def _by_width(tables: StudyTables, knee: KneeId, cut: Decimal) -> LabelledKnee | LeftOut:
    """Positive: the width changed by the cut or less, in mm or in % of that at the visit."""
    pair = _width_pair(tables, knee)
    if isinstance(pair, LeftOut):
        return pair
    measured = 100 * pair.change if tables.endpoint.relative else pair.change
    limit = cut * pair.before if tables.endpoint.relative else cut
    return LabelledKnee(
        knee=knee,
        visit=tables.visit,
        label=int(measured <= limit),
        jsw=pair.before,
        change=pair.change,
        readprj=pair.project,
        clinical=tables.clinical.get(knee, {}),
    )


def _width_pair(tables: StudyTables, knee: KneeId) -> Pair | LeftOut:
    """The two widths of a knee, or the reason why they cannot be compared."""
    before, after = tables.first.get(knee, {}), tables.second.get(knee, {})
    if knee in tables.replaced.by_horizon or is_replaced(before) or is_replaced(after):
        return LeftOut(f"knee replaced by {tables.horizon}")
    pair = pair_of(before, after, WIDTH)
    if pair is None:
        if knee in tables.replaced.reported:
            return LeftOut(f"knee replaced by {tables.horizon}, as reported")
        return why_unpaired(before, after, WIDTH, tables.visit, tables.horizon)
    if tables.endpoint.relative and pair.before == 0:
        return LeftOut(f"JSW is 0 at {tables.visit}, so that no relative change is defined")
    return pair


def _by_kl(tables: StudyTables, knee: KneeId, cut: Decimal) -> LabelledKnee | LeftOut:
    """Positive: so many grades more at the horizon, or a prosthesis or an osteotomy until then."""
    before, after = tables.first_grades.get(knee, {}), tables.second_grades.get(knee, {})
    visit, replaced = tables.visit, tables.replaced
    if knee in replaced.at_visit or is_replaced(before):
        return LeftOut(f"knee replaced by {visit}")
    unread = why_unread(before, KL.measure, visit)
    if unread is not None:
        is_reported = knee in replaced.reported_at_visit
        return LeftOut(f"knee replaced by {visit}, as reported") if is_reported else unread
    if knee in replaced.later or knee in replaced.osteotomies or is_replaced(after):
        project, _ = first_reading(before, KL.measure) or (None, None)
        return _graded(tables, knee, True, None, project)
    pair = pair_of(before, after, KL.measure)
    if pair is None:
        if knee in replaced.reported:
            return LeftOut(f"knee replaced by {tables.horizon}, as reported")
        return why_unpaired(before, after, KL.measure, visit, tables.horizon)
    change = whole(pair.after) - whole(pair.before)
    return _graded(tables, knee, change >= cut, change, pair.project)


def _by_narrowing(tables: StudyTables, knee: KneeId) -> LabelledKnee | LeftOut:
    """Positive: a higher grade of medial joint space narrowing at the horizon, or part of one."""
    before, after = tables.first_grades.get(knee, {}), tables.second_grades.get(knee, {})
    if knee in tables.replaced.by_horizon or is_replaced(before) or is_replaced(after):
        return LeftOut(f"knee replaced by {tables.horizon}")
    pair = pair_of(before, after, MEDIAL_NARROWING.measure)
    if pair is None:
        if knee in tables.replaced.reported:
            return LeftOut(f"knee replaced by {tables.horizon}, as reported")
        return why_unpaired(before, after, MEDIAL_NARROWING.measure, tables.visit, tables.horizon)
    return _graded(tables, knee, is_worse(pair.before, pair.after), pair.change, pair.project)


def _graded(
    tables: StudyTables,
    knee: KneeId,
    is_positive: bool,
    change: Decimal | None,
    project: str | None,
) -> LabelledKnee:
    _, width = first_reading(tables.first.get(knee, {}), WIDTH) or (None, None)
    return LabelledKnee(
        knee=knee,
        visit=tables.visit,
        label=int(is_positive),
        jsw=width,
        change=change,
        readprj=project,
        clinical=tables.clinical.get(knee, {}),
    )


def _by_pain(tables: StudyTables, knee: KneeId, cut: Decimal) -> LabelledKnee | LeftOut:
    """Positive: pain at the cut or above; negative: below 1; left out in between."""
    visit = tables.visit
    gone = _replaced_at_visit(tables, knee)
    if gone is not None:
        return gone
    score = tables.scores.get(knee)
    if score is not None and score.problem is Problem.NO_NUMBER:
        return LeftOut(f"WOMAC pain is no number from 0 to 20 at {visit}")
    if score is None or score.value is None:
        return LeftOut(f"no WOMAC pain at {visit}")
    if PAIN_FREE_BELOW <= score.value < cut:
        return LeftOut(f"WOMAC pain from {PAIN_FREE_BELOW} to below {plain(cut)} at {visit}")
    return _at_visit(tables, knee, int(score.value >= cut))


def _as_given(tables: StudyTables, knee: KneeId) -> LabelledKnee | LeftOut:
    """The study's own outcome of a knee at the visit."""
    gone = _replaced_at_visit(tables, knee)
    if gone is not None:
        return gone
    outcome = tables.outcomes.get(knee)
    if outcome is None:
        return LeftOut(f"no outcome at {tables.visit}")
    return _at_visit(tables, knee, int(outcome))


def _unlabelled(tables: StudyTables, knee: KneeId) -> LabelledKnee | LeftOut:
    """A knee that a model can be applied to: any that is there at the visit."""
    gone = _replaced_at_visit(tables, knee)
    if gone is not None:
        return gone
    if knee not in tables.clinical:
        return LeftOut(f"not seen at {tables.visit}")
    return _at_visit(tables, knee, None)


def _replaced_at_visit(tables: StudyTables, knee: KneeId) -> LeftOut | None:
    projects = tables.first.get(knee, {})
    if knee in tables.replaced.by_horizon or is_replaced(projects):
        return LeftOut(f"knee replaced by {tables.visit}")
    is_measured = first_reading(projects, WIDTH) is not None
    if knee in tables.replaced.reported and not is_measured:
        return LeftOut(f"knee replaced by {tables.visit}, as reported")
    return None


def _at_visit(tables: StudyTables, knee: KneeId, label: int | None) -> LabelledKnee:
    projects = tables.first.get(knee, {})
    project, width = first_reading(projects, WIDTH) or (None, None)
    return LabelledKnee(
        knee=knee,
        visit=tables.visit,
        label=label,
        jsw=width,
        readprj=project,
        clinical=tables.clinical.get(knee, {}),
    )


def _notes(tables: StudyTables, knees: list[LabelledKnee]) -> list[str]:
    """What a reader of the labels should know of the knees in them."""
    notes = []
    reported = sum(knee.knee in tables.replaced.reported for knee in knees)
    if reported:
        measured = f"at {tables.visit}"
        if tables.endpoint.months:
            measured = f"at both {tables.visit} and {tables.horizon}"
        notes.append(
            f"{reported} {_knees(reported)} reported as replaced kept: measured {measured}"
        )
    projects = Counter(knee.readprj for knee in knees if knee.readprj not in (None, MISSING))
    if projects and tables.endpoint.months:
        counts = [f"{count:,} of project {project}" for project, count in projects.most_common()]
        notes.append(f"labels by reading project: {', '.join(counts)}")
    if tables.endpoint.kind is Kind.KL:
        highest = sum(knee.clinical.get("kl") == KL.highest for knee in knees)
        if highest:
            notes.append(
                f"{highest} {_knees(highest)} of grade {KL.highest} at {tables.visit}: "
                "none can lose another grade, so that they are positive by replacement alone"
            )
    return notes


def _knees(count: int) -> str:
    return "knee" if count == 1 else "knees"
