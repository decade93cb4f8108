"""A filter on pymilter that uses most of what it offers; the subject says what to do with a message."""

import sys

import Milter


class Filter(Milter.Base):
    def __init__(self):
        self.subject = ""
        self.size = 0
        self.started = 0

    def connect(self, host, family, address):
        self.host = host
        self.note("connect", host, family, address, self.getsymval("j"), self.getsymval("{daemon_name}"))
        if host.startswith("bad."):
            self.setreply("554", "5.7.1", "not from %s" % host)
            return Milter.REJECT
        return Milter.CONTINUE

    def hello(self, name):
        self.note("hello", name)
        return Milter.CONTINUE

    def envfrom(self, sender, *args):
        self.subject = ""
        self.size = 0
        self.started += 1
        self.note("envfrom", sender, args, self.getsymval("i"), self.getsymval("{mail_addr}"))
        return Milter.CONTINUE

    def envrcpt(self, recipient, *args):
        self.note("envrcpt", recipient, args, self.getsymval("{rcpt_addr}"))
        if recipient.startswith("<no@"):
            self.setreply("550", "5.1.1", "no such user")
            return Milter.REJECT
        return Milter.CONTINUE

    def data(self):
        self.note("data", self.getsymval("i"))
        return Milter.CONTINUE

    @Milter.noreply
    def header(self, name, value):
        self.note("header", name, value)
        if name == "Subject":
            self.subject = value
        return Milter.CONTINUE

    @Milter.noreply
    def eoh(self):
        self.note("eoh")
        return Milter.CONTINUE

    def body(self, chunk):
        self.size += len(chunk)
        self.note("body", chunk)
        return Milter.CONTINUE

    def eom(self):
        self.note("eom", self.subject, self.size, self.started, self.getsymval("{msg_id}"))
        if self.subject == "edit":
            self.edit()
        elif self.subject == "reply":
            self.setreply("550", "5.7.1", "100%% no")
            return Milter.REJECT
        elif self.subject == "lines":
            self.setreply("451", "4.7.1", "one", "two", "three")
            return Milter.TEMPFAIL
        elif self.subject == "discard":
            return Milter.DISCARD
        elif self.subject == "quarantine":
            self.quarantine("held for review")
        elif self.subject == "accept":
            return Milter.ACCEPT
        elif self.subject == "tempfail":
            return Milter.TEMPFAIL
        return Milter.CONTINUE

    def edit(self):
        self.progress()
        self.addheader("X-Added", "one\n\ttwo")
        self.addheader("X-First", "top", 0)
        self.chgheader("Subject", 1, "edited")
        self.chgheader("X-Old", 2, "")
        self.chgfrom("<new@example.com>", "RET=HDRS")
        self.addrcpt("<dave@example.org>")
        self.addrcpt("<erin@example.org>", "NOTIFY=NEVER")
        self.delrcpt("<carol@example.org>")
        self.replacebody(b"New body.\r\n")
        self.replacebody(b"z" * 70000)

    def unknown(self, command):
        self.note("unknown", command)
        return Milter.CONTINUE

    def abort(self):
        self.note("abort")
        return Milter.CONTINUE

    def close(self):
        self.note("close")
        return Milter.CONTINUE

    def note(self, *what):
        print(*(ascii(part) for part in what), flush=True)


def main():
    Milter.factory = Filter
    Milter.set_flags(
        Milter.ADDHDRS | Milter.CHGHDRS | Milter.CHGBODY | Milter.ADDRCPT | Milter.DELRCPT
        | Milter.QUARANTINE | Milter.CHGFROM | Milter.ADDRCPT_PAR
    )
    Milter.runmilter("filter", sys.argv[1], 600)


main()
