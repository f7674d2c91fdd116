"""Flows as data: their nodes, schemas and estimates."""
