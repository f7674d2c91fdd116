"""Waits of nodes for signals and times: how they begin, and how their time ends them."""
