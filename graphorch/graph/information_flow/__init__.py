"""Where marked values go in a graph, from the fields that declare a mark on.

A field may be marked as untrusted or as secret (see `state/marks.py`). A node that reads such a
value marks what it writes. So every value that can be reached gets the mark, and the graph does not
build if one gets where its mark forbids it. A person, or a check that is declared by name, ends it.
"""
