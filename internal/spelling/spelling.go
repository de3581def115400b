// Package spelling suggests the word that a mistyped one probably stands for. It imports
// runnerctl.
package spelling

import "strings"

// Nearest returns the known word with the smallest edit distance, if that is small. Words that
// share no letter are not near.
func Nearest(word string, known []string) string {
	best, limit := "", min(3, len(word))
	for _, candidate := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(candidate)); d < limit {
			best, limit = candidate, d
		}
	}
	return best
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		previous := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := previous
			if a[i] != b[j] {
				cost++
			}
			previous = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}
