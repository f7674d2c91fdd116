"""Slices and reducers of the typed state, and the version of it that travels on a token."""
