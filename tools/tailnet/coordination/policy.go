package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
	"tailscale.com/tailcfg"
)

// policy is what this server understands of a policy file: grants by tag, group, user, host and address, postures, and tests. The
// rest is refused by name, so that nobody takes silence for consent.
type policy struct {
	Groups    map[string][]string `json:"groups"`
	Hosts     map[string]string   `json:"hosts"`
	TagOwners map[string][]string `json:"tagOwners"`
	Postures  map[string][]string `json:"postures"`
	Grants    []grant             `json:"grants"`
	SSH       json.RawMessage     `json:"ssh"`
	Tests     []policyTest        `json:"tests"`
	SSHTests  json.RawMessage     `json:"sshTests"`

	terms map[string][]term // of each posture
}

type grant struct {
	Sources      []string `json:"src"`
	Destinations []string `json:"dst"`
	IP           []string `json:"ip"`
	Posture      []string `json:"srcPosture"`
}

type policyTest struct {
	Source     string         `json:"src"`
	Attributes map[string]any `json:"srcPostureAttrs"`
	Protocol   string         `json:"proto"`
	Accept     []string       `json:"accept"`
	Deny       []string       `json:"deny"`
}

// identity is what a policy sees of a node, or of whom a test is about.
type identity struct {
	user       string // empty for a node with tags
	tags       []string
	groups     []string // of somebody without a name, in a test
	addresses  []netip.Addr
	attributes map[string]any // of posture, by name
}

// opening is one entry of a grant's `ip`; no protocols mean TCP, UDP and ICMP.
type opening struct {
	protocols []int
	ports     tailcfg.PortRange
}

const everyUserOf = "user:*@" // a domain behind it

var (
	protocolNumbers = map[string]int{
		"igmp": 2, "ipv4": 4, "ip-in-ip": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "gre": 47, "esp": 50, "ah": 51,
		"ipv6-icmp": 58, "sctp": 132,
	}
	icmp      = []int{1, 58} // of either family
	unsaid    = []int{6, 17, 1, 58}
	tested    = []int{6, 17} // by a test that names no protocol
	withPorts = []int{6, 17, 132}
)

func parsePolicy(text []byte) (*policy, error) {
	plain, err := hujson.Standardize(bytes.Clone(text))
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields()
	decoder.UseNumber() // in the attributes of tests
	read := &policy{}
	if err := decoder.Decode(read); err != nil {
		return nil, err
	}
	if err := read.readPostures(); err != nil {
		return nil, err
	}
	for number, each := range read.Grants {
		for _, selector := range slices.Concat(each.Sources, each.Destinations) {
			if !read.knows(selector) {
				return nil, fmt.Errorf("grants[%d]: %q is not known", number, selector)
			}
		}
		for _, name := range each.Posture {
			if _, isKnown := read.Postures[name]; !isKnown {
				return nil, fmt.Errorf("grants[%d]: the posture %q is not known", number, name)
			}
		}
		for _, text := range each.IP {
			if _, err := parseOpening(text); err != nil {
				return nil, fmt.Errorf("grants[%d]: %w", number, err)
			}
		}
	}
	return read, nil
}

func (p *policy) knows(selector string) bool {
	switch {
	case strings.HasPrefix(selector, "tag:"):
		_, known := p.TagOwners[selector]
		return known
	case strings.HasPrefix(selector, "group:"):
		_, known := p.Groups[selector]
		return known
	case strings.HasPrefix(selector, "autogroup:"):
		return slices.Contains([]string{"autogroup:member", "autogroup:tagged", "autogroup:self"}, selector)
	}
	return selector == "*" || strings.Contains(selector, "@") || p.network(selector).IsValid()
}

