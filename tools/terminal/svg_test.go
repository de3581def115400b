package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// content returns the text of a picture in the window's grid.
func content(picture []byte) string {
	_, after, _ := strings.Cut(string(picture), "<g ")
	_, after, _ = strings.Cut(after, "\n")
	inside, _, _ := strings.Cut(after, "</g>")
	return inside
}

// texts returns the texts of a picture's elements of one name. It fails if the picture is no
// XML.
func texts(t *testing.T, picture []byte, element string) (all []string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(string(picture)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == element {
			var text string
			if err := decoder.DecodeElement(&text, &start); err != nil {
				t.Fatal(err)
			}
			all = append(all, text)
		}
	}
}

func TestContent(t *testing.T) {
	for _, one := range []struct{ name, printed, light, dark string }{
		{
			name: "plain", printed: "a b",
			light: `<text x="42" y="92" textLength="25.2">a b</text>`,
		},
		{
			name: "blanks", printed: "  a  b   \r\n\r\n c   \r\n   \r\n\r\n",
			light: `<text x="58.8" y="92">a</text>` + "\n" + `<text x="84" y="92">b</text>` + "\n" + `<text x="50.4" y="132">c</text>`,
		},
		{
			name: "markup", printed: `<a b="c">&amp;`,
			light: `<text x="42" y="92" textLength="117.6">&lt;a b=&#34;c&#34;&gt;&amp;amp;</text>`,
		},
		{
			name: "bold", printed: "\x1b[1mab\x1b[0mc",
			light: `<text x="42" y="92" textLength="16.8" font-weight="bold">ab</text>` + "\n" + `<text x="58.8" y="92">c</text>`,
		},
		{
			name: "dim", printed: "\x1b[2ma",
			light: `<text x="42" y="92" fill="#696c6f">a</text>`,
			dark:  `<text x="42" y="92" fill="#9da3a9">a</text>`,
		},
		{
			name: "dim and green", printed: "\x1b[2;32ma",
			light: `<text x="42" y="92" fill="#66a979">a</text>`,
			dark:  `<text x="42" y="92" fill="#2e813d">a</text>`,
		},
		{
			name: "italic and underlined", printed: "\x1b[3;4ma",
			light: `<text x="42" y="92" font-style="italic" text-decoration="underline">a</text>`,
		},
		{
			name: "16 colours", printed: "\x1b[31ma\x1b[92mb\x1b[39mc",
			light: `<text x="42" y="92" fill="#cf222e">a</text>` + "\n" + `<text x="50.4" y="92" fill="#2da44e">b</text>` + "\n" + `<text x="58.8" y="92">c</text>`,
			dark:  `<text x="42" y="92" fill="#ff7b72">a</text>` + "\n" + `<text x="50.4" y="92" fill="#56d364">b</text>` + "\n" + `<text x="58.8" y="92">c</text>`,
		},
		{
			name: "256 colours", printed: "\x1b[38;5;1ma\x1b[38;5;208mb\x1b[38;5;250mc",
			light: `<text x="42" y="92" fill="#cf222e">a</text>` + "\n" + `<text x="50.4" y="92" fill="#ff8700">b</text>` + "\n" + `<text x="58.8" y="92" fill="#bcbcbc">c</text>`,
			dark:  `<text x="42" y="92" fill="#ff7b72">a</text>` + "\n" + `<text x="50.4" y="92" fill="#ff8700">b</text>` + "\n" + `<text x="58.8" y="92" fill="#bcbcbc">c</text>`,
		},
		{
			name: "any colour", printed: "\x1b[38;2;1;2;255ma",
			light: `<text x="42" y="92" fill="#0102ff">a</text>`,
		},
		{
			name: "background", printed: "\x1b[44ma  b\x1b[0mc",
			light: `<rect x="42" y="78" width="33.6" height="20" fill="#0969da"/>` + "\n" +
				`<text x="42" y="92">a</text>` + "\n" + `<text x="67.2" y="92">b</text>` + "\n" + `<text x="75.6" y="92">c</text>`,
		},
		{
			name: "reversed", printed: "\x1b[7mab",
			light: `<rect x="42" y="78" width="16.8" height="20" fill="#1f2328"/>` + "\n" + `<text x="42" y="92" textLength="16.8" fill="#ffffff">ab</text>`,
			dark:  `<rect x="42" y="78" width="16.8" height="20" fill="#e6edf3"/>` + "\n" + `<text x="42" y="92" textLength="16.8" fill="#0d1117">ab</text>`,
		},
		{
			name: "wide", printed: "a世界b",
			light: `<text x="42" y="92">a</text>` + "\n" + `<text x="50.4" y="92">世</text>` + "\n" +
				`<text x="67.2" y="92">界</text>` + "\n" + `<text x="84" y="92">b</text>`,
		},
	} {
		t.Run(one.name, func(t *testing.T) {
			shown := newScreen(20)
			fmt.Fprint(shown, one.printed)
			if got := content(shown.svg("title", light)); got != one.light+"\n" {
				t.Errorf("light:\n%swant\n%s", got, one.light)
			}
			if got := content(shown.svg("title", dark)); one.dark != "" && got != one.dark+"\n" {
				t.Errorf("dark:\n%swant\n%s", got, one.dark)
			}
		})
	}
}

func TestPictureIsXMLWithItsText(t *testing.T) {
	shown := newScreen(20)
	fmt.Fprint(shown, "\x1b[32m✔\x1b[0m <a> & \"b\"  \r\n\r\n\x1b[7m c \x1b[0m世")
	picture := shown.svg("<title> & more", dark)
	for element, want := range map[string]string{"title": "<title> & more", "desc": "✔ <a> & \"b\"\n\n c 世"} {
		if got := texts(t, picture, element); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", element, got, want)
		}
	}
	if again := shown.svg("<title> & more", dark); string(again) != string(picture) {
		t.Errorf("one screen, two pictures:\n%s\n%s", picture, again)
	}
}

// The window is as high as there is text.
func TestHeightOfPicture(t *testing.T) {
	for printed, want := range map[string]string{"a": `height="140"`, "a\r\nb\r\n\r\nc\r\n\r\n": `height="200"`} {
		shown := newScreen(20)
		fmt.Fprint(shown, printed)
		if picture := shown.svg("title", light); !strings.Contains(strings.SplitN(string(picture), "\n", 2)[0], want) {
			t.Errorf("%q: no %s in\n%s", printed, want, picture)
		}
	}
}
