#!/usr/bin/env bash
# Writes the code as a tar archive to the standard output: the files under version control, as they
# are here, and COMMIT, by which the program knows where it comes from (whyjax/study/provenance.py).
#
#   launch/archive.sh > FILE
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
git describe --always --abbrev=40 --dirty --exclude='*' > "$folder/COMMIT"
git ls-files -z | while IFS= read -r -d '' path; do
  # A file that is deleted here is under version control until that is committed.
  [[ ! -e $path && ! -L $path ]] || printf '%s\0' "$path"
done > "$folder/files"
tar --create --directory="$folder" COMMIT --directory="$PWD" --null --files-from="$folder/files"
