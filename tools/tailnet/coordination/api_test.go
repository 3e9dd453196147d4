package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tailscale.com/client/tailscale/v2"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// The vendor's own client, version 2, is who says whether this server's API is the vendor's.

const (
	apiKey     = "tskey-api-test"
	policyText = `{
  "groups": {"group:ops": ["alice@example.com"]},
  "tagOwners": {"tag:a": ["group:ops"], "tag:b": ["group:ops"]},
  "grants": [{"src": ["group:ops"], "dst": ["tag:a"], "ip": ["tcp:22"]}],
  "tests": [{"src": "alice@example.com", "proto": "tcp", "accept": ["tag:a:22"], "deny": ["tag:b:22"]}]
}`
)

func serve(t *testing.T) (*server, *url.URL) {
	t.Helper()
	s := newServer()
	s.apiKey = apiKey
	s.clients = []*client{
		{ID: "k1", Secret: "tskey-client-k1", Scopes: []string{"policy_file", "devices:core:read", "auth_keys"}, Tags: []string{"tag:a"}},
		{ID: "k2", Secret: "tskey-client-k2", Scopes: []string{"policy_file:read"}},
		{ID: "k3", Issuer: "https://ci.example.com", Subject: "repo:mutx", Scopes: []string{"all:read"}},
		{ID: "k4", Secret: "tskey-client-k4", Scopes: []string{"auth_keys"}},
	}
	running := httptest.NewServer(s.api())
	t.Cleanup(running.Close)
	base, err := url.Parse(running.URL)
	if err != nil {
		t.Fatal(err)
	}
	return s, base
}

func asPerson(base *url.URL) *tailscale.Client {
	return &tailscale.Client{BaseURL: base, APIKey: apiKey}
}

func asClient(base *url.URL, id string) *tailscale.Client {
	return &tailscale.Client{BaseURL: base, Auth: &tailscale.OAuth{ClientID: id, ClientSecret: "tskey-client-" + id}}
}

// readerOf returns a client that has one scope.
func readerOf(s *server, base *url.URL, scope string) *tailscale.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := "of-" + scope
	s.clients = append(s.clients, &client{ID: id, Secret: "tskey-client-" + id, Scopes: []string{scope}})
	return asClient(base, id)
}

// plain returns an answer as it is written.
func plain(t *testing.T, base *url.URL, path string) string {
	t.Helper()
	_, body := ask(t, base, http.MethodGet, path, "")
	return body
}

// post asks for what the vendor's client would not.
func post(t *testing.T, base *url.URL, path, content string) (int, string) {
	t.Helper()
	return ask(t, base, http.MethodPost, path, content)
}

func ask(t *testing.T, base *url.URL, method, path, content string) (int, string) {
	t.Helper()
	asked := must[*http.Request](t)(http.NewRequest(method, base.String()+path, strings.NewReader(content)))
	asked.SetBasicAuth(apiKey, "")
	answered := must[*http.Response](t)(http.DefaultClient.Do(asked))
	defer answered.Body.Close()
	return answered.StatusCode, string(must[[]byte](t)(io.ReadAll(answered.Body)))
}

func identityToken(issuer, subject string, life time.Duration) string {
	claims, _ := json.Marshal(map[string]any{"iss": issuer, "sub": subject, "exp": time.Now().Add(life).Unix()})
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln"
}

func must[T any](t *testing.T) func(T, error) T {
	return func(found T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
}

func refused(t *testing.T, err error, said string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), said) {
		t.Fatalf("wanted a refusal that says %q, got %v", said, err)
	}
}

func TestPolicyIsReplacedByWhoSawTheOldOne(t *testing.T) {
	_, base := serve(t)
	files, ctx := asPerson(base).PolicyFile(), context.Background()
	before := must[*tailscale.RawACL](t)(files.Raw(ctx))
	if before.ETag != `"ts-default"` {
		t.Fatalf("a tailnet that nobody touched has the tag %s", before.ETag)
	}
	if err := files.Set(ctx, policyText, before.ETag); err != nil {
		t.Fatal(err)
	}
	after := must[*tailscale.RawACL](t)(files.Raw(ctx))
	if after.HuJSON != policyText || after.ETag == before.ETag {
		t.Fatalf("written %q, read %q", policyText, after.HuJSON)
	}
	refused(t, files.Set(ctx, policyText, before.ETag), "precondition failed")
	if read := must[*tailscale.ACL](t)(files.Get(ctx)); len(read.Grants) != 1 || read.ETag != after.ETag {
		t.Fatalf("read as JSON: %+v", read)
	}
}

