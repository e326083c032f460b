"""When a finding could first have been seen: the diagnosis of the log as it was, row by row."""

from bisect import bisect_left
from dataclasses import replace

from dycktune.diagnosis.diagnose import diagnose_log
from dycktune.diagnosis.diagnosis import Diagnosis
from dycktune.errors import RunError


def first_visible(diagnosis: Diagnosis, kind: str) -> int:
    """The step at which the log first showed a finding of this kind, which the whole log shows.

    A finding that came, went and came again may be dated to its second coming: the search halves the log each time.
    """
    rows = diagnosis.log.rows
    ends = [i for i in range(1, len(rows)) if rows[i]["step"] != rows[i - 1]["step"]]
    at = bisect_left(ends, True, key=lambda end: _shows(diagnosis, end, kind))
    return int(rows[ends[at] - 1 if at < len(ends) else -1]["step"])


def _shows(diagnosis: Diagnosis, end: int, kind: str) -> bool:
    """Whether the first `end` rows of the log show such a finding."""
    cut = replace(diagnosis.log, rows=diagnosis.log.rows[:end])
    try:
        found = diagnose_log(cut, diagnosis.beside, diagnosis.criterion)
    except RunError:
        return False
    return any(finding.kind == kind for finding in found.findings)
