// Command coordination is a coordination server for real tailscaled nodes where the vendor's cannot be had: it registers nodes
// by keys, tells them of each other and of what their policy lets in, relays for them (DERP, STUN), and serves the part of
// the vendor's API v2 that the toolkit uses (api.go). All is kept in memory. Until a policy is written everything may pass, so
// that a test sees what a host's own firewall does.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"tailscale.com/control/controlhttp/controlhttpserver"
	"tailscale.com/derp/derpserver"
	"tailscale.com/net/stunserver"
	"tailscale.com/net/tsaddr"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/util/zstdframe"
)

const (
	domain         = "mutx.test"
	somebody       = "test@" + domain // whose a device is that joined by a key without tags
	keepAliveEvery = 50 * time.Second
	relayRegion    = 900
)

type peerOfRequest struct{}

// server holds the one tailnet, in memory.
type server struct {
	mu      sync.Mutex
	noise   key.MachinePrivate
	relay   *tailcfg.DERPMap
	nodes   map[key.NodePublic]*tailcfg.Node
	people  []string // logins; an id is the position and one
	entered int      // how many nodes there ever were
	streams map[chan struct{}]bool

	apiKey  string
	clients []*client
	tokens  map[string]token
	keys    map[string]*authKey // by secret
	policy  *policy             // nil until one is written
	written []byte

	attributes map[key.NodePublic]map[string]*attribute

	settings    tailnetSettings
	magicDNS    bool
	logstreams  map[string]*logstream // by the type of logs
	externalIDs []string              // given out for roles in AWS
	reusableID  string
	webhooks    []*webhook
}

func main() {
	address := flag.String("address", "127.0.0.1", "where nodes find control, DERP and STUN")
	port := flag.Int("port", 8480, "port of the control protocol; 0 takes a free one")
	apiPort := flag.Int("api-port", 8481, "port on 127.0.0.1 of the API v2; 0 takes a free one")
	leash := flag.String("end-without", "", "end when this file is gone")
	relayPort := flag.Int("relay-port", 0, "port of DERP; 0 takes a free one")
	advertise := flag.String("advertise", "", "address, or name and port, where nodes find DERP if it is forwarded from there; there is no STUN then")
	credentials := flag.String("credentials", "", "file of who may use the API, in JSON: api_key and clients")
	flag.Parse()
	s := newServer()
	relay, relayMap := serveRelay(*address, *relayPort, *advertise)
	s.relay = relayMap
	if err := s.readCredentials(*credentials); err != nil {
		log.Fatal(err)
	}
	if *leash != "" {
		go endWithout(*leash)
	}
	api, control := listenAt("127.0.0.1", *apiPort), listenAt(*address, *port)
	// Who started this process waits for the line.
	fmt.Println(portOf(api), portOf(control), portOf(relay))
	go func() { log.Fatal(http.Serve(api, s.api())) }()
	log.Fatal(http.Serve(control, s.control()))
}

func listenAt(address string, port int) net.Listener {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func portOf(listener net.Listener) int {
	return listener.Addr().(*net.TCPAddr).Port
}

// endWithout ends this process once a file is gone, so that it does not outlive what it belongs to.
func endWithout(file string) {
	for {
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			os.Exit(0)
		}
		time.Sleep(time.Second)
	}
}

// newServer returns a tailnet that nobody has touched yet.
func newServer() *server {
	return &server{
		noise: key.NewMachine(), people: []string{somebody}, nodes: map[key.NodePublic]*tailcfg.Node{}, streams: map[chan struct{}]bool{},
		tokens: map[string]token{}, keys: map[string]*authKey{},
		settings: newSettings(), magicDNS: true, logstreams: map[string]*logstream{},
		attributes: map[key.NodePublic]map[string]*attribute{},
	}
}

