// Command coordination is a coordination server for the tests of real tailscaled nodes: it registers nodes by keys that are
// good for one use, tells them of each other, and relays for them (DERP, STUN). What may pass is not decided here: every
// node's packet filter admits everything, so that a test sees what the host's own firewall does.
package main

import (
	"context"
	"crypto/rand"
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
	keepAliveEvery = 50 * time.Second
	relayRegion    = 900
)

type peerOfRequest struct{}

// server holds the one tailnet, in memory.
type server struct {
	mu      sync.Mutex
	noise   key.MachinePrivate
	relay   *tailcfg.DERPMap
	keys    map[string]bool // by secret; true: not used yet
	nodes   map[key.NodePublic]*tailcfg.Node
	streams map[chan struct{}]bool
}

func main() {
	address := flag.String("address", "127.0.0.1", "where nodes find control, DERP and STUN")
	port := flag.Int("port", 8480, "port of the control protocol")
	mintPort := flag.Int("mint-port", 8481, "port on 127.0.0.1 where keys are made: POST /keys")
	flag.Parse()
	s := &server{
		noise: key.NewMachine(), relay: serveRelay(*address), keys: map[string]bool{},
		nodes: map[key.NodePublic]*tailcfg.Node{}, streams: map[chan struct{}]bool{},
	}
	mint := http.NewServeMux()
	mint.HandleFunc("POST /keys", s.mint)
	go func() { log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *mintPort), mint)) }()
	log.Fatal(http.ListenAndServe(fmt.Sprintf("%s:%d", *address, *port), s.control()))
}

// serveRelay starts DERP over TLS with a certificate that nobody checks, and STUN beside it.
func serveRelay(address string) *tailcfg.DERPMap {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		log.Fatal(err)
	}
	relay := httptest.NewUnstartedServer(derpserver.Handler(derpserver.New(key.NewNode(), func(string, ...any) {})))
	relay.Listener.Close()
	relay.Listener = listener
	relay.StartTLS()
	stun := stunserver.New(context.Background())
	if err := stun.Listen(net.JoinHostPort(address, "0")); err != nil {
		log.Fatal(err)
	}
	go stun.Serve()
	node := &tailcfg.DERPNode{
		Name: "900a", RegionID: relayRegion, HostName: address, IPv4: address, IPv6: "none", InsecureForTests: true,
		STUNPort: stun.LocalAddr().(*net.UDPAddr).Port, DERPPort: listener.Addr().(*net.TCPAddr).Port, STUNTestIP: address,
	}
	region := &tailcfg.DERPRegion{RegionID: relayRegion, RegionCode: "test", RegionName: "test", Nodes: []*tailcfg.DERPNode{node}}
	return &tailcfg.DERPMap{OmitDefaultRegions: true, Regions: map[int]*tailcfg.DERPRegion{relayRegion: region}}
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

func (s *server) mint(w http.ResponseWriter, _ *http.Request) {
	secret := "tskey-auth-" + rand.Text()
	s.mu.Lock()
	s.keys[secret] = true
	s.mu.Unlock()
	answer(w, map[string]string{"key": secret})
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
		if err := s.use(asked.Auth); err != nil {
			log.Printf("refused %s: %v", asked.Hostinfo.Hostname, err)
			answer(w, tailcfg.RegisterResponse{Error: err.Error()})
			return
		}
		s.enter(r.Context().Value(peerOfRequest{}).(key.MachinePublic), &asked)
	}
	answer(w, tailcfg.RegisterResponse{
		MachineAuthorized: true,
		User:              tailcfg.User{ID: 1, DisplayName: "test"},
		Login:             tailcfg.Login{ID: 1, LoginName: "test@" + domain},
	})
}

// use takes a key, once.
func (s *server) use(auth *tailcfg.RegisterResponseAuth) error {
	if auth == nil || auth.AuthKey == "" {
		return errors.New("an auth key is required")
	}
	unused, known := s.keys[auth.AuthKey]
	if !known {
		return errors.New("invalid key")
	}
	if !unused {
		return errors.New("the key was used already")
	}
	s.keys[auth.AuthKey] = false
	return nil
}

func (s *server) enter(machine key.MachinePublic, asked *tailcfg.RegisterRequest) {
	number := len(s.nodes) + 1
	four := netip.AddrFrom4([4]byte{100, 64, 7, byte(number)})
	addresses := []netip.Prefix{netip.PrefixFrom(four, 32), netip.PrefixFrom(tsaddr.Tailscale4To6(four), 128)}
	s.nodes[asked.NodeKey] = &tailcfg.Node{
		ID: tailcfg.NodeID(number), StableID: tailcfg.StableNodeID(fmt.Sprintf("n%04d", number)), User: 1,
		Machine: machine, Key: asked.NodeKey, MachineAuthorized: true, Addresses: addresses, AllowedIPs: addresses,
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
		if send(w, &asked, s.view(asked.NodeKey)) != nil {
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

// view is the tailnet as one node sees it.
func (s *server) view(self key.NodePublic) *tailcfg.MapResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	peers := []*tailcfg.Node{}
	for _, node := range s.nodes {
		if node.Key != self {
			peers = append(peers, node.Clone())
		}
	}
	return &tailcfg.MapResponse{
		Node: s.nodes[self].Clone(), Peers: peers, DERPMap: s.relay, Domain: domain, ControlTime: &now, CollectServices: "false",
		PacketFilters: map[string][]tailcfg.FilterRule{"base": tailcfg.FilterAllowAll},
		UserProfiles:  []tailcfg.UserProfile{{ID: 1, LoginName: "test@" + domain, DisplayName: "test"}},
		// A name server that nobody has: a host that takes it is seen by its resolv.conf.
		DNSConfig: &tailcfg.DNSConfig{Proxied: true, Domains: []string{domain}},
	}
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
