"""`graphorch stats`: tables and charts over the runs in a journal."""

from __future__ import annotations
