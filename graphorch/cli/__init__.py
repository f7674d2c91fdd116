"""The command line: `graphorch run`, `check`, `render`, `show`."""
