// SPDX-License-Identifier: Apache-2.0

// A Go program whose goroutines draw from crypto/rand without pause. It prints what the main one draws afterwards,
// which is to be different in each clone.
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
)

func main() {
	runtime.GOMAXPROCS(2)
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	var drawn [2]atomic.Int64
	for i := range drawn {
		go func() {
			for {
				draw()
				drawn[i].Add(1)
			}
		}()
	}
	for i := range drawn {
		await(&drawn[i], 1)
	}
	fmt.Println("READY", os.Getpid())
	<-usr1
	fmt.Printf("DREW %x\n", draw())
	for i := range drawn {
		await(&drawn[i], drawn[i].Load()+1000)
	}
	fmt.Println("PASS")
}

func await(n *atomic.Int64, atLeast int64) {
	for n.Load() < atLeast {
		runtime.Gosched()
	}
}

func draw() []byte {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return b
}
