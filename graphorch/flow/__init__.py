"""What a user builds and runs: `Graph` is the builder, `Flow` the proved, runnable result."""
