#!/bin/sh
# Write the locks: exact versions with hashes and no registry's address, for every platform and Python >= 3.11.
set -eu
cd "$(dirname "$0")/.."
lock() {
  out=$1
  shift
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --output-file "$out" "$@" pyproject.toml
}
lock requirements/operator.txt
lock requirements/dev.txt --group dev --extra cli -c requirements/operator.txt
