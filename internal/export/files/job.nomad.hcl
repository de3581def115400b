# The runners of the fleet {{.Name}}: nomad job run {{.Name}}.nomad.hcl
# The driver raw_exec runs docker, because Nomad's driver for Docker can't unmask a container's /proc.
job {{json .Name}} {
  type = "service"

  group "runners" {
    count = {{.Count}}

    restart {
      attempts = 20
      interval = "10m"
      delay    = "5s"
      mode     = "delay"
    }

    task "runner" {
      driver       = "raw_exec"
      kill_signal  = "SIGTERM"
      kill_timeout = "{{.StopLimit}}s"

      config {
        command = "/etc/runnerctl/{{.Name}}/run.sh"
        args    = ["{{.Name}}-${NOMAD_ALLOC_INDEX}"]
      }

      resources {
        cores  = {{.Cores}}
        memory = {{.MiB .Runner.Memory}}
      }
    }
  }
}
