"""The graph: nodes, the builder, its checks, and the plan that they compile to."""
