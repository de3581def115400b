# Both ends of the network measurements, and the base of the small build.
FROM debian:trixie-slim
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends busybox-static iperf3 \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
