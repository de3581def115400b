# No syntax line: BuildKit builds this without a frontend image.
# Two root filesystems (ARCHITECTURE.md): the one of jobs, and the small outer tree,
# which creates the user namespace and never runs a job. The first stage makes a program
# that dockerd starts often.

FROM debian:trixie-slim AS iptables
ENV DEBIAN_FRONTEND=noninteractive
COPY image/static-iptables /usr/lib/runnerctl/
RUN /usr/lib/runnerctl/static-iptables /iptables

FROM debian:trixie-slim AS rootfs
ENV DEBIAN_FRONTEND=noninteractive
COPY image/rootfs-check profile /usr/lib/runnerctl/
RUN /usr/lib/runnerctl/rootfs-check base
RUN printf 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\npath-exclude=/usr/share/info/*\n' >/etc/dpkg/dpkg.cfg.d/runnerctl \
 && apt-get update --error-on=any \
 && packages=$(/usr/lib/runnerctl/rootfs-check packages) \
 && apt-get install -y --no-install-recommends $packages \
      sudo \
      g++ \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* /usr/share/info/* /var/log/*.log /var/log/apt
RUN useradd --uid 1001 --user-group --create-home --shell /bin/bash --groups docker,sudo runner \
 && echo 'runner:1002:64533' >/etc/subuid && cp /etc/subuid /etc/subgid \
 && printf 'runner ALL=(ALL) NOPASSWD:ALL\nDefaults env_keep += "DEBIAN_FRONTEND http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY"\nDefaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n' >/etc/sudoers.d/runner && chmod 0440 /etc/sudoers.d/runner
RUN mkdir -p /usr/share/runnerctl && dpkg-divert --local --rename --divert /usr/share/runnerctl/docker.init --add /etc/init.d/docker
COPY image/rootfs /
RUN /usr/lib/runnerctl/rootfs-check settle
COPY image/podman /etc/containers/
RUN /usr/lib/runnerctl/rootfs-check tools
# The faster variant; the machine selects the other one if the host's kernel has no tables for it.
RUN ! update-alternatives --query iptables >/dev/null 2>&1 || update-alternatives --set iptables /usr/sbin/iptables-legacy
RUN true
USER root
COPY image/containerd.toml /usr/lib/runnerctl/
COPY image/runc /usr/lib/runnerctl/containerd/
COPY image/dockerd /usr/lib/runnerctl/dockerd/
COPY --from=iptables /iptables /usr/lib/runnerctl/iptables/
RUN chmod 0755 /usr/lib/runnerctl/* /usr/lib/runnerctl/containerd/* /usr/lib/runnerctl/dockerd/* && mkdir -p /var/lib/docker /var/lib/containers /proc /sys /dev /run \
 && ln -s /usr/bin/true /usr/lib/runnerctl/dockerd/modprobe \
 && /usr/lib/runnerctl/rootfs-check answers

# The outer tree has no package manager and no interpreter but sh.
FROM debian:trixie-slim AS outer
ENV DEBIAN_FRONTEND=noninteractive
COPY image/outer-tree /usr/lib/runnerctl/
RUN apt-get update --error-on=any \
 && apt-get install -y --no-install-recommends \
      libcap2-bin \
      passt \
      slirp4netns \
      uidmap \
 && useradd --uid 1001 --user-group --no-create-home --home-dir /run/user/1001 --shell /bin/sh runner \
 && /usr/lib/runnerctl/outer-tree /tree coreutils dash findutils grep libcap2-bin passt slirp4netns uidmap \
 && printf 'runner:%s\n' 1002:64534 1:1000 >/tree/etc/subuid && cp /tree/etc/subuid /tree/etc/subgid \
 && find /tree -type f -perm /6000 -exec chmod ug-s {} + \
 && mkdir -p /tree/rootfs /tree/sys-rw /tree/run/user/1001 /tree/usr/lib/runnerctl && install -d -o 1001 -g 1001 /tree/var/lib/runnerctl
COPY image/shift-owners image/assert /tree/usr/lib/runnerctl/
RUN chmod 0755 /tree/usr/lib/runnerctl/* && for name in exec status wait-ready; do ln -s machine /tree/usr/lib/runnerctl/$name; done

FROM scratch
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
COPY --from=outer /tree /
RUN getcap -r / 2>/dev/null | cut -d' ' -f1 | xargs -r -n1 setcap -r \
 && setcap cap_setuid+ep /usr/bin/newuidmap && setcap cap_setgid+ep /usr/bin/newgidmap
RUN --mount=type=bind,from=rootfs,target=/unshifted /usr/lib/runnerctl/shift-owners /unshifted /rootfs 1002:64534 1:1000
# A new runtime changes only the last layers. Its mode is right if runnerctl sends the file.
ARG TARGETARCH
COPY machine-$TARGETARCH /usr/lib/runnerctl/machine
RUN [ -x /usr/lib/runnerctl/machine ] || chmod 0755 /usr/lib/runnerctl/machine
RUN /usr/lib/runnerctl/assert 1002:64534 1:1000
LABEL org.opencontainers.image.version="1.0"
ENV XDG_RUNTIME_DIR=/run/user/1001
USER 1001:1001
VOLUME /rootfs/var/lib/docker
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/lib/runnerctl/machine"]
