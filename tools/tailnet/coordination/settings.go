package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

const (
	longestDeviceDays = 180
	oneOfMany         = "active-passive-failover"
	byRegion          = "regional-routing"
)

// tailnetSettings holds the switches of a tailnet. Only those of DNS do anything here.
type tailnetSettings struct {
	ACLsExternallyManagedOn                bool   `json:"aclsExternallyManagedOn"`
	ACLsExternalLink                       string `json:"aclsExternalLink"`
	DevicesApprovalOn                      bool   `json:"devicesApprovalOn"`
	DevicesAutoUpdatesOn                   bool   `json:"devicesAutoUpdatesOn"`
	DevicesKeyDurationDays                 int    `json:"devicesKeyDurationDays"`
	UsersApprovalOn                        bool   `json:"usersApprovalOn"`
	UsersRoleAllowedToJoinExternalTailnets string `json:"usersRoleAllowedToJoinExternalTailnets"`
	NetworkFlowLoggingOn                   bool   `json:"networkFlowLoggingOn"`
	RegionalRoutingOn                      bool   `json:"regionalRoutingOn"`
	PostureIdentityCollectionOn            bool   `json:"postureIdentityCollectionOn"`
	HTTPSEnabled                           bool   `json:"httpsEnabled"`
	RouteSelection                         string `json:"routeSelection"`
}

// settingsRequest is a change: what is left out, or null, stays as it is.
type settingsRequest struct {
	tailnetSettings
	RegionalRoutingOn *bool   `json:"regionalRoutingOn"`
	RouteSelection    *string `json:"routeSelection"`
}

var (
	rolesOfOthers   = []string{"none", "admin", "member"}
	routeSelections = []string{oneOfMany, byRegion, "regional-routing-failover", "magicroute"}
)

func newSettings() tailnetSettings {
	return tailnetSettings{
		DevicesKeyDurationDays: longestDeviceDays, UsersRoleAllowedToJoinExternalTailnets: "admin", RouteSelection: oneOfMany,
	}
}

func (s *server) showSettings(w http.ResponseWriter, _ *http.Request) {
	answer(w, s.settings)
}

func (s *server) changeSettings(w http.ResponseWriter, r *http.Request) {
	asked := settingsRequest{tailnetSettings: s.settings}
	if !decode(w, r, &asked) {
		return
	}
	changed := asked.tailnetSettings
	switch {
	case asked.RegionalRoutingOn != nil && asked.RouteSelection != nil:
		refuse(w, http.StatusBadRequest, "regionalRoutingOn and routeSelection cannot both be given")
		return
	case asked.RouteSelection != nil:
		changed.RouteSelection = *asked.RouteSelection
	case asked.RegionalRoutingOn != nil && *asked.RegionalRoutingOn:
		changed.RouteSelection = byRegion
	case asked.RegionalRoutingOn != nil:
		changed.RouteSelection = oneOfMany
	}
	changed.RegionalRoutingOn = changed.RouteSelection == byRegion
	if said := changed.problem(); said != "" {
		refuse(w, http.StatusBadRequest, said)
		return
	}
	s.settings = changed
	answer(w, s.settings)
}

func (t tailnetSettings) problem() string {
	switch {
	case t.DevicesKeyDurationDays < 1 || t.DevicesKeyDurationDays > longestDeviceDays:
		return fmt.Sprintf("devicesKeyDurationDays must be from 1 to %d", longestDeviceDays)
	case !slices.Contains(rolesOfOthers, t.UsersRoleAllowedToJoinExternalTailnets):
		return fmt.Sprintf("usersRoleAllowedToJoinExternalTailnets must be one of %v", rolesOfOthers)
	case !slices.Contains(routeSelections, t.RouteSelection):
		return fmt.Sprintf("routeSelection must be one of %v", routeSelections)
	case t.ACLsExternalLink != "" && !isWebAddress(t.ACLsExternalLink):
		return fmt.Sprintf("aclsExternalLink %q is no http(s) URL", t.ACLsExternalLink)
	}
	return ""
}

func isWebAddress(text string) bool {
	found, err := url.Parse(text)
	return err == nil && (found.Scheme == "https" || found.Scheme == "http") && found.Host != ""
}

func (s *server) showDNS(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]bool{"magicDNS": s.magicDNS})
}

// changeDNS turns MagicDNS on or off; nodes are told.
func (s *server) changeDNS(w http.ResponseWriter, r *http.Request) {
	var asked struct{ MagicDNS *bool }
	if !decode(w, r, &asked) {
		return
	}
	if asked.MagicDNS == nil {
		refuse(w, http.StatusBadRequest, "magicDNS is required")
		return
	}
	s.magicDNS = *asked.MagicDNS
	s.wake()
	s.showDNS(w, r)
}
