package images

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/memory"
)

// IPC is an IPC namespace that was dumped: CRIU does so when the root task is not in CRIU's own.
type IPC struct {
	Vars   *pb.IpcVarEntry
	Shm    []*pb.IpcShmEntry // contents: Dir.Shmem, by desc.id
	Sems   []Semaphores
	Queues []MessageQueue
}

// Semaphores is a set of System V semaphores: its values are 16 bits each.
type Semaphores struct {
	Entry  *pb.IpcSemEntry
	Values Range
}

// MessageQueue is a System V message queue.
type MessageQueue struct {
	Entry    *pb.IpcMsgEntry
	Messages []Message
}

// Message is one message in a queue.
type Message struct {
	Type uint64
	Text []byte
}

// ipc reads the images of IPC namespaces, which are numbered by the namespace.
func (o *opener) ipc() {
	o.dir.IPC = map[uint32]*IPC{}
	for _, f := range o.numbered("ipcns-var-", 10) {
		entries, ok := o.must(f.name, "IPC_VAR")
		if !ok {
			continue
		}
		ns, number := &IPC{Vars: entries[0].Message.(*pb.IpcVarEntry)}, strconv.FormatUint(f.id, 10)
		ns.Shm = messages[*pb.IpcShmEntry](o.read("ipcns-shm-"+number+".img", "IPCNS_SHM"))
		for _, e := range o.read("ipcns-sem-"+number+".img", "IPCNS_SEM") {
			ns.Sems = append(ns.Sems, Semaphores{e.Message.(*pb.IpcSemEntry), e.Payload})
		}
		for i, e := range o.read("ipcns-msg-"+number+".img", "IPCNS_MSG") {
			q := MessageQueue{Entry: e.Message.(*pb.IpcMsgEntry)}
			var err error
			if q.Messages, err = readMessages(o.dir.FS, e.Payload, q.Entry.GetQnum()); err != nil {
				o.problems.add("ipcns-msg-"+number+".img", i, err)
			}
			ns.Queues = append(ns.Queues, q)
		}
		o.dir.IPC[uint32(f.id)] = ns
	}
}

// readMessages decodes what readMessageQueue has stepped over.
func readMessages(fsys fs.FS, at Range, count uint32) ([]Message, error) {
	if at.Size > maxImageSize {
		return nil, fmt.Errorf("%d bytes of messages, more than %d", at.Size, maxImageSize)
	}
	b, err := ReadRange(fsys, at)
	if err != nil {
		return nil, err
	}
	r := &frameReader{name: at.File, size: at.Size, buf: bufio.NewReader(bytes.NewReader(b))}
	var all []Message
	for range count {
		data, err := r.next()
		if err != nil {
			return nil, err
		}
		m := &pb.IpcMsg{}
		if _, err := Unmarshal(data, m); err != nil {
			return nil, err
		}
		text, err := r.bytes(int64(memory.AlignUp(uint64(m.GetMsize()), 8)), "text")
		if err != nil {
			return nil, err
		}
		all = append(all, Message{m.GetMtype(), text[:m.GetMsize()]})
	}
	return all, nil
}
