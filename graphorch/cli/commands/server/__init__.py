"""The command that serves runs to people and programs over HTTP."""
