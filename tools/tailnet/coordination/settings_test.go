package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"tailscale.com/client/tailscale/v2"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

func TestSettingsThatAreNotGivenStayAsTheyAre(t *testing.T) {
	_, base := serve(t)
	settings, ctx := asPerson(base).TailnetSettings(), context.Background()
	wanted := tailscale.TailnetSettings{
		DevicesKeyDurationDays: 180, UsersRoleAllowedToJoinExternalTailnets: "admin", RouteSelection: "active-passive-failover",
	}
	if read := must[*tailscale.TailnetSettings](t)(settings.Get(ctx)); *read != wanted {
		t.Fatalf("at first %+v", read)
	}
	change := func(asked tailscale.UpdateTailnetSettingsRequest) {
		t.Helper()
		if err := settings.Update(ctx, asked); err != nil {
			t.Fatal(err)
		}
	}
	change(tailscale.UpdateTailnetSettingsRequest{
		ACLsExternallyManagedOn: new(true), ACLsExternalLink: new("https://git.example.com"), DevicesApprovalOn: new(true),
		DevicesAutoUpdatesOn: new(true), UsersApprovalOn: new(true), NetworkFlowLoggingOn: new(true), RegionalRoutingOn: new(true),
		PostureIdentityCollectionOn: new(true), HTTPSEnabled: new(true),
	})
	change(tailscale.UpdateTailnetSettingsRequest{
		DevicesKeyDurationDays: new(30), UsersRoleAllowedToJoinExternalTailnets: new(tailscale.RoleAllowedToJoinExternalTailnetsNone),
		DevicesAutoUpdatesOn: new(false),
	})
	wanted = tailscale.TailnetSettings{
		ACLsExternallyManagedOn: true, ACLsExternalLink: "https://git.example.com", DevicesApprovalOn: true, DevicesKeyDurationDays: 30,
		UsersApprovalOn: true, UsersRoleAllowedToJoinExternalTailnets: "none", NetworkFlowLoggingOn: true, RegionalRoutingOn: true,
		PostureIdentityCollectionOn: true, HTTPSEnabled: true, RouteSelection: "regional-routing",
	}
	if read := must[*tailscale.TailnetSettings](t)(settings.Get(ctx)); *read != wanted {
		t.Fatalf("changed to %+v", read)
	}
	change(tailscale.UpdateTailnetSettingsRequest{RouteSelection: new(tailscale.RouteSelectionMagicRoute)})
	if read := must[*tailscale.TailnetSettings](t)(settings.Get(ctx)); read.RegionalRoutingOn || read.RouteSelection != "magicroute" {
		t.Fatalf("routed by %+v", read)
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	s, base := serve(t)
	settings, ctx := asPerson(base).TailnetSettings(), context.Background()
	for said, asked := range map[string]tailscale.UpdateTailnetSettingsRequest{
		"devicesKeyDurationDays must be from 1 to 180": {DevicesKeyDurationDays: new(181), DevicesApprovalOn: new(true)},
		"must be one of [none admin member]": {
			UsersRoleAllowedToJoinExternalTailnets: new(tailscale.RoleAllowedToJoinExternalTailnets("all")),
		},
		"routeSelection must be one of": {RouteSelection: new(tailscale.RouteSelection("nearest"))},
		"aclsExternalLink":              {ACLsExternalLink: new("ftp://x")},
		"cannot both be given":          {RouteSelection: new(tailscale.RouteSelectionMagicRoute), RegionalRoutingOn: new(true)},
	} {
		err := settings.Update(ctx, asked)
		refused(t, err, said)
		refused(t, err, "(400)")
	}
	if s.settings != newSettings() {
		t.Fatalf("changed all the same: %+v", s.settings)
	}
	_, err := asClient(base, "k2").TailnetSettings().Get(ctx)
	refused(t, err, "(403)")
	must[*tailscale.TailnetSettings](t)(readerOf(s, base, "feature_settings:read").TailnetSettings().Get(ctx))
	refused(t, readerOf(s, base, "feature_settings:read").TailnetSettings().Update(ctx, tailscale.UpdateTailnetSettingsRequest{}), "(403)")
}

func TestMagicDNSIsTurnedOffForEveryNode(t *testing.T) {
	s, base := serve(t)
	dns, ctx := asPerson(base).DNS(), context.Background()
	node := key.NewNode().Public()
	s.enter(key.NewMachine().Public(), &tailcfg.RegisterRequest{NodeKey: node, Hostinfo: &tailcfg.Hostinfo{Hostname: "a"}}, &authKey{})
	if read := must[*tailscale.DNSPreferences](t)(dns.Preferences(ctx)); !read.MagicDNS || !s.view(node).DNSConfig.Proxied {
		t.Fatal("MagicDNS is off at first")
	}
	if err := dns.SetPreferences(ctx, tailscale.DNSPreferences{}); err != nil {
		t.Fatal(err)
	}
	if read := must[*tailscale.DNSPreferences](t)(dns.Preferences(ctx)); read.MagicDNS || s.view(node).DNSConfig.Proxied {
		t.Fatal("MagicDNS is still on")
	}
	for content, said := range map[string]string{
		`{}`: "magicDNS is required", `{"magicDNS": "on"}`: "string", `{"magicDns2": true}`: `unknown field \"magicDns2\"`,
	} {
		if status, body := post(t, base, "/api/v2/tailnet/-/dns/preferences", content); status != http.StatusBadRequest || !strings.Contains(body, said) {
			t.Fatalf("%s: %d %s", content, status, body)
		}
	}
	_, err := asClient(base, "k2").DNS().Preferences(ctx)
	refused(t, err, "(403)")
	refused(t, readerOf(s, base, "dns:read").DNS().SetPreferences(ctx, tailscale.DNSPreferences{MagicDNS: true}), "(403)")
}

func TestLogstreamIsSetShownWithoutSecretsAndDeleted(t *testing.T) {
	s, base := serve(t)
	logging, ctx := asPerson(base).Logging(), context.Background()
	_, err := logging.LogstreamConfiguration(ctx, tailscale.LogTypeNetwork)
	if !tailscale.IsNotFound(err) || !tailscale.IsNotFound(logging.DeleteLogstreamConfiguration(ctx, tailscale.LogTypeNetwork)) {
		t.Fatalf("none is configured: %v", err)
	}
	given := must[*tailscale.AWSExternalID](t)(logging.CreateOrGetAwsExternalId(ctx, true))
	again := must[*tailscale.AWSExternalID](t)(logging.CreateOrGetAwsExternalId(ctx, true))
	other := must[*tailscale.AWSExternalID](t)(logging.CreateOrGetAwsExternalId(ctx, false))
	if *given != *again || given.ExternalID == other.ExternalID || given.TailscaleAWSAccountID == "" {
		t.Fatalf("external ids %+v %+v %+v", given, again, other)
	}
	role := "arn:aws:iam::111122223333:role/tailnet-logs"
	if err := logging.ValidateAWSTrustPolicy(ctx, given.ExternalID, role); err != nil {
		t.Fatal(err)
	}
	if err := logging.ValidateAWSTrustPolicy(ctx, "none", role); !tailscale.IsNotFound(err) {
		t.Fatalf("an unknown external id: %v", err)
	}
	refused(t, logging.ValidateAWSTrustPolicy(ctx, given.ExternalID, "logs"), "no ARN of a role (400)")
	bucket := tailscale.SetLogstreamConfigurationRequest{
		DestinationType: tailscale.LogstreamS3Endpoint, S3Bucket: "logs", S3Region: "eu-central-1", S3KeyPrefix: "tailnet/", UploadPeriodMinutes: 5,
		S3AuthenticationType: tailscale.S3RoleARNAuthentication, S3RoleARN: role, S3ExternalID: given.ExternalID,
	}
	splunk := tailscale.SetLogstreamConfigurationRequest{
		DestinationType: tailscale.LogstreamSplunkEndpoint, URL: "https://splunk.example.com", User: "user", Token: "secret",
		CompressionFormat: tailscale.CompressionFormatZstd,
	}
	for logType, asked := range map[tailscale.LogType]tailscale.SetLogstreamConfigurationRequest{"network": bucket, "configuration": splunk} {
		if err := logging.SetLogstreamConfiguration(ctx, logType, asked); err != nil {
			t.Fatal(err)
		}
	}
	read := must[*tailscale.LogstreamConfiguration](t)(logging.LogstreamConfiguration(ctx, tailscale.LogTypeNetwork))
	if read.LogType != "network" || read.DestinationType != "s3" || read.S3Bucket != "logs" || read.S3Region != "eu-central-1" ||
		read.S3KeyPrefix != "tailnet/" || read.S3AuthenticationType != "rolearn" || read.S3RoleARN != role ||
		read.S3ExternalID != given.ExternalID || read.UploadPeriodMinutes != 5 || read.CompressionFormat != "none" {
		t.Fatalf("read %+v", read)
	}
	if text := plain(t, base, "/api/v2/tailnet/-/logging/configuration/stream"); strings.Contains(text, "secret") || !strings.Contains(text, "splunk") {
		t.Fatalf("read %s", text)
	}
	if err := logging.DeleteLogstreamConfiguration(ctx, tailscale.LogTypeNetwork); err != nil || s.logstreams["network"] != nil {
		t.Fatalf("not deleted: %v", err)
	}
}

func TestLogstreamThatCannotWorkIsRefused(t *testing.T) {
	s, base := serve(t)
	logging, ctx := asPerson(base).Logging(), context.Background()
	right := tailscale.SetLogstreamConfigurationRequest{
		DestinationType: "s3", S3Bucket: "logs", S3Region: "eu-central-1", S3AuthenticationType: "rolearn",
		S3RoleARN: "arn:aws:iam::111122223333:role/x", S3ExternalID: "e",
	}
	for said, change := range map[string]func(*tailscale.SetLogstreamConfigurationRequest){
		"destinationType must be one of":      func(r *tailscale.SetLogstreamConfigurationRequest) { r.DestinationType = "syslog" },
		"s3Bucket is required":                func(r *tailscale.SetLogstreamConfigurationRequest) { r.S3Bucket = "" },
		"s3Region is required":                func(r *tailscale.SetLogstreamConfigurationRequest) { r.S3Region = "" },
		"s3AuthenticationType must be one of": func(r *tailscale.SetLogstreamConfigurationRequest) { r.S3AuthenticationType = "" },
		`s3RoleArn "x" is no ARN`:             func(r *tailscale.SetLogstreamConfigurationRequest) { r.S3RoleARN = "x" },
		"s3ExternalId is required":            func(r *tailscale.SetLogstreamConfigurationRequest) { r.S3ExternalID = "" },
		"s3AccessKeyId is required":           func(r *tailscale.SetLogstreamConfigurationRequest) { r.S3AuthenticationType = "accesskey" },
		"uploadPeriodMinutes is negative":     func(r *tailscale.SetLogstreamConfigurationRequest) { r.UploadPeriodMinutes = -1 },
		"compressionFormat must be one of":    func(r *tailscale.SetLogstreamConfigurationRequest) { r.CompressionFormat = "lzma" },
		"url is required":                     func(r *tailscale.SetLogstreamConfigurationRequest) { r.DestinationType = "axiom" },
		"gcsBucket is required":               func(r *tailscale.SetLogstreamConfigurationRequest) { r.DestinationType = "gcs" },
	} {
		asked := right
		change(&asked)
		err := logging.SetLogstreamConfiguration(ctx, tailscale.LogTypeNetwork, asked)
		refused(t, err, said)
		refused(t, err, "(400)")
	}
	refused(t, logging.SetLogstreamConfiguration(ctx, "ssh", right), "must be one of [configuration network] (400)")
	_, err := asClient(base, "k2").Logging().LogstreamConfiguration(ctx, tailscale.LogTypeNetwork)
	refused(t, err, "(403)")
	reader := readerOf(s, base, "log_streaming:read").Logging()
	refused(t, reader.SetLogstreamConfiguration(ctx, tailscale.LogTypeNetwork, right), "(403)")
	if _, err := reader.LogstreamConfiguration(ctx, tailscale.LogTypeNetwork); !tailscale.IsNotFound(err) {
		t.Fatalf("a reader finds none: %v", err)
	}
}

func TestWebhookShowsItsSecretWhenItIsMadeAndRotated(t *testing.T) {
	_, base := serve(t)
	hooks, ctx := asPerson(base).Webhooks(), context.Background()
	made := must[*tailscale.Webhook](t)(hooks.Create(ctx, tailscale.CreateWebhookRequest{
		EndpointURL: "https://alerts.example.com/x", ProviderType: tailscale.WebhookSlackProviderType,
		Subscriptions: []tailscale.WebhookSubscriptionType{tailscale.WebhookNodeCreated, tailscale.WebhookCategoryDeviceMisconfigurations},
	}))
	if made.Secret == nil || made.EndpointID == "" || made.CreatorLoginName != somebody || made.Created.IsZero() {
		t.Fatalf("made %+v", made)
	}
	read := must[*tailscale.Webhook](t)(hooks.Get(ctx, made.EndpointID))
	if read.Secret != nil || read.EndpointURL != "https://alerts.example.com/x" || read.ProviderType != "slack" ||
		!slices.Equal(read.Subscriptions, made.Subscriptions) {
		t.Fatalf("read %+v", read)
	}
	events := []tailscale.WebhookSubscriptionType{tailscale.WebhookPolicyUpdate}
	changed := must[*tailscale.Webhook](t)(hooks.Update(ctx, made.EndpointID, events))
	if changed.Secret != nil || !slices.Equal(changed.Subscriptions, events) || !changed.LastModified.After(made.LastModified) {
		t.Fatalf("changed %+v", changed)
	}
	if rotated := must[*tailscale.Webhook](t)(hooks.RotateSecret(ctx, made.EndpointID)); rotated.Secret == nil || *rotated.Secret == *made.Secret {
		t.Fatalf("rotated %+v", rotated)
	}
	if listed := must[[]tailscale.Webhook](t)(hooks.List(ctx)); len(listed) != 1 || listed[0].Secret != nil {
		t.Fatalf("listed %+v", listed)
	}
	if err := hooks.Delete(ctx, made.EndpointID); err != nil {
		t.Fatal(err)
	}
	_, getting := hooks.Get(ctx, made.EndpointID)
	_, changing := hooks.Update(ctx, made.EndpointID, events)
	_, rotating := hooks.RotateSecret(ctx, made.EndpointID)
	for _, err := range []error{getting, changing, rotating, hooks.Test(ctx, made.EndpointID), hooks.Delete(ctx, made.EndpointID)} {
		if !tailscale.IsNotFound(err) {
			t.Fatalf("a deleted webhook: %v", err)
		}
	}
}

func TestWebhookIsSentATestThatItsSecretSigns(t *testing.T) {
	_, base := serve(t)
	hooks, ctx := asPerson(base).Webhooks(), context.Background()
	type delivery struct{ signature, body string }
	came := make(chan delivery, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		came <- delivery{r.Header.Get("Tailscale-Webhook-Signature"), string(body)}
	}))
	defer receiver.Close()
	made := must[*tailscale.Webhook](t)(hooks.Create(ctx, tailscale.CreateWebhookRequest{
		EndpointURL: receiver.URL, Subscriptions: []tailscale.WebhookSubscriptionType{tailscale.WebhookNodeCreated},
	}))
	if err := hooks.Test(ctx, made.EndpointID); err != nil {
		t.Fatal(err)
	}
	select {
	case found := <-came:
		at, sum, _ := strings.Cut(strings.TrimPrefix(found.signature, "t="), ",v1=")
		mac := hmac.New(sha256.New, []byte(*made.Secret))
		fmt.Fprintf(mac, "%s.%s", at, found.body)
		if sum != hex.EncodeToString(mac.Sum(nil)) || !strings.Contains(found.body, `"type":"test"`) {
			t.Fatalf("sent %+v", found)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was sent")
	}
}

