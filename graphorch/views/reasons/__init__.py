"""What needs the code of a flow: why something happened, states, the critical path."""
