package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"tailscale.com/tailcfg"
)

// What a tailnet has before anybody wrote a policy; and the tag of that, which the vendor's provider asks for.
const (
	defaultPolicy = `{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}`
	defaultTag    = "ts-default"
)

func (s *server) showPolicy(w http.ResponseWriter, r *http.Request) {
	s.sendPolicy(w, r.Header.Get("Accept"))
}

func (s *server) sendPolicy(w http.ResponseWriter, accepted string) {
	w.Header().Set("ETag", `"`+s.policyTag()+`"`)
	if accepted != "application/json" {
		accepted = "application/hujson"
	}
	w.Header().Set("Content-Type", accepted)
	w.Write(s.policyText())
}

func (s *server) policyText() []byte {
	if s.policy == nil {
		return []byte(defaultPolicy)
	}
	return s.written
}

func (s *server) policyTag() string {
	if s.policy == nil {
		return defaultTag
	}
	digest := sha256.Sum256(s.written)
	return hex.EncodeToString(digest[:])
}

// replacePolicy takes a policy whose tests hold, from who saw the one that it replaces. Without any text the default is back.
func (s *server) replacePolicy(w http.ResponseWriter, r *http.Request) {
	if seen := strings.Trim(r.Header.Get("If-Match"), `"`); seen != "" && seen != s.policyTag() {
		refuse(w, http.StatusPreconditionFailed, "precondition failed, invalid old hash")
		return
	}
	text, read, failed := readPolicy(r)
	if len(failed) > 0 {
		refuseTests(w, http.StatusBadRequest, failed)
		return
	}
	s.policy, s.written = read, text
	s.wake()
	s.sendPolicy(w, r.Header.Get("Accept"))
}

func (s *server) validatePolicy(w http.ResponseWriter, r *http.Request) {
	if _, _, failed := readPolicy(r); len(failed) > 0 {
		refuseTests(w, http.StatusOK, failed)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// readPolicy returns a request's policy, or what is wrong with it; no policy for a body without text.
func readPolicy(r *http.Request) ([]byte, *policy, []testFailure) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, []testFailure{{"", []string{err.Error()}}}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil, nil
	}
	read, err := parsePolicy(text)
	if err != nil {
		return nil, nil, []testFailure{{"", []string{err.Error()}}}
	}
	return text, read, read.failures()
}

// filters answers what a policy makes of some nodes, for who wants to compare: nothing of the tailnet is asked or changed.
func filters(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Policy json.RawMessage `json:"policy"`
		Nodes  []struct {
			User       string         `json:"user"`
			Tags       []string       `json:"tags"`
			Addresses  []netip.Addr   `json:"addresses"`
			Attributes map[string]any `json:"attributes"`
		} `json:"nodes"`
	}
	if !decode(w, r, &asked) {
		return
	}
	read, err := parsePolicy(asked.Policy)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	all := []identity{}
	for _, node := range asked.Nodes {
		all = append(all, identity{user: node.User, tags: node.Tags, addresses: node.Addresses, attributes: node.Attributes})
	}
	made := [][]tailcfg.FilterRule{}
	for _, self := range all {
		made = append(made, read.filter(self, all))
	}
	answer(w, map[string]any{"filters": made, "failures": read.failures()})
}

func refuseTests(w http.ResponseWriter, status int, failed []testFailure) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"message": "test(s) failed", "data": failed})
}
