# The stock way: one tree, dockerd-rootless.sh with its defaults, from the same
# Debian packages as the runner image. It has the changes that it needs to start in an
# unprivileged container (file capabilities instead of setuid, one subid line), like the
# runner.
FROM debian:trixie-slim
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates containerd docker-buildx docker-cli docker.io \
      iproute2 iptables kmod libcap2-bin procps rootlesskit slirp4netns tini uidmap \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1001 --user-group --create-home --shell /bin/sh runner \
 && echo 'runner:100000:65536' >/etc/subuid && cp /etc/subuid /etc/subgid \
 && chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap \
 && setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap \
 && mkdir -p /sys-rw /run/user/1001 /home/runner/.local/share/docker && chown -R 1001:1001 /home/runner
COPY ready /usr/local/bin/bench-ready
ENV HOME=/home/runner XDG_RUNTIME_DIR=/run/user/1001 DOCKER_HOST=unix:///run/user/1001/docker.sock
USER 1001:1001
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/share/docker.io/contrib/dockerd-rootless.sh"]
