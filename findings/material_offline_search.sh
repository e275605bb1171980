#!/usr/bin/env bash
# Material for MkDocs with its plugin `offline` still fetches a script for the search, and hides the search without it.
#
# mkdocs-material 9.8.2, mkdocs 1.6.1, Python 3.11.
# Expected: a site that is built with the plugin `offline` can be searched from the file system, without a
# network.
# Seen: the plugin writes the search index as a script, and into each page a script from another server,
# https://unpkg.com/iframe-worker/shim. Where that does not come, the search of pages that are opened as files
# stays hidden. (The plugin `privacy` downloads it while the site is built.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mkdocs-material==9.8.2 mkdocs==1.6.1
mkdir "$folder/docs"
echo "# Site" >"$folder/docs/index.md"
cat >"$folder/mkdocs.yml" <<'YAML'
site_name: Site
theme: {name: material, font: false}
plugins: [search, offline]
YAML
(cd "$folder" && NO_MKDOCS_2_WARNING=1 venv/bin/python -m mkdocs build --quiet)
index=$(find "$folder/site/search" -name search_index.js | wc -l)
fetched=$(grep -o 'https://unpkg.com/iframe-worker/shim' "$folder/site/index.html" | sort -u || true)
echo "index as a script: $index; fetched: $fetched"
[ "$index" = 1 ] && [ "$fetched" = "https://unpkg.com/iframe-worker/shim" ] || { echo "changed"; exit 1; }
