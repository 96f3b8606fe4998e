#!/usr/bin/env bash
# Builds the kernels with sanitizers, in a copy of the tracked files, and runs their tests on them.
#
#   tests/reliability/sanitize.sh address [pytest arguments]   AddressSanitizer and
#                                                              UndefinedBehaviorSanitizer
#   tests/reliability/sanitize.sh thread [seconds]             ThreadSanitizer: searches while one
#                                                              thread changes the index
#
# Needs gcc with its sanitizer libraries, and a Python that has what the tests need: PYTHON, or else
# one is made with what these tests import. The first finding ends it with an error. hypothesis
# makes 20 examples for each test instead of 100, where the test does not say how many.
set -euo pipefail
kind=${1:?address or thread}
shift
python=${PYTHON:+$(realpath -s "$(command -v "$PYTHON")")}
cd "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
if [ -z "$python" ]; then
    python3 -m venv "$copy/.venv"
    python=$copy/.venv/bin/python
    "$python" -m pip install -q 'Cython>=3.3.1,<3.4' 'setuptools>=77' numpy scipy scikit-learn \
        pytest hypothesis safetensors
fi
cd "$copy"

case $kind in
address)
    flags="-fsanitize=address,undefined -fno-sanitize-recover=all"
    library=libasan.so
    finding=heap-buffer-overflow
    # What Python itself leaves behind at its end is no finding.
    export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1
    export UBSAN_OPTIONS=print_stacktrace=1
    ;;
thread)
    # OpenMP's own synchronisation cannot be seen; threads of Python share the kernels instead.
    flags="-fsanitize=thread"
    library=libtsan.so
    finding="data race"
    export FASTHASH_OPENMP=0
    export TSAN_OPTIONS="halt_on_error=1:exitcode=66"
    ;;
*)
    echo "the first argument must be address or thread, got $kind" >&2
    exit 2
    ;;
esac

# In CC, so that the probe for OpenMP is linked with them too.
CC="gcc $flags" CFLAGS="-O1 -g -fno-omit-frame-pointer" \
    "$python" setup.py -q build_ext --inplace -j "$(nproc)"
preload=$(gcc -print-file-name="$library")
# The C++ library first, so that the sanitizer sees its exceptions.
run=(env LD_PRELOAD="$preload:$(gcc -print-file-name=libstdc++.so.6)" PYTHONPATH="$copy" PYTHONMALLOC=malloc
    OPENBLAS_NUM_THREADS=1 "$python")
"${run[@]}" -c "import fasthash
assert fasthash.__file__.startswith('$copy'), fasthash.__file__
print('kernels with $flags:', ', '.join(fasthash.simd_levels()))"

# A fault on purpose: an output too small, or one output for two threads. It must be found.
fault="import threading, numpy as np
from fasthash._kernels.distances import distances
a = np.zeros((2000, 8), np.uint8)
out = np.zeros((1 if '$kind' == 'address' else 2000, 2000), np.int32)
threads = [threading.Thread(target=distances, args=(a, a, out, 1)) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]"
if "${run[@]}" -c "$fault" > fault.log 2>&1 || ! grep -q "$finding" fault.log; then
    tail fault.log
    echo "the sanitizer does not find a fault that is there" >&2
    exit 1
fi
echo "a fault made on purpose is found: $(grep -m1 "$finding" fault.log)"

if [ "$kind" = thread ]; then
    "${run[@]}" tests/reliability/threads.py --seconds "${1:-20}"
    exit
fi

# Two at a time, each with about half of the work. What times an interrupt is not about memory.
tests=("${run[@]}" -m pytest -q -p no:cacheprovider --hypothesis-profile=few
    -k "not interrupt" "$@")
"${tests[@]}" tests/test_hamming.py tests/test_asymmetric.py tests/test_scan.py \
    tests/test_jaccard.py tests/test_exclude_self.py tests/test_pairs_within.py \
    tests/test_metrics.py tests/test_many_queries.py \
    tests/test_discrete_kernels.py tests/test_reconstruct_kernels.py \
    > first.log 2>&1 &
first=$!
"${tests[@]}" tests/test_multi_index.py tests/test_index.py tests/test_index_changes.py \
    tests/test_index_file.py tests/test_stored_tables.py tests/test_codes.py \
    tests/test_c_interface.py \
    tests/test_native_limits.py tests/test_c_arguments.py tests/test_c_index.py \
    tests/test_c_weights.py tests/test_filters.py
wait "$first" || { cat first.log; exit 1; }
tail -n 1 first.log
