// The web server of webserver.py, in Go: goserver PORT.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

// counters has the number of requests of each client.
type counters struct {
	mu sync.Mutex
	of map[string]int
}

// ServeHTTP answers GET /CLIENT/N.
func (c *counters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	client := strings.Split(r.URL.Path, "/")[1]
	c.mu.Lock()
	c.of[client]++
	count := c.of[client]
	c.mu.Unlock()
	fmt.Fprint(w, count)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var config net.ListenConfig
	config.SetMultipathTCP(false) // CRIU 4 cannot dump it; Go 1.24 listens for it otherwise
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: &counters{of: map[string]int{}}}
	go func() {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	<-ctx.Done()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
