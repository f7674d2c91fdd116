"""What requests begin and change: answers, signals, new runs, and runs that go on."""
