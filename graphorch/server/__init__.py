"""The HTTP server of a journal: a page for people and an API for programs; extra `serve`.

`gate/` decides which requests get in, `routes/` answers them, and `page/` holds the static files.
Nothing in here can be reached around the gate: it is the outermost layer of the application.
"""
