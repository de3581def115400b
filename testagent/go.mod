module github.com/runnerctl/runnerctl/testagent

go 1.26.0

require (
	github.com/ChristopherHX/github-act-runner v0.13.0
	github.com/google/uuid v1.5.0
)

require (
	github.com/golang-jwt/jwt v3.2.2+incompatible // indirect
	github.com/klauspost/compress v1.18.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
	nhooyr.io/websocket v1.8.7 // indirect
)
