-- Many recipients, with arguments and without.

local conn = connect()
hello(conn)
mail(conn, "4F3A00001", "RET=HDRS", "ENVID=abc")
rcpt(conn, "<bob@example.org>", "NOTIFY=NEVER", "ORCPT=rfc822;bob@example.org")
rcpt(conn, "bob@example.org")
for number = 1, 200 do
  rcpt(conn, "<bob" .. number .. "@example.org>")
end
content(conn, "4F3A00001")
mt.disconnect(conn)
