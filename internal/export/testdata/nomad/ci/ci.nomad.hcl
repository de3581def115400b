# The runners of the fleet ci: nomad job run ci.nomad.hcl
# The driver raw_exec runs docker, because Nomad's driver for Docker can't unmask a container's /proc.
job "ci" {
  type = "service"

  group "runners" {
    count = 3

    restart {
      attempts = 20
      interval = "10m"
      delay    = "5s"
      mode     = "delay"
    }

    task "runner" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "90s"

      config {
        command = "/etc/runnerctl/ci/run.sh"
        args    = ["ci-${NOMAD_ALLOC_INDEX}"]
      }

      resources {
        cores  = 2
        memory = 4096
      }
    }
  }
}
