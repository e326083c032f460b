"""The first wrong thought of a trace that completes a Dyck sequence: BIG-Bench Extra Hard's `dyck_languages`."""
