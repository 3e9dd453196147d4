package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const (
	longestKeyLife = 90 * 24 * time.Hour
	tokenLife      = time.Hour
	// What a tailnet has before anybody wrote a policy; and the tag of that, which the vendor's provider asks for.
	defaultPolicy = `{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}`
	defaultTag    = "ts-default"
)

// authKey lets devices in.
type authKey struct {
	id, secret, description        string
	tags                           []string
	user                           string // whose devices it lets in; of no meaning with tags
	reusable, ephemeral, preauthed bool
	created, expires, used         time.Time
	revoked                        bool
}

// client may ask for tokens; with a secret, or as a federated identity with a subject.
type client struct {
	ID      string   `json:"id"`
	Secret  string   `json:"secret"`
	Issuer  string   `json:"issuer"`
	Subject string   `json:"subject"`
	Scopes  []string `json:"scopes"`
}

type token struct {
	client  *client
	expires time.Time
}

// api serves the part of Tailscale's API v2 that the toolkit and its stack use. Paths, fields and statuses are the vendor's.
func (s *server) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/oauth/token", s.exchangeSecret)
	mux.HandleFunc("POST /api/v2/oauth/token-exchange", s.exchangeIdentity)
	for pattern, handler := range map[string]struct {
		scope string
		serve http.HandlerFunc
	}{
		"GET /acl":           {"policy_file:read", s.showPolicy},
		"POST /acl":          {"policy_file", s.replacePolicy},
		"POST /acl/validate": {"policy_file:read", s.validatePolicy},
		"GET /keys":          {"auth_keys:read", s.listKeys},
		"POST /keys":         {"auth_keys", s.mintKey},
		"GET /keys/{id}":     {"auth_keys:read", s.showKey},
		"DELETE /keys/{id}":  {"auth_keys", s.revokeKey},
		"GET /devices":       {"devices:core:read", s.listDevices},
	} {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /api/v2/tailnet/{tailnet}"+path, s.allowed(handler.scope, handler.serve))
	}
	mux.HandleFunc("GET /api/v2/device/{id}", s.allowed("devices:core:read", s.showDevice))
	mux.HandleFunc("DELETE /api/v2/device/{id}", s.allowed("devices:core", s.deleteDevice))
	mux.HandleFunc("POST /filters", filters)
	return mux
}

// allowed looks at the credential, its scope and the tailnet's name, and holds the lock for the handler.
func (s *server) allowed(scope string, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		secret, _, isBasic := r.BasicAuth()
		if !isBasic {
			secret = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		}
		if secret != s.apiKey || secret == "" {
			known, found := s.tokens[secret]
			if !found || time.Now().After(known.expires) {
				refuse(w, http.StatusUnauthorized, "API token invalid")
				return
			}
			if !covers(known.client.Scopes, scope) {
				refuse(w, http.StatusForbidden, "calling actor does not have enough permissions to perform this function")
				return
			}
		}
		if name := r.PathValue("tailnet"); name != "" && name != "-" && name != domain {
			refuse(w, http.StatusNotFound, "tailnet not found")
			return
		}
		serve(w, r)
	}
}

// covers says whether scopes hold one: who may write may read.
func covers(scopes []string, scope string) bool {
	wanted := []string{scope, strings.TrimSuffix(scope, ":read"), "all"}
	if strings.HasSuffix(scope, ":read") {
		wanted = append(wanted, "all:read")
	}
	return slices.ContainsFunc(scopes, func(each string) bool { return slices.Contains(wanted, each) })
}

func (s *server) exchangeSecret(w http.ResponseWriter, r *http.Request) {
	id, secret, isBasic := r.BasicAuth()
	if !isBasic {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	s.giveToken(w, func(c *client) bool { return c.ID == id && c.Secret != "" && c.Secret == secret })
}

// exchangeIdentity looks at issuer, subject and end of an identity token; its signature is for the vendor to check.
func (s *server) exchangeIdentity(w http.ResponseWriter, r *http.Request) {
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	parts := strings.Split(r.FormValue("jwt"), ".")
	if len(parts) != 3 || json.Unmarshal(unpadded(parts[1]), &claims) != nil || time.Now().Unix() > claims.Expires {
		refuse(w, http.StatusUnauthorized, "the identity token is invalid")
		return
	}
	s.giveToken(w, func(c *client) bool {
		return c.ID == r.FormValue("client_id") && c.Subject != "" && c.Issuer == claims.Issuer && c.Subject == claims.Subject
	})
}

func (s *server) giveToken(w http.ResponseWriter, isIt func(*client) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.clients, isIt)
	if at < 0 {
		refuse(w, http.StatusUnauthorized, "the client is not known, or it is another one's secret or identity")
		return
	}
	secret := "tskey-access-" + rand.Text()
	s.tokens[secret] = token{s.clients[at], time.Now().Add(tokenLife)}
	answer(w, map[string]any{
		"access_token": secret, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()),
		"scope": strings.Join(s.clients[at].Scopes, " "),
	})
}

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

