"""One attempt of an activation: the task that it runs in, its context, its model calls, and the event that it ends as."""

from __future__ import annotations
