# SPDX-License-Identifier: Apache-2.0
# A Perl program with a large hash, a closure, a compiled pattern and a file read half way.
use strict;
use warnings;
use POSIX qw(:signal_h);

$| = 1;
my $go = 0;
$SIG{USR1} = sub { $go = 1 };
my %table = map { $_ => $_ * 3 } 1 .. 30000;
my $count = 0;
my $counter = sub { return ++$count };
$counter->() for 1 .. 5;
my $pattern = qr/^(\w+)\s+(\d+)$/;
open(my $out, '>', 'perl.txt') or die "NOT READY $!";
print $out "line $_\n" for 1 .. 10000;
close($out);
open(my $in, '<', 'perl.txt') or die "NOT READY $!";
<$in> for 1 .. 5000;

# Blocked except while suspended: the signal cannot slip in between the test and the wait.
my $usr1 = POSIX::SigSet->new(SIGUSR1);
my $old = POSIX::SigSet->new;
sigprocmask(SIG_BLOCK, $usr1, $old);
print "READY $$\n";
sigsuspend($old) until $go;

my $failures = 0;
sub check {
	my ($what, $got, $want) = @_;
	return if $got eq $want;
	print "DIFFERS $what: $got, was $want\n";
	$failures++;
}
my $sum = 0;
$sum += $_ for values %table;
check('table', $sum, 3 * 30000 * 30001 / 2);
check('closure', $counter->(), 6);
check('pattern', 'word 42' =~ $pattern ? "$1-$2" : 'no match', 'word-42');
check('file', scalar(<$in>), "line 5001\n");
my $lines = 0;
$lines++ while <$in>;
check('rest of the file', $lines, 4999);
print "PASS\n" unless $failures;
exit($failures ? 1 : 0);
