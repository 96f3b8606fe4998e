#!/usr/bin/env bash
# The package under mypy's strict rules, and its stubs against what they describe.
#
#     pip install --group typing --editable '.[test]' && tools/check_types.sh
set -euo pipefail
cd "$(dirname "$0")/.."
python -m mypy
python -m mypy.stubtest fasthash --mypy-config-file pyproject.toml \
    --allowlist tools/stubtest_allowed.txt
