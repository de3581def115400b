module github.com/runnerctl/runnerctl/tools/wording

go 1.26.0

require github.com/golangci/misspell v0.8.0
