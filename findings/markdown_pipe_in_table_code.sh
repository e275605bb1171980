#!/usr/bin/env bash
# Python-Markdown shows the backslash of an escaped | in code in a table; GitHub and markdown-it do not.
#
# Markdown 3.11.3 (which MkDocs uses) and markdown-it-py 4.3.0, Python 3.11.
# Expected: `Path \| None` in a cell is the code "Path | None", as the specification of GitHub's tables says:
# "It is possible to include a pipe in a cell's content by escaping it, including inside other inline spans".
# Seen: markdown-it-py agrees with GitHub. Python-Markdown keeps the backslash in the code, and needs none: a
# bare | in code does not end its cell, while in GitHub's tables it does. No way to write it suits both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check Markdown==3.11.3 markdown-it-py==4.3.0
cat >"$folder/table.py" <<'PYTHON'
import re

import markdown
from markdown_it import MarkdownIt

for code in (r"`Path \| None`", "`Path | None`"):
    text = f"| a | b |\n|---|---|\n| {code} | end |\n"
    ours = markdown.markdown(text, extensions=["tables"])
    githubs = MarkdownIt().enable("table").render(text)
    for name, page in (("Python-Markdown", ours), ("markdown-it-py", githubs)):
        print(name, re.findall("<td>(.*?)</td>", page))
PYTHON
seen=$("$folder/venv/bin/python" "$folder/table.py")
echo "$seen"
expected="Python-Markdown ['<code>Path \\\\| None</code>', 'end']
markdown-it-py ['<code>Path | None</code>', 'end']
Python-Markdown ['<code>Path | None</code>', 'end']
markdown-it-py ['\`Path', 'None\`']"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; exit 1; }
