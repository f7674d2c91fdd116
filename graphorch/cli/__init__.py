"""Command line `graphorch`: a table of commands in `app`, the commands, and what they share."""
