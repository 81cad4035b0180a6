package swrk

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"syscall"

	"github.com/crpie/crpie/images"
	"github.com/crpie/crpie/images/pb"
	"github.com/crpie/crpie/internal/escape"
)

// maxMessage bounds a message, bytes. Runtimes' requests have some thousand; runc itself reads at most 40960.
const maxMessage = 1 << 20

// typeField is the number of the field "type" in criu_req and criu_resp, rpc.proto.
const typeField = 1

// messageType finds the type of a request or response and decodes nothing else. The last one holds, as for every
// protobuf reader; ok is false when there is none, or the message is not one.
func messageType(data []byte) (kind pb.CriuReqType, ok bool) {
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 {
			return 0, false
		}
		data = data[n:]
		value, n := skipValue(data, tag&7)
		if n < 0 {
			return 0, false
		}
		if tag == typeField<<3 {
			kind, ok = pb.CriuReqType(int32(value)), true
		}
		data = data[n:]
	}
	return kind, ok
}

// skipValue gives the length of a field's value, and the value of a varint; -1: it is cut short.
func skipValue(data []byte, wire uint64) (value uint64, n int) {
	size := uint64(0)
	switch wire {
	case 0:
		value, n = binary.Uvarint(data)
		if n <= 0 {
			return 0, -1
		}
		return value, n
	case 1:
		size = 8
	case 5:
		size = 4
	case 2:
		length, n := binary.Uvarint(data)
		if n <= 0 || length > math.MaxInt32 {
			return 0, -1
		}
		size = uint64(n) + length
	default: // groups: criu has none
		return 0, -1
	}
	if size > uint64(len(data)) {
		return 0, -1
	}
	return 0, int(size)
}

// decode reads a request; its sender is not trusted.
func decode(data []byte) (*pb.CriuReq, error) {
	req := &pb.CriuReq{}
	if _, err := images.Unmarshal(data, req); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if req.Opts == nil {
		return nil, fmt.Errorf("request %v: it has no opts", req.GetType())
	}
	return req, nil
}

// failure is criu's answer to a request that has failed. pid is the root task's, or -1.
func failure(kind pb.CriuReqType, pid int, errno syscall.Errno, err error) []byte {
	const longest = 4096 // runc reads 40960 bytes
	text := escape.Error(err)
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	answer := &pb.CriuResp{Type: &kind, Success: pb.Bool(false), CrErrno: pb.Int32(int32(errno)),
		CrErrmsg: pb.String(text)}
	if kind == pb.CriuReqType_RESTORE {
		answer.Restore = &pb.CriuRestoreResp{Pid: pb.Int32(int32(pid))}
	}
	data, err := images.Marshal(answer)
	if err != nil {
		panic(err) // no required field is missing
	}
	return data
}
