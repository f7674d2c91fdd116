"""Checks of maps and sub-flows that are ended from outside."""
