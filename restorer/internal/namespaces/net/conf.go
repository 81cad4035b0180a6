package net

import (
	"path"
	"strconv"
	"strings"

	"github.com/crpie/crpie/images/pb"
)

// sysctl is a step: a file below /proc/sys gets a value.
type sysctl struct{ path, value string }

func (s sysctl) String() string {
	return "sysctl " + strings.ReplaceAll(strings.TrimPrefix(s.path, "/proc/sys/"), "\n", " ") + " = " + s.value
}

// The names of the settings of interfaces. The images have values alone, in this order: CRIU's net.c, devconfs4 and
// devconfs6. An older CRIU knows only the first of them.
var (
	conf4 = []string{"accept_local", "accept_redirects", "accept_source_route", "arp_accept", "arp_announce",
		"arp_filter", "arp_ignore", "arp_notify", "bootp_relay", "disable_policy", "disable_xfrm",
		"force_igmp_version", "forwarding", "igmpv2_unsolicited_report_interval",
		"igmpv3_unsolicited_report_interval", "log_martians", "medium_id", "promote_secondaries", "proxy_arp",
		"proxy_arp_pvlan", "route_localnet", "rp_filter", "secure_redirects", "send_redirects", "shared_media",
		"src_valid_mark", "tag", "ignore_routes_with_linkdown", "drop_gratuitous_arp",
		"drop_unicast_in_l2_multicast"}
	conf6 = []string{"accept_dad", "accept_ra", "accept_ra_defrtr", "accept_ra_from_local",
		"accept_ra_min_hop_limit", "accept_ra_mtu", "accept_ra_pinfo", "accept_ra_rt_info_max_plen",
		"accept_ra_rtr_pref", "accept_redirects", "accept_source_route", "autoconf", "dad_transmits",
		"disable_ipv6", "drop_unicast_in_l2_multicast", "drop_unsolicited_na", "force_mld_version",
		"force_tllao", "forwarding", "hop_limit", "ignore_routes_with_linkdown", "keep_addr_on_down",
		"max_addresses", "max_desync_factor", "mldv1_unsolicited_report_interval",
		"mldv2_unsolicited_report_interval", "mtu", "ndisc_notify", "optimistic_dad", "proxy_ndp",
		"regen_max_retry", "router_probe_interval", "router_solicitation_delay",
		"router_solicitation_interval", "router_solicitations", "stable_secret", "suppress_frag_ndisc",
		"temp_prefered_lft", "temp_valid_lft", "use_oif_addrs_only", "use_optimistic", "use_tempaddr"}
	unixConf   = []string{"max_dgram_qlen"}
	ipv4Sysctl = []string{"ping_group_range"}
)

// Settings that wait until links are up and have their addresses: duplicate address detection would make addresses wait
// that have passed it, and a link that comes up sets its own MTU. The value is what they are set to early.
func lateConf() map[string]string { return map[string]string{"accept_dad": "0", "mtu": ""} }

// planConf plans the settings of the namespace. Those of "all" change those of every interface, so they come first.
func (p *planner) planConf(e *pb.NetnsEntry) {
	if len(e.GetDefConf()) > 0 || len(e.GetAllConf()) > 0 {
		p.Refuse(p.image("netns"), "dump it with CRIU 2.0 or newer", "its settings have the form of an older CRIU")
	}
	p.confOf("ipv4", "all", conf4, e.GetAllConf4())
	p.confOf("ipv4", "default", conf4, e.GetDefConf4())
	p.confOf("ipv6", "all", conf6, e.GetAllConf6())
	p.confOf("ipv6", "default", conf6, e.GetDefConf6())
	p.settings("/proc/sys/net/unix", unixConf, e.GetUnixConf())
	p.settings("/proc/sys/net/ipv4", ipv4Sysctl, e.GetIpv4Sysctl())
}

// planLateConf plans the settings that had to wait.
func (p *planner) planLateConf() {
	p.steps = append(p.steps, p.late...)
	p.late = nil
}

// confOf plans the settings of one interface, or of "all" or "default".
func (p *planner) confOf(family, of string, names []string, values []*pb.SysctlEntry) {
	p.settings(path.Join("/proc/sys/net", family, "conf", of), names, values)
}

// settings plans values by their places. Whether forwarding is on changes accept_redirects, which therefore comes last.
func (p *planner) settings(dir string, names []string, values []*pb.SysctlEntry) {
	if len(values) > len(names) {
		p.Refuse(p.image("netns"), "", "%d settings of %s, of which only the first %d are known: a newer CRIU's",
			len(values), dir, len(names))
		return
	}
	var last []step
	for i, e := range values {
		value, ok := p.value(dir, names[i], e)
		if !ok {
			continue
		}
		s := sysctl{dir + "/" + names[i], value}
		early, late := lateConf()[names[i]]
		switch {
		case late && strings.Contains(dir, "/ipv6/"):
			if early != "" {
				p.steps = append(p.steps, sysctl{s.path, early})
			}
			p.late = append(p.late, s)
		case names[i] == "accept_redirects":
			last = append(last, s)
		default:
			p.steps = append(p.steps, s)
		}
	}
	p.steps = append(p.steps, last...)
}

// value is a setting as text; there is none of what the dump's kernel did not have.
func (p *planner) value(dir, name string, e *pb.SysctlEntry) (text string, ok bool) {
	if e.GetType() != pb.SysctlType_CTL_STR {
		return strconv.Itoa(int(e.GetIarg())), e.Iarg != nil
	}
	text = strings.TrimSuffix(e.GetSarg(), "\n")
	for _, r := range text {
		if r != '\t' && (r < ' ' || r > '~') {
			p.Refuse(p.image("netns"), "", "%s/%s has the value %q: the images contradict themselves", dir, name,
				e.GetSarg())
			return "", false
		}
	}
	return text, text != ""
}

// planIDs plans the numbers by which the namespace knows others. Only its own can be among them.
func (p *planner) planIDs(e *pb.NetnsEntry) {
	for _, n := range e.GetNsids() {
		if n.GetTargetNsId() != p.id {
			p.Refuse(p.image("netns"), "", "it knows network namespace %d of the images: more than one is not supported",
				n.GetTargetNsId())
			continue
		}
		p.steps = append(p.steps, ownID{n.GetNetnsidValue()})
	}
}

// ownID is a step: the number by which the namespace knows itself.
type ownID struct{ number int32 }

func (s ownID) String() string { return "it knows itself as " + strconv.Itoa(int(s.number)) }
