"""The local page: ask models and watch them answer, read the doctor's page of any log, look at runs."""
