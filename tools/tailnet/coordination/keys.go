package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	longestKeyLife     = 90 * 24 * time.Hour
	longestDescription = 50
)

// keyScopes holds the kinds of keys, each with the scope that it takes to write it.
var keyScopes = map[string]string{"auth": "auth_keys", "client": "oauth_keys", "federated": "federated_keys"}

// authKey lets devices in.
type authKey struct {
	id, secret, description, creator string
	tags                             []string
	user                             string // whose devices it lets in; of no meaning with tags
	reusable, ephemeral, preauthed   bool
	created, expires, used           time.Time
	life                             time.Duration
	revoked                          bool
}

// keyRequest is what is asked of a key of any kind.
type keyRequest struct {
	KeyType, Description string

	Capabilities struct {
		Devices struct {
			Create struct {
				Reusable, Ephemeral, Preauthorized bool
				Tags                               []string
			}
		}
	}
	ExpirySeconds int64
	User          string // not the vendor's: stands for a person who logs in with a browser

	Scopes, Tags              []string
	Issuer, Subject, Audience string
	CustomClaimRules          map[string]string
}

func (s *server) listKeys(w http.ResponseWriter, r *http.Request) {
	listed := []any{}
	for _, each := range s.keys {
		if may(r, "auth_keys:read") {
			listed = append(listed, each.show(false))
		}
	}
	for _, each := range s.clients {
		if each.kind != "" && may(r, keyScopes[each.kind]+":read") {
			listed = append(listed, each.show(false))
		}
	}
	answer(w, map[string]any{"keys": listed})
}

func (s *server) createKey(w http.ResponseWriter, r *http.Request) {
	asked := keyRequest{KeyType: "auth"}
	if !decode(w, r, &asked) {
		return
	}
	scope, isKnown := keyScopes[asked.KeyType]
	switch {
	case !isKnown:
		refuse(w, http.StatusBadRequest, fmt.Sprintf("there is no keyType %q", asked.KeyType))
	case !may(r, scope):
		refuseScope(w)
	case len(asked.Description) > longestDescription:
		refuse(w, http.StatusBadRequest, fmt.Sprintf("the description has more than %d characters", longestDescription))
	case asked.KeyType == "auth":
		s.mintKey(w, r, &asked)
	default:
		s.createClient(w, r, &asked)
	}
}

func (s *server) mintKey(w http.ResponseWriter, r *http.Request, asked *keyRequest) {
	create, life := asked.Capabilities.Devices.Create, time.Duration(asked.ExpirySeconds)*time.Second
	if life == 0 {
		life = longestKeyLife
	}
	if life < 0 || life > longestKeyLife {
		refuse(w, http.StatusBadRequest, "the key's life is out of range")
		return
	}
	if caller(r) != nil && len(create.Tags) == 0 {
		refuse(w, http.StatusBadRequest, "tailnet-owned auth key must have tags set")
		return
	}
	if !s.mayTag(caller(r), create.Tags) {
		refuseTags(w, create.Tags)
		return
	}
	id, now := newKeyID(), time.Now().UTC()
	made := &authKey{
		id: id, secret: "tskey-auth-" + id + "-" + rand.Text(), description: asked.Description, creator: creator(r),
		tags: create.Tags, user: asked.User,
		reusable: create.Reusable, ephemeral: create.Ephemeral, preauthed: create.Preauthorized,
		created: now, expires: now.Add(life), life: life,
	}
	s.keys[made.secret] = made
	answer(w, made.show(true))
}

// showKey shows a key to who may read its kind, and a client to itself.
func (s *server) showKey(w http.ResponseWriter, r *http.Request) {
	auth, known := s.findKey(r.PathValue("id"))
	isItself := known != nil && known == caller(r)
	switch kind := kindOf(auth, known); {
	case kind == "":
		refuse(w, http.StatusNotFound, "key not found")
	case !isItself && !may(r, keyScopes[kind]+":read"):
		refuseScope(w)
	case auth != nil:
		answer(w, auth.show(false))
	default:
		answer(w, known.show(false))
	}
}

// changeKey replaces what a client is; an auth key stays as it was minted.
func (s *server) changeKey(w http.ResponseWriter, r *http.Request) {
	auth, known := s.findKey(r.PathValue("id"))
	switch kind := kindOf(auth, known); {
	case kind == "":
		refuse(w, http.StatusNotFound, "key not found")
	case !may(r, keyScopes[kind]):
		refuseScope(w)
	case auth != nil:
		refuse(w, http.StatusBadRequest, "an auth key cannot be changed")
	default:
		s.changeClient(w, r, known)
	}
}

func (s *server) deleteKey(w http.ResponseWriter, r *http.Request) {
	auth, known := s.findKey(r.PathValue("id"))
	switch kind := kindOf(auth, known); {
	case kind == "":
		refuse(w, http.StatusNotFound, "key not found")
	case !may(r, keyScopes[kind]):
		refuseScope(w)
	case auth != nil:
		auth.revoked = true
		answer(w, nil)
	default:
		s.removeClient(known)
		answer(w, nil)
	}
}

// findKey returns the auth key, or the client, with an id; neither where there is none, or no more.
func (s *server) findKey(id string) (*authKey, *client) {
	for _, each := range s.keys {
		if each.id == id && !each.revoked {
			return each, nil
		}
	}
	for _, each := range s.clients {
		if each.ID == id && each.kind != "" {
			return nil, each
		}
	}
	return nil, nil
}

func kindOf(auth *authKey, known *client) string {
	switch {
	case auth != nil:
		return "auth"
	case known != nil:
		return known.kind
	}
	return ""
}

func newKeyID() string { return "k" + rand.Text()[:12] }

// mayTag says whether who asks may give tags away. A person may, and a client with the scope `all`, any that exist. Another
// client may exactly the tags that it has, all of them together, or such as its tags own: the vendor refuses a part of them.
func (s *server) mayTag(who *client, tags []string) bool {
	for _, tag := range tags {
		if !strings.HasPrefix(tag, "tag:") || s.policy != nil && !s.policy.knows(tag) {
			return false
		}
	}
	if who == nil || slices.Contains(who.Scopes, "all") {
		return true
	}
	isOwned := func(tag string) bool {
		return s.policy != nil && slices.ContainsFunc(who.Tags, func(own string) bool {
			return slices.Contains(s.policy.TagOwners[tag], own)
		})
	}
	isOther := func(tag string) bool { return !isOwned(tag) }
	return areSame(tags, who.Tags) || !slices.ContainsFunc(tags, isOther)
}

func areSame(some, others []string) bool {
	sorted := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	return slices.Equal(sorted(some), sorted(others))
}

func refuseTags(w http.ResponseWriter, tags []string) {
	refuse(w, http.StatusBadRequest, fmt.Sprintf("requested tags %v are invalid or not permitted", tags))
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
		"id": k.id, "keyType": "auth", "description": k.description, "userId": k.creator, "created": k.created, "expires": k.expires,
		"expirySeconds": int64(k.life.Seconds()),
		"invalid":       k.problem() != nil, "capabilities": map[string]any{"devices": map[string]any{"create": create}},
	}
	if withSecret {
		shown["key"] = k.secret
	}
	return shown
}
