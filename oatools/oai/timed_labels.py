"""Times to an event: one call from a study's tables to the knees at risk and what became of them.

times = oatools.label_knees("OAI/tables", endpoint="tkr", until="96m")
times.events, len(times.knees), times.ended()
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row, naming_table
from oatools.core.provenance import CAUTION_COLUMN, Caution
from oatools.oai.clinical import CLINICAL_COLUMNS
from oatools.oai.course import Ended, TimedKnee
from oatools.oai.endpoints import Kind, month_of
from oatools.oai.followup import FollowUp
from oatools.oai.initiative_followup import LAST_OF_END_STAGE, open_initiative_followup
from oatools.oai.kneelist import IDENTITY, FlowStep, KneeList, number_cell
from oatools.oai.most import is_most
from oatools.oai.plain import require_plain_width
from oatools.oai.plain_followup import open_plain_followup
from oatools.oai.replacement import OUTCOMES
from oatools.oai.rules import LabelledKnee
from oatools.oai.tables import find_tables
from oatools.oai.timed import has_no_room, is_kept_by_x_ray, sort_by_time
from oatools.oai.timed_endpoints import Replaced, TimedEndpoint
from oatools.phantom.stamp import is_of_phantom

_COURSE = ["time", "event", "from", "to", "ended"]
_DIGITS = Decimal("0.01")
#: How the flow of a cohort tells why a follow-up without an event ended.
ENDINGS = {
    Ended.END: "to the end",
    Ended.LOST: "lost",
    Ended.DIED: "died",
    Ended.REPLACED: "replaced",
    Ended.UNMEASURED: "unmeasured",
}


@dataclass(frozen=True, kw_only=True)
class TimedLabels(KneeList):
    """The knees at risk at a visit with their times, in the order of their names, and the others.

    Times in the table are months since the visit.
    """

    endpoint: TimedEndpoint
    knees: Sequence[TimedKnee]

    @property
    def members(self) -> Sequence[TimedKnee]:
        """The knees at risk."""
        return self.knees

    @property
    def events(self) -> int:
        """The number of knees with the event."""
        return self.ended()[Ended.EVENT]

    def ended(self) -> Counter[Ended]:
        """How many follow-ups ended why."""
        return Counter(knee.course.ended for knee in self.knees)

    def flow(self) -> list[FlowStep]:
        """The flow: assessed, left out by reason, at risk, events, and how the others ended."""
        ended = self.ended()
        others = [FlowStep(name, ended[why]) for why, name in ENDINGS.items() if ended[why]]
        at_risk = FlowStep("at risk", len(self.knees))
        return [*self.left_out_steps(), at_risk, FlowStep("events", self.events), *others]

    def columns(self) -> list[str]:
        """The columns of the table."""
        measured = ["jsw", *CLINICAL_COLUMNS, "readprj", "endpoint", CAUTION_COLUMN]
        return [*IDENTITY, *_COURSE, *measured]

    def rows(self) -> list[Row]:
        """The rows of the table."""
        return [self.row(knee) for knee in self.knees]

    def row(self, knee: LabelledKnee) -> Row:
        """One knee as a row of the table; one that is not at risk has no times."""
        row = self.common_cells(knee) | dict.fromkeys(_COURSE, MISSING)
        row["endpoint"] = self.endpoint.name
        if isinstance(knee, TimedKnee):
            course = knee.course
            row["time"] = self._months(course.time)
            row["event"] = str(int(course.ended is Ended.EVENT))
            row["from"] = self._months(course.start)
            row["to"] = MISSING if course.end is None else self._months(course.end)
            row["ended"] = course.ended.value
        return {column: row[column] for column in self.columns()}

    def _months(self, months: Decimal) -> str:
        """The cell of a time, in months since the visit."""
        return number_cell((months - month_of(self.visit)).quantize(_DIGITS))


def time_tables(study: FollowUp, is_synthetic: bool = False) -> TimedLabels:
    """Follow the knees of an opened study; see `oai.labels.label_knees`."""
    found = sort_by_time(study)
    return TimedLabels(
        endpoint=study.endpoint,
        visit=study.visit,
        knees=sorted(found.knees, key=lambda knee: knee.name),
        left_out=found.left_out,
        assessed_patients=study.assessed_patients(),
        notes=[*study.notes, *_notes(study, found.knees)],
        cautions=(Caution.PHANTOMS,) if is_synthetic else (),
    )


def open_followup(source: str | Path, endpoint: TimedEndpoint, visit: str = "00m") -> FollowUp:
    """Read a study's tables from a visit on; a `UsageError` for tables that cannot serve."""
    source = Path(source)
    if not source.is_dir():
        require_plain_width(endpoint.width)
        with naming_table(source):
            return open_plain_followup(source, endpoint, visit)
    tables = find_tables(source)
    if is_most(tables):
        raise UsageError(
            f"{source} holds tables of MOST, of which no times to an event are made",
            "make a plain table of them",
        )
    return open_initiative_followup(tables, endpoint, visit)


