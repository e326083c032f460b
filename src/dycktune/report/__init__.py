"""What people look at after a run: one HTML file that needs nothing from the network."""

from dycktune.report.page import page, write_report
from dycktune.report.subject import Subject, read_subject

__all__ = ["Subject", "page", "read_subject", "write_report"]
