"""Agents: nodes made of typed prompt functions, and the plain functions that they may call."""
