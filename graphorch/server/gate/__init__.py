"""Which requests get in: hosts, token, bodies, limits, and the headers of every response."""
