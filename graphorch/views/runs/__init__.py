"""One run, and lists of runs: rows, nodes, moments, calls, turns, bars and records."""
