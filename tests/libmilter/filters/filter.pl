# A filter on Sendmail::Milter that uses most of what it offers; the subject says what to do with a message.

use strict;
use warnings;

use Sendmail::Milter;
use Socket;

$| = 1;

sub note {
    my @words = map { defined $_ ? $_ : '-' } @_;
    s/([^ -~])/sprintf '\\x%02x', ord $1/ge for @words;
    print join(' ', @words), "\n";
}

sub on_connect {
    my ($ctx, $host, $address) = @_;
    my $peer = '-';
    if (defined $address && length $address && eval { sockaddr_family($address) == AF_INET }) {
        my ($port, $ip) = sockaddr_in($address);
        $peer = inet_ntoa($ip) . ":$port";
    }
    note('connect', $host, $peer, $ctx->getsymval('j'));
    if ($host =~ /^bad\./) {
        $ctx->setreply('554', '5.7.1', "not from $host");
        return SMFIS_REJECT;
    }
    return SMFIS_CONTINUE;
}

sub on_helo {
    my ($ctx, $name) = @_;
    note('helo', $name);
    return SMFIS_CONTINUE;
}

sub on_envfrom {
    my ($ctx, @args) = @_;
    note('envfrom', @args, $ctx->getsymval('i'), $ctx->getsymval('{mail_addr}'));
    $ctx->setpriv({ subject => '', size => 0 });
    return SMFIS_CONTINUE;
}

sub on_envrcpt {
    my ($ctx, @args) = @_;
    note('envrcpt', @args);
    if ($args[0] =~ /^<no@/) {
        $ctx->setreply('550', '5.1.1', 'no such user');
        return SMFIS_REJECT;
    }
    return SMFIS_CONTINUE;
}

sub on_header {
    my ($ctx, $name, $value) = @_;
    note('header', $name, $value);
    if ($name eq 'Subject') {
        my $message = $ctx->getpriv();
        $message->{subject} = $value;
        $ctx->setpriv($message);
    }
    return SMFIS_CONTINUE;
}

sub on_eoh {
    note('eoh');
    return SMFIS_CONTINUE;
}

sub on_body {
    my ($ctx, $chunk, $length) = @_;
    note('body', $length, $chunk);
    my $message = $ctx->getpriv();
    $message->{size} += $length;
    $ctx->setpriv($message);
    return SMFIS_CONTINUE;
}

sub on_eom {
    my ($ctx) = @_;
    my $message = $ctx->getpriv();
    my $subject = $message->{subject};
    note('eom', $subject, $message->{size}, $ctx->getsymval('{msg_id}'));
    $ctx->setpriv(undef);
    if ($subject eq 'edit') {
        note('addheader', $ctx->addheader('X-Added', "one\n\ttwo"));
        note('chgheader', $ctx->chgheader('Subject', 1, 'edited'));
        note('chgheader', $ctx->chgheader('X-Old', 2, ''));
        note('addrcpt', $ctx->addrcpt('<dave@example.org>'));
        note('delrcpt', $ctx->delrcpt('<carol@example.org>'));
        note('replacebody', $ctx->replacebody("New body.\r\n" . 'z' x 70000));
    } elsif ($subject eq 'reply') {
        $ctx->setreply('550', '5.7.1', '100%% no');
        return SMFIS_REJECT;
    } elsif ($subject eq 'discard') {
        return SMFIS_DISCARD;
    } elsif ($subject eq 'accept') {
        return SMFIS_ACCEPT;
    } elsif ($subject eq 'tempfail') {
        return SMFIS_TEMPFAIL;
    }
    return SMFIS_CONTINUE;
}

sub on_abort {
    my ($ctx) = @_;
    note('abort');
    $ctx->setpriv(undef);
    return SMFIS_CONTINUE;
}

sub on_close {
    my ($ctx) = @_;
    note('close');
    $ctx->setpriv(undef);
    return SMFIS_CONTINUE;
}

my %callbacks = (
    connect => \&on_connect,
    helo => \&on_helo,
    envfrom => \&on_envfrom,
    envrcpt => \&on_envrcpt,
    header => \&on_header,
    eoh => \&on_eoh,
    body => \&on_body,
    eom => \&on_eom,
    abort => \&on_abort,
    close => \&on_close,
);

Sendmail::Milter::setconn("local:$ARGV[0]") or die 'setconn';
Sendmail::Milter::register('filter', \%callbacks, SMFI_CURR_ACTS) or die 'register';
Sendmail::Milter::main() or die 'main';