func TestPolicyWhoseTestsFailIsNeitherValidNorTaken(t *testing.T) {
	s, base := serve(t)
	files, ctx := asPerson(base).PolicyFile(), context.Background()
	wrong := strings.Replace(policyText, `"deny": ["tag:b:22"]`, `"deny": ["tag:a:22"]`, 1)
	refused(t, files.Validate(ctx, wrong), "want: Drop")
	refused(t, files.Set(ctx, wrong, ""), "test(s) failed")
	for _, unreadable := range []string{`{"grants": [{"src": ["tag:x"], "dst": ["*"], "ip": ["*"]}]}`, `{"acls": []}`, `{`} {
		if files.Set(ctx, unreadable, "") == nil {
			t.Fatalf("taken: %s", unreadable)
		}
	}
	if s.policy != nil {
		t.Fatal("a refused policy is in force")
	}
	if err := files.Validate(ctx, policyText); err != nil {
		t.Fatal(err)
	}
}

func TestPolicyWithoutTextIsTheDefaultAgain(t *testing.T) {
	s, base := serve(t)
	files, ctx := asPerson(base).PolicyFile(), context.Background()
	if err := files.Set(ctx, policyText, ""); err != nil {
		t.Fatal(err)
	}
	refused(t, files.Set(ctx, "", `"ts-default"`), "precondition failed")
	if err := files.Set(ctx, "", ""); err != nil {
		t.Fatal(err)
	}
	if read := must[*tailscale.RawACL](t)(files.Raw(ctx)); read.ETag != `"ts-default"` || read.HuJSON != defaultPolicy || s.policy != nil {
		t.Fatalf("read %+v", read)
	}
}

func TestKeyIsShownOnceAndRevoked(t *testing.T) {
	s, base := serve(t)
	keys, ctx := asClient(base, "k1").Keys(), context.Background()
	asked := tailscale.CreateKeyRequest{ExpirySeconds: 600, Description: "acme-agent-1"}
	asked.Capabilities.Devices.Create.Tags = []string{"tag:a"}
	asked.Capabilities.Devices.Create.Preauthorized = true
	made := must[*tailscale.Key](t)(keys.CreateAuthKey(ctx, asked))
	if !strings.HasPrefix(made.Key, "tskey-auth-") || made.Expires.Sub(made.Created).Round(time.Second) != 10*time.Minute {
		t.Fatalf("made %+v", made)
	}
	if read := must[*tailscale.Key](t)(keys.Get(ctx, made.ID)); read.Key != "" || read.Invalid ||
		!slices.Equal(read.Capabilities.Devices.Create.Tags, []string{"tag:a"}) || read.Description != "acme-agent-1" {
		t.Fatalf("read %+v", read)
	}
	if _, err := s.use(&tailcfg.RegisterResponseAuth{AuthKey: made.Key}); err != nil {
		t.Fatal(err)
	}
	_, err := s.use(&tailcfg.RegisterResponseAuth{AuthKey: made.Key})
	refused(t, err, "was used already")
	if listed := must[[]tailscale.Key](t)(keys.List(ctx, true)); len(listed) != 1 || !listed[0].Invalid {
		t.Fatalf("listed %+v", listed)
	}
	if err := keys.Delete(ctx, made.ID); err != nil {
		t.Fatal(err)
	}
	_, err = keys.Get(ctx, made.ID)
	if !tailscale.IsNotFound(err) {
		t.Fatalf("a revoked key: %v", err)
	}
	_, err = s.use(&tailcfg.RegisterResponseAuth{AuthKey: made.Key})
	refused(t, err, "was revoked")
}

func TestKeyForATagThatNobodyOwnsIsNotMade(t *testing.T) {
	_, base := serve(t)
	ctx := context.Background()
	if err := asPerson(base).PolicyFile().Set(ctx, policyText, ""); err != nil {
		t.Fatal(err)
	}
	asked := tailscale.CreateKeyRequest{ExpirySeconds: 600}
	asked.Capabilities.Devices.Create.Tags = []string{"tag:other"}
	_, err := asPerson(base).Keys().CreateAuthKey(ctx, asked)
	refused(t, err, "invalid or not permitted")
}