// network returns what a host's name, a network or an address means; the zero value for anything else.
func (p *policy) network(selector string) netip.Prefix {
	if named, found := p.Hosts[selector]; found {
		selector = named
	}
	if address, err := netip.ParseAddr(selector); err == nil {
		return netip.PrefixFrom(address, address.BitLen())
	}
	prefix, err := netip.ParsePrefix(selector)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

func parseOpening(text string) (opening, error) {
	found := opening{}
	name, ports, hasName := strings.Cut(text, ":")
	if hasName {
		if found.protocols = numbersOf(name); found.protocols == nil {
			return found, fmt.Errorf("there is no protocol %q", name)
		}
	} else {
		ports = name
	}
	if ports == "*" {
		found.ports = tailcfg.PortRangeAny
		return found, nil
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	one, err := strconv.ParseUint(first, 10, 16)
	other, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || one > other {
		return found, fmt.Errorf("%q are no ports", ports)
	}
	found.ports = tailcfg.PortRange{First: uint16(one), Last: uint16(other)}
	return found, nil
}

// numbersOf returns the protocols that a name or number means; nil where it means none.
func numbersOf(name string) []int {
	if name == "icmp" {
		return icmp
	}
	if number, known := protocolNumbers[name]; known {
		return []int{number}
	}
	if number, err := strconv.ParseUint(name, 10, 8); err == nil {
		return []int{int(number)}
	}
	return nil
}

func (o opening) holds(protocol int, port uint16) bool {
	protocols := o.protocols
	if len(protocols) == 0 {
		protocols = unsaid
	}
	return slices.Contains(protocols, protocol) &&
		(!slices.Contains(withPorts, protocol) || o.ports.First <= port && port <= o.ports.Last)
}

// means says whether a selector means somebody; `autogroup:self` is about two, see admits.
func (p *policy) means(selector string, who identity) bool {
	switch {
	case selector == "*":
		return true
	case selector == "autogroup:member":
		return len(who.tags) == 0 && (who.user != "" || len(who.groups) > 0)
	case selector == "autogroup:tagged":
		return len(who.tags) > 0
	case strings.HasPrefix(selector, "tag:"):
		return slices.Contains(who.tags, selector)
	case len(who.tags) > 0 && (strings.HasPrefix(selector, "group:") || strings.Contains(selector, "@")):
		return false
	case strings.HasPrefix(selector, "group:"):
		return slices.Contains(who.groups, selector) || who.user != "" && slices.Contains(p.Groups[selector], who.user)
	case strings.HasPrefix(selector, everyUserOf):
		return who.user != "" && strings.HasSuffix(who.user, selector[len(everyUserOf)-1:])
	case strings.Contains(selector, "@"):
		return who.user == selector
	}
	network := p.network(selector)
	return network.IsValid() && slices.ContainsFunc(who.addresses, network.Contains)
}

func (p *policy) meansAny(selectors []string, who identity) bool {
	return slices.ContainsFunc(selectors, func(selector string) bool { return p.means(selector, who) })
}

// admits says whether a grant is about two parties, the source's device as it is now.
func (p *policy) admits(g grant, source, destination identity) bool {
	if !p.meansAny(g.Sources, source) || !p.meetsPosture(g, source) {
		return false
	}
	own := source.user != "" && source.user == destination.user && len(source.tags)+len(destination.tags) == 0
	return p.meansAny(g.Destinations, destination) || own && slices.Contains(g.Destinations, "autogroup:self")
}

func (p *policy) sees(one, other identity) bool {
	return slices.ContainsFunc(p.Grants, func(g grant) bool { return p.admits(g, one, other) || p.admits(g, other, one) })
}

// filter returns a node's packet filter: who of all may send it what.
func (p *policy) filter(self identity, all []identity) []tailcfg.FilterRule {
	rules := []tailcfg.FilterRule{}
	for _, g := range p.Grants {
		sources := []string{}
		for _, other := range all {
			if p.admits(g, other, self) {
				for _, address := range other.addresses {
					sources = append(sources, address.String())
				}
			}
		}
		if len(sources) == 0 {
			continue
		}
		for _, text := range g.IP {
			found, _ := parseOpening(text) // read before
			rule := tailcfg.FilterRule{SrcIPs: sources, IPProto: found.protocols}
			for _, address := range self.addresses {
				rule.DstPorts = append(rule.DstPorts, tailcfg.NetPortRange{IP: address.String(), Ports: found.ports})
			}
			rules = append(rules, rule)
		}
	}
	return rules
}

func (p *policy) allows(source, destination identity, protocol int, port uint16) bool {
	return slices.ContainsFunc(p.Grants, func(g grant) bool {
		return p.admits(g, source, destination) && slices.ContainsFunc(g.IP, func(text string) bool {
			found, _ := parseOpening(text)
			return found.holds(protocol, port)
		})
	})
}

// someone returns whom a test's source or destination is about.
func (p *policy) someone(selector string) identity {
	switch {
	case strings.HasPrefix(selector, "tag:"):
		return identity{tags: []string{selector}}
	case strings.HasPrefix(selector, "group:"):
		return identity{groups: []string{selector}}
	case strings.Contains(selector, "@"):
		return identity{user: selector}
	}
	if network := p.network(selector); network.IsValid() {
		return identity{addresses: []netip.Addr{network.Addr()}}
	}
	return identity{}
}

type testFailure struct {
	User   string   `json:"user"`
	Errors []string `json:"errors"`
}

// failures returns what the policy's own tests say, as the API shows it. A test without a protocol is about TCP and UDP:
// accepted by one of them, denied by both. A destination is one place; a test that asks nothing fails.
func (p *policy) failures() []testFailure {
	failed := []testFailure{}
	for _, test := range p.Tests {
		protocols := tested
		if test.Protocol != "" {
			protocols = numbersOf(test.Protocol)
		}
		said := []string{}
		if len(test.Accept)+len(test.Deny) == 0 {
			said = append(said, "nothing is accepted or denied")
		}
		look := func(targets []string, wanted bool, word string) {
			for _, target := range targets {
				at := strings.LastIndex(target, ":")
				port, err := strconv.ParseUint(target[at+1:], 10, 16)
				if at < 0 || err != nil {
					said = append(said, fmt.Sprintf("address %q: no port", target))
					continue
				}
				whom := target[:at]
				if named, found := p.Hosts[whom]; strings.Contains(whom, "/") || found && strings.Contains(named, "/") {
					said = append(said, fmt.Sprintf("address %q: no single place", target))
					continue
				}
				if whom == "autogroup:self" && strings.Contains(test.Source, "@") {
					whom = test.Source // another device of the same person
				}
				source, destination := p.someone(test.Source), p.someone(whom)
				source.attributes = test.Attributes
				isOpen := slices.ContainsFunc(protocols, func(protocol int) bool {
					return p.allows(source, destination, protocol, uint16(port))
				})
				if isOpen != wanted {
					said = append(said, fmt.Sprintf("address %q: want: %s", target, word))
				}
			}
		}
		look(test.Accept, true, "Accept")
		look(test.Deny, false, "Drop")
		if len(said) > 0 {
			failed = append(failed, testFailure{test.Source, said})
		}
	}
	return failed
}
