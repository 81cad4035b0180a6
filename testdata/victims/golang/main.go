// SPDX-License-Identifier: Apache-2.0

// A Go program: goroutines that compute, sleep, wait for each other and for timers, under a running garbage collector.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var failures int

func check(ok bool, format string, args ...any) {
	if !ok {
		failures++
		fmt.Printf("DIFFERS "+format+"\n", args...)
	}
}

type node struct {
	left, right *node
	value       int
}

func tree(depth int) *node {
	if depth == 0 {
		return &node{value: 1}
	}
	return &node{tree(depth - 1), tree(depth - 1), 1}
}

func (n *node) sum() int {
	if n == nil {
		return 0
	}
	return n.value + n.left.sum() + n.right.sum()
}

func main() {
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	var turns, ticks atomic.Int64
	var workers sync.WaitGroup
	done, ping, pong := make(chan struct{}), make(chan int), make(chan int)
	kept := tree(15)
	for range 8 {
		workers.Go(func() { garbage(done, &turns) })
	}
	workers.Go(func() { echo(done, ping, pong) })
	workers.Go(func() { tick(done, &ticks) })
	r, w, err := os.Pipe() // in the runtime's epoll set
	if err != nil {
		fmt.Println("NOT READY", err)
		os.Exit(2)
	}
	lines := make(chan string)
	go func() {
		buf := make([]byte, 16)
		n, err := r.Read(buf)
		lines <- fmt.Sprint(string(buf[:n]), err)
	}()

	fmt.Println("READY", os.Getpid())
	<-usr1

	check(kept.sum() == 1<<16-1, "tree of %d nodes, was %d", kept.sum(), 1<<16-1)
	before, ticked := turns.Load(), ticks.Load()
	for i := range 1000 {
		ping <- i
		check(<-pong == i+1, "echo of %d", i)
	}
	time.Sleep(100 * time.Millisecond)
	check(turns.Load() > before, "the workers stand still")
	check(ticks.Load() > ticked, "the ticker stands still")
	w.WriteString("through the pipe")
	line := <-lines
	check(line == "through the pipe<nil>", "pipe: %q", line)
	close(done)
	workers.Wait()
	runtime.GC()
	check(kept.sum() == 1<<16-1, "tree after collection: %d", kept.sum())
	if failures > 0 {
		os.Exit(1)
	}
	fmt.Println("PASS")
}

func garbage(done chan struct{}, turns *atomic.Int64) {
	for {
		select {
		case <-done:
			return
		default:
		}
		if tree(8).sum() != 1<<9-1 {
			panic("a tree is broken")
		}
		turns.Add(1)
		time.Sleep(time.Millisecond)
	}
}

func echo(done chan struct{}, ping, pong chan int) {
	for {
		select {
		case n := <-ping:
			pong <- n + 1
		case <-done:
			return
		}
	}
}

func tick(done chan struct{}, ticks *atomic.Int64) {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			ticks.Add(1)
		case <-done:
			return
		}
	}
}
