"""Commands of the command line, a module each: options, work and output together."""

from __future__ import annotations
