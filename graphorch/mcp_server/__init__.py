"""Flows served as tools over the Model Context Protocol; needs the extra `mcp`."""
