"""A run as one HTML file: the page with all of its modules and styles, and what the API answers.

- `answers.py` asks the handlers of the API what the page of a run would ask, within `bounds.py`.
- `modules.py` makes one script of the page's modules, since a file cannot import another one.
- `document.py` writes the file: its content policy allows that script, that style, no request.
- `exporting.py` reads a run of a journal and does all of it.

Nothing of this needs the packages of the server.
"""
