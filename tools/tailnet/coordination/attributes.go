package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const (
	longestAttribute = 50        // of a name with its prefix, and of a text
	largestNumber    = 1<<53 - 1 // that every reader of JSON keeps as it is
)

// attribute is what was said about a device for its posture; without an end it is forever.
type attribute struct {
	value   any // string, bool or json.Number
	expires time.Time
}

var (
	attributeName = regexp.MustCompile(`^custom:[A-Za-z0-9_]+$`)
	attributeText = regexp.MustCompile(`^[A-Za-z0-9_.]*$`)
)

func (s *server) showAttributes(w http.ResponseWriter, r *http.Request) {
	found := s.findDevice(w, r)
	if found.IsZero() {
		return
	}
	expiries := map[string]time.Time{}
	for name, held := range s.attributes[found] {
		if !held.expires.IsZero() {
			expiries[name] = held.expires
		}
	}
	answer(w, map[string]any{"attributes": s.attributesOf(s.nodes[found]), "expiries": expiries})
}

// setAttribute takes a value, and tells every node of it; again when it ends.
func (s *server) setAttribute(w http.ResponseWriter, r *http.Request) {
	found, name := s.findDevice(w, r), r.PathValue("name")
	var asked struct {
		Value   any
		Expiry  time.Time
		Comment string // for the vendor's log of changes
	}
	if found.IsZero() || !decode(w, r, &asked) {
		return
	}
	said := s.attributeProblem(name, asked.Value)
	if !asked.Expiry.IsZero() && !asked.Expiry.After(time.Now()) {
		said = "the expiry is in the past"
	}
	if said != "" {
		refuse(w, http.StatusBadRequest, said)
		return
	}
	if s.attributes[found] == nil {
		s.attributes[found] = map[string]*attribute{}
	}
	made := &attribute{asked.Value, asked.Expiry}
	s.attributes[found][name] = made
	if !made.expires.IsZero() {
		time.AfterFunc(time.Until(made.expires), func() { s.expire(found, name, made) })
	}
	s.wake()
	answer(w, struct{}{})
}

func (s *server) deleteAttribute(w http.ResponseWriter, r *http.Request) {
	found, name := s.findDevice(w, r), r.PathValue("name")
	switch {
	case found.IsZero():
	case !isAttributeName(name):
		refuse(w, http.StatusBadRequest, nameRule(name))
	case s.attributes[found][name] == nil:
		refuse(w, http.StatusNotFound, "attribute not found")
	default:
		delete(s.attributes[found], name)
		s.wake()
		answer(w, struct{}{})
	}
}

// expire takes an attribute away, unless another one is in its place by now.
func (s *server) expire(device key.NodePublic, name string, ended *attribute) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attributes[device][name] == ended {
		delete(s.attributes[device], name)
		s.wake()
	}
}

// attributeProblem says what is wrong with an attribute. One name has one spelling and one kind of values in the whole tailnet.
func (s *server) attributeProblem(name string, value any) string {
	if !isAttributeName(name) {
		return nameRule(name)
	}
	switch said := value.(type) {
	case bool:
	case string:
		if len(said) > longestAttribute || !attributeText.MatchString(said) {
			return fmt.Sprintf("a text has at most %d letters, digits, underscores and periods", longestAttribute)
		}
	case json.Number:
		if number, err := said.Float64(); err != nil || number != math.Trunc(number) || math.Abs(number) > largestNumber {
			return fmt.Sprintf("a number is whole and at most %d", largestNumber)
		}
	default:
		return "the value must be a string, a number or a boolean"
	}
	for _, all := range s.attributes {
		for other, held := range all {
			switch {
			case other != name && strings.EqualFold(other, name):
				return fmt.Sprintf("there is %q already, which differs in case alone", other)
			case other == name && kindOfValue(held.value) != kindOfValue(value):
				return fmt.Sprintf("the values of %q are of the kind %s", name, kindOfValue(held.value))
			}
		}
	}
	return ""
}

func isAttributeName(name string) bool {
	return attributeName.MatchString(name) && len(name) <= longestAttribute
}

func nameRule(name string) string {
	return fmt.Sprintf("%q cannot be written: custom: and letters, digits and underscores, at most %d in all", name, longestAttribute)
}

func kindOfValue(value any) string {
	switch value.(type) {
	case bool:
		return "boolean"
	case string:
		return "string"
	}
	return "number"
}

// attributesOf returns what postures see of a device: what it says itself, and what was set.
func (s *server) attributesOf(node *tailcfg.Node) map[string]any {
	seen := map[string]any{}
	version, _, _ := strings.Cut(node.Hostinfo.IPNVersion(), "-")
	for name, said := range map[string]string{
		"node:os": strings.ToLower(node.Hostinfo.OS()), "node:osVersion": node.Hostinfo.OSVersion(), "node:tsVersion": version,
	} {
		if said != "" {
			seen[name] = said
		}
	}
	for name, held := range s.attributes[node.Key] {
		seen[name] = held.value
	}
	return seen
}
