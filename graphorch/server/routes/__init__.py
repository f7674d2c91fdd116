"""The endpoints of the API, one module for each noun.

Each module has a function `build_endpoints(context)` that returns its endpoints, and `app.py` lists
these functions. A handler takes a `Call`, asks `graphorch.views` or a run for what it needs, and
returns a dataclass; what it raises becomes a problem. Its docstring is its text in the OpenAPI
document.
"""
