"""What a console says about a run around its rows: the header that Trainer and unsloth print, and printed arguments."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

FACTS = {
    "total": re.compile(r"Total (?:optimization )?steps\s{0,9}=\s{0,9}([\d,]{1,15})"),
    "epochs": re.compile(r"Num Epochs\s{0,9}=\s{0,9}([\d,]{1,9})"),
    "examples": re.compile(r"Num examples\s{0,9}=\s{0,9}([\d,]{1,15})"),
    "batch": re.compile(
        r"(?:Total train batch size[^=]{0,80}|Total batch size[^=]{0,40})=\s{0,9}([\d,]{1,9})"
    ),
    "per_epoch": re.compile(r"Num update steps per epoch\s{0,9}=\s{0,9}([\d,]{1,15})"),
    "logging_steps": re.compile(r"\blogging_steps['\"]?\s{0,3}[=:]\s{0,3}(\d{1,9})\b"),
    "max_steps": re.compile(r"\bmax_steps['\"]?\s{0,3}[=:]\s{0,3}(\d{1,12})\b"),
    "num_train_epochs": re.compile(r"\bnum_train_epochs['\"]?\s{0,3}[=:]\s{0,3}(\d{1,9}(?:\.\d{1,9})?)\b"),
}
"""What Trainer and unsloth print before a run, and arguments as they are printed."""

ARGUMENTS = re.compile(
    r"\b(metric_for_best_model|greater_is_better|load_best_model_at_end)['\"]?\s{0,3}[=:]\s{0,3}['\"]?([\w/.-]{1,80})"
)
CONSTANTS = {"True": True, "False": False, "true": True, "false": False, "None": None, "null": None}


@dataclass
class Facts:
    """What the text around the rows says about the length of the run."""

    values: dict[str, float] = field(default_factory=dict)

    arguments: dict[str, Any] = field(default_factory=dict)
    """How the best checkpoint was chosen, where the arguments of the run are printed."""

    def see(self, line: str) -> None:
        """Note what a line says; the first value of each counts."""
        for name, value in ARGUMENTS.findall(line):
            self.arguments.setdefault(name, CONSTANTS.get(value, value))
        for name, pattern in FACTS.items():
            match = pattern.search(line) if name not in self.values else None
            if match:
                self.values[name] = float(match[1].replace(",", ""))

    def get(self, *names: str) -> float:
        """The first of the values that is known and above zero, else NaN."""
        return next((self.values[name] for name in names if self.values.get(name, 0) > 0), math.nan)

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps of an epoch, from the header of the run; NaN where it says too little."""
        by_examples = _ceil(self.get("examples") / self.get("batch"))
        planned = self.get("total", "max_steps") / self.get("epochs", "num_train_epochs")
        known = (self.get("per_epoch"), by_examples, planned)
        return next((steps for steps in known if math.isfinite(steps)), math.nan)


def _ceil(value: float) -> float:
    return float(math.ceil(value)) if math.isfinite(value) else value