// serveRelay starts DERP over TLS with a certificate that nobody checks, and STUN beside it. What is forwarded shows no node
// where it comes from, so there is no STUN then.
func serveRelay(address string, port int, advertise string) (net.Listener, *tailcfg.DERPMap) {
	listener := listenAt(address, port)
	relay := httptest.NewUnstartedServer(derpserver.Handler(derpserver.New(key.NewNode(), func(string, ...any) {})))
	relay.Listener.Close()
	relay.Listener = listener
	relay.StartTLS()
	node := &tailcfg.DERPNode{
		Name: "900a", RegionID: relayRegion, HostName: address, IPv4: address, IPv6: "none", InsecureForTests: true,
		STUNPort: -1, DERPPort: portOf(listener),
	}
	if advertise != "" {
		node.HostName, node.IPv4 = advertise, advertise
		if name, port, err := net.SplitHostPort(advertise); err == nil {
			node.HostName, node.IPv4 = name, ""
			if node.DERPPort, err = strconv.Atoi(port); err != nil {
				log.Fatal(err)
			}
		}
	} else {
		stun := stunserver.New(context.Background())
		if err := stun.Listen(net.JoinHostPort(address, "0")); err != nil {
			log.Fatal(err)
		}
		go stun.Serve()
		node.STUNPort, node.STUNTestIP = stun.LocalAddr().(*net.UDPAddr).Port, address
	}
	region := &tailcfg.DERPRegion{RegionID: relayRegion, RegionCode: "test", RegionName: "test", Nodes: []*tailcfg.DERPNode{node}}
	return listener, &tailcfg.DERPMap{OmitDefaultRegions: true, Regions: map[int]*tailcfg.DERPRegion{relayRegion: region}}
}

func (s *server) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/key", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, &tailcfg.OverTLSPublicKeyResponse{PublicKey: s.noise.Public()})
	})
	mux.HandleFunc("/ts2021", func(w http.ResponseWriter, r *http.Request) {
		connection, err := controlhttpserver.AcceptHTTP(r.Context(), w, r, s.noise, nil)
		if err != nil {
			log.Printf("handshake: %v", err)
			return
		}
		defer connection.Close()
		inner := context.WithValue(r.Context(), peerOfRequest{}, connection.Peer())
		options := &http2.ServeConnOpts{Context: inner, BaseConfig: &http.Server{Handler: s.machine()}}
		(&http2.Server{}).ServeConn(connection, options)
	})
	return mux
}

// machine serves what nodes ask inside the encrypted connection.
func (s *server) machine() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/machine/register", s.register)
	mux.HandleFunc("/machine/map", s.tell)
	mux.HandleFunc("/machine/update-health", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func (s *server) register(w http.ResponseWriter, r *http.Request) {
	var asked tailcfg.RegisterRequest
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[asked.NodeKey] == nil {
		used, err := s.use(asked.Auth)
		if err != nil {
			log.Printf("refused %s: %v", asked.Hostinfo.Hostname, err)
			answer(w, tailcfg.RegisterResponse{Error: err.Error()})
			return
		}
		s.enter(r.Context().Value(peerOfRequest{}).(key.MachinePublic), &asked, used)
	}
	user := s.nodes[asked.NodeKey].User
	login := s.people[user-1]
	answer(w, tailcfg.RegisterResponse{
		MachineAuthorized: true,
		User:              tailcfg.User{ID: user, DisplayName: login},
		Login:             tailcfg.Login{ID: tailcfg.LoginID(user), LoginName: login},
	})
}

// use takes a key that lets devices in.
func (s *server) use(auth *tailcfg.RegisterResponseAuth) (*authKey, error) {
	if auth == nil || auth.AuthKey == "" {
		return nil, errors.New("an auth key is required")
	}
	found := s.keys[auth.AuthKey]
	if found == nil {
		return nil, errors.New("invalid key")
	}
	if err := found.problem(); err != nil {
		return nil, err
	}
	found.used = time.Now()
	return found, nil
}

func (s *server) enter(machine key.MachinePublic, asked *tailcfg.RegisterRequest, used *authKey) {
	s.entered++
	number := s.entered
	four := netip.AddrFrom4([4]byte{100, 64, 7, byte(number)})
	addresses := []netip.Prefix{netip.PrefixFrom(four, 32), netip.PrefixFrom(tsaddr.Tailscale4To6(four), 128)}
	s.nodes[asked.NodeKey] = &tailcfg.Node{
		ID: tailcfg.NodeID(number), StableID: tailcfg.StableNodeID(fmt.Sprintf("n%04d", number)), User: s.idOf(used.user),
		Machine: machine, Key: asked.NodeKey, MachineAuthorized: true, Addresses: addresses, AllowedIPs: addresses,
		Tags: used.tags,
		Name: asked.Hostinfo.Hostname + "." + domain + ".", Hostinfo: asked.Hostinfo.View(), Cap: asked.Version, Created: time.Now(),
	}
	log.Printf("entered: %s %v", asked.Hostinfo.Hostname, four)
	s.wake()
}

// tell answers a map request; a stream goes on until the node leaves.
func (s *server) tell(w http.ResponseWriter, r *http.Request) {
	var asked tailcfg.MapRequest
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !s.learn(&asked) {
		http.Error(w, "node not found", http.StatusNotFound)
		return
	}
	if !asked.Stream {
		send(w, &asked, &tailcfg.MapResponse{})
		return
	}
	news := make(chan struct{}, 1)
	s.listen(news, true)
	defer s.listen(news, false)
	for {
		seen := s.view(asked.NodeKey)
		if seen == nil || send(w, &asked, seen) != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-r.Context().Done():
				return
			case <-news:
				waiting = false
			case <-time.After(keepAliveEvery):
				if send(w, &asked, &tailcfg.MapResponse{KeepAlive: true}) != nil {
					return
				}
			}
		}
	}
}

