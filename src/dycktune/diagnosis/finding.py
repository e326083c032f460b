"""One observation of the doctor, with its evidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dycktune.outputs import FindingOutput


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was seen, where, and by which numbers."""

    kind: str
    """A label, when the finding can decide it; else the name of a note."""

    message: str
    """One sentence for a person."""

    first_step: int
    last_step: int
    evidence: Mapping[str, float] = field(default_factory=dict)
    """The numbers behind the message; ratios are plain factors, steps are steps."""

    confidence: float = 1.0
    """0 to 1. For a measured effect 0.5 at the threshold and nearer 1 the further beyond it."""

    def to_json(self) -> FindingOutput:
        """The finding as plain JSON values."""
        return {
            "kind": self.kind,
            "message": self.message,
            "steps": [self.first_step, self.last_step],
            "evidence": {
                name: float(f"{value:.6g}") for name, value in self.evidence.items() if math.isfinite(value)
            },
            "confidence": round(self.confidence, 2),
        }


def beyond(effect: float, threshold: float) -> float:
    """Confidence in an effect that passes its threshold: 0.5 there, 0.75 at twice, 0.9 at five times."""
    return 1 - 0.5 * min(1.0, threshold / effect) if effect > 0 else 1.0


def change(ratio: float) -> str:
    """A ratio in words: 'rose 31%', 'rose 2.9×', 'fell 12%', 'fell to 1/20'."""
    if not math.isfinite(ratio):
        return "changed beyond measure"
    if ratio >= 2:
        return f"rose {ratio:.3g}×"
    if ratio >= 1:
        return f"rose {100 * (ratio - 1):.0f}%"
    return (
        f"fell {100 * (1 - ratio):.0f}%" if ratio > 0.1 else f"fell to 1/{min(1 / max(ratio, 1e-9), 1e9):.0f}"
    )


def note(kind: str, message: str, first: float, last: float, /, **evidence: float) -> Finding:
    """A finding that decides no label."""
    return Finding(kind=kind, message=message, first_step=int(first), last_step=int(last), evidence=evidence)


def counted(count: int, noun: str = "row") -> str:
    """A number of things in words."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
