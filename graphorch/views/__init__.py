"""What runs look like, as data: the same for the command line's `--json` and for the HTTP API.

Frozen dataclasses, built from a store and, where its code is needed, from a flow. Nothing here
prints, speaks HTTP or changes a journal. Every figure of a run has one derivation, that of its
spans (`graphorch.trace.spans`), so a list, a run's page and the statistics agree.
"""
