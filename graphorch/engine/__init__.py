"""Drivers of the core: the asyncio scheduler, and what it tells those who watch a run."""
