package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// term is one line of a posture: an attribute, an operator, and a value, a list of them, or nothing.
type term struct {
	attribute, operator string
	wanted              []any // texts, booleans and numbers; one but for IN and NOT IN
}

var (
	termForm = regexp.MustCompile(`(?s)^\s*([\w:.-]+)\s+(IS SET|NOT SET|NOT IN|IN|==|!=|>=|<=|>|<)\s*(.*?)\s*$`)
	quoted   = regexp.MustCompile(`'([^'"]*)'`)
	piece    = regexp.MustCompile(`[0-9]+|[a-zA-Z]+`)
)

func parseTerm(text string) (term, error) {
	unreadable := fmt.Errorf("the term %q cannot be read", text)
	found := termForm.FindStringSubmatch(text)
	if found == nil {
		return term{}, unreadable
	}
	made, written := term{attribute: found[1], operator: found[2]}, found[3]
	if made.operator == "IS SET" || made.operator == "NOT SET" {
		if written != "" {
			return term{}, unreadable
		}
		return made, nil
	}
	value, err := parseLiteral(written)
	list, isList := value.([]any)
	if err != nil || isList != (made.operator == "IN" || made.operator == "NOT IN") {
		return term{}, unreadable
	}
	if !isList {
		list = []any{value}
	}
	if slices.ContainsFunc(list, func(each any) bool { return !isPlain(each) }) {
		return term{}, unreadable
	}
	made.wanted = list
	return made, nil
}

// parseLiteral reads JSON whose texts stand in single quotes.
func parseLiteral(written string) (value any, err error) {
	text := quoted.ReplaceAllString(written, `"$1"`)
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%q is no value", written)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber() // 1.0 is another version than 1
	err = decoder.Decode(&value)
	return value, err
}

func isPlain(value any) bool {
	switch value.(type) {
	case string, bool, json.Number:
		return true
	}
	return false
}

func (t term) holds(attributes map[string]any) bool {
	seen, isSet := attributes[t.attribute]
	isSame := func(wanted any) bool { return areEqual(seen, wanted) }
	switch t.operator {
	case "IS SET":
		return isSet
	case "NOT SET":
		return !isSet
	case "==", "IN":
		return slices.ContainsFunc(t.wanted, isSame)
	case "!=", "NOT IN":
		return !slices.ContainsFunc(t.wanted, isSame)
	}
	if seen == nil {
		return false
	}
	order := compareVersions(textOf(seen), textOf(t.wanted[0]))
	switch t.operator {
	case ">=":
		return order >= 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order < 0
}

// areEqual compares an attribute with a text, a boolean or a number; values of different kinds differ.
func areEqual(seen, wanted any) bool {
	one, isNumber := numberOf(seen)
	other, areNumbers := numberOf(wanted)
	if isNumber || areNumbers {
		return isNumber && areNumbers && one == other
	}
	return isPlain(seen) && seen == wanted
}

func numberOf(value any) (float64, bool) {
	written, _ := value.(json.Number)
	found, err := written.Float64()
	return found, err == nil
}

// textOf writes a value as versions are compared: a number with a point keeps one digit behind it at least.
func textOf(value any) string {
	number, isNumber := numberOf(value)
	text := fmt.Sprint(value)
	if !isNumber || !strings.ContainsAny(text, ".eE") {
		return text
	}
	text = strconv.FormatFloat(number, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// compareVersions orders versions piece by piece: numbers by value, letters by the alphabet and before any number.
func compareVersions(one, other string) int {
	return slices.CompareFunc(piece.FindAllString(one, -1), piece.FindAllString(other, -1), func(a, b string) int {
		isNumber, areNumbers := a[0] <= '9', b[0] <= '9'
		switch {
		case isNumber && areNumbers:
			a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
			return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
		case isNumber:
			return 1
		case areNumbers:
			return -1
		}
		return strings.Compare(a, b)
	})
}

// readPostures reads every term of every posture.
func (p *policy) readPostures() error {
	p.terms = map[string][]term{}
	for name, written := range p.Postures {
		if !strings.HasPrefix(name, "posture:") {
			return fmt.Errorf("postures: %q does not begin with posture:", name)
		}
		p.terms[name] = []term{}
		for _, text := range written {
			read, err := parseTerm(text)
			if err != nil {
				return fmt.Errorf("postures: %s: %w", name, err)
			}
			p.terms[name] = append(p.terms[name], read)
		}
	}
	return nil
}

// meetsPosture says whether somebody's device meets one of a grant's postures, in all of its terms.
func (p *policy) meetsPosture(g grant, who identity) bool {
	return len(g.Posture) == 0 || slices.ContainsFunc(g.Posture, func(name string) bool {
		return !slices.ContainsFunc(p.terms[name], func(each term) bool { return !each.holds(who.attributes) })
	})
}
