package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

type callerOfRequest struct{}

// api serves the part of Tailscale's API v2 that the toolkit and its stack use. Paths, fields and statuses are the vendor's.
// Who asks needs one of a route's scopes; where none is named, its handler looks itself.
func (s *server) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/oauth/token", s.exchangeSecret)
	mux.HandleFunc("POST /api/v2/oauth/token-exchange", s.exchangeIdentity)
	mux.HandleFunc("POST /filters", filters)
	for _, route := range []struct {
		pattern, scopes string
		serve           http.HandlerFunc
	}{
		{"GET /tailnet/{tailnet}/acl", "policy_file:read", s.showPolicy},
		{"POST /tailnet/{tailnet}/acl", "policy_file", s.replacePolicy},
		{"POST /tailnet/{tailnet}/acl/validate", "policy_file:read", s.validatePolicy},

		{"GET /tailnet/{tailnet}/keys", "auth_keys:read oauth_keys:read federated_keys:read", s.listKeys},
		{"POST /tailnet/{tailnet}/keys", "auth_keys oauth_keys federated_keys", s.createKey},
		{"GET /tailnet/{tailnet}/keys/{id}", "", s.showKey},
		{"PUT /tailnet/{tailnet}/keys/{id}", "auth_keys oauth_keys federated_keys", s.changeKey},
		{"DELETE /tailnet/{tailnet}/keys/{id}", "auth_keys oauth_keys federated_keys", s.deleteKey},

		{"GET /tailnet/{tailnet}/settings", "feature_settings:read", s.showSettings},
		{"PATCH /tailnet/{tailnet}/settings", "feature_settings", s.changeSettings},
		{"GET /tailnet/{tailnet}/dns/preferences", "dns:read", s.showDNS},
		{"POST /tailnet/{tailnet}/dns/preferences", "dns", s.changeDNS},

		{"GET /tailnet/{tailnet}/logging/{logType}/stream", "log_streaming:read", s.showLogstream},
		{"PUT /tailnet/{tailnet}/logging/{logType}/stream", "log_streaming", s.replaceLogstream},
		{"DELETE /tailnet/{tailnet}/logging/{logType}/stream", "log_streaming", s.deleteLogstream},
		{"POST /tailnet/{tailnet}/aws-external-id", "log_streaming", s.giveExternalID},
		{"POST /tailnet/{tailnet}/aws-external-id/{id}/validate-aws-trust-policy", "log_streaming", s.validateRole},

		{"GET /tailnet/{tailnet}/webhooks", "webhooks:read", s.listWebhooks},
		{"POST /tailnet/{tailnet}/webhooks", "webhooks", s.createWebhook},
		{"GET /webhooks/{id}", "webhooks:read", s.showWebhook},
		{"PATCH /webhooks/{id}", "webhooks", s.changeWebhook},
		{"DELETE /webhooks/{id}", "webhooks", s.deleteWebhook},
		{"POST /webhooks/{id}/test", "webhooks", s.testWebhook},
		{"POST /webhooks/{id}/rotate", "webhooks", s.rotateWebhook},

		{"GET /tailnet/{tailnet}/devices", "devices:core:read", s.listDevices},
		{"GET /device/{id}", "devices:core:read", s.showDevice},
		{"DELETE /device/{id}", "devices:core", s.deleteDevice},
		{"GET /device/{id}/attributes", "devices:posture_attributes:read", s.showAttributes},
		{"POST /device/{id}/attributes/{name}", "devices:posture_attributes", s.setAttribute},
		{"DELETE /device/{id}/attributes/{name}", "devices:posture_attributes", s.deleteAttribute},
	} {
		method, path, _ := strings.Cut(route.pattern, " ")
		mux.HandleFunc(method+" /api/v2"+path, s.allowed(route.scopes, route.serve))
	}
	return mux
}

// allowed looks at the credential, its scopes and the tailnet's name, and holds the lock for the handler.
func (s *server) allowed(scopes string, serve http.HandlerFunc) http.HandlerFunc {
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
			r = r.WithContext(context.WithValue(r.Context(), callerOfRequest{}, known.client))
		}
		isCovered := func(scope string) bool { return may(r, scope) }
		if scopes != "" && !slices.ContainsFunc(strings.Fields(scopes), isCovered) {
			refuseScope(w)
			return
		}
		if name := r.PathValue("tailnet"); name != "" && name != "-" && name != domain {
			refuse(w, http.StatusNotFound, "tailnet not found")
			return
		}
		serve(w, r)
	}
}

// caller returns the client that asks; nil for a person, who has the API key.
func caller(r *http.Request) *client {
	found, _ := r.Context().Value(callerOfRequest{}).(*client)
	return found
}

// creator returns who the vendor says made something: a person's id, and nothing for a client.
func creator(r *http.Request) string {
	if caller(r) != nil {
		return ""
	}
	return "u1"
}

// may says whether who asks has a scope; a person may do anything.
func may(r *http.Request, scope string) bool {
	return caller(r) == nil || covers(caller(r).Scopes, scope)
}

// covers says whether scopes hold one: who may write may read.
func covers(scopes []string, scope string) bool {
	wanted := []string{scope, strings.TrimSuffix(scope, ":read"), "all"}
	if strings.HasSuffix(scope, ":read") {
		wanted = append(wanted, "all:read")
	}
	return slices.ContainsFunc(scopes, func(each string) bool { return slices.Contains(wanted, each) })
}

// decode reads a request's JSON and refuses what it does not know, by name; false where it refused.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	decoder.UseNumber() // values of any kind stay as they are written
	if err := decoder.Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

func refuseScope(w http.ResponseWriter) {
	refuse(w, http.StatusForbidden, "calling actor does not have enough permissions to perform this function")
}

func refuse(w http.ResponseWriter, status int, said string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": said})
}
