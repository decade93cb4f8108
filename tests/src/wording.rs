//! What cases say in Postfix's words, in Sendmail's.
//!
//! Cases are written with Postfix's replies. Where both MTAs say the same thing of their own accord, only in other
//! words, the table here has Sendmail's. What an MTA says because of the filter is not in it: a case in which the
//! two differ there has a line for each.

use std::collections::VecDeque;

use crate::text::Pattern;

/// Replies that only differ in their words: to what, Postfix's, Sendmail's. `{path}` is the path that the client
/// gave, `{line}` its whole line; a command of `""` is the client's coming, `.` the end of a message, `*` anything.
const REPLIES: [(&str, &str, &str); 9] = [
    ("", "220 mx.tamis.test ESMTP Postfix", "220 mx.tamis.test ESMTP Sendmail ..."),
    ("EHLO", "250-mx.tamis.test", "250-mx.tamis.test Hello ..., pleased to meet you"),
    ("HELO", "250 mx.tamis.test", "250 mx.tamis.test Hello ..., pleased to meet you"),
    ("MAIL", "250 2.1.0 Ok", r"250 2.1.0 {path}\.\.\. Sender ok"),
    ("RCPT", "250 2.1.5 Ok", r"250 2.1.5 {path}\.\.\. Recipient ok"),
    ("RCPT", "503 5.5.1 Error: need MAIL command", "503 5.0.0 Need MAIL before RCPT"),
    (".", "250 2.0.0 Ok: queued as ...", "250 2.0.0 ... Message accepted for delivery"),
    ("RSET", "250 2.0.0 Ok", "250 2.0.0 Reset state"),
    ("*", "500 5.5.2 Error: command not recognized", "500 5.5.1 Command unrecognized: \"{line}\""),
];

/// What a client has sent and not yet heard about, as the case writes it.
#[derive(Debug, Default)]
pub(crate) struct Pending(VecDeque<String>);

impl Pending {
    /// The client sends a line.
    pub(crate) fn sent(&mut self, line: &str) {
        self.0.push_back(line.to_owned());
    }

    /// The client sends a message.
    pub(crate) fn message(&mut self) {
        self.sent(".");
    }

    /// A reply is there, its last line included.
    pub(crate) fn replied(&mut self) {
        self.0.pop_front();
    }

    /// Another session begins.
    pub(crate) fn connected(&mut self) {
        self.0.clear();
    }

    /// Puts a line of the next reply into Sendmail's words.
    pub(crate) fn sendmail(&self, postfix: &str) -> String {
        let line = self.0.front().map_or("", String::as_str);
        let command = line.split(' ').next().unwrap_or_default();
        let found = REPLIES.iter().find(|(to, says, _)| *says == postfix && (*to == "*" || *to == command));
        match found {
            Some((_, _, sendmail)) => sendmail.replace("{path}", path(line)).replace("{line}", line),
            None => postfix.to_owned(),
        }
    }
}

/// What stands behind the colon of MAIL FROM and RCPT TO, without the parameters.
fn path(line: &str) -> &str {
    let path = line.split_once(':').map_or("", |(_, rest)| rest);
    let end = path.find('>').map(|at| at + 1).or_else(|| path.find(' '));
    &path[..end.unwrap_or(path.len())]
}

/// The recipient as Sendmail hands it on: Postfix adds the original address where the client gave none.
pub(crate) fn recipient(pattern: Pattern) -> Pattern {
    let source = pattern.source();
    let Some((path, original)) = source.split_once(" ORCPT=rfc822;") else { return pattern };
    if path == format!("<{original}>") { Pattern::parse(path).expect("it was read before") } else { pattern }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_those_to_the_line_that_waits_longest() {
        let mut pending = Pending::default();
        assert_eq!(
            pending.sendmail("220 mx.tamis.test ESMTP Postfix"),
            "220 mx.tamis.test ESMTP Sendmail ..."
        );
        pending.sent("MAIL FROM:<a@x> SIZE=1");
        pending.sent("RSET");
        assert_eq!(pending.sendmail("250 2.1.0 Ok"), r"250 2.1.0 <a@x>\.\.\. Sender ok");
        pending.replied();
        assert_eq!(pending.sendmail("250 2.0.0 Ok"), "250 2.0.0 Reset state");
        assert_eq!(pending.sendmail("250 2.1.0 Ok"), "250 2.1.0 Ok");
        pending.replied();
        pending.sent("WHAT NOW");
        let unknown = pending.sendmail("500 5.5.2 Error: command not recognized");
        assert_eq!(unknown, "500 5.5.1 Command unrecognized: \"WHAT NOW\"");
    }

    #[test]
    fn only_an_original_recipient_that_says_nothing_is_left_out() {
        let of = |source: &str| recipient(Pattern::parse(source).unwrap()).source().to_owned();
        assert_eq!(of("<b@x> ORCPT=rfc822;b@x"), "<b@x>");
        assert_eq!(of("<b@x> ORCPT=rfc822;c@x"), "<b@x> ORCPT=rfc822;c@x");
        assert_eq!(of("<b@x>"), "<b@x>");
    }
}
