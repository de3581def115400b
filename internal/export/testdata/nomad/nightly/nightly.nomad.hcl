# The runners of the fleet nightly: nomad job run nightly.nomad.hcl
# The driver raw_exec runs docker, because Nomad's driver for Docker can't unmask a container's /proc.
job "nightly" {
  type = "service"

  group "runners" {
    count = 1

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
        command = "/etc/runnerctl/nightly/run.sh"
        args    = ["nightly-${NOMAD_ALLOC_INDEX}"]
      }

      resources {
        cores  = 2
        memory = 2048
      }
    }
  }
}
