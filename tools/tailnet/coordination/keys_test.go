package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tailscale.com/client/tailscale/v2"
	"tailscale.com/tailcfg"
)

const ciIssuer = "https://token.ci.example.com"

func federated(scopes, tags []string) tailscale.CreateFederatedIdentityRequest {
	return tailscale.CreateFederatedIdentityRequest{
		Scopes: scopes, Tags: tags, Issuer: ciIssuer, Subject: "repo:mutx/*:ref:refs/heads/main", Description: "deploys",
		CustomClaimRules: map[string]string{"environment": "prod-*"},
	}
}

func asIdentity(base *url.URL, id string, claims map[string]any) *tailscale.Client {
	claims["exp"] = time.Now().Add(time.Minute).Unix()
	text, _ := json.Marshal(claims)
	signed := "e30." + base64.RawURLEncoding.EncodeToString(text) + ".c2ln"
	auth := &tailscale.IdentityFederation{ClientID: id, IDTokenFunc: func() (string, error) { return signed, nil }}
	return &tailscale.Client{BaseURL: base, Auth: auth}
}

func keyWith(tags ...string) tailscale.CreateKeyRequest {
	asked := tailscale.CreateKeyRequest{ExpirySeconds: 600}
	asked.Capabilities.Devices.Create.Tags = tags
	return asked
}