// learn keeps what a node says of itself; false where it is unknown.
func (s *server) learn(asked *tailcfg.MapRequest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := s.nodes[asked.NodeKey]
	if node == nil {
		return false
	}
	if asked.ReadOnly || asked.Stream {
		return true
	}
	node.Endpoints, node.DiscoKey, node.Cap = asked.Endpoints, asked.DiscoKey, asked.Version
	if asked.Hostinfo != nil {
		node.Hostinfo = asked.Hostinfo.View()
		if network := asked.Hostinfo.NetInfo; network != nil && network.PreferredDERP != 0 {
			node.HomeDERP = network.PreferredDERP
		}
	}
	s.wake()
	return true
}

// view is the tailnet as one node sees it; nil where it was deleted.
func (s *server) view(self key.NodePublic) *tailcfg.MapResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, own := time.Now(), s.nodes[self]
	if own == nil {
		return nil
	}
	peers, all, filter := []*tailcfg.Node{}, []identity{}, tailcfg.FilterAllowAll
	for _, node := range s.nodes {
		all = append(all, s.identityOf(node))
		if node.Key != self && (s.policy == nil || s.policy.sees(s.identityOf(own), s.identityOf(node))) {
			peers = append(peers, node.Clone())
		}
	}
	if s.policy != nil {
		filter = s.policy.filter(s.identityOf(own), all)
	}
	return &tailcfg.MapResponse{
		Node: own.Clone(), Peers: peers, DERPMap: s.relay, Domain: domain, ControlTime: &now, CollectServices: "false",
		PacketFilters: map[string][]tailcfg.FilterRule{"base": filter},
		UserProfiles:  s.profiles(),
		// A name server that nobody has: a host that takes it is seen by its resolv.conf.
		DNSConfig: &tailcfg.DNSConfig{Proxied: s.magicDNS, Domains: []string{domain}},
	}
}

// idOf returns a person's number, a new one for a new person; the lock is held.
func (s *server) idOf(login string) tailcfg.UserID {
	if login == "" {
		login = somebody
	}
	at := slices.Index(s.people, login)
	if at < 0 {
		at, s.people = len(s.people), append(s.people, login)
	}
	return tailcfg.UserID(at + 1)
}

func (s *server) profiles() []tailcfg.UserProfile {
	made := []tailcfg.UserProfile{}
	for at, login := range s.people {
		made = append(made, tailcfg.UserProfile{ID: tailcfg.UserID(at + 1), LoginName: login, DisplayName: login})
	}
	return made
}

func (s *server) identityOf(node *tailcfg.Node) identity {
	found := identity{tags: node.Tags, attributes: s.attributesOf(node)}
	if len(node.Tags) == 0 {
		found.user = s.people[node.User-1]
	}
	for _, prefix := range node.Addresses {
		found.addresses = append(found.addresses, prefix.Addr())
	}
	return found
}

// readCredentials reads who may use the API; nobody may without a file.
func (s *server) readCredentials(file string) error {
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	read := struct {
		APIKey  string    `json:"api_key"`
		Clients []*client `json:"clients"`
	}{}
	if err := json.Unmarshal(text, &read); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	s.apiKey, s.clients = read.APIKey, read.Clients
	return nil
}

func (s *server) listen(news chan struct{}, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.streams[news] = true
	} else {
		delete(s.streams, news)
	}
}

// wake has every stream send its view again; the lock is held.
func (s *server) wake() {
	for news := range s.streams {
		select {
		case news <- struct{}{}:
		default:
		}
	}
}

func answer(w http.ResponseWriter, content any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(content)
}

// send writes one message of a map stream: its length, then JSON, packed where the node asked for that.
func send(w http.ResponseWriter, asked *tailcfg.MapRequest, content *tailcfg.MapResponse) error {
	body, err := json.Marshal(content)
	if err != nil {
		return err
	}
	if asked.Compress != "" {
		body = zstdframe.AppendEncode(nil, body, zstdframe.FastestCompression)
	}
	framed := append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
	if _, err = w.Write(framed); err == nil {
		w.(http.Flusher).Flush()
	}
	return err
}
