package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const tokenLife = time.Hour

type token struct {
	client  *client
	expires time.Time
}

func (s *server) exchangeSecret(w http.ResponseWriter, r *http.Request) {
	id, secret, isBasic := r.BasicAuth()
	if !isBasic {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	s.giveToken(w, func(c *client) bool { return c.ID == id && c.Secret != "" && c.Secret == secret })
}

// exchangeIdentity looks at an identity token's claims and end; its signature is for the vendor to check.
func (s *server) exchangeIdentity(w http.ResponseWriter, r *http.Request) {
	claims := readClaims(r.FormValue("jwt"))
	expires, _ := claims["exp"].(json.Number)
	if end, err := expires.Float64(); err != nil || float64(time.Now().Unix()) > end {
		refuse(w, http.StatusUnauthorized, "the identity token is invalid")
		return
	}
	s.giveToken(w, func(c *client) bool { return c.ID == r.FormValue("client_id") && c.isMeant(claims) })
}

// readClaims returns what a JSON web token says; nothing where it is none.
func readClaims(text string) map[string]any {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil
	}
	claims := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.UseNumber() // as they are written: patterns are about text
	if decoder.Decode(&claims) != nil {
		return nil
	}
	return claims
}

// isMeant says whether an identity token's claims are those of a federated identity.
func (c *client) isMeant(claims map[string]any) bool {
	if c.Subject == "" || claims["iss"] != any(c.Issuer) || !matches(c.Subject, claims["sub"]) {
		return false
	}
	if c.Audience != "" && !holds(claims["aud"], c.Audience) {
		return false
	}
	for name, pattern := range c.Rules {
		if !matches(pattern, claims[name]) {
			return false
		}
	}
	return true
}

// holds says whether a claim is a text, or a list with that text in it; an audience is no pattern.
func holds(claim any, text string) bool {
	list, isList := claim.([]any)
	if isList {
		return slices.ContainsFunc(list, func(each any) bool { return holds(each, text) })
	}
	said, _ := claim.(string)
	return said == text
}

// matches says whether a claim, or one of a list, has a pattern's form: a `*` stands for any characters.
func matches(pattern string, claim any) bool {
	switch said := claim.(type) {
	case nil, map[string]any:
		return false
	case []any:
		return slices.ContainsFunc(said, func(each any) bool { return matches(pattern, each) })
	}
	form := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
	return regexp.MustCompile(`(?s)^` + form + `$`).MatchString(fmt.Sprint(claim))
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
