"""The pure run-state machine: events in, commands out; no clock, no chance, no input or output."""
