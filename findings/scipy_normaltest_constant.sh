#!/usr/bin/env bash
# D'Agostino's test of values that are all alike: p was next to 0 up to SciPy 1.8, and is NaN from 1.9 on.
#
# scipy 1.8.1 and 1.9.0, numpy 1.24.4, Python 3.8 to 3.10 (the last ones that both have wheels for).
# Expected: normaltest of a constant gives NaN, or an error, in all releases.
# Seen: 1.8.1 gives p = 1.1e-99 for 80 values of 9, as if they were surely not normal: skewness and kurtosis
# of a constant were 0 and -3. 1.9.0 gives NaN, so that a program that asks for p < 0.001 decides otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for python in python3.10 python3.9 python3.8 none; do
    [ $python != none ] || { echo "needs a Python from 3.8 to 3.10"; exit 1; }
    $python -m venv "$folder/venv" 2>/dev/null && break
done
for release in 1.8.1 1.9.0; do
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check scipy==$release numpy==1.24.4
    p=$("$folder/venv/bin/python" -W ignore -c "
import numpy as np
from scipy import stats
print('%.1e' % stats.normaltest(np.full(80, 9)).pvalue)")
    echo "SciPy $release: p = $p"
    [ $release = 1.8.1 ] && expected="1.1e-99" || expected="nan"
    [ "$p" = "$expected" ] || { echo "changed: expected $expected"; exit 1; }
done