func TestFederatedIdentityIsCreatedChangedListedAndDeleted(t *testing.T) {
	_, base := serve(t)
	keys, ctx := asPerson(base).Keys(), context.Background()
	made := must[*tailscale.Key](t)(keys.CreateFederatedIdentity(ctx, federated([]string{"policy_file:read"}, nil)))
	if made.KeyType != "federated" || made.Audience != "api.tailscale.com/"+made.ID || made.Key != "" || made.UserID == "" ||
		made.Created.IsZero() || made.Updated.IsZero() {
		t.Fatalf("made %+v", made)
	}
	read := must[*tailscale.Key](t)(keys.Get(ctx, made.ID))
	if read.Issuer != ciIssuer || read.Subject != "repo:mutx/*:ref:refs/heads/main" || read.Description != "deploys" ||
		read.CustomClaimRules["environment"] != "prod-*" || !slices.Equal(read.Scopes, []string{"policy_file:read"}) {
		t.Fatalf("read %+v", read)
	}
	must[*tailscale.Key](t)(keys.SetFederatedIdentity(ctx, made.ID, tailscale.SetFederatedIdentityRequest{
		Scopes: []string{"auth_keys"}, Tags: []string{"tag:a"}, Issuer: ciIssuer, Subject: "other", Audience: "mutx",
	}))
	listed := must[[]tailscale.Key](t)(keys.List(ctx, true))
	if len(listed) != 1 || listed[0].Subject != "other" || listed[0].Audience != "mutx" || listed[0].Description != "" ||
		len(listed[0].CustomClaimRules) != 0 || !slices.Equal(listed[0].Tags, []string{"tag:a"}) || listed[0].Updated.Equal(made.Updated) {
		t.Fatalf("listed %+v", listed)
	}
	if err := keys.Delete(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Get(ctx, made.ID); !tailscale.IsNotFound(err) {
		t.Fatalf("a deleted identity: %v", err)
	}
	if err := keys.Delete(ctx, made.ID); !tailscale.IsNotFound(err) {
		t.Fatalf("deleted twice: %v", err)
	}
}

func TestFederatedIdentityGivesATokenToWhoMatchesAllOfIt(t *testing.T) {
	_, base := serve(t)
	ctx := context.Background()
	made := must[*tailscale.Key](t)(asPerson(base).Keys().CreateFederatedIdentity(ctx, federated([]string{"policy_file:read"}, nil)))
	ask := func(change string, value any) error {
		claims := map[string]any{
			"iss": ciIssuer, "sub": "repo:mutx/infra:ref:refs/heads/main", "aud": []string{"other", made.Audience},
			"environment": "prod-eu",
		}
		if change != "" {
			claims[change] = value
		}
		_, err := asIdentity(base, made.ID, claims).PolicyFile().Raw(ctx)
		return err
	}
	for _, right := range []struct {
		claim string
		value any
	}{{"", nil}, {"aud", made.Audience}, {"sub", "repo:mutx/x:ref:refs/heads/main"}, {"environment", []string{"dev", "prod-us"}}} {
		if err := ask(right.claim, right.value); err != nil {
			t.Fatalf("%s %v: %v", right.claim, right.value, err)
		}
	}
	for _, wrong := range []struct {
		claim string
		value any
	}{
		{"iss", "https://other.example.com"}, {"sub", "repo:mutx/infra:ref:refs/heads/next"}, {"sub", nil}, {"aud", "other"},
		{"aud", nil}, {"environment", "dev-eu"}, {"environment", nil}, {"sub", "x-repo:mutx/infra:ref:refs/heads/main"},
	} {
		refused(t, ask(wrong.claim, wrong.value), "not known")
	}
}

func TestDeletedIdentityHasNoTokenAnyMore(t *testing.T) {
	_, base := serve(t)
	ctx := context.Background()
	asked := federated([]string{"policy_file:read"}, nil)
	asked.CustomClaimRules = nil
	made := must[*tailscale.Key](t)(asPerson(base).Keys().CreateFederatedIdentity(ctx, asked))
	holder := asIdentity(base, made.ID, map[string]any{"iss": ciIssuer, "sub": "repo:mutx/x:ref:refs/heads/main", "aud": made.Audience})
	if read := must[*tailscale.Key](t)(holder.Keys().Get(ctx, made.ID)); read.ID != made.ID {
		t.Fatalf("an identity that reads itself: %+v", read)
	}
	if err := asPerson(base).Keys().Delete(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	_, err := holder.PolicyFile().Raw(ctx)
	refused(t, err, "API token invalid")
}

func TestIdentityMintsKeysForItsTags(t *testing.T) {
	_, base := serve(t)
	ctx := context.Background()
	asked := federated([]string{"auth_keys"}, []string{"tag:a"})
	asked.CustomClaimRules = nil
	made := must[*tailscale.Key](t)(asPerson(base).Keys().CreateFederatedIdentity(ctx, asked))
	holder := asIdentity(base, made.ID, map[string]any{"iss": ciIssuer, "sub": "repo:mutx/x:ref:refs/heads/main", "aud": made.Audience})
	if minted := must[*tailscale.Key](t)(holder.Keys().CreateAuthKey(ctx, keyWith("tag:a"))); minted.UserID != "" {
		t.Fatalf("minted %+v", minted)
	}
	_, err := holder.Keys().CreateAuthKey(ctx, keyWith("tag:b"))
	refused(t, err, "requested tags [tag:b] are invalid or not permitted (400)")
}

func TestIdentityThatCannotWorkIsNotMade(t *testing.T) {
	_, base := serve(t)
	keys, ctx := asPerson(base).Keys(), context.Background()
	for said, change := range map[string]func(*tailscale.CreateFederatedIdentityRequest){
		"scopes are required":     func(r *tailscale.CreateFederatedIdentityRequest) { r.Scopes = nil },
		`no scope "everything"`:   func(r *tailscale.CreateFederatedIdentityRequest) { r.Scopes = []string{"everything"} },
		"tags are required":       func(r *tailscale.CreateFederatedIdentityRequest) { r.Scopes = []string{"devices:core"} },
		"no https:// URL":         func(r *tailscale.CreateFederatedIdentityRequest) { r.Issuer = "http://ci.example.com" },
		"the subject is required": func(r *tailscale.CreateFederatedIdentityRequest) { r.Subject = "" },
		`cannot be about "sub"`:   func(r *tailscale.CreateFederatedIdentityRequest) { r.CustomClaimRules["sub"] = "*" },
		"more than 50 characters": func(r *tailscale.CreateFederatedIdentityRequest) { r.Description = strings.Repeat("a", 51) },
		"requested tags [other]":  func(r *tailscale.CreateFederatedIdentityRequest) { r.Tags = []string{"other"} },
	} {
		asked := federated([]string{"policy_file"}, nil)
		change(&asked)
		_, err := keys.CreateFederatedIdentity(ctx, asked)
		refused(t, err, said)
		refused(t, err, "(400)")
	}
	made := must[*tailscale.Key](t)(keys.CreateFederatedIdentity(ctx, federated([]string{"dns"}, nil)))
	_, err := keys.SetFederatedIdentity(ctx, made.ID, tailscale.SetFederatedIdentityRequest{Scopes: []string{"auth_keys"}, Issuer: ciIssuer, Subject: "x"})
	refused(t, err, "tags are required")
	_, err = keys.SetOAuthClient(ctx, made.ID, tailscale.SetOAuthClientRequest{Scopes: []string{"dns"}})
	refused(t, err, `keyType is "federated"`)
	_, err = keys.SetFederatedIdentity(ctx, "k0", tailscale.SetFederatedIdentityRequest{})
	if !tailscale.IsNotFound(err) {
		t.Fatalf("an unknown identity: %v", err)
	}
	auth := must[*tailscale.Key](t)(keys.CreateAuthKey(ctx, keyWith("tag:a")))
	_, err = keys.SetFederatedIdentity(ctx, auth.ID, tailscale.SetFederatedIdentityRequest{})
	refused(t, err, "cannot be changed")
}

func TestEachKindOfKeyHasAScopeOfItsOwn(t *testing.T) {
	s, base := serve(t)
	ctx := context.Background()
	s.clients = append(s.clients,
		&client{ID: "k5", Secret: "tskey-client-k5", Scopes: []string{"federated_keys"}},
		&client{ID: "k6", Secret: "tskey-client-k6", Scopes: []string{"federated_keys:read"}},
	)
	auth := must[*tailscale.Key](t)(asPerson(base).Keys().CreateAuthKey(ctx, keyWith("tag:a")))
	identity := must[*tailscale.Key](t)(asClient(base, "k5").Keys().CreateFederatedIdentity(ctx, federated([]string{"dns"}, nil)))
	if identity.UserID != "" {
		t.Fatalf("made by a client, and yet of the user %s", identity.UserID)
	}
	_, err := asClient(base, "k5").Keys().CreateAuthKey(ctx, keyWith("tag:a"))
	refused(t, err, "(403)")
	_, err = asClient(base, "k4").Keys().CreateFederatedIdentity(ctx, federated([]string{"dns"}, nil))
	refused(t, err, "(403)")
	_, err = asClient(base, "k6").Keys().CreateFederatedIdentity(ctx, federated([]string{"dns"}, nil))
	refused(t, err, "(403)")
	_, err = asClient(base, "k6").Keys().Get(ctx, auth.ID)
	refused(t, err, "(403)")
	_, err = asClient(base, "k4").Keys().SetFederatedIdentity(ctx, identity.ID, tailscale.SetFederatedIdentityRequest{})
	refused(t, err, "(403)")
	refused(t, asClient(base, "k4").Keys().Delete(ctx, identity.ID), "(403)")
	_, err = asClient(base, "k2").Keys().List(ctx, true)
	refused(t, err, "(403)")
	if listed := must[[]tailscale.Key](t)(asClient(base, "k6").Keys().List(ctx, true)); len(listed) != 1 || listed[0].ID != identity.ID {
		t.Fatalf("listed %+v", listed)
	}
}

func TestOAuthClientThatWasMadeMayWhatItsScopesSay(t *testing.T) {
	_, base := serve(t)
	keys, ctx := asPerson(base).Keys(), context.Background()
	made := must[*tailscale.Key](t)(keys.CreateOAuthClient(ctx, tailscale.CreateOAuthClientRequest{Scopes: []string{"policy_file:read"}}))
	own := &tailscale.Client{BaseURL: base, Auth: &tailscale.OAuth{ClientID: made.ID, ClientSecret: made.Key}}
	must[*tailscale.RawACL](t)(own.PolicyFile().Raw(ctx))
	_, err := own.Devices().List(ctx)
	refused(t, err, "(403)")
	changed := must[*tailscale.Key](t)(keys.SetOAuthClient(ctx, made.ID, tailscale.SetOAuthClientRequest{Scopes: []string{"all"}, Description: "x"}))
	if changed.Key != "" || changed.Description != "x" || changed.KeyType != "client" {
		t.Fatalf("changed %+v", changed)
	}
}

func TestClientGivesAwayItsOwnTagsOrThoseThatTheyOwn(t *testing.T) {
	s, base := serve(t)
	ctx := context.Background()
	owners := `{"tagOwners": {"tag:a": [], "tag:b": ["tag:a"], "tag:c": ["tag:a", "tag:b"], "tag:other": ["group:ops"]}, "groups": {"group:ops": []}}`
	if err := asPerson(base).PolicyFile().Set(ctx, owners, ""); err != nil {
		t.Fatal(err)
	}
	s.clients = append(s.clients, &client{ID: "k5", Secret: "tskey-client-k5", Scopes: []string{"auth_keys"}, Tags: []string{"tag:a", "tag:other"}})
	for _, right := range []struct {
		id   string
		tags []string
	}{{"k1", []string{"tag:a"}}, {"k1", []string{"tag:b", "tag:c"}}, {"k5", []string{"tag:other", "tag:a"}}, {"k5", []string{"tag:b"}}} {
		if _, err := asClient(base, right.id).Keys().CreateAuthKey(ctx, keyWith(right.tags...)); err != nil {
			t.Fatalf("%s %v: %v", right.id, right.tags, err)
		}
	}
	for _, wrong := range []struct {
		id   string
		tags []string
		said string
	}{
		{"k1", []string{"tag:other"}, "requested tags [tag:other] are invalid or not permitted (400)"},
		{"k1", []string{"tag:b", "tag:other"}, "requested tags [tag:b tag:other] are invalid"},
		{"k1", []string{"tag:none"}, "requested tags [tag:none] are invalid"},
		{"k4", []string{"tag:a"}, "requested tags [tag:a] are invalid"},
		{"k5", []string{"tag:other"}, "requested tags [tag:other] are invalid"},
		{"k1", nil, "must have tags set"},
	} {
		_, err := asClient(base, wrong.id).Keys().CreateAuthKey(ctx, keyWith(wrong.tags...))
		refused(t, err, wrong.said)
	}
	must[*tailscale.Key](t)(asPerson(base).Keys().CreateAuthKey(ctx, keyWith("tag:other", "tag:c")))
}

func TestKeyLetsNobodyInAfterItsEnd(t *testing.T) {
	s, base := serve(t)
	keys, ctx := asPerson(base).Keys(), context.Background()
	made := must[*tailscale.Key](t)(keys.CreateAuthKey(ctx, keyWith("tag:a")))
	if made.ExpirySeconds == nil || *made.ExpirySeconds != 600 || made.UserID == "" {
		t.Fatalf("made %+v", made)
	}
	s.mu.Lock()
	s.keys[made.Key].expires = time.Now().Add(-time.Second)
	s.mu.Unlock()
	_, err := s.use(&tailcfg.RegisterResponseAuth{AuthKey: made.Key})
	refused(t, err, "the key "+made.ID+" has expired")
	asked := keyWith("tag:a")
	asked.ExpirySeconds = 91 * 24 * 3600
	_, err = keys.CreateAuthKey(ctx, asked)
	refused(t, err, "life is out of range")
}
