# No syntax line: BuildKit builds this without a frontend image.
# Two root filesystems (ARCHITECTURE.md): the one of jobs, and the small outer tree,
# which creates the user namespace and never runs a job.

FROM debian:trixie-slim AS world
ENV DEBIAN_FRONTEND=noninteractive
COPY image/world-check profile /usr/lib/runnerctl/
RUN /usr/lib/runnerctl/world-check base
RUN printf 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\npath-exclude=/usr/share/info/*\n' >/etc/dpkg/dpkg.cfg.d/runnerctl \
 && apt-get update --error-on=any \
 && packages=$(/usr/lib/runnerctl/world-check packages) \
 && apt-get install -y --no-install-recommends $packages \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* /usr/share/info/* /var/log/*.log /var/log/apt
RUN useradd --uid 1001 --user-group --create-home --shell /bin/bash --groups docker runner \
 && echo 'runner:100000:65536' >/etc/subuid && cp /etc/subuid /etc/subgid
RUN mkdir -p /usr/share/runnerctl && dpkg-divert --local --rename --divert /usr/share/runnerctl/docker.init --add /etc/init.d/docker
COPY image/world /
RUN /usr/lib/runnerctl/world-check settle
COPY image/podman /etc/containers/
RUN /usr/lib/runnerctl/world-check tools
# The faster variant; the machine selects the other one if the host's kernel has no tables for it.
RUN ! update-alternatives --query iptables >/dev/null 2>&1 || update-alternatives --set iptables /usr/sbin/iptables-legacy
COPY image/containerd.toml /usr/lib/runnerctl/
COPY image/runc /usr/lib/runnerctl/containerd/
RUN chmod 0755 /usr/lib/runnerctl/* /usr/lib/runnerctl/containerd/* && mkdir -p /var/lib/docker /var/lib/containers /proc /sys /dev /run /usr/lib/runnerctl/dockerd \
 && ln -s /usr/bin/true /usr/lib/runnerctl/dockerd/modprobe

FROM debian:trixie-slim
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update --error-on=any \
 && apt-get install -y --no-install-recommends \
      libcap2-bin \
      passt \
      slirp4netns \
      uidmap \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* /var/log/*.log /var/log/apt \
 && useradd --uid 1001 --user-group --no-create-home --home-dir /run/user/1001 --shell /bin/sh runner \
 && echo 'runner:1002:2147483648' >/etc/subuid && cp /etc/subuid /etc/subgid \
 && find / -xdev -type f -perm /6000 -exec chmod ug-s {} + \
 && getcap -r / 2>/dev/null | cut -d' ' -f1 | xargs -r -n1 setcap -r \
 && setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap \
 && mkdir -p /rootfs /sys-rw /run/user/1001 && install -d -o 1001 -g 1001 /var/lib/runnerctl
COPY image/shift-owners image/assert /usr/lib/runnerctl/
ARG TARGETARCH
COPY machine-$TARGETARCH /usr/lib/runnerctl/machine
# Clients of the machine's init have names of their own. A mode that is right already is not
# changed: that would copy the program into this layer too.
RUN find /usr/lib/runnerctl -type f ! -perm 0755 -exec chmod 0755 {} + && for name in exec status wait-ready; do ln -s machine /usr/lib/runnerctl/$name; done
RUN --mount=type=bind,from=world,target=/world /usr/lib/runnerctl/shift-owners /world /rootfs 1002
RUN /usr/lib/runnerctl/assert 1002 2147483648
ENV XDG_RUNTIME_DIR=/run/user/1001
USER 1001:1001
VOLUME /rootfs/var/lib/docker
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/lib/runnerctl/machine"]
