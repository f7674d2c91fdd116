"""Questions of runs to people: those that are open in all runs, and what became of others."""
