"""What tests of flows need: a clock that jumps, models that play a script, faults on demand, and checks that run a flow many times."""
