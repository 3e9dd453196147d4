package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"slices"
	"time"
)

const longestDelivery = 5 * time.Second

// webhook is told of events. Its secret signs what it is told, and is shown when it is made.
type webhook struct {
	EndpointID       string    `json:"endpointId"`
	EndpointURL      string    `json:"endpointUrl"`
	ProviderType     string    `json:"providerType"`
	CreatorLoginName string    `json:"creatorLoginName"`
	Created          time.Time `json:"created"`
	LastModified     time.Time `json:"lastModified"`
	Subscriptions    []string  `json:"subscriptions"`
	Secret           string    `json:"secret,omitempty"`
}

var (
	providerTypes     = []string{"", "slack", "mattermost", "googlechat", "discord"}
	subscriptionTypes = []string{
		"categoryTailnetManagement", "nodeCreated", "nodeNeedsApproval", "nodeApproved", "nodeKeyExpiringInOneDay", "nodeKeyExpired",
		"nodeDeleted", "policyUpdate", "userCreated", "userNeedsApproval", "userSuspended", "userRestored", "userDeleted", "userApproved",
		"userRoleUpdated",
		"categoryDeviceMisconfigurations", "subnetIPForwardingNotEnabled", "exitNodeIPForwardingNotEnabled",
	}
)

func (s *server) listWebhooks(w http.ResponseWriter, _ *http.Request) {
	listed := []webhook{}
	for _, each := range s.webhooks {
		listed = append(listed, each.withoutSecret())
	}
	answer(w, map[string]any{"webhooks": listed})
}

func (s *server) createWebhook(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		EndpointURL, ProviderType string
		Subscriptions             []string
	}
	if !decode(w, r, &asked) {
		return
	}
	said := subscriptionProblem(asked.Subscriptions)
	switch {
	case !isWebAddress(asked.EndpointURL):
		said = fmt.Sprintf("endpointUrl %q is no http(s) URL", asked.EndpointURL)
	case !slices.Contains(providerTypes, asked.ProviderType):
		said = fmt.Sprintf("there is no providerType %q", asked.ProviderType)
	}
	if said != "" {
		refuse(w, http.StatusBadRequest, said)
		return
	}
	now := time.Now().UTC()
	made := &webhook{
		EndpointID: rand.Text()[:12], EndpointURL: asked.EndpointURL, ProviderType: asked.ProviderType, Created: now, LastModified: now,
		Subscriptions: asked.Subscriptions, Secret: newWebhookSecret(),
	}
	if caller(r) == nil {
		made.CreatorLoginName = somebody
	}
	s.webhooks = append(s.webhooks, made)
	answer(w, made)
}

func (s *server) showWebhook(w http.ResponseWriter, r *http.Request) {
	if found := s.findWebhook(w, r); found != nil {
		answer(w, found.withoutSecret())
	}
}

func (s *server) changeWebhook(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Subscriptions []string }
	found := s.findWebhook(w, r)
	if found == nil || !decode(w, r, &asked) {
		return
	}
	if said := subscriptionProblem(asked.Subscriptions); said != "" {
		refuse(w, http.StatusBadRequest, said)
		return
	}
	found.Subscriptions, found.LastModified = asked.Subscriptions, time.Now().UTC()
	answer(w, found.withoutSecret())
}

func (s *server) deleteWebhook(w http.ResponseWriter, r *http.Request) {
	if found := s.findWebhook(w, r); found != nil {
		s.webhooks = slices.DeleteFunc(s.webhooks, func(each *webhook) bool { return each == found })
		answer(w, nil)
	}
}

// testWebhook sends an event later on, as the vendor does.
func (s *server) testWebhook(w http.ResponseWriter, r *http.Request) {
	if found := s.findWebhook(w, r); found != nil {
		seen := *found // as it is now: the lock is not held when it is sent
		go seen.deliver("test", "This is a test event")
		w.WriteHeader(http.StatusAccepted)
	}
}

func (s *server) rotateWebhook(w http.ResponseWriter, r *http.Request) {
	if found := s.findWebhook(w, r); found != nil {
		found.Secret, found.LastModified = newWebhookSecret(), time.Now().UTC()
		answer(w, found)
	}
}

func (s *server) findWebhook(w http.ResponseWriter, r *http.Request) *webhook {
	at := slices.IndexFunc(s.webhooks, func(each *webhook) bool { return each.EndpointID == r.PathValue("id") })
	if at < 0 {
		refuse(w, http.StatusNotFound, "webhook not found")
		return nil
	}
	return s.webhooks[at]
}

func subscriptionProblem(asked []string) string {
	if len(asked) == 0 {
		return "subscriptions are required"
	}
	isUnknown := func(name string) bool { return !slices.Contains(subscriptionTypes, name) }
	if at := slices.IndexFunc(asked, isUnknown); at >= 0 {
		return fmt.Sprintf("there is no subscription %q", asked[at])
	}
	return ""
}

func newWebhookSecret() string { return "tskey-webhook-" + rand.Text() }

func (h *webhook) withoutSecret() webhook {
	shown := *h
	shown.Secret = ""
	return shown
}

// deliver sends one event, signed as the vendor signs; the forms that chats want are left out.
func (h *webhook) deliver(kind, message string) {
	now := time.Now().UTC()
	body, _ := json.Marshal([]map[string]any{
		{"timestamp": now, "version": 1, "type": kind, "tailnet": domain, "message": message, "data": nil},
	})
	mac := hmac.New(sha256.New, []byte(h.Secret))
	fmt.Fprintf(mac, "%d.%s", now.Unix(), body)
	sent, err := http.NewRequest(http.MethodPost, h.EndpointURL, bytes.NewReader(body))
	if err != nil {
		log.Printf("webhook: %v", err)
		return
	}
	sent.Header.Set("Content-Type", "application/json")
	sent.Header.Set("Tailscale-Webhook-Signature", fmt.Sprintf("t=%d,v1=%s", now.Unix(), hex.EncodeToString(mac.Sum(nil))))
	answered, err := (&http.Client{Timeout: longestDelivery}).Do(sent)
	if err != nil {
		log.Printf("webhook: %v", err)
		return
	}
	answered.Body.Close()
}
