"""pymilter on Debian's python3-milter, written from its documentation: pymilter.py SOCKET SCENARIO"""

import sys
import time

import Milter

FOOTER = b"-- \r\nThis message was read by a program.\r\n"


class Answered(Milter.Base):
    """Answers every step."""

    def connect(self, hostname, family, hostaddr):
        return Milter.CONTINUE

    def hello(self, heloname):
        return Milter.CONTINUE

    def envfrom(self, mailfrom, *params):
        return Milter.CONTINUE

    def envrcpt(self, to, *params):
        return Milter.CONTINUE

    def data(self):
        return Milter.CONTINUE

    def header(self, field, value):
        return Milter.CONTINUE

    def eoh(self):
        return Milter.CONTINUE

    def body(self, chunk):
        return Milter.CONTINUE

    def eom(self):
        return Milter.CONTINUE


class AddsHeader(Answered):
    """Adds a header field."""

    def eom(self):
        self.addheader("X-Scanned", "yes")
        return Milter.CONTINUE


class AddsFooter(Answered):
    """Puts a footer behind the body."""

    def envfrom(self, mailfrom, *params):
        self.pieces = []
        return Milter.CONTINUE

    def body(self, chunk):
        self.pieces.append(chunk)
        return Milter.CONTINUE

    def eom(self):
        for piece in self.pieces:
            self.replacebody(piece)
        self.replacebody(FOOTER)
        self.pieces = []
        return Milter.CONTINUE


class NoReply(Milter.Base):
    """Sees every step and answers none but the last."""

    @Milter.noreply
    def connect(self, hostname, family, hostaddr):
        return Milter.CONTINUE

    @Milter.noreply
    def hello(self, heloname):
        return Milter.CONTINUE

    @Milter.noreply
    def envfrom(self, mailfrom, *params):
        return Milter.CONTINUE

    @Milter.noreply
    def envrcpt(self, to, *params):
        return Milter.CONTINUE

    @Milter.noreply
    def data(self):
        return Milter.CONTINUE

    @Milter.noreply
    def header(self, field, value):
        return Milter.CONTINUE

    @Milter.noreply
    def eoh(self):
        return Milter.CONTINUE

    @Milter.noreply
    def body(self, chunk):
        return Milter.CONTINUE

    def eom(self):
        return Milter.CONTINUE


class Waits(Answered):
    """Takes its time at the end of each message."""

    def eom(self):
        time.sleep(0.05)
        return Milter.CONTINUE


class Looks(Answered):
    """Says how long the body was."""

    def envfrom(self, mailfrom, *params):
        self.length = 0
        return Milter.CONTINUE

    def body(self, chunk):
        self.length += len(chunk)
        return Milter.CONTINUE

    def eom(self):
        self.addheader("X-Length", str(self.length))
        return Milter.CONTINUE


# The filter of each scenario, and what it may do.
SCENARIOS = {
    "answered": (Answered, 0),
    "header": (AddsHeader, Milter.ADDHDRS),
    "footer": (AddsFooter, Milter.CHGBODY),
    "no-reply": (NoReply, 0),
    "wait50": (Waits, 0),
    "look": (Looks, Milter.ADDHDRS),
    "replace25": (AddsFooter, Milter.CHGBODY),
    "idle": (Answered, 0),
}


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in SCENARIOS:
        sys.exit("usage: pymilter.py SOCKET " + "|".join(SCENARIOS))
    Milter.factory, flags = SCENARIOS[sys.argv[2]]
    Milter.set_flags(flags)
    Milter.runmilter("peer", "unix:" + sys.argv[1], 600)


main()