// replacePolicy takes a policy whose tests hold, from who saw the one that it replaces.
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

func readPolicy(r *http.Request) ([]byte, *policy, []testFailure) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, []testFailure{{"", []string{err.Error()}}}
	}
	read, err := parsePolicy(text)
	if err != nil {
		return nil, nil, []testFailure{{"", []string{err.Error()}}}
	}
	return text, read, read.failures()
}

func (s *server) listKeys(w http.ResponseWriter, _ *http.Request) {
	listed := []any{}
	for _, each := range s.keys {
		listed = append(listed, each.show(false))
	}
	answer(w, map[string]any{"keys": listed})
}

func (s *server) mintKey(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Capabilities struct {
			Devices struct {
				Create struct {
					Reusable, Ephemeral, Preauthorized bool
					Tags                               []string
				}
			}
		}
		ExpirySeconds int64
		Description   string
		User          string // not the vendor's: stands for a person who logs in with a browser
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	create, life := asked.Capabilities.Devices.Create, time.Duration(asked.ExpirySeconds)*time.Second
	if life == 0 {
		life = longestKeyLife
	}
	if life < 0 || life > longestKeyLife {
		refuse(w, http.StatusBadRequest, "the key's life is out of range")
		return
	}
	for _, tag := range create.Tags {
		if s.policy != nil && !s.policy.knows(tag) {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("requested tags [%s] are invalid or not permitted", tag))
			return
		}
	}
	id := "k" + rand.Text()[:12]
	made := &authKey{
		id: id, secret: "tskey-auth-" + id + "-" + rand.Text(), description: asked.Description, tags: create.Tags, user: asked.User,
		reusable: create.Reusable, ephemeral: create.Ephemeral, preauthed: create.Preauthorized,
		created: time.Now().UTC(), expires: time.Now().UTC().Add(life),
	}
	s.keys[made.secret] = made
	answer(w, made.show(true))
}

func (s *server) showKey(w http.ResponseWriter, r *http.Request) {
	if found := s.findKey(w, r); found != nil {
		answer(w, found.show(false))
	}
}

func (s *server) revokeKey(w http.ResponseWriter, r *http.Request) {
	if found := s.findKey(w, r); found != nil {
		found.revoked = true
		answer(w, nil)
	}
}

func (s *server) findKey(w http.ResponseWriter, r *http.Request) *authKey {
	for _, each := range s.keys {
		if each.id == r.PathValue("id") && !each.revoked {
			return each
		}
	}
	refuse(w, http.StatusNotFound, "key not found")
	return nil
}

// problem says why a key lets nobody in; nil where it does.
func (k *authKey) problem() error {
	switch {
	case k.revoked:
		return fmt.Errorf("the key %s was revoked", k.id)
	case !k.reusable && !k.used.IsZero():
		return fmt.Errorf("the key %s was used already", k.id)
	case time.Now().After(k.expires):
		return fmt.Errorf("the key %s has expired", k.id)
	}
	return nil
}

func (k *authKey) show(withSecret bool) map[string]any {
	create := map[string]any{
		"reusable": k.reusable, "ephemeral": k.ephemeral, "preauthorized": k.preauthed, "tags": k.tags,
	}
	shown := map[string]any{
		"id": k.id, "keyType": "auth", "description": k.description, "created": k.created, "expires": k.expires,
		"invalid": k.problem() != nil, "capabilities": map[string]any{"devices": map[string]any{"create": create}},
	}
	if withSecret {
		shown["key"] = k.secret
	}
	return shown
}

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

// filters answers what a policy makes of some nodes, for who wants to compare: nothing of the tailnet is asked or changed.
func filters(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Policy json.RawMessage `json:"policy"`
		Nodes  []struct {
			User      string       `json:"user"`
			Tags      []string     `json:"tags"`
			Addresses []netip.Addr `json:"addresses"`
		} `json:"nodes"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	read, err := parsePolicy(asked.Policy)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	all := []identity{}
	for _, node := range asked.Nodes {
		all = append(all, identity{user: node.User, tags: node.Tags, addresses: node.Addresses})
	}
	made := [][]tailcfg.FilterRule{}
	for _, self := range all {
		made = append(made, read.filter(self, all))
	}
	answer(w, map[string]any{"filters": made, "failures": read.failures()})
}

func refuse(w http.ResponseWriter, status int, said string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": said})
}

func refuseTests(w http.ResponseWriter, status int, failed []testFailure) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"message": "test(s) failed", "data": failed})
}
