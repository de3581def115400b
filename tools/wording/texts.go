package main

import (
	"bytes"
	"go/scanner"
	"go/token"
	"regexp"
	"strings"
)

// texts returns a copy of a file in which only its texts are left: comments, messages, or
// the whole of a document. Everything else is zeros, except line ends, so that positions
// stay the same. It returns nil for a file without texts.
func texts(name string, content []byte) []byte {
	switch {
	case strings.HasSuffix(name, ".go"):
		return goTexts(content, strings.HasSuffix(name, "_test.go"))
	case strings.HasSuffix(name, ".md"), strings.HasSuffix(name, ".md.tmpl"), strings.HasPrefix(name, ".github/") && !strings.HasPrefix(name, ".github/workflows/"):
		text := bytes.Clone(content)
		hide(text, code)
		hide(text, names)
		return text
	case name == "Makefile", bytes.HasPrefix(content, []byte("#!")), strings.HasPrefix(name, "scripts/"), strings.HasPrefix(name, "templates/") && strings.HasSuffix(name, ".tmpl"), strings.HasPrefix(name, ".github/"):
		return scriptTexts(content)
	}
	return nil
}

var (
	// code is a span of code in a document or comment.
	code = regexp.MustCompile("`[^`\n]*`")
	// names are paths, file names, flags and other compound names.
	names = regexp.MustCompile(`\$\{?\w+\}?|[\w$]*(?:[./_-]+\w+)+`)
	// escapes are the escape sequences of a string.
	escapes = regexp.MustCompile(`\\.`)
	// quoted is a comment or a string in a line of a script.
	quoted = regexp.MustCompile(`(?:^|\s)#.*|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'`)
)

func goTexts(content []byte, test bool) []byte {
	text := zeros(content)
	set := token.NewFileSet()
	file := set.AddFile("", -1, len(content))
	var s scanner.Scanner
	s.Init(file, content, nil, scanner.ScanComments)
	var comments [][2]int
	identifiers := map[string]bool{}
	for {
		position, kind, literal := s.Scan()
		if kind == token.EOF {
			break
		}
		begin := file.Offset(position)
		switch end := begin + len(literal); {
		case kind == token.COMMENT:
			comments = append(comments, [2]int{begin, end})
		case kind == token.STRING && !test && !tag(content, begin, literal):
			copy(text[begin:end], content[begin:end])
			if literal[0] == '"' {
				for _, at := range escapes.FindAllStringIndex(literal, -1) {
					copy(text[begin+at[0]:begin+at[1]], "  ")
				}
			}
			text[begin], text[end-1] = 0, 0
			hide(text[begin:end], names)
		case kind == token.IDENT:
			identifiers[literal] = true
		}
	}
	for _, at := range comments {
		comment := text[at[0]:at[1]]
		copy(comment, content[at[0]:at[1]])
		copy(comment, "  ")
		if first := bytes.Fields(comment); len(first) > 0 && identifiers[string(first[0])] {
			blank(comment[:bytes.Index(comment, first[0])+len(first[0])]) // a doc comment begins with a name
		}
		hide(comment, code)
		hide(comment, names)
	}
	return text
}

// tag reports whether a literal is the tag of a field.
func tag(content []byte, begin int, literal string) bool {
	return literal[0] == '`' && strings.Contains(literal, `:"`) && !strings.Contains(literal, "\n") && bytes.HasPrefix(bytes.TrimLeft(content[begin+len(literal):], " \t"), []byte("\n"))
}

// scriptTexts finds the comments and the strings of a script, line by line.
func scriptTexts(content []byte) []byte {
	text := zeros(content)
	for _, at := range quoted.FindAllIndex(content, -1) {
		part := text[at[0]:at[1]]
		copy(part, content[at[0]:at[1]])
		if trimmed := bytes.TrimLeft(part, " \t\n"); len(trimmed) > 0 && trimmed[0] == '#' {
			trimmed[0] = ' '
		} else {
			part[0], part[len(part)-1] = 0, 0
		}
		hide(part, code)
		hide(part, names)
	}
	// Consecutive comment lines are one text.
	return text
}

// zeros returns zeros in place of a file's content, except white space.
func zeros(content []byte) []byte {
	text := make([]byte, len(content))
	for i, char := range content {
		if char == '\n' || char == '\t' || char == ' ' {
			text[i] = char
		}
	}
	return text
}

// hide replaces the matches of a pattern by zeros.
func hide(text []byte, pattern *regexp.Regexp) {
	for _, at := range pattern.FindAllIndex(text, -1) {
		blank(text[at[0]:at[1]])
	}
}

func blank(text []byte) {
	for i, char := range text {
		if char != '\n' {
			text[i] = 0
		}
	}
}
