"""Connections to servers: opened, shared, spoken over, and what may go wrong with them."""
