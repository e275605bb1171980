#!/usr/bin/env bash
# MkDocs with --quiet and --strict builds a site with a broken link and ends with 0.
#
# mkdocs 1.6.1, Python 3.11.
# Expected: --strict makes the build fail if there are warnings; --quiet only keeps it from printing them.
# Seen: `mkdocs build --strict` ends with 1 and names the link; `mkdocs build --quiet --strict` ends with 0. The
# level of the log decides which warnings are counted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mkdocs==1.6.1
mkdir "$folder/docs"
echo "[a page that is not there](nothing.md)" >"$folder/docs/index.md"
echo "site_name: Site" >"$folder/mkdocs.yml"
cd "$folder"
strict=0 quiet=0
venv/bin/python -m mkdocs build --strict 2>warnings || strict=$?
venv/bin/python -m mkdocs build --quiet --strict 2>>warnings || quiet=$?
grep -c "nothing.md" warnings
echo "--strict: $strict, --quiet --strict: $quiet"
[ "$strict $quiet" = "1 0" ] || { echo "changed: expected 1 and 0"; exit 1; }
