# A runner image with the check of the benchmark.
FROM {{.Runner}}
COPY ready /usr/local/bin/bench-ready