def time_knees(source: str | Path, endpoint: TimedEndpoint, visit: str = "00m") -> TimedLabels:
    """Follow the knees of a study from its tables; see `oai.labels.label_knees`."""
    study = open_followup(source, endpoint, visit)
    return time_tables(study, Path(source).is_dir() and is_of_phantom(Path(source)))


def _notes(study: FollowUp, knees: Sequence[TimedKnee]) -> list[str]:
    """What a reader of the times should know of the knees in them."""
    replaced = [knee.knee for knee in knees if knee.course.is_replacement]
    doubtful = sum(not study.replaced[knee].is_confirmed for knee in replaced)
    notes = []
    if not study.has_outcomes and doubtful:
        notes.append(
            f"{doubtful} of {len(replaced)} replacements are what people report, "
            f"as there is no {OUTCOMES}"
        )
    elif doubtful:
        notes.append(
            f"{doubtful} of {len(replaced)} replacements rest on another code of adjudication "
            "than 3 (confirmed)"
        )
    return [*notes, *_of_reports(study, knees), *_of_endings(study, knees)]


def _of_reports(study: FollowUp, knees: Sequence[TimedKnee]) -> list[str]:
    """What is said of knees that are replaced by report alone."""
    reported = [knee for knee in knees if knee.knee in study.reported]
    kept = sum(is_kept_by_x_ray(study, knee.knee) for knee in reported)
    # One with the event before the report is no matter of it.
    ended = sum(knee.course.ended is Ended.REPLACED for knee in reported)
    notes = []
    if ended:
        notes.append(
            f"{_knees(ended)} replaced by report alone, which {OUTCOMES} does not have: "
            "no event, followed to the last contact or reading before the report"
        )
    if kept:
        notes.append(f"{_knees(kept)} reported as replaced kept: measured then or later")
    return notes


def _of_endings(study: FollowUp, knees: Sequence[TimedKnee]) -> list[str]:
    """What is said of knees that have nothing to lose, or whose follow-up their state ended."""
    notes = []
    full = sum(has_no_room(study, knee.knee) for knee in knees)
    if full and study.endpoint.replaced is Replaced.EVENT:
        what = "mm" if study.endpoint.kind is Kind.WIDTH else "grades"
        notes.append(
            f"{_knees(full)} cannot lose so many {what} any more: an event by replacement alone, "
            "for which they are followed"
        )
    unmeasured = sum(knee.course.ended is Ended.UNMEASURED for knee in knees)
    if unmeasured:
        notes.append(
            f"{_knees(unmeasured)} without joint space at {LAST_OF_END_STAGE}m (KL 4 or width 0) "
            "not X-rayed later by design: censored there, which is informative"
        )
    projects = Counter(knee.readprj for knee in knees if knee.readprj not in (None, MISSING))
    if projects and study.endpoint.kind is not None:
        counts = [f"{count:,} of project {project}" for project, count in projects.most_common()]
        notes.append(f"last readings by reading project: {', '.join(counts)}")
    return notes


def _knees(count: int) -> str:
    return "1 knee" if count == 1 else f"{count} knees"
