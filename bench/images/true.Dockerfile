# The trivial image of the `docker run` measurement: one static program.
FROM {{.Tools}} AS tools
FROM scratch
COPY --from=tools /usr/bin/busybox /busybox
ENTRYPOINT ["/busybox", "true"]
