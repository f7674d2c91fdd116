"""Commands for many machines: workers, runs that are left to them, and who lives."""
