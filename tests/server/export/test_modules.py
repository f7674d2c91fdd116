"""One script of many modules: it does what they do, and what it cannot read is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest

from graphorch.errors import InternalError
from graphorch.server.export.modules import join_modules

MODULES = {
    "main.js": 'import { add, ONE as one } from "./parts/sums.js";\n'
    'import {\n  Text,\n} from "./text.js";\n'
    "const add2 = 1;\nawait null;\nconsole.log(new Text(add(one, add2)).words);\n",
    "parts/sums.js": 'import { Text } from "../text.js";\n'
    "export const ONE = 1;\nexport function add(a, b) {\n  return new Text(a + b).words;\n}\n",
    "text.js": "class Text {\n  constructor(value) {\n    this.words = `<${value}>`;\n  }\n}\n"
    "const add = 7;\nexport { Text };\n",
    "unused.js": "broken",
}


@pytest.mark.skipif(which("node") is None, reason="runs the script with node")
def test_modules_run_as_one_script(tmp_path: Path) -> None:
    """Imports, other names for them, equal names in two modules and `await` work as before."""
    script = tmp_path / "script.mjs"
    script.write_text(join_modules(MODULES, "main.js"))
    ended = subprocess.run(["node", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "<<2>>\n"


def test_modules_come_after_imported_ones() -> None:
    """A module stands after those that it imports, once, and what nobody imports is left out."""
    script = join_modules(MODULES, "main.js")
    places = [script.index(f"// {name}\n") for name in ("text.js", "parts/sums.js", "main.js")]
    assert places == sorted(places)
    assert script.count("class Text") == 1
    assert "broken" not in script


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('import { a } from "./main.js";\n', "import each other: main.js → main.js"),
        ('import { a } from "./other.js";\n', "main.js imports other.js: no such file"),
        ('import thing from "./text.js";\n', "cannot be put into one script: import thing"),
        ('import * as all from "./text.js";\n', "cannot be put into one script: import *"),
        ("export default 1;\n", "cannot be put into one script: export default"),
        ("export let count = 1;\n", "cannot be put into one script: export let"),
        ('const x = await import("./text.js");\n', "cannot be put into one script: import("),
        ('const x = "</SCRIPT>";\n', "would end an inline script"),
        ('const x = "<!--";\n', "would end an inline script"),
    ],
)
def test_unreadable_modules_are_refused(source: str, words: str) -> None:
    """What would be lost or end the script is an error with the place."""
    with pytest.raises(InternalError) as raised:
        join_modules({"text.js": "", "main.js": source}, "main.js")
    assert words in str(raised.value)