func TestDeviceIsListedAndDeleted(t *testing.T) {
	s, base := serve(t)
	asked := &tailcfg.RegisterRequest{NodeKey: key.NewNode().Public(), Hostinfo: &tailcfg.Hostinfo{Hostname: "acme-agent-1"}}
	s.enter(key.NewMachine().Public(), asked, &authKey{tags: []string{"tag:a"}})
	devices, ctx := asPerson(base).Devices(), context.Background()
	listed := must[[]tailscale.Device](t)(devices.List(ctx))
	if len(listed) != 1 || listed[0].Hostname != "acme-agent-1" || !slices.Equal(listed[0].Tags, []string{"tag:a"}) {
		t.Fatalf("listed %+v", listed)
	}
	if read := must[*tailscale.Device](t)(devices.Get(ctx, listed[0].NodeID)); read.Name != "acme-agent-1."+domain {
		t.Fatalf("read %+v", read)
	}
	if err := devices.Delete(ctx, listed[0].NodeID); err != nil {
		t.Fatal(err)
	}
	if err := devices.Delete(ctx, listed[0].NodeID); !tailscale.IsNotFound(err) {
		t.Fatalf("a deleted device: %v", err)
	}
}

func TestCredentialReachesAsFarAsItsScopes(t *testing.T) {
	_, base := serve(t)
	ctx := context.Background()
	reader := asClient(base, "k2")
	must[*tailscale.RawACL](t)(reader.PolicyFile().Raw(ctx))
	refused(t, reader.PolicyFile().Set(ctx, policyText, ""), "enough permissions")
	_, err := reader.Devices().List(ctx)
	refused(t, err, "enough permissions")
	_, err = (&tailscale.Client{BaseURL: base, APIKey: "tskey-api-other"}).Devices().List(ctx)
	refused(t, err, "API token invalid")
	_, err = (&tailscale.Client{BaseURL: base, APIKey: apiKey, Tailnet: "other.example"}).Devices().List(ctx)
	refused(t, err, "tailnet not found")
	wrong := &tailscale.OAuth{ClientID: "k1", ClientSecret: "tskey-client-k2"}
	_, err = (&tailscale.Client{BaseURL: base, Auth: wrong}).Devices().List(ctx)
	refused(t, err, "not known")
}

func TestFederatedIdentityIsTheOneThatWasNamed(t *testing.T) {
	_, base := serve(t)
	ask := func(issuer, subject string, life time.Duration) error {
		auth := &tailscale.IdentityFederation{
			ClientID: "k3", IDTokenFunc: func() (string, error) { return identityToken(issuer, subject, life), nil },
		}
		_, err := (&tailscale.Client{BaseURL: base, Auth: auth}).Devices().List(context.Background())
		return err
	}
	if err := ask("https://ci.example.com", "repo:mutx", time.Minute); err != nil {
		t.Fatal(err)
	}
	refused(t, ask("https://ci.example.com", "repo:other", time.Minute), "not known")
	refused(t, ask("https://other.example.com", "repo:mutx", time.Minute), "not known")
}

func TestFilterLetsInWhatIsGrantedAndNothingElse(t *testing.T) {
	read := must[*policy](t)(parsePolicy([]byte(policyText)))
	alice := identity{user: "alice@example.com", addresses: []netip.Addr{netip.MustParseAddr("100.64.0.1")}}
	one := identity{tags: []string{"tag:a"}, addresses: []netip.Addr{netip.MustParseAddr("100.64.0.2")}}
	other := identity{tags: []string{"tag:b"}, addresses: []netip.Addr{netip.MustParseAddr("100.64.0.3")}}
	all := []identity{alice, one, other}
	rules := read.filter(one, all)
	if len(rules) != 1 || !slices.Equal(rules[0].SrcIPs, []string{"100.64.0.1"}) || !slices.Equal(rules[0].IPProto, []int{6}) ||
		rules[0].DstPorts[0].Ports != (tailcfg.PortRange{First: 22, Last: 22}) {
		t.Fatalf("filter of the granted: %+v", rules)
	}
	if found := slices.Concat(read.filter(other, all), read.filter(alice, all)); len(found) != 0 {
		t.Fatalf("filters of others: %+v", found)
	}
	if !read.sees(one, alice) || read.sees(one, other) || read.sees(alice, other) {
		t.Fatal("who sees whom")
	}
}
