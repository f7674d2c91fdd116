"""Agents: a node that is a typed prompt function, and the plain functions that it may call as tools."""
