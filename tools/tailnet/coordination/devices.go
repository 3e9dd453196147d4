package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

func (s *server) listDevices(w http.ResponseWriter, r *http.Request) {
	listed, tags := []any{}, r.URL.Query()["tags"]
	for _, node := range s.nodes {
		if len(tags) > 0 && !slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(node.Tags, tag) }) {
			continue
		}
		listed = append(listed, s.show(node))
	}
	answer(w, map[string]any{"devices": listed})
}

func (s *server) showDevice(w http.ResponseWriter, r *http.Request) {
	if found := s.findDevice(w, r); !found.IsZero() {
		answer(w, s.show(s.nodes[found]))
	}
}

// deleteDevice cuts a device off: the others forget it, and it has to log in anew.
func (s *server) deleteDevice(w http.ResponseWriter, r *http.Request) {
	if found := s.findDevice(w, r); !found.IsZero() {
		delete(s.nodes, found)
		delete(s.attributes, found)
		s.wake()
		answer(w, nil)
	}
}

func (s *server) findDevice(w http.ResponseWriter, r *http.Request) key.NodePublic {
	for public, node := range s.nodes {
		if id := r.PathValue("id"); id == string(node.StableID) || id == fmt.Sprint(int64(node.ID)) {
			return public
		}
	}
	refuse(w, http.StatusNotFound, "device not found")
	return key.NodePublic{}
}

func (s *server) show(node *tailcfg.Node) map[string]any {
	addresses := []string{}
	for _, prefix := range node.Addresses {
		addresses = append(addresses, prefix.Addr().String())
	}
	user := "tagged-devices"
	if len(node.Tags) == 0 {
		user = s.people[node.User-1]
	}
	return map[string]any{
		"id": fmt.Sprint(int64(node.ID)), "nodeId": string(node.StableID), "name": strings.TrimSuffix(node.Name, "."),
		"hostname": node.Hostinfo.Hostname(), "addresses": addresses, "tags": node.Tags, "user": user,
		"authorized": node.MachineAuthorized, "isExternal": false, "keyExpiryDisabled": node.KeyExpiry.IsZero(),
		"created": node.Created, "os": node.Hostinfo.OS(),
	}
}
