package main

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// client may ask for tokens; with a secret, or as a federated identity with a subject. Those of the credentials file have no
// kind: they are not among the keys that the API lists.
type client struct {
	ID       string            `json:"id"`
	Secret   string            `json:"secret"`
	Issuer   string            `json:"issuer"`
	Subject  string            `json:"subject"`
	Audience string            `json:"audience"`
	Rules    map[string]string `json:"custom_claim_rules"`
	Scopes   []string          `json:"scopes"`
	Tags     []string          `json:"tags"`

	kind, description, creator string
	created, updated           time.Time
}

var (
	scopeNames = []string{
		"account_settings", "all", "auth_keys", "device_invites", "devices:core", "devices:posture_attributes", "devices:routes", "dns",
		"feature_settings", "federated_keys", "log_streaming", "logs:configuration", "logs:network", "networking_settings",
		"oauth_keys", "policy_file", "services", "user_invites", "users", "webhooks",
	}
	scopesWithTags = []string{"devices:core", "auth_keys"}
	ownFields      = []string{"iss", "sub", "aud"} // claims that are no custom ones
)

func (s *server) createClient(w http.ResponseWriter, r *http.Request, asked *keyRequest) {
	now := time.Now().UTC()
	made := &client{ID: newKeyID(), kind: asked.KeyType, creator: creator(r), created: now}
	if made.kind == "client" {
		made.Secret = "tskey-client-" + made.ID + "-" + rand.Text()
	}
	if s.fill(w, r, made, asked) {
		s.clients = append(s.clients, made)
		answer(w, made.show(true))
	}
}

func (s *server) changeClient(w http.ResponseWriter, r *http.Request, known *client) {
	asked := keyRequest{KeyType: known.kind}
	if !decode(w, r, &asked) {
		return
	}
	if asked.KeyType != known.kind {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the key's keyType is %q", known.kind))
		return
	}
	if s.fill(w, r, known, &asked) {
		answer(w, known.show(false))
	}
}

// removeClient forgets a client and ends its tokens.
func (s *server) removeClient(known *client) {
	s.clients = slices.DeleteFunc(s.clients, func(each *client) bool { return each == known })
	maps.DeleteFunc(s.tokens, func(_ string, given token) bool { return given.client == known })
}

// fill makes a client what was asked; false where it refused that.
func (s *server) fill(w http.ResponseWriter, r *http.Request, c *client, asked *keyRequest) bool {
	if said := asked.problem(); said != "" {
		refuse(w, http.StatusBadRequest, said)
		return false
	}
	if !s.mayTag(caller(r), asked.Tags) {
		refuseTags(w, asked.Tags)
		return false
	}
	c.Scopes, c.Tags, c.description, c.updated = asked.Scopes, asked.Tags, asked.Description, time.Now().UTC()
	if c.kind == "federated" {
		c.Issuer, c.Subject, c.Audience, c.Rules = asked.Issuer, asked.Subject, asked.Audience, asked.CustomClaimRules
		if c.Audience == "" {
			c.Audience = "api.tailscale.com/" + c.ID
		}
	}
	return true
}

// problem says what is wrong with a client as it is asked for; nothing where it is right.
func (asked *keyRequest) problem() string {
	isUnknown := func(scope string) bool { return !slices.Contains(scopeNames, strings.TrimSuffix(scope, ":read")) }
	needsTags := func(scope string) bool { return slices.Contains(scopesWithTags, scope) }
	if len(asked.Description) > longestDescription {
		return fmt.Sprintf("the description has more than %d characters", longestDescription)
	}
	if len(asked.Scopes) == 0 {
		return "scopes are required"
	}
	if at := slices.IndexFunc(asked.Scopes, isUnknown); at >= 0 {
		return fmt.Sprintf("there is no scope %q", asked.Scopes[at])
	}
	if len(asked.Tags) == 0 && slices.ContainsFunc(asked.Scopes, needsTags) {
		return fmt.Sprintf("tags are required with the scopes %v", scopesWithTags)
	}
	if asked.KeyType == "federated" {
		return asked.federationProblem()
	}
	return ""
}

func (asked *keyRequest) federationProblem() string {
	issuer, err := url.Parse(asked.Issuer)
	if err != nil || issuer.Scheme != "https" || issuer.Host == "" {
		return fmt.Sprintf("the issuer %q is no https:// URL", asked.Issuer)
	}
	if asked.Subject == "" {
		return "the subject is required"
	}
	for name := range asked.CustomClaimRules {
		if slices.Contains(ownFields, name) {
			return fmt.Sprintf("customClaimRules cannot be about %q, which has a field of its own", name)
		}
	}
	return ""
}

func (c *client) show(withSecret bool) map[string]any {
	shown := map[string]any{
		"id": c.ID, "keyType": c.kind, "description": c.description, "userId": c.creator, "created": c.created, "updated": c.updated,
		"scopes": c.Scopes, "tags": c.Tags,
	}
	if c.kind == "federated" {
		shown["issuer"], shown["subject"], shown["audience"], shown["customClaimRules"] = c.Issuer, c.Subject, c.Audience, c.Rules
	}
	if withSecret && c.Secret != "" {
		shown["key"] = c.Secret
	}
	return shown
}
