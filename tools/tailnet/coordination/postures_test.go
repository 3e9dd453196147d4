package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tailscale.com/client/tailscale/v2"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const postureText = `{
  "tagOwners": {"tag:a": [], "tag:b": []},
  "postures": {"posture:guarded": ["custom:guarded == true", "node:os IN ['linux', 'macos']"], "posture:other": ["custom:other IS SET"]},
  "grants": [{"src": ["tag:a"], "dst": ["tag:b"], "ip": ["tcp:443"], "srcPosture": ["posture:guarded", "posture:other"]}],
  "tests": [
    {"src": "tag:a", "srcPostureAttrs": {"custom:guarded": true, "node:os": "linux"}, "proto": "tcp", "accept": ["tag:b:443"]},
    {"src": "tag:a", "srcPostureAttrs": {"custom:guarded": true, "node:os": "windows"}, "proto": "tcp", "deny": ["tag:b:443"]},
    {"src": "tag:a", "srcPostureAttrs": {"custom:other": 0}, "proto": "tcp", "accept": ["tag:b:443"]},
    {"src": "tag:a", "proto": "tcp", "deny": ["tag:b:443"]}
  ]
}`

// enter lets a device with a tag in and returns it.
func enter(s *server, hostname, tag, system string) *tailcfg.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := &tailcfg.RegisterRequest{
		NodeKey: key.NewNode().Public(), Hostinfo: &tailcfg.Hostinfo{Hostname: hostname, OS: system, IPNVersion: "1.102.5-t123"},
	}
	s.enter(key.NewMachine().Public(), asked, &authKey{tags: []string{tag}})
	return s.nodes[asked.NodeKey]
}

func TestTermHoldsForWhatItSays(t *testing.T) {
	attributes := map[string]any{
		"node:os": "linux", "node:tsVersion": "1.102.5", "custom:on": true, "custom:off": false, "custom:score": json.Number("87"),
		"custom:text": "87", "custom:pre": "1.9.0rc1",
	}
	for text, wanted := range map[string]bool{
		`node:os == 'linux'`: true, `node:os == 'Linux'`: false, `node:os == "linux"`: true, `custom:none == 'linux'`: false,
		`node:os != 'linux'`: false, `node:os != 'macos'`: true, `custom:none != 'linux'`: true,
		`node:os IN ['linux', 'macos']`: true, `node:os IN ['macos']`: false, `custom:none IN ['linux']`: false, `node:os IN []`: false,
		`node:os NOT IN ['linux']`: false, `node:os NOT IN ['macos']`: true, `custom:none NOT IN ['linux']`: true,
		`custom:on IS SET`: true, `custom:none IS SET`: false, `custom:on NOT SET`: false, `custom:none NOT SET`: true,
		`custom:on == true`: true, `custom:off == true`: false, `custom:off == false`: true, `custom:on == 'true'`: false, `custom:on == 1`: false,
		`custom:score == 87`: true, `custom:score == 87.0`: true, `custom:text == 87`: false, `custom:score IN [86, 87]`: true,
		`custom:score >= 9`: true, `custom:score < 100`: true, `custom:none < 100`: false, `custom:none >= 0`: false,
		`node:tsVersion >= '1.98'`: true, `node:tsVersion > '1.102.5'`: false, `node:tsVersion <= '1.102.5'`: true,
		`node:tsVersion < '1.102'`: false, `node:tsVersion > '1.102.4.9'`: true, `node:tsVersion >= 2`: false, `node:tsVersion > 1.0`: true,
		`custom:pre < '1.9.0'`: false, `custom:pre < '1.9.0.0'`: true, `custom:pre < '1.9.0rc2'`: true, "  node:os\n ==   'linux' ": true,
	} {
		if read := must[term](t)(parseTerm(text)); read.holds(attributes) != wanted {
			t.Errorf("%s: %v", text, !wanted)
		}
	}
	for _, text := range []string{
		``, `node:os`, `node:os =='linux' or true`, `node:os == linux`, `node:os == ['linux']`, `node:os IN 'linux'`, `node:os IS SET 1`,
		`node:os == null`, `node:os IN [['linux']]`, `node:os == {}`, `node:os ~ 'x'`, `node:os IN ['linux'`, `node os == 'linux'`,
	} {
		if _, err := parseTerm(text); err == nil {
			t.Errorf("read: %s", text)
		}
	}
}

func TestPolicyIsHeldAgainstTheAttributesOfItsTests(t *testing.T) {
	read := must[*policy](t)(parsePolicy([]byte(postureText)))
	if failed := read.failures(); len(failed) != 0 {
		t.Fatalf("failed: %v", failed)
	}
	wrong := strings.Replace(postureText, `"node:os": "windows"`, `"node:os": "macos"`, 1)
	if failed := must[*policy](t)(parsePolicy([]byte(wrong))).failures(); len(failed) != 1 {
		t.Fatalf("failed: %v", failed)
	}
}

func TestPostureThatCannotBeReadIsRefusedByName(t *testing.T) {
	_, base := serve(t)
	files, ctx := asPerson(base).PolicyFile(), context.Background()
	for said, change := range map[string][2]string{
		`the posture "posture:unknown" is not known`:            {`["posture:guarded", `, `["posture:unknown", `},
		`the term "custom:guarded is true" cannot be read`:      {`custom:guarded == true`, `custom:guarded is true`},
		`postures: "guarded" does not begin with posture:`:      {`"posture:guarded": [`, `"guarded": [`},
		`posture:other: the term "custom:other" cannot be read`: {`custom:other IS SET`, `custom:other`},
	} {
		err := files.Set(ctx, strings.Replace(postureText, change[0], change[1], 1), "")
		if found := fmt.Sprint(tailscale.ErrorData(err)); !strings.Contains(found, said) {
			t.Fatalf("wanted a refusal that says %s, got %s", said, found)
		}
	}
}

func TestAttributeChangesTheFilterOfOthersAtOnceAndAtItsEnd(t *testing.T) {
	s, base := serve(t)
	ctx, devices := context.Background(), asPerson(base).Devices()
	source, target := enter(s, "a", "tag:a", "linux"), enter(s, "b", "tag:b", "linux")
	if err := asPerson(base).PolicyFile().Set(ctx, postureText, ""); err != nil {
		t.Fatal(err)
	}
	news := make(chan struct{}, 1)
	s.listen(news, true)
	opened := func() bool { return len(s.view(target.Key).PacketFilters["base"]) > 0 }
	told := func(wanted bool) {
		t.Helper()
		select {
		case <-news:
		case <-time.After(5 * time.Second):
			t.Fatal("no stream was woken")
		}
		if opened() != wanted || (len(s.view(target.Key).Peers) > 0) != wanted {
			t.Fatalf("opened: %v", !wanted)
		}
	}
	if opened() {
		t.Fatal("open without any attribute")
	}
	set := func(name string, value any, expiry time.Time) {
		t.Helper()
		asked := tailscale.DevicePostureAttributeRequest{Value: value, Expiry: tailscale.Time{Time: expiry}, Comment: "by the guard"}
		if err := devices.SetPostureAttribute(ctx, string(source.StableID), name, asked); err != nil {
			t.Fatal(err)
		}
	}
	set("custom:guarded", true, time.Time{})
	told(true)
	set("custom:guarded", false, time.Time{})
	told(false)
	set("custom:guarded", true, time.Now().Add(time.Second))
	told(true)
	told(false)
	if read := must[*tailscale.DevicePostureAttributes](t)(devices.GetPostureAttributes(ctx, string(source.StableID))); len(read.Expiries) != 0 ||
		read.Attributes["custom:guarded"] != nil {
		t.Fatalf("expired and yet there: %+v", read)
	}
	// One that was set again is not taken away when the first would have ended.
	set("custom:guarded", true, time.Now().Add(time.Second))
	told(true)
	set("custom:guarded", true, time.Time{})
	told(true)
	time.Sleep(1200 * time.Millisecond)
	if !opened() {
		t.Fatal("closed by the end of what was replaced")
	}
	if err := devices.DeletePostureAttribute(ctx, string(source.StableID), "custom:guarded"); err != nil {
		t.Fatal(err)
	}
	told(false)
}

func TestAttributesAreShownWithTheirEnds(t *testing.T) {
	s, base := serve(t)
	ctx, devices := context.Background(), asPerson(base).Devices()
	id, end := string(enter(s, "a", "tag:a", "macOS").StableID), time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for name, value := range map[string]any{"custom:on": true, "custom:score": 87, "custom:text": "v1.2_x"} {
		asked := tailscale.DevicePostureAttributeRequest{Value: value}
		if name == "custom:on" {
			asked.Expiry = tailscale.Time{Time: end}
		}
		if err := devices.SetPostureAttribute(ctx, id, name, asked); err != nil {
			t.Fatal(err)
		}
	}
	read := must[*tailscale.DevicePostureAttributes](t)(devices.GetPostureAttributes(ctx, id))
	for name, wanted := range map[string]any{
		"custom:on": true, "custom:score": 87.0, "custom:text": "v1.2_x", "node:os": "macos", "node:tsVersion": "1.102.5",
	} {
		if read.Attributes[name] != wanted {
			t.Errorf("%s is %v", name, read.Attributes[name])
		}
	}
	if len(read.Expiries) != 1 || !read.Expiries["custom:on"].Equal(end) {
		t.Fatalf("ends: %v", read.Expiries)
	}
}

func TestAttributeThatMakesNoSenseIsRefused(t *testing.T) {
	s, base := serve(t)
	ctx, devices := context.Background(), asPerson(base).Devices()
	id, other := string(enter(s, "a", "tag:a", "linux").StableID), string(enter(s, "b", "tag:b", "linux").StableID)
	set := func(device, name string, value any) error {
		return devices.SetPostureAttribute(ctx, device, name, tailscale.DevicePostureAttributeRequest{Value: value})
	}
	if err := set(id, "custom:score", 1); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []struct {
		name  string
		value any
		said  string
	}{
		{"node:os", "linux", `"node:os" cannot be written`}, {"custom:", 1, "cannot be written"}, {"custom:a-b", 1, "cannot be written"},
		{"custom:" + strings.Repeat("a", 44), 1, "at most 50 in all"}, {"custom:a", []int{1}, "must be a string, a number or a boolean"},
		{"custom:a", nil, "must be a string, a number or a boolean"}, {"custom:a", 1.5, "a number is whole"},
		{"custom:a", "a b", "letters, digits, underscores and periods"}, {"custom:a", strings.Repeat("a", 51), "at most 50 letters"},
		{"custom:score", "1", `of the kind number`}, {"custom:Score", 1, "differs in case alone"},
	} {
		err := set(other, wrong.name, wrong.value)
		refused(t, err, wrong.said)
		refused(t, err, "(400)")
	}
	if err := set(other, "custom:"+strings.Repeat("a", 43), 1); err != nil {
		t.Fatal(err)
	}
	past := tailscale.DevicePostureAttributeRequest{Value: 1, Expiry: tailscale.Time{Time: time.Now().Add(-time.Second)}}
	refused(t, devices.SetPostureAttribute(ctx, id, "custom:a", past), "the expiry is in the past (400)")
	if status, body := post(t, base, "/api/v2/device/"+id+"/attributes/custom:a", `{"value": 1, "expiry": "soon"}`); status != http.StatusBadRequest ||
		!strings.Contains(body, "soon") {
		t.Fatalf("an end that is none: %d %s", status, body)
	}
	_, getting := devices.GetPostureAttributes(ctx, "n0")
	for _, err := range []error{
		getting, set("n0", "custom:a", 1), devices.DeletePostureAttribute(ctx, "n0", "custom:a"), devices.DeletePostureAttribute(ctx, id, "custom:none"),
	} {
		if !tailscale.IsNotFound(err) {
			t.Fatalf("what is not there: %v", err)
		}
	}
	refused(t, devices.DeletePostureAttribute(ctx, id, "node:os"), "(400)")
	_, err := asClient(base, "k1").Devices().GetPostureAttributes(ctx, id)
	refused(t, err, "(403)")
	reader := readerOf(s, base, "devices:posture_attributes:read").Devices()
	must[*tailscale.DevicePostureAttributes](t)(reader.GetPostureAttributes(ctx, id))
	refused(t, reader.SetPostureAttribute(ctx, id, "custom:a", tailscale.DevicePostureAttributeRequest{Value: 1}), "(403)")
	refused(t, reader.DeletePostureAttribute(ctx, id, "custom:score"), "(403)")
}

func TestAttributesGoWithTheirDevice(t *testing.T) {
	s, base := serve(t)
	ctx, devices := context.Background(), asPerson(base).Devices()
	node := enter(s, "a", "tag:a", "linux")
	asked := tailscale.DevicePostureAttributeRequest{Value: 1}
	if err := devices.SetPostureAttribute(ctx, string(node.StableID), "custom:a", asked); err != nil {
		t.Fatal(err)
	}
	if err := devices.Delete(ctx, string(node.StableID)); err != nil || len(s.attributes) != 0 {
		t.Fatalf("left: %v %v", s.attributes, err)
	}
}

func TestFiltersAreAskedForNodesWithAttributes(t *testing.T) {
	_, base := serve(t)
	asked := fmt.Sprintf(`{"policy": %s, "nodes": [
		{"tags": ["tag:a"], "addresses": ["100.64.0.1"], "attributes": {"custom:guarded": true, "node:os": "linux"}},
		{"tags": ["tag:a"], "addresses": ["100.64.0.2"], "attributes": {"custom:guarded": false, "node:os": "linux"}},
		{"tags": ["tag:a"], "addresses": ["100.64.0.3"]}, {"tags": ["tag:b"], "addresses": ["100.64.0.4"]}]}`, postureText)
	status, body := post(t, base, "/filters", asked)
	var answered struct{ Filters [][]tailcfg.FilterRule }
	if err := json.Unmarshal([]byte(body), &answered); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if last := answered.Filters[3]; len(last) != 1 || !slices.Equal(last[0].SrcIPs, []string{netip.MustParseAddr("100.64.0.1").String()}) {
		t.Fatalf("filters %+v", answered.Filters)
	}
}
