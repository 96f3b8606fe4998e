#!/usr/bin/env bash
# The package under mypy's strict rules, and its stubs against what they describe.
#
#     pip install --group typing --editable '.[test]' && tools/check_types.sh
#
# An installation that is not editable will do, if it is of these files.
set -euo pipefail
cd "$(dirname "$0")/.."
python -m mypy
# Without -P it would import this folder, where nothing may have been built.
python -P -m mypy.stubtest fasthash --mypy-config-file pyproject.toml \
    --allowlist tools/stubtest_allowed.txt
