"""Authoring of graphs: nodes, the builder, and the plan that a checked graph compiles to."""
