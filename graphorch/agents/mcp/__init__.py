"""Tools of MCP servers (Model Context Protocol): declared, connected to, listed, called.

`server` is what a program declares, `listing` what a run keeps of a server's tools, and
`connection` what talks to it. The package `mcp` is loaded by the first connection.
"""