func TestWebhookThatCannotWorkIsRefused(t *testing.T) {
	s, base := serve(t)
	hooks, ctx := asPerson(base).Webhooks(), context.Background()
	events := []tailscale.WebhookSubscriptionType{tailscale.WebhookNodeCreated}
	for said, asked := range map[string]tailscale.CreateWebhookRequest{
		`endpointUrl "alerts.example.com" is no`: {EndpointURL: "alerts.example.com", Subscriptions: events},
		`there is no providerType "irc"`:         {EndpointURL: "https://x.example.com", ProviderType: "irc", Subscriptions: events},
		`there is no subscription "nodeLost"`: {
			EndpointURL: "https://x.example.com", Subscriptions: []tailscale.WebhookSubscriptionType{"nodeLost"},
		},
		"subscriptions are required": {EndpointURL: "https://x.example.com"},
	} {
		_, err := hooks.Create(ctx, asked)
		refused(t, err, said)
		refused(t, err, "(400)")
	}
	_, err := asClient(base, "k2").Webhooks().List(ctx)
	refused(t, err, "(403)")
	reader := readerOf(s, base, "webhooks:read").Webhooks()
	must[[]tailscale.Webhook](t)(reader.List(ctx))
	_, err = reader.Create(ctx, tailscale.CreateWebhookRequest{EndpointURL: "https://x.example.com", Subscriptions: events})
	refused(t, err, "(403)")
}
